"""Quadratic penalties: models near their mean, or near their neighbours in the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.consensus.chart import laplacian
from dmtl.penalties.checks import check_strength
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Vec

__all__ = ["Laplacian", "Mean", "OnGraph"]


@dataclass(frozen=True, slots=True)
class Mean:
    """strength / 2 sum_t |w_t - mean|^2: all models near their mean.

    Evgeniou and Pontil, "Regularized multi-task learning", KDD 2004.
    """

    strength: float = 1.0
    """weight, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("mean", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength / 2 * float(np.sum((w - w.mean(axis=1, keepdims=True)) ** 2))

    def prox(self, v: Mat, step: float) -> Mat:
        """The mean stays, and what each column differs from it shrinks."""
        return self._near(v, v.mean(axis=1, keepdims=True), step)

    def length(self, d: int) -> int:
        """The sum of all models, and their number."""
        return d + 1

    def summary(self, v: Vec) -> Vec:
        """The model, and 1."""
        return np.append(v, v.dtype.type(1))

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """The column, by the mean of all."""
        return self._near(v, total[:-1] / total[-1], step)

    def _near(self, v: Mat, mean: Mat, step: float) -> Mat:
        return mean + (v - mean) / (1 + step * self.strength)


@dataclass(frozen=True, slots=True)
class Laplacian:
    """strength / 2 sum_{edges st} a_st |w_s - w_t|^2: neighbours in the graph have models near each other.

    a are the graph's edge weights, 1 if it has none. Evgeniou, Micchelli and Pontil, JMLR 6, 2005.
    """

    strength: float = 1.0
    """weight, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("laplacian", self.strength)

    def linked(self, edges: NDArray[np.int64], weights: Vec, tasks: int) -> Penalty:
        """The penalty on that graph."""
        return OnGraph(self.strength, *np.linalg.eigh(laplacian(tasks, edges, weights)))


class OnGraph(NamedTuple):
    """The Laplacian penalty of a graph that it knows."""

    strength: float
    values: Vec
    """(T,) eigenvalues of the graph's Laplacian"""
    vectors: Mat
    """(T, T) its eigenvectors"""

    @property
    def copies(self) -> int:
        """1."""
        return 1

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength / 2 * float(np.sum(self.values * (w @ self.vectors) ** 2))

    def prox(self, v: Mat, step: float) -> Mat:
        """V (I + step strength L)^-1."""
        near: Mat = (v @ self.vectors / (1 + step * self.strength * self.values)) @ self.vectors.T
        return near
