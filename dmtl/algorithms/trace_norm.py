"""Low-rank multi-task learning without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dmtl.algorithms.factorised import Factorised
from dmtl.algorithms.forms import check_form, formed, refuse_unused
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.power import check_count
from dmtl.algorithms.replicated import Replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.checks import check_strength
from dmtl.penalties.spectral import LowRank
from dmtl.types import Needs

__all__ = ["TraceNorm"]

_FORMS = ("replicated", "lifted", "factorised")
_RANK = 5


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
    form=lifted: |W|_* is the least (s_1 + .. + s_T + T tr D) / (2 sqrt T) where ((D, w_t), (w_t', s_t)) >= 0 for all t,
    a semidefinite program whose D (d, d) all ranks agree on: min sum_t [f_t(w_t) + strength / (2 sqrt T)
    (s_t + tr D_t)], D_t equal on all edges, the best D being (W W')^(1/2) / sqrt T. The proximal map is a projection on
    the positive semidefinite matrices, one eigendecomposition; the engine solves it, see 'nids', 'pg-extra' and
    'dadmm'.
    form=factorised: W = U V', U (d, rank) common by gradient tracking and v_t the task's own; for many features, since
    2 d rank numbers travel instead of d (d + 1) / 2, at a linear rate that hangs on the graph. Not convex, but where
    its end has the certificate above it is the minimiser; it fails where rank is smaller than the minimiser's. It
    works on graphs that change, and a screen applies to it, which leaves an error (see 'gradient-tracking').

    Message: replicated: the upper triangle of V V' on its way and one number for the restart, d (d + 1) / 2 + 1, f = 1;
    lifted: the upper triangle of D, d (d + 1) / 2, f = 1; factorised: the columns of U and of its tracker, f = 2 rank.
    Ji and Ye, "An accelerated gradient method for trace norm minimization", ICML 2009; Beck and Teboulle, SIAM J.
    Imaging Sciences 2, 2009; Mardani, Mateos and Giannakis, IEEE Trans. Signal Processing 61, 2013 (factorised).
    """

    strength: float = 0.1
    """weight of the sum of the singular values, at least 0"""
    form: Literal["replicated", "lifted", "factorised"] = "replicated"
    """how the coupling is computed"""
    rank: int | None = None
    """columns of U, where factorised: at least the rank of the minimiser; left out: 5"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.SMOOTH

    def __post_init__(self) -> None:
        check_strength("trace-norm", self.strength)
        check_form("trace-norm", LowRank(self.strength), self.form, self.engine, _FORMS)
        if self.form == "factorised":
            check_count("trace-norm", "rank", self._rank)
        else:
            refuse_unused("trace-norm", "rank", self.rank, "factorised")

    def charted(self, chart: Chart) -> Replicated | Lifted | Factorised:
        """The method on that graph."""
        if self.form == "factorised":
            return Factorised(chart.ranks, self.strength, self._rank)
        return formed(LowRank(self.strength), self.form, self.engine, chart)

    @property
    def _rank(self) -> int:
        return _RANK if self.rank is None else self.rank
