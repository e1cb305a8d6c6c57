"""Penalties of the singular values: low rank, learned relations, clusters of tasks.

All of them keep the singular vectors of V. So from S = V V', a sum over tasks, a task can work out its own column:
with S = Q diag(sigma^2) Q' it is Q diag(f) Q' v_t, f_i what is left of sigma_i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from dmtl.errors import ConfigError
from dmtl.penalties.checks import check_positive, check_strength
from dmtl.penalties.norms import left, over
from dmtl.penalties.symmetric import length, square, triangle
from dmtl.types import Mat, Vec

__all__ = ["Clustered", "LowRank", "Relationship", "SquaredNuclear"]


class Spectral(Protocol):
    """A penalty of the singular values, by what its proximal map leaves of them; the rest is the same for all."""

    def leaves(self, sigma: Vec, step: float) -> Vec:
        """The shares (r,) that a step leaves of singular values (r,), given in falling order."""


def _prox(here: Spectral, v: Mat, step: float) -> Mat:
    """The same singular vectors, with what is left of the singular values."""
    u, sigma, right = np.linalg.svd(v, full_matrices=False)
    near: Mat = (u * (sigma * here.leaves(sigma, step))) @ right
    return near


def _length(here: Spectral, d: int) -> int:
    """d (d + 1) / 2: V V' is symmetric."""
    return length(d)


def _summary(here: Spectral, v: Vec) -> Vec:
    """The upper triangle of v v'."""
    return triangle(np.outer(v, v))


def _shrink(here: Spectral, v: Vec, total: Vec, step: float) -> Vec:
    """One task's column, from the upper triangle of V V'."""
    values, vectors = np.linalg.eigh(square(total))
    sigma = np.sqrt(np.maximum(values[::-1], 0))
    falling = vectors[:, ::-1]
    column: Vec = falling @ (here.leaves(sigma, step) * (falling.T @ v))
    return column


@dataclass(frozen=True, slots=True)
class LowRank:
    """Trace norm: strength times the sum of the singular values of W, so that all models share a few directions.

    Fazel, Hindi and Boyd, ACC 2001; Ji and Ye, ICML 2009 (in multi-task learning).
    """

    strength: float = 0.1
    """weight of the norm, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("nuclear", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength * float(np.linalg.svd(w, compute_uv=False).sum())

    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink

    def dual(self, g: Mat) -> float:
        """Largest singular value over the strength."""
        return over(float(np.linalg.svd(g, compute_uv=False).max(initial=0.0)), self.strength)

    def leaves(self, sigma: Vec, step: float) -> Vec:
        """(1 - step strength / sigma)_+."""
        return left(sigma, step * self.strength)


@dataclass(frozen=True, slots=True)
class SquaredNuclear:
    """strength / 2 times the squared trace norm of W. It is what a learned task covariance amounts to.

    min over Omega >= 0 with trace 1 of tr(W Omega^-1 W') is the squared trace norm, at Omega = (W'W)^(1/2) / trace.
    Argyriou, Evgeniou and Pontil, Machine Learning 73, 2008.
    """

    strength: float = 0.1
    """weight, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("squared-nuclear", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength / 2 * float(np.linalg.svd(w, compute_uv=False).sum()) ** 2

    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink

    def leaves(self, sigma: Vec, step: float) -> Vec:
        """(1 - by / sigma)_+, by = h sum_{i <= k} sigma_i / (1 + k h), h = step strength, k as large as it may be."""
        h = step * self.strength
        by = h * np.cumsum(sigma) / (1 + h * np.arange(1, len(sigma) + 1))
        above = np.flatnonzero(sigma > by)
        return left(sigma, float(by[above[-1]])) if len(above) else np.zeros_like(sigma)


@dataclass(frozen=True, slots=True)
class Relationship:
    """Learned relations (MTRL): ridge / 2 |W|_F^2 + strength / 2 min_Omega tr(W Omega^-1 W'), Omega >= 0, trace 1.

    The least over the task covariance Omega is the squared trace norm of W, so this is convex in W alone; Omega is
    (W'W)^(1/2) over its trace. Zhang and Yeung, UAI 2010.
    """

    strength: float = 0.1
    """weight of the relations, at least 0"""
    ridge: float = 0.0
    """weight of the ridge, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("mtrl", self.strength)
        check_strength("mtrl", self.ridge, "ridge")

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T), at the best relations."""
        return SquaredNuclear(self.strength).value(w) + self.ridge / 2 * float(np.sum(w * w))

    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink

    def leaves(self, sigma: Vec, step: float) -> Vec:
        """What the squared norm leaves of what the ridge leaves; a shrunk step, because it comes after the ridge."""
        share = 1 / (1 + step * self.ridge)
        return share * SquaredNuclear(self.strength).leaves(share * sigma, share * step)


@dataclass(frozen=True, slots=True)
class Clustered:
    """Clusters of tasks (convex CMTL): c min_M tr(W (eta I + M)^-1 W'), tr M = k, 0 <= M <= I.

    c = strength eta (1 + eta).
    M (T, T) relaxes the projection on k clusters' means: directions in which tasks differ within clusters cost 1 / eta,
    those of the means cost 1 / (1 + eta). At the best M it is c sum_i sigma_i^2 / (eta + m_i), m_i = (nu sigma_i - eta)
    cut to [0, 1] with sum k; so it depends on the singular values alone, and the same with M (d, d), which is convex
    alternating structure optimisation (cASO): one penalty, two papers.
    What is ours: where W has fewer than k singular values that are not 0, all of theirs are 1.

    Jacob, Bach and Vert, NIPS 2008 (clusters); Chen, Tang, Liu and Ye, ICML 2009 (cASO); Zhou, Chen and Ye, NIPS 2011
    (that the two are one).
    """

    k: int
    """clusters, or shared directions, at least 1"""
    strength: float = 0.1
    """weight, at least 0"""
    eta: float = 0.1
    """ratio of the costs within and between clusters, above 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("clustered", self.strength)
        check_positive("clustered", self.eta, "eta")
        if self.k < 1:
            raise ConfigError(f"'clustered' has k={self.k}. k is a number of clusters, at least 1.")

    @property
    def cost(self) -> float:
        """c."""
        return self.strength * self.eta * (1 + self.eta)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T), at the best M."""
        sigma = np.linalg.svd(w, compute_uv=False)
        return self.cost * float(np.sum(sigma**2 / (self.eta + self.members(sigma))))

    prox = _prox
    length = _length
    summary = _summary
    shrink = _shrink

    def members(self, sigma: Vec, more: float = 0.0) -> Vec:
        """m (r,): how much of M goes to each singular value, the least of sum sigma^2 / (eta + more + m)."""
        return _filled(sigma, self.eta + more, float(self.k))

    def leaves(self, sigma: Vec, step: float) -> Vec:
        """(eta + m) / (eta + m + 2 c step): the least over W and M together."""
        h = 2 * self.cost * step
        bed = self.eta + self.members(sigma, h)
        shares: Vec = bed / (bed + h)
        return shares


def _filled(sigma: Vec, base: float, k: float) -> Vec:
    """m_i = (nu sigma_i - base) cut to [0, 1] with sum k, exactly; all 1 where fewer than k of ``sigma`` are not 0.

    The sum grows with nu along straight lines between the corners where an m_i leaves 0 or comes to 1.
    """
    positive = sigma > sigma.max(initial=0.0) * len(sigma) * float(np.finfo(sigma.dtype).eps)
    if k >= positive.sum():
        return np.where(positive, sigma.dtype.type(1), sigma.dtype.type(0))
    size = sigma[positive]

    def filled(nu: Any) -> Mat:
        shares: Mat = np.clip(np.multiply.outer(nu, size) - base, 0, 1)
        return shares

    corners = np.sort(np.concatenate((base / size, (1 + base) / size)))
    sums = filled(corners).sum(axis=1)
    above = min(int(np.searchsorted(sums, k)), len(corners) - 1)
    low, high = max(above - 1, 0), above
    span = sums[high] - sums[low]
    nu = corners[low] + (corners[high] - corners[low]) * ((k - sums[low]) / span if span > 0 else 0.0)
    found = np.zeros_like(sigma)
    found[positive] = filled(nu)
    return found
