"""Mean-regularised multi-task learning without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.engines import check_engine, lifted
from dmtl.algorithms.lifted import NEEDS, Lifted
from dmtl.consensus.chart import Chart
from dmtl.penalties.checks import check_strength
from dmtl.penalties.quadratic import Mean
from dmtl.types import Needs

__all__ = ["MeanRegularised"]


@dataclass(frozen=True, slots=True)
class MeanRegularised:
    """Mean-regularised tasks: each rank its own model, near the mean of all ranks'; on a graph.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + strength / 2 sum_t |w_t - mean|^2, the mean that of all
    models, and not of neighbours' as in 'laplacian'; so the graph has no part in the answer.
    Lifted form: min sum_t [f_t(w_t) + strength / 2 |w_t - z_t|^2], z_t equal on all edges, whose best z is the mean.
    w_t stays on its rank. All of it is smooth, with Lipschitz constant strength + L / 2 + sqrt(L^2 / 4 + strength^2), L
    that of the loss. The engine solves it, see 'nids', 'extra' and 'dadmm'; the limit is exact on every graph.
    What is ours: the lifted form in a network, where the original solves for all tasks in one place.

    Message: z, or z extrapolated ('nids'), d numbers, f = 1.
    Evgeniou and Pontil, "Regularized multi-task learning", KDD 2004.
    """

    strength: float = 1.0
    """weight of the distances from the mean, at least 0"""
    engine: str = "nids"
    """what solves the lifted form: nids, pg-extra, extra or dadmm"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("mean-regularised", self.strength)
        check_engine("mean-regularised", self.engine, Mean(self.strength))

    def charted(self, chart: Chart) -> Lifted:
        """The method on that graph."""
        return lifted(Mean(self.strength), self.engine, chart)
