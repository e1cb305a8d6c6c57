"""Task relationship learning by neighbours only: a primal-dual method with the duals of each rank at home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, cast

import numpy as np

from dmtl.algorithms.precision import UNDEFENDED, Precision, check_precision, heard
from dmtl.algorithms.replicated import Replicated
from dmtl.capabilities import Dual
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.penalties.spectral import Relationship
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["DMTRL", "State"]

_SHARE = 0.6
"""of the Lipschitz constant of the coupling, in 1 / tau: convergence needs more than 1/2"""


class State(NamedTuple):
    """The model, its duals, and the exchange that they come from."""

    x: Vec
    """(d,) the model"""
    alpha: Vec
    """(m,) a dual per row"""
    said: Vec
    """(d,) the model that this rank told last"""
    words: Mat
    """(k, d) the last word of each neighbour; where this rank began, before the first"""
    steep: float
    """|X|_2^2 / m"""


@dataclass(frozen=True, slots=True)
class DMTRL:
    r"""Distributed multi-task relationship learning without a server: duals stay at home, models go to neighbours.

    Problem: P(W) = sum_t f_t(w_t) + strength/2 tr(W K W'), K = L_a + delta I, a the graph's edge weights (1 if none);
    f_t(w) = 1/m sum_i phi_i(x_i'w) + l2/2 |w|^2. K is the precision of the tasks: K_ts = 0 where no edge is.
    Update (Condat-Vu on every row's score): w_t+ = argmin over w of
    <strength sum_s K_ts w_s - X'alpha/m, w> + l2/2 |w|^2 + |w - w_t|^2 / (2 tau_t);
    alpha_i+ = argmax over b of -phi_i*(-b) - b x_i'(2 w_t+ - w_t) - (b - alpha_i)^2 / (2 sigma), all rows at once.
    1 / tau_t = 0.6 strength sum_s |K_ts| + sigma |X|_2^2 / m, each rank its own; any number above 1/2 would do for 0.6.
    Converges to the minimiser of P for every sigma and every convex phi, smooth or not; alpha is feasible in every
    round, and ``certificate`` bounds how far P is from its minimum by one number of each rank.

    What is ours: the paper's server holds B = [X_t'alpha_t/m] and hands out W = B K^-1 / strength, which is a sum over
    all tasks; here K, which is sparse, takes the place of its inverse. The ridge is met exactly. The last word stands
    in for a message that is late or lost: the limit is the same, measured to 1e-8 with three in ten lost and with
    delays of up to seven rounds, and not proved; the bound then holds only in rounds in which all came.
    With relations=learned the precision is learnt, the inverse of Omega >= 0 with trace 1, and all tasks are related.
    The least over Omega is the squared trace norm of W, so the joint optimum, to which the paper's turns go, is found
    by the replicated master: FISTA on sum f_t + strength/2 |W|_*^2 + strength delta/2 |W|_F^2, with d (d + 1) / 2
    numbers a message and exact averages. It needs a smooth loss. Row t of Omega, w_t'(W W')^(-1/2) w_s over a trace, is
    not kept. It has no defence against liars.

    Message: w_t, f = 1.
    Liu, Pan and Ho, "Distributed multi-task relationship learning", KDD 2017; Condat, "A primal-dual splitting method
    ...", JOTA 158, 2013, and Vu, "A splitting algorithm for dual monotone inclusions ...", Adv. Comput. Math. 38, 2013
    (the method); Zhang and Yeung, UAI 2010 (learnt relations).
    """

    strength: float = 1.0
    """weight of the relations, at least 0"""
    delta: float = 0.1
    """how strongly models are drawn to 0 besides, at least 0"""
    sigma: float = 0.5
    """dual step, above 0; any value converges"""
    relations: Literal["graph", "learned"] = "graph"
    """the precision: that of the graph, or learned with the models"""

    needs: ClassVar[Needs] = Needs.DUAL | Needs.EDGEWISE | Needs.UNDIRECTED | Needs.UNSCREENED

    def __post_init__(self) -> None:
        check_precision("dmtrl", self.strength, self.delta)
        if not 0 < self.sigma < np.inf:
            raise ConfigError(f"'dmtrl' has sigma={self.sigma}. It must be above 0 and finite.")
        if self.relations not in ("graph", "learned"):
            raise ConfigError(f"'dmtrl' has relations={self.relations!r}. It is 'graph' or 'learned'.")

    def charted(self, chart: Chart) -> DMTRL | Replicated:
        """Itself, or the method that learns the relations on that graph."""
        if self.relations == "graph":
            return self
        return Replicated(Relationship(self.strength, self.strength * self.delta), chart)

    def exposure(self) -> str:
        """Everything: the pull of a neighbour grows with what it says."""
        return UNDEFENDED

    @property
    def precision(self) -> Precision:
        """strength K."""
        return Precision(self.strength, self.delta)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with duals of zero."""
        x = np.asarray(cast(Dual, task).rows, np.float64)
        steep = float(np.linalg.norm(x, 2)) ** 2 / len(x)
        return State(x0, np.zeros(len(x), x0.dtype), x0, np.tile(x0, (len(view.sources), 1)), steep)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """A primal step on what couples the tasks, and a dual step of every row where it leads."""
        x, dual = state.x, cast(Dual, task)
        words = heard(state.words, inbox)
        pull = state.alpha @ dual.rows / len(dual.rows) - self.precision.force(x, words, view)
        rate = _SHARE * self.precision.width(view) + self.sigma * state.steep
        new = x + (pull - dual.ridge * x) / (rate + dual.ridge)
        alpha = dual.dual_steps(state.alpha, dual.rows @ (2 * new - x), 1 / self.sigma)
        return State(new, alpha, x, words, state.steep)

    def lacks(self, task: Task) -> str:
        """A floor under the curvature of what couples the tasks."""
        return self.precision.lacks(task)

    def certificate(self, state: State, task: Task, view: View) -> float:
        """This rank's term of a bound: their sum is at least P(W) - min P, W the models told in the last round.

        It holds where all messages of that round came. See ``Precision.certificate``.
        """
        return self.precision.certificate(task, state.said, state.words, state.alpha, view)

    def vouched(self, state: State) -> Vec:
        """The model that was told last."""
        return state.said
