"""What a penalty on the models of all tasks has to offer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mat, Vec

__all__ = ["Gauge", "Linked", "Penalty", "Placed", "Split", "Summed", "columns", "parts_of"]


@runtime_checkable
class Penalty(Protocol):
    """A convex function g of the matrix W (D, T) of all tasks' variables, one column per task.

    D is d, or 2 d where a task's model is the sum of two parts that are penalised differently, one above the other.
    """

    @property
    def copies(self) -> int:
        """1, or 2 where the model is the sum of an upper and a lower part."""

    def value(self, w: Mat) -> float:
        """g(W); infinite outside its domain."""

    def prox(self, v: Mat, step: float) -> Mat:
        """argmin_W step g(W) + |W - V|_F^2 / 2, (D, T), for ``step`` > 0."""


@runtime_checkable
class Gauge(Protocol):
    """A penalty that is a norm times its strength: it has a dual norm, and so certificates of optimality."""

    def dual(self, g: Mat) -> float:
        """The least c with <G, W> <= c g(W) for all W: the dual norm of G over the strength."""


@runtime_checkable
class Summed(Protocol):
    """A penalty whose proximal map a task can compute for itself from one sum over all tasks.

    Column t of ``prox(V, step)`` is ``shrink(v_t, sum_s summary(v_s), step)``.
    """

    def length(self, d: int) -> int:
        """How many numbers the summary of a column of d numbers has."""

    def summary(self, v: Vec) -> Vec:
        """What a task adds to the sum, (length,)."""

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """A task's column of the proximal map, (D,)."""


@runtime_checkable
class Split(Protocol):
    """A penalty of two parts of which one is a sum of norms of columns: every task knows its share of that."""

    @property
    def private(self) -> tuple[int, Penalty]:
        """Which part that is, 0 the upper and 1 the lower, and its penalty, which is a ``Gauge``."""


@runtime_checkable
class Linked(Protocol):
    """A penalty on the edges of the graph, which has to be told them."""

    def linked(self, edges: NDArray[np.int64], weights: Vec, tasks: int) -> Penalty:
        """The penalty on these edges (m, 2) with these weights (m,)."""


@runtime_checkable
class Placed(Protocol):
    """A penalty that is not the same for all tasks: each has to know which one it is."""

    def placed(self, rank: int) -> Penalty:
        """The penalty as that task sees it."""


def parts_of(w: Mat, copies: int) -> tuple[Mat, ...]:
    """The upper and the lower part of W (D, T) or of a column (D,), or W alone."""
    return (w,) if copies == 1 else (w[: len(w) // 2], w[len(w) // 2 :])


def columns(w: Mat, copies: int) -> Mat:
    """The models (d, T) that W (D, T) stands for: the sum of its parts."""
    return w if copies == 1 else w[: len(w) // 2] + w[len(w) // 2 :]
