"""Joint feature selection without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.replicated import NEEDS, Replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.checks import check_strength
from dmtl.penalties.norms import Rows
from dmtl.types import Needs

__all__ = ["JointSparse"]


@dataclass(frozen=True, slots=True)
class JointSparse:
    """Joint sparsity: all tasks choose the same features; the group lasso over tasks, on a graph.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + strength sum_j |w^j|_2, w^j the j-th row of W.
    Update (replicated master): FISTA as 'central-fista' does it, W+ = prox(Z - eta grad); row j of it is shortened by
    (1 - eta strength / sqrt(sum_t v_jt^2))_+, and that sum of squares, d numbers, is all that a task has to know of the
    others: an exact average in as many rounds as the Laplacian has distinct eigenvalues (n / 2 on a ring, 1 on the
    complete graph). So every rank makes exactly the steps of the central method, to rounding, on every graph.
    Features that no task needs are exactly 0 on all ranks. eta = 1 / max_t L_t, found by the ranks before they begin.
    It has no defence against liars, and a lost message leaves the average inexact.
    Where the tasks are strongly convex it can stop by itself, in one round on all ranks, as soon as the objective is
    proven to be near its least: --stop gap=1e-6.

    Message: the sum on its way and one number for the restart, d + 1 numbers, f = 1.
    Obozinski, Taskar and Jordan, "Joint covariate selection and joint subspace selection for multiple classification
    problems", Statistics and Computing 20, 2010 (the problem); Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009.
    """

    strength: float = 0.1
    """weight of the norms of the rows, at least 0"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("joint-sparse", self.strength)

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph."""
        return Replicated(Rows(self.strength), chart)
