"""The buffers of one rank: what it says and what it hears, in one contiguous block, own words first.

Every transport fills a mailbox and nothing else, so that MPI and the simulator hand out the same bytes. A row that
still bears the mark after an exchange holds no message: nobody wrote it, or its sender says that it is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.types import Block, Inbox, Mask, Mat, Outbox, View

__all__ = ["CAP", "Mailbox", "nothing", "only", "per_edge", "replaced", "seen", "silent_rows", "swapped"]

_MARK = {4: 0x7FC0D417, 8: 0x7FF8D417D417D417}

CAP = {4: 1e15, 8: 1e100}
"""Largest norm of a message by item size: far beyond any model, and its square still far from overflow."""


def nothing(dtype: DTypeLike) -> Any:
    """The mark: a quiet NaN whose payload says 'nothing was sent', float32 or float64."""
    size = np.dtype(dtype).itemsize
    return np.array([_MARK[size]], dtype=f"u{size}").view(dtype)[0]


def silent_rows(block: Block) -> list[int]:
    """Which of the messages (k, f, d) say that nothing was sent."""
    tails = block.reshape(len(block), block[:1].size)[:, -1:].copy().view(f"u{block.itemsize}")
    return [row for row, tail in enumerate(tails.tolist()) if tail == [_MARK[block.itemsize]]]


class Mailbox:
    """Buffers for messages of ``shape`` (f, d) between one rank and its neighbours."""

    __slots__ = ("_fresh", "_mark", "_own", "_tails", "edges", "heard", "said")

    def __init__(self, view: View, shape: tuple[int, int], dtype: DTypeLike = np.float64) -> None:
        k, (f, d) = len(view.sources), shape
        block = np.zeros((1 + k, f, d), dtype)
        self.said: Mat = block[0]
        """(f, d) what goes to every target that gets no message of its own"""
        self.heard: Block = block[1:]
        """(k_in, f, d) where a transport puts what it receives; row p is from ``sources[p]``"""
        self.edges: Block = np.zeros((len(view.targets), f, d), dtype)
        """(k_out, f, d) messages that differ by target"""
        self._mark = _MARK[block.itemsize]
        self._tails = _last_words(block, f * d)
        self._own = [block[0, row] for row in range(f)]
        self._fresh = seen(block, np.zeros(k, dtype=np.int64))

    def post(self, outbox: Outbox) -> bool:
        """Copy an outbox in; return whether every target gets a message of its own."""
        own, edges = outbox
        for row, words in enumerate(own):
            self._own[row][...] = words
        if edges is None:
            return False
        self.edges[:] = edges
        return True

    def clear(self) -> None:
        """Mark all rows as not heard."""
        self._tails.fill(self._mark)

    def forget(self, rows: int | list[int]) -> None:
        """Mark a row as not heard, or some."""
        self._tails[rows] = self._mark

    def missing(self) -> list[int]:
        """Row numbers that nothing was written to since ``clear``."""
        return [row for row, tail in enumerate(self._tails.tolist()) if tail == self._mark]

    def open(self, age: NDArray[np.int64] | None = None) -> Inbox:
        """What was heard; ``age`` (k_in,) where it is not all of this round."""
        if age is None and self._mark not in self._tails.tolist():
            return self._fresh
        age = self._fresh.age.copy() if age is None else age.copy()
        age[self.missing()] = -1
        age.flags.writeable = False
        return self._fresh._replace(age=age)


def replaced(inbox: Inbox, ages: NDArray[np.int64], past: Sequence[Block]) -> Inbox:
    """An inbox in which row p is the one that came ``ages[p]`` rounds before, or nothing where that is -1.

    ``past`` has what came in the rounds before, the newest last.
    """
    block = inbox.flat.copy().reshape(len(inbox.flat), *inbox.messages.shape[1:])
    for row in np.flatnonzero(ages):
        block[1 + row] = past[-ages[row]][row] if ages[row] > 0 else nothing(block.dtype)
    tails = _last_words(block, inbox.flat.shape[1])
    there = tails != _MARK[block.itemsize] if len(tails) else ages >= 0
    return seen(block, np.where(there, ages + np.maximum(inbox.age, 0), -1))


def _last_words(block: Block, size: int) -> NDArray[np.unsignedinteger[Any]]:
    """The last number of each neighbour's message, as bits; no numbers if messages are empty."""
    if size == 0:
        return np.zeros(0, dtype=np.uint64)
    return block.reshape(len(block), size)[1:, -1].view(f"u{block.itemsize}")


def seen(block: Block, age: NDArray[np.int64]) -> Inbox:
    """Read-only windows on a block (1 + k, f, d), the own words first."""
    shown = block.view()
    shown.flags.writeable = False
    age.flags.writeable = False
    rows = tuple(shown[:, row] for row in range(shown.shape[1]))
    return Inbox(shown[1:], age, rows, shown.reshape(len(block), -1), CAP[block.itemsize])


def per_edge(outbox: Outbox, targets: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> Block:
    """The honest messages (k_out, f, d) as a liar gets them: one per target, read-only."""
    if outbox.edges is not None:
        block = outbox.edges.view()
    else:
        block = np.broadcast_to(np.asarray(outbox.own, dtype).reshape(shape), (targets, *shape))
    block.flags.writeable = False
    return block


def swapped(inbox: Inbox, words: Block, there: NDArray[np.bool_]) -> Inbox:
    """The same inbox with other ``words`` (k, f, d), of which those that are ``there`` (k,) count."""
    own = inbox.flat[:1].reshape(1, *words.shape[1:])
    return seen(np.concatenate((own, words)), np.where(there, 0, -1))


def only(view: View, valid: Mask) -> View:
    """The view of a rank that heard those neighbours alone: its entries fit the rows, the others' weight is its own."""
    kept = np.concatenate(([True], valid))
    weights = view.weights[kept]
    weights[0] = 1 - weights[1:].sum()  # exactly 1 where nobody is left, so that the own vector stays as it is
    return view._replace(
        sources=tuple(compress(view.sources, valid)),
        weights=weights,
        couplings=view.couplings[valid],
        trust=view.trust[valid],
    )
