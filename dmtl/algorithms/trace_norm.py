"""Low-rank multi-task learning without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.replicated import NEEDS, Replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.checks import check_strength
from dmtl.penalties.spectral import LowRank
from dmtl.types import Needs

__all__ = ["TraceNorm"]


@dataclass(frozen=True, slots=True)
class TraceNorm:
    """Trace norm: all models share a few directions; singular value thresholding on a graph, nobody sees W.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + strength |W|_*, the sum of the singular values.
    Update (replicated master): FISTA as 'central-fista' does it, W+ = prox(V), V = Z - eta grad. With
    sum_t v_t v_t' = V V' = Q diag(sigma^2) Q', an exact average, rank t has its own column of the thresholded matrix:
    w_t = Q diag((1 - eta strength / sigma)_+) Q' v_t. So every rank makes exactly the steps of the central method, to
    rounding, on every graph, and no model ever travels, only averages of v v'. eta = 1 / max_t L_t.
    W is optimal where the largest singular value of [grad f_t(w_t)]_t is at most strength and
    sum_t <grad f_t(w_t), w_t> = - strength |W|_*.

    Message: the upper triangle of V V' on its way and one number for the restart, d (d + 1) / 2 + 1, f = 1.
    Ji and Ye, "An accelerated gradient method for trace norm minimization", ICML 2009; Beck and Teboulle, SIAM J.
    Imaging Sciences 2, 2009.
    """

    strength: float = 0.1
    """weight of the sum of the singular values, at least 0"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_strength("trace-norm", self.strength)

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph."""
        return Replicated(LowRank(self.strength), chart)
