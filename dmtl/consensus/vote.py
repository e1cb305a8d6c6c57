"""Stopping together: all ranks leave in the same round, once all are content, and nobody counts the votes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Mask, Vec

__all__ = ["Vote"]


class Vote(NamedTuple):
    """A stop vote by one integer that travels with every message; D is the diameter.

    Round: k <- 0 where this rank is not content, else 1 + min(k, k_j). A k of j says that everybody within j - 1 links
    was content j - 1 rounds ago. The first rank with k > D so knows that all ranks were content in one and the same
    round, D rounds ago. It says so, with a deadline D rounds ahead; whoever hears of a deadline passes it on, and the
    soonest one holds. The first is heard by all before it is over and no other is sooner: all ranks stop in that same
    round, at most 2 D rounds after a round from which on all are content.
    A neighbour that is not heard counts as not content: then the network may go on, but it stops nowhere too soon. A
    deadline that is lost may come too late for somebody, so it needs every link in every round.

    What is ours: count and deadline in one integer. Compare the stopping by extremes of Yadav and Salapaka,
    "Distributed protocol for determining when averaging consensus is reached", Allerton 2007.
    """

    streak: int = 0
    """k"""
    left: int = -1
    """rounds until the stop; -1: no deadline is known"""

    @property
    def word(self) -> int:
        """What is said to all neighbours: the count, or -1 less the rounds that are left."""
        return self.streak if self.left < 0 else -1 - self.left

    @property
    def over(self) -> bool:
        """Whether this was the last round."""
        return self.left == 0

    def heard(self, words: Vec, valid: Mask, content: bool, diameter: int) -> Vote:
        """One round on, with the neighbours' words (k,) and whether this rank is content now."""
        if self.over:
            return self
        told = np.where(valid, words, 0).clip(-2 - diameter, 1 + diameter).astype(np.int64).tolist()
        deadlines = [-1 - word for word in (self.word, *told) if word < 0]
        if deadlines:
            return Vote(self.streak, max(0, min(deadlines) - 1))
        streak = 1 + min((self.streak, *told)) if content else 0
        return Vote(streak, diameter if streak > diameter else -1)
