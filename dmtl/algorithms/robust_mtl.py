"""Robust multi-task learning without a master: tasks that share something, and tasks that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.replicated import NEEDS, Replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.checks import check_strength
from dmtl.penalties.sums import Robust, RobustFeatures
from dmtl.types import Needs

__all__ = ["RMTFL", "RobustMTL"]


@dataclass(frozen=True, slots=True)
class RobustMTL:
    """Robust multi-task learning (RMTL): models share a few directions, but for outlier tasks, which are found.

    Problem: min over L, S of sum_t f_t(l_t + s_t) + low_rank |L|_* + outliers sum_t |s_t|_2.
    Update (replicated master): FISTA on L above S as 'central-fista' does it. Rank t finds its column of L from an
    exact average of the matrices v v' of all, and shortens s_t by itself: that part never travels. The step is
    1 / (2 max_t L_t), because the gradient enters both parts. s_t is exactly 0 on ranks that are no outliers.

    Message: the upper triangle of the average on its way and one number for the restart, d (d + 1) / 2 + 1, f = 1.
    Chen, Zhou and Ye, "Integrating low-rank and group-sparse structures for robust multi-task learning", KDD 2011.
    """

    low_rank: float = 0.1
    """weight of the trace norm of L, at least 0"""
    outliers: float = 0.1
    """weight of the lengths of the columns of S, at least 0"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("robust-mtl", self.low_rank, "low_rank")
        check_strength("robust-mtl", self.outliers, "outliers")

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph."""
        return Replicated(Robust(self.low_rank, self.outliers), chart)


@dataclass(frozen=True, slots=True)
class RMTFL:
    """Robust multi-task feature learning (rMTFL): tasks share their features, but for outlier tasks, which are found.

    Problem: min over P, Q of sum_t f_t(p_t + q_t) + features sum_j |p^j|_2 + outliers sum_t |q_t|_2, p^j the j-th row.
    Update (replicated master): FISTA on P above Q as 'central-fista' does it. Rank t finds its column of P from an
    exact average of all squares, and shortens q_t by itself: that part never travels. The step is 1 / (2 max_t L_t),
    because the gradient enters both parts. Rows of P that no task needs, and q_t on ranks that are no outliers, are
    exactly 0.

    Message: the average on its way and one number for the restart, d + 1, f = 1.
    Gong, Ye and Zhang, "Robust multi-task feature learning", KDD 2012.
    """

    features: float = 0.1
    """weight of the lengths of the rows of P, at least 0"""
    outliers: float = 0.1
    """weight of the lengths of the columns of Q, at least 0"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("rmtfl", self.features, "features")
        check_strength("rmtfl", self.outliers, "outliers")

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph."""
        return Replicated(RobustFeatures(self.features, self.outliers), chart)
