"""The numbers that matter most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.compressors.numbers import Format, Raw, as_bytes, check_gamma, check_share, from_bytes, kept, put, take, width
from dmtl.types import Mat

__all__ = ["TopK"]


@dataclass(frozen=True, slots=True)
class TopK:
    """The k largest differences from what was said before, and their places (top-k with error feedback).

    C(v) keeps the k numbers of a vector v of length d that are largest in absolute value, and
    |C(v) - v|^2 <= (1 - k / d) |v|^2. Both ends of an edge add up what travels, and what has not been said yet stays
    to be said: CHOCO. The places travel as 16 or 32 bits each, or as a bit for each of the d numbers where that is
    less.
    What is ours: the default gamma, min(1, 1.5 share), the largest for which averaging stayed stable in a study on
    rings and complete graphs.

    Message: k numbers and their places for each vector.
    Koloskova, Stich and Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed
    communication", ICML 2019; Stich, Cordonnier and Jaggi, "Sparsified SGD with memory", NeurIPS 2018.
    """

    share: float = 0.1
    """k / d, in (0, 1]"""
    values: Format = "same"
    """how the numbers travel: 'same' as the run's, 'float32' or 'bfloat16'"""
    gamma: float | None = None
    """step towards the average, for methods that average to agree; left out: min(1, 1.5 share)"""

    feedback: ClassVar[bool] = True
    draws: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share("top-k", self.share)
        check_gamma("top-k", self.gamma)

    @property
    def step(self) -> float:
        """Step towards the average."""
        return min(1.0, 1.5 * self.share) if self.gamma is None else self.gamma

    def size(self, d: int, dtype: DTypeLike) -> int:
        """Bytes of one vector."""
        k = kept(self.share, d)
        return _place_bytes(k, d) + k * width(self.values, dtype)

    def pack(self, vectors: Mat, rng: np.random.Generator | None = None) -> Raw:
        """(f, size) the bytes of ``vectors`` (f, d)."""
        d = vectors.shape[1]
        k = kept(self.share, d)
        places = np.argpartition(np.abs(vectors), d - k, axis=1)[:, d - k :]
        places.sort(axis=1)
        values = np.take_along_axis(vectors, places, axis=1)
        return np.concatenate((_said(places, d), put(values, self.values)), axis=1)

    def unpack(self, raw: Raw, d: int, dtype: DTypeLike, rng: np.random.Generator | None = None) -> Mat:
        """(f, d) what is left of them, 0 elsewhere; places beyond the end, as a liar may say, are the last one."""
        k = kept(self.share, d)
        cut = _place_bytes(k, d)
        found, values = np.zeros((len(raw), d), dtype), take(raw[:, cut:], self.values, dtype)
        for row, places in enumerate(_heard(raw[:, :cut], k, d)):
            found[row, places] = values[row, : len(places)]
        return found


def _index(d: int) -> type[np.unsignedinteger]:
    return np.uint16 if d <= 2**16 else np.uint32


def _place_bytes(k: int, d: int) -> int:
    return 0 if k == d else min(k * _index(d)().itemsize, -(-d // 8))


def _said(places: NDArray[np.intp], d: int) -> Raw:
    """(f, b) the bytes of ``places`` (f, k), ascending."""
    f, k = places.shape
    if k == d:
        return np.zeros((f, 0), np.uint8)
    if k * _index(d)().itemsize <= -(-d // 8):
        return as_bytes(places.astype(_index(d)))
    mask = np.zeros((f, d), np.bool_)
    np.put_along_axis(mask, places, True, axis=1)
    return np.packbits(mask, axis=1)


def _heard(raw: Raw, k: int, d: int) -> list[NDArray[np.intp]]:
    """The places for each vector, at most k."""
    if k == d:
        return [np.arange(d)] * len(raw)
    if k * _index(d)().itemsize <= -(-d // 8):
        return list(np.minimum(from_bytes(raw, _index(d)), d - 1).astype(np.intp))
    return [np.flatnonzero(mask)[:k] for mask in np.unpackbits(raw, axis=1, count=d)]
