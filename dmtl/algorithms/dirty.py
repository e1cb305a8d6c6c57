"""The dirty model without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.engines import check_engine, lifted
from dmtl.algorithms.lifted import NEEDS, Lifted
from dmtl.consensus.chart import Chart
from dmtl.penalties.sums import Dirty
from dmtl.types import Needs

__all__ = ["DirtyModel"]


@dataclass(frozen=True, slots=True)
class DirtyModel:
    """Dirty model: some features are shared by all tasks and some are a task's own; on a graph.

    Problem: min over P and Q (d, T) of sum_t f_t(p_t + q_t) + shared sum_j max_t |p_jt| + own sum_jt |q_jt|.
    Lifted form: heights z_j of the rows of P that all ranks share, min sum_t [f_t(p_t + q_t) + own |q_t|_1
    + (shared / T) sum_j z_tj] with |p_jt| <= z_tj, z_t equal on all edges. p_t and q_t stay on their rank; the proximal
    map cuts q by soft thresholds and projects each (p_j, z_j) on a cone. The engine solves that, see 'nids', 'pg-extra'
    and 'dadmm'; the limit is the central minimiser on every graph, and p_t and q_t are exactly 0 where theirs is.
    Q is 0 where own > shared, and P is 0 where shared > T own.
    What is ours: the lifted form in a network, where the original solves for all tasks in one place.

    Message: z, or z extrapolated ('nids'), d numbers, f = 1.
    Jalali, Ravikumar, Sanghavi and Ruan, "A dirty model for multi-task learning", NIPS 2010.
    """

    shared: float = 0.1
    """weight of the peaks of P's rows, at least 0"""
    own: float = 0.1
    """weight of the entries of Q, at least 0"""
    engine: str = "nids"
    """what solves the lifted form: nids, pg-extra or dadmm"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_engine("dirty", self.engine, Dirty(self.shared, self.own))

    def charted(self, chart: Chart) -> Lifted:
        """The method on that graph."""
        return lifted(Dirty(self.shared, self.own), self.engine, chart)
