"""Penalties of models that are sums of two parts, one above the other in W (2 d, T)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from dmtl.penalties.checks import check_positive, check_strength
from dmtl.penalties.norms import Columns, Entries, Peaks, Rows, left
from dmtl.penalties.penalty import Penalty, Summed
from dmtl.penalties.spectral import LowRank
from dmtl.penalties.symmetric import square
from dmtl.types import Mat, Vec

__all__ = ["Dirty", "Robust", "RobustFeatures", "SparseLowRank"]


class Parted(Protocol):
    """A penalty of two parts, by theirs; its value and its map are the same for all of them."""

    @property
    def parts(self) -> tuple[Penalty, Penalty]:
        """The penalties of the upper and of the lower part."""


class Shared(Protocol):
    """One of which a task needs a sum for the upper part and nothing for the lower one."""

    @property
    def parts(self) -> tuple[Summed, Summed]:
        """The penalties of the upper and of the lower part."""


def _value(here: Parted, w: Mat) -> float:
    """The sum of the parts' penalties of W (2 d, T)."""
    upper, lower = np.split(w, 2)
    return here.parts[0].value(upper) + here.parts[1].value(lower)


def _prox(here: Parted, v: Mat, step: float) -> Mat:
    """Each part by itself."""
    upper, lower = np.split(v, 2)
    return np.concatenate((here.parts[0].prox(upper, step), here.parts[1].prox(lower, step)))


def _length(here: Shared, d: int) -> int:
    """That of the upper part."""
    return here.parts[0].length(d // 2)


def _summary(here: Shared, v: Vec) -> Vec:
    """That of the upper part."""
    return here.parts[0].summary(v[: len(v) // 2])


def _shrink(here: Shared, v: Vec, total: Vec, step: float) -> Vec:
    """One column (2 d,): the upper part by the ``total``, the lower one by itself."""
    upper, lower = np.split(v, 2)
    return np.concatenate((here.parts[0].shrink(upper, total, step), here.parts[1].shrink(lower, total[:0], step)))


@dataclass(frozen=True, slots=True)
class Robust:
    """Robust multi-task learning (RMTL): low_rank |L|_* + outliers sum_t |s_t|_2, models W = L + S.

    Tasks share a few directions, except those that do not: their column of S is not 0.
    Chen, Zhou and Ye, "Integrating low-rank and group-sparse structures for robust multi-task learning", KDD 2011.
    """

    low_rank: float = 0.1
    """weight of the trace norm of L, at least 0"""
    outliers: float = 0.1
    """weight of the columns of S, at least 0"""

    copies: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_strength("robust", self.low_rank, "low_rank")
        check_strength("robust", self.outliers, "outliers")

    @property
    def parts(self) -> tuple[LowRank, Columns]:
        """The penalties of L and of S."""
        return LowRank(self.low_rank), Columns(self.outliers)

    @property
    def private(self) -> tuple[int, Penalty]:
        """The columns."""
        return 1, self.parts[1]

    value = _value
    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink


@dataclass(frozen=True, slots=True)
class RobustFeatures:
    """Robust multi-task feature learning (rMTFL): features sum_j |p^j|_2 + outliers sum_t |q_t|_2, models W = P + Q.

    Tasks share their features, except those that do not. Gong, Ye and Zhang, KDD 2012.
    """

    features: float = 0.1
    """weight of the rows of P, at least 0"""
    outliers: float = 0.1
    """weight of the columns of Q, at least 0"""

    copies: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_strength("robust-features", self.features, "features")
        check_strength("robust-features", self.outliers, "outliers")

    @property
    def parts(self) -> tuple[Rows, Columns]:
        """The penalties of P and of Q."""
        return Rows(self.features), Columns(self.outliers)

    @property
    def private(self) -> tuple[int, Penalty]:
        """The columns."""
        return 1, self.parts[1]

    value = _value
    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink


@dataclass(frozen=True, slots=True)
class Dirty:
    """Dirty model: shared sum_j max_t |p_jt| + own sum_jt |q_jt|, models W = P + Q.

    Features that all tasks share in P, those that only some use in Q.
    Jalali, Ravikumar, Sanghavi and Ruan, "A dirty model for multi-task learning", NIPS 2010.
    """

    shared: float = 0.1
    """weight of the peaks of P's rows, at least 0"""
    own: float = 0.1
    """weight of the entries of Q, at least 0"""

    copies: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_strength("dirty", self.shared, "shared")
        check_strength("dirty", self.own, "own")

    @property
    def parts(self) -> tuple[Peaks, Entries]:
        """The penalties of P and of Q."""
        return Peaks(self.shared), Entries(self.own)

    value = _value
    prox = _prox


@dataclass(frozen=True, slots=True)
class SparseLowRank:
    """Sparse and low rank: sparse sum_jt |p_jt| with |Q|_* <= radius, models W = P + Q.

    Chen, Liu and Ye, "Learning incoherent sparse and low-rank patterns from multiple tasks", KDD 2010.
    """

    sparse: float = 0.1
    """weight of the entries of P, at least 0"""
    radius: float = 1.0
    """largest sum of the singular values of Q, above 0"""

    copies: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_strength("sparse-low-rank", self.sparse, "sparse")
        check_positive("sparse-low-rank", self.radius, "radius")

    @property
    def private(self) -> tuple[int, Penalty]:
        """The entries."""
        return 0, Entries(self.sparse)

    def value(self, w: Mat) -> float:
        """The penalty of P above Q (2 d, T); infinite where Q is outside of its ball by more than rounding."""
        upper, lower = np.split(w, 2)
        inside = np.linalg.svd(lower, compute_uv=False).sum() <= self.radius * (1 + 1e-9)
        return Entries(self.sparse).value(upper) if inside else float("inf")

    def prox(self, v: Mat, step: float) -> Mat:
        """Soft thresholding above; below the singular values' projection on the l1 ball."""
        upper, lower = np.split(v, 2)
        u, sigma, right = np.linalg.svd(lower, full_matrices=False)
        near = sigma * left(sigma, self._by(sigma))
        return np.concatenate((Entries(self.sparse).prox(upper, step), (u * near) @ right))

    def length(self, d: int) -> int:
        """That of a trace norm of Q."""
        return LowRank().length(d // 2)

    def summary(self, v: Vec) -> Vec:
        """That of a trace norm of Q."""
        return LowRank().summary(v[len(v) // 2 :])

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """Soft thresholding above; below the projection, which is the trace norm's map with that much taken off."""
        half = len(v) // 2
        sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(square(total))[::-1], 0))
        lower = LowRank(self._by(sigma)).shrink(v[half:], total, 1.0)
        return np.concatenate((Entries(self.sparse).prox(v[:half], step), lower))

    def _by(self, sigma: Vec) -> float:
        """By how much to shrink ``sigma`` (r,), falling, so that what is left adds up to the radius at most."""
        if sigma.sum() <= self.radius:
            return 0.0
        by = (np.cumsum(sigma) - self.radius) / np.arange(1, len(sigma) + 1)
        return float(by[np.flatnonzero(sigma > by)[-1]])
