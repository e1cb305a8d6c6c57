"""Joint feature selection without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.forms import NEEDS, Form, check_form, formed
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.replicated import Replicated
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
    form=lifted: sizes z_j of the rows that all ranks agree on, min sum_t [f_t(w_t) + strength / (2 sqrt T)
    sum_j (w_jt^2 / z_tj + z_tj)], z_t equal on all edges; the best z_j is |w^j| / sqrt T. It takes a step in every
    round, where the replicated form takes one with every average. The engine solves it, see 'nids', 'pg-extra' and
    'dadmm'; it has no certificate.

    Message: replicated: the sum on its way and one number for the restart, d + 1 numbers, f = 1; lifted: z, or z
    extrapolated ('nids'), d numbers, f = 1.
    Obozinski, Taskar and Jordan, "Joint covariate selection and joint subspace selection for multiple classification
    problems", Statistics and Computing 20, 2010 (the problem); Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009.
    """

    strength: float = 0.1
    """weight of the norms of the rows, at least 0"""
    form: Form = "replicated"
    """how the coupling is computed"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("joint-sparse", self.strength)
        check_form("joint-sparse", Rows(self.strength), self.form, self.engine)

    def charted(self, chart: Chart) -> Replicated | Lifted:
        """The method on that graph."""
        return formed(Rows(self.strength), self.form, self.engine, chart)
