"""Numbers at random places, which both ends draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.compressors.numbers import Format, Raw, check_gamma, check_share, kept, put, take, width
from dmtl.types import Mat

__all__ = ["RandomK"]


@dataclass(frozen=True, slots=True)
class RandomK:
    """Differences from what was said before at k random places, which do not travel (random-k with error feedback).

    C(v) keeps k of the d numbers of a vector v, at places that both ends of an edge draw from seed, sender and round;
    E |C(v) - v|^2 = (1 - k / d) |v|^2, and it is never longer than v. All vectors of a message have the same places.
    Both ends add up what travels, and what has not been said yet stays to be said: CHOCO.
    What is ours: the default gamma, share / (2 - share), well below what made averaging unstable in a study on rings
    and complete graphs.

    Message: k numbers for each vector.
    Koloskova, Stich and Jaggi, "Decentralized stochastic optimization and gossip algorithms with compressed
    communication", ICML 2019; Stich, Cordonnier and Jaggi, "Sparsified SGD with memory", NeurIPS 2018.
    """

    share: float = 0.1
    """k / d, in (0, 1]"""
    values: Format = "same"
    """how the numbers travel: 'same' as the run's, 'float32' or 'bfloat16'"""
    gamma: float | None = None
    """step towards the average, for methods that average to agree; left out: share / (2 - share)"""

    feedback: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share("random-k", self.share)
        check_gamma("random-k", self.gamma)

    @property
    def step(self) -> float:
        """Step towards the average."""
        return self.share / (2 - self.share) if self.gamma is None else self.gamma

    def size(self, d: int, dtype: DTypeLike) -> int:
        """Bytes of one vector."""
        return kept(self.share, d) * width(self.values, dtype)

    def pack(self, vectors: Mat, rng: np.random.Generator | None = None) -> Raw:
        """(f, size) the bytes of ``vectors`` (f, d)."""
        return put(vectors[:, self._places(vectors.shape[1], rng)], self.values)

    def unpack(self, raw: Raw, d: int, dtype: DTypeLike, rng: np.random.Generator | None = None) -> Mat:
        """(f, d) what is left of them, 0 elsewhere."""
        found = np.zeros((len(raw), d), dtype)
        found[:, self._places(d, rng)] = take(raw, self.values, dtype)
        return found

    def _places(self, d: int, rng: np.random.Generator | None) -> NDArray[np.intp]:
        assert rng is not None  # ``draws`` says that there is one
        return np.sort(rng.choice(d, kept(self.share, d), replace=False, shuffle=False)).astype(np.intp)
