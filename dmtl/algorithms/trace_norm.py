"""Low-rank multi-task learning without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dmtl.algorithms.factorised import Factorised
from dmtl.algorithms.power import check_count
from dmtl.algorithms.replicated import Replicated
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
    form=factorised: W = U V', U (d, rank) common by gradient tracking and v_t the task's own; for many features, since
    2 d rank numbers travel instead of d (d + 1) / 2, at a linear rate that hangs on the graph. Not convex, but where
    its end has the certificate above it is the minimiser; it fails where rank is smaller than the minimiser's. It
    works on graphs that change, and a screen applies to it, which leaves an error (see 'gradient-tracking').

    Message: replicated: the upper triangle of V V' on its way and one number for the restart, d (d + 1) / 2 + 1, f = 1;
    factorised: the columns of U and of its tracker, f = 2 rank.
    Ji and Ye, "An accelerated gradient method for trace norm minimization", ICML 2009; Beck and Teboulle, SIAM J.
    Imaging Sciences 2, 2009; Mardani, Mateos and Giannakis, IEEE Trans. Signal Processing 61, 2013 (factorised).
    """

    strength: float = 0.1
    """weight of the sum of the singular values, at least 0"""
    form: Literal["replicated", "factorised"] = "replicated"
    """how the coupling is computed"""
    rank: int = 5
    """columns of U, where factorised: at least the rank of the minimiser"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.SMOOTH

    def __post_init__(self) -> None:
        check_strength("trace-norm", self.strength)
        check_count("trace-norm", "rank", self.rank)

    def charted(self, chart: Chart) -> Replicated | Factorised:
        """The method on that graph."""
        if self.form == "factorised":
            return Factorised(chart.ranks, self.strength, self.rank)
        return Replicated(LowRank(self.strength), chart)
