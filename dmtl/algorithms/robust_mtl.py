"""Robust multi-task learning without a master: tasks that share something, and tasks that do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.forms import NEEDS, Form, check_form, formed
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.replicated import Replicated
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
    form=lifted: the trace norm of L as in 'trace-norm', by a D (d, d) that all ranks agree on; s_t stays on its rank.
    The engine solves it, see 'nids', 'pg-extra' and 'dadmm'.

    Message: replicated: the upper triangle of the average on its way and one number for the restart, d (d + 1) / 2 + 1,
    f = 1; lifted: that of D, d (d + 1) / 2, f = 1.
    Chen, Zhou and Ye, "Integrating low-rank and group-sparse structures for robust multi-task learning", KDD 2011.
    """

    low_rank: float = 0.1
    """weight of the trace norm of L, at least 0"""
    outliers: float = 0.1
    """weight of the lengths of the columns of S, at least 0"""
    form: Form = "replicated"
    """how the coupling is computed"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("robust-mtl", self.low_rank, "low_rank")
        check_strength("robust-mtl", self.outliers, "outliers")
        check_form("robust-mtl", Robust(self.low_rank, self.outliers), self.form, self.engine)

    def charted(self, chart: Chart) -> Replicated | Lifted:
        """The method on that graph."""
        return formed(Robust(self.low_rank, self.outliers), self.form, self.engine, chart)


@dataclass(frozen=True, slots=True)
class RMTFL:
    """Robust multi-task feature learning (rMTFL): tasks share their features, but for outlier tasks, which are found.

    Problem: min over P, Q of sum_t f_t(p_t + q_t) + features sum_j |p^j|_2 + outliers sum_t |q_t|_2, p^j the j-th row.
    Update (replicated master): FISTA on P above Q as 'central-fista' does it. Rank t finds its column of P from an
    exact average of all squares, and shortens q_t by itself: that part never travels. The step is 1 / (2 max_t L_t),
    because the gradient enters both parts. Rows of P that no task needs, and q_t on ranks that are no outliers, are
    exactly 0.
    form=lifted: the rows of P as in 'joint-sparse', by sizes z that all ranks agree on; q_t stays on its rank. The
    engine solves it, see 'nids', 'pg-extra' and 'dadmm'.

    Message: replicated: the average on its way and one number for the restart, d + 1, f = 1; lifted: z, d numbers,
    f = 1.
    Gong, Ye and Zhang, "Robust multi-task feature learning", KDD 2012.
    """

    features: float = 0.1
    """weight of the lengths of the rows of P, at least 0"""
    outliers: float = 0.1
    """weight of the lengths of the columns of Q, at least 0"""
    form: Form = "replicated"
    """how the coupling is computed"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("rmtfl", self.features, "features")
        check_strength("rmtfl", self.outliers, "outliers")
        check_form("rmtfl", RobustFeatures(self.features, self.outliers), self.form, self.engine)

    def charted(self, chart: Chart) -> Replicated | Lifted:
        """The method on that graph."""
        return formed(RobustFeatures(self.features, self.outliers), self.form, self.engine, chart)
