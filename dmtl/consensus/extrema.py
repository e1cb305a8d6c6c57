"""The largest of all ranks' numbers, and who has the least: exact, and the same bits on all ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Mask, Mat, Vec

__all__ = ["Largest", "Least"]


class Largest(NamedTuple):
    """Numbers on their way to the largest of all ranks', each by itself; the smallest of x are the largest of -x.

    Round: x <- max(x, x_j). After as many rounds as the diameter it is everybody's largest, without rounding. It does
    not matter in which order or how often a message is heard, so one that is lost costs rounds and nothing else.

    Cortes, "Distributed algorithms for reaching consensus on general functions", Automatica 44, 2008.
    """

    x: Vec
    """(q,) what is said to all neighbours"""
    done: int = 0
    """rounds that it has gone through"""

    def heard(self, messages: Mat, valid: Mask) -> Largest:
        """One round on, with the neighbours' numbers (k, q)."""
        return Largest(np.maximum(self.x, messages[valid].max(axis=0, initial=-np.inf)), self.done + 1)

    def complete(self, diameter: int) -> bool:
        """Whether ``x`` is the largest of all; at once with one rank."""
        return self.done >= diameter


class Least(NamedTuple):
    """The least of all ranks' numbers, on its way, with whose it is and what that rank has to say.

    Round: the lesser of the own and the neighbours' pairs (value, rank), by value and then by rank. After as many
    rounds as the diameter all ranks have the same one, bit for bit: so they may branch on it, where an average is equal
    to rounding only. Values have to be finite, or nobody hears them. Ranks are exact in float32 up to 2^24.

    It is max-consensus in another order: Cortes, "Distributed algorithms for reaching consensus on general functions",
    Automatica 44, 2008.
    """

    x: Vec
    """(2 + q,) what is said to all neighbours: value, rank, and more words of that rank"""
    done: int = 0
    """rounds that it has gone through"""

    @classmethod
    def start(cls, value: float, rank: int, words: Vec) -> Least:
        """Before its first round; ``words`` (q,) go where the least value goes, and their type is that of messages."""
        return cls(np.concatenate((np.array([value, rank], words.dtype), words)))

    @property
    def rank(self) -> int:
        """Whose value it is."""
        return int(self.x[1])

    def heard(self, messages: Mat, valid: Mask) -> Least:
        """One round on, with the neighbours' (k, 2 + q)."""
        best = self.x
        for row in messages[valid]:
            if (row[0], row[1]) < (best[0], best[1]):
                best = row
        return Least(best.copy(), self.done + 1)

    def complete(self, diameter: int) -> bool:
        """Whether it is the least of all; at once with one rank."""
        return self.done >= diameter
