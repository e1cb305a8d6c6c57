"""Messages that are compressed: what travels in place of an outbox, and the vectors that it stands for.

A node packs what it says, lies included, just before it leaves, and opens what it hears as soon as it has come: so
every transport carries words of 32 bits, and methods, screens and attacks see vectors.

With feedback a message is what a compressor makes of the difference from a copy that both ends of an edge have, and
both add up what travelled: the copies stay the same bits as long as every message arrives.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.capabilities import Agreeing
from dmtl.mailbox import nothing, seen, silent_rows
from dmtl.mixer import Mixer, Relaxed
from dmtl.rng import Purpose, stream
from dmtl.types import Algorithm, Block, Inbox, Mat, Mix, Outbox, Task, View

__all__ = ["Compressor", "Copies", "Wire"]

_WORD = np.dtype(np.uint32)


class Compressor(Protocol):
    """A map of vectors to fewer bytes and back: what both of its ends make of them is the same, bit for bit.

    The last number of the bytes is a floating-point number, so that a message is not taken for one that says nothing.
    """

    draws: ClassVar[bool]
    """whether it takes a random stream, which both ends have"""

    @property
    def feedback(self) -> bool:
        """Whether it says differences from what was said before."""

    @property
    def step(self) -> float:
        """Step towards the average for methods that average to agree, in (0, 1]; 1 without feedback."""

    def size(self, d: int, dtype: DTypeLike) -> int:
        """Bytes of one vector."""

    def pack(self, vectors: Mat, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
        """(f, size) the bytes of ``vectors`` (f, d)."""

    def unpack(self, raw: NDArray[np.uint8], d: int, dtype: DTypeLike, rng: np.random.Generator | None = None) -> Mat:
        """(f, d) what is left of them; never an error, whatever the bytes are."""


class Copies(NamedTuple):
    """What both ends of each edge know of what was said on it; no rows where nothing is kept."""

    own: Block
    """(1, f, d) of what the own method says to all"""
    edges: Block
    """(k_out, f, d) of what is said to each target, where messages differ by target"""
    theirs: Block
    """(k_in, f, d) of what each source says"""
    said: Block
    """(1, f, d) what the own method says in this round, until its end"""


class Wire:
    """One rank's ends of its edges; it remembers nothing by itself."""

    __slots__ = ("compressor", "dtype", "form", "gamma", "shape", "size", "view")

    def __init__(
        self, compressor: Compressor, shape: tuple[int, int], dtype: np.dtype[Any], view: View, agrees: bool
    ) -> None:
        """``shape`` (f, d) and ``dtype`` are those of the vectors; ``agrees``: the method averages to agree."""
        f, d = shape
        self.compressor, self.shape, self.dtype, self.view = compressor, shape, dtype, view
        self.size = compressor.size(d, dtype)
        self.form = (1, -(-f * self.size // _WORD.itemsize)), _WORD
        self.gamma = compressor.step if agrees else 1.0

    @classmethod
    def of(
        cls, compressor: Compressor, algorithm: Algorithm[Any], task: Task, view: View, dtype: np.dtype[Any]
    ) -> Wire:
        """That of a method's messages."""
        agrees = isinstance(algorithm, Agreeing) and algorithm.agrees
        return cls(compressor, algorithm.message_shape(task), dtype, view, agrees)

    def start(self) -> Copies:
        """Nothing has been said: what is known of everybody is 0."""
        none, sources = np.zeros((0, *self.shape), self.dtype), len(self.view.sources)
        theirs = np.zeros((sources, *self.shape), self.dtype) if self.compressor.feedback else none
        return Copies(none, none, theirs, none)

    def packed(self, outbox: Outbox, copies: Copies | tuple[()], round: int) -> tuple[Outbox, Copies]:
        """What travels of an outbox, and what is known afterwards."""
        assert isinstance(copies, Copies)
        said = np.array(outbox.own, self.dtype).reshape(-1, *self.shape)
        words, own = self._told(said, copies.own, round)
        copies = copies._replace(own=own, said=said)
        everybody = tuple(words[0]) if len(words) else ()
        if outbox.edges is None:
            return Outbox(everybody), copies
        each, edges = self._told(outbox.edges, copies.edges, round)
        return Outbox(everybody, each), copies._replace(edges=edges)

    def opened(self, inbox: Inbox, copies: Copies | tuple[()], round: int) -> tuple[Inbox, Copies]:
        """The vectors that came, and what is known afterwards."""
        assert isinstance(copies, Copies)
        block = np.zeros((1 + len(inbox.messages), *self.shape), self.dtype)
        theirs = copies.theirs.copy()
        ages = inbox.age.tolist()
        silent = set(silent_rows(inbox.messages))
        for row, source in enumerate(self.view.sources):
            if row in silent or ages[row] < 0:
                block[1 + row].flat[-1] = nothing(self.dtype)
            else:
                known = theirs[row] if len(theirs) else None
                block[1 + row] = self._added(inbox.messages[row], known, source, round - ages[row])
        copies = copies._replace(theirs=theirs)
        return self._with_own(block, inbox.age, copies), copies

    def beside(self, inbox: Inbox, copies: Copies | tuple[()]) -> Inbox:
        """The same inbox with the own words of this round, where they were said only after it was opened."""
        assert isinstance(copies, Copies)
        block = inbox.flat.reshape(-1, *self.shape).copy()
        return self._with_own(block, inbox.age, copies)

    def relaxed(self, mixer: Mixer, copies: Copies | tuple[()]) -> Mix:
        """How the method averages."""
        assert isinstance(copies, Copies)
        if not len(copies.own):
            return mixer
        return Relaxed(mixer, copies.said[0], copies.own[0], self.gamma)

    def settled(self, copies: Copies | tuple[()]) -> Copies:
        """What goes on to the next round."""
        assert isinstance(copies, Copies)
        return copies._replace(said=copies.said[:0])

    def _with_own(self, block: Block, age: NDArray[np.int64], copies: Copies) -> Inbox:
        """The inbox of ``block`` (1 + k, f, d) with what the neighbours know of the own vectors in its first row."""
        for own in copies.own if len(copies.own) else copies.said:
            block[0] = own
        return seen(block, age.copy())

    def _told(self, words: Block, copies: Block, round: int) -> tuple[NDArray[Any], Block]:
        """(m, 1, q) what travels of ``words`` (m, f, d), and the copies (m, f, d) afterwards."""
        packed: NDArray[Any] = np.zeros((len(words), *self.form[0]), _WORD)
        if self.compressor.feedback and len(words):
            copies = copies.copy() if len(copies) else np.zeros_like(words)
        silent = set(silent_rows(words))
        for row, vectors in enumerate(words):
            known = copies[row] if self.compressor.feedback else None
            if row in silent:
                packed[row, 0, -1] = nothing(_WORD)
                continue
            body = self.compressor.pack(vectors if known is None else vectors - known, self._rng(self.view.rank, round))
            packed[row, 0].view(np.uint8)[-body.size :] = body.reshape(-1)
            if known is not None and not silent_rows(packed[row : row + 1]):  # as the other end will do
                self._added(packed[row], known, self.view.rank, round)
        return packed, copies

    def _added(self, packed: NDArray[Any], known: Mat | None, source: int, round: int) -> Mat:
        """(f, d) the vectors of a message; ``known``, the copy of them, is brought up to date.

        A copy that is no longer finite begins anew at 0, on both ends, or one lie would be heard for ever.
        """
        (f, d), size = self.shape, self.size
        raw = packed.reshape(-1).view(np.uint8)[-f * size :].reshape(f, size)
        found = self.compressor.unpack(raw, d, self.dtype, self._rng(source, round))
        if known is None:
            return found
        found = known + found
        known[:] = found if np.isfinite(found).all() else 0
        return found

    def _rng(self, source: int, round: int) -> np.random.Generator | None:
        if not self.compressor.draws:
            return None
        return stream(self.view.seed, Purpose.COMPRESSION, source, round)
