"""Penalties that are sums of norms of entries, rows or columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmtl.penalties.checks import check_strength
from dmtl.types import Mat, Vec

__all__ = ["Columns", "Entries", "Peaks", "Rows"]


@dataclass(frozen=True, slots=True)
class Entries:
    """Lasso: strength sum_jt |w_jt|. Every task for itself.

    Its proximal map is soft thresholding. Tibshirani, JRSS B 58, 1996.
    """

    strength: float = 0.1
    """weight of the norm, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("l1", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength * float(np.abs(w).sum())

    def prox(self, v: Mat, step: float) -> Mat:
        """Each number that much nearer to 0."""
        near: Mat = np.sign(v) * np.maximum(np.abs(v) - step * self.strength, 0)
        return near

    def dual(self, g: Mat) -> float:
        """Largest absolute entry over the strength."""
        return over(float(np.abs(g).max(initial=0.0)), self.strength)

    def length(self, d: int) -> int:
        """Nothing to add up."""
        return 0

    def summary(self, v: Vec) -> Vec:
        """No numbers."""
        return v[:0]

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """The column by itself."""
        return self.prox(v, step)


@dataclass(frozen=True, slots=True)
class Columns:
    """strength sum_t |w_t|_2 over the columns: whole tasks go to 0, every task for itself. It finds outlier tasks.

    Gong, Ye and Zhang, "Robust multi-task feature learning", KDD 2012.
    """

    strength: float = 0.1
    """weight of the norm, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("columns", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength * float(np.linalg.norm(w, axis=0).sum())

    def prox(self, v: Mat, step: float) -> Mat:
        """Each column that much shorter."""
        return v * left(np.linalg.norm(v, axis=0), step * self.strength)

    def dual(self, g: Mat) -> float:
        """Longest column over the strength."""
        return over(float(np.linalg.norm(g, axis=0).max(initial=0.0)), self.strength)

    def length(self, d: int) -> int:
        """Nothing to add up."""
        return 0

    def summary(self, v: Vec) -> Vec:
        """No numbers."""
        return v[:0]

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """The column by itself."""
        return self.prox(v[:, None], step)[:, 0]


@dataclass(frozen=True, slots=True)
class Rows:
    """Joint sparsity (group lasso): strength sum_j |w^j|_2 over the rows: all tasks choose the same features.

    The sum of all tasks' squares, d numbers, is all that a task has to know of the others.
    Obozinski, Taskar and Jordan, Statistics and Computing 20, 2010.
    """

    strength: float = 0.1
    """weight of the norm, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("l21", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength * float(np.linalg.norm(w, axis=1).sum())

    def prox(self, v: Mat, step: float) -> Mat:
        """Each row that much shorter."""
        return v * left(np.linalg.norm(v, axis=1), step * self.strength)[:, None]

    def dual(self, g: Mat) -> float:
        """Longest row over the strength."""
        return over(float(np.linalg.norm(g, axis=1).max(initial=0.0)), self.strength)

    def length(self, d: int) -> int:
        """One number per feature."""
        return d

    def summary(self, v: Vec) -> Vec:
        """The squares."""
        return v * v

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """The column, by the lengths of all rows."""
        return v * left(np.sqrt(np.maximum(total, 0)), step * self.strength)


@dataclass(frozen=True, slots=True)
class Peaks:
    """strength sum_j max_t |w_jt|: all tasks choose the same features, and as much of each as the others.

    Its proximal map takes from each row its projection on an l1 ball; no sum over tasks suffices for that, so networks
    use its lifted form. Quattoni, Carreras, Collins and Darrell, ICML 2009.
    """

    strength: float = 0.1
    """weight of the norm, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("l1inf", self.strength)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return self.strength * float(np.abs(w).max(axis=1, initial=0.0).sum())

    def prox(self, v: Mat, step: float) -> Mat:
        """Cut the peaks of each row down to one height, which takes step times strength away in all."""
        size = np.abs(v)
        height: Mat = np.array([_height(row, step * self.strength) for row in size])
        cut: Mat = np.sign(v) * np.minimum(size, height[:, None])
        return cut

    def dual(self, g: Mat) -> float:
        """Largest row sum of absolute values over the strength."""
        return over(float(np.abs(g).sum(axis=1).max(initial=0.0)), self.strength)


def left(length: Vec, by: float) -> Vec:
    """(1 - by / length)_+, elementwise, 0 where the length is 0: what shortening by so much leaves."""
    kept = np.zeros_like(length)
    long = length > by
    kept[long] = 1 - by / length[long]
    return kept


def over(norm: float, strength: float) -> float:
    """A norm over a strength; with strength 0 it is infinite unless the norm is 0."""
    if norm == 0:
        return 0.0
    return norm / strength if strength > 0 else float("inf")


def _height(size: Vec, by: float) -> float:
    """The height at which to cut ``size`` (T,) >= 0 so that the tops add up to ``by``; 0 where they cannot."""
    if by <= 0:
        return float(size.max(initial=0.0))
    down = np.sort(size)[::-1]
    heights = (np.cumsum(down) - by) / np.arange(1, len(down) + 1)
    cut = int(np.flatnonzero(down > heights)[-1]) if len(down) else 0
    return max(float(heights[cut]), 0.0) if len(down) else 0.0
