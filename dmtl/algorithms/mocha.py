"""MOCHA without a server: local dual solvers that may be slow or absent, coupled by their neighbours' models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.coordinate_ascent import ascend, order
from dmtl.algorithms.precision import UNDEFENDED, Precision, check_precision, heard
from dmtl.capabilities import Dual
from dmtl.errors import ConfigError
from dmtl.rng import Purpose
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["MOCHA", "State"]


class State(NamedTuple):
    """The model, its duals, and the exchange that they were last fitted to."""

    x: Vec
    """(d,) the model"""
    alpha: Vec
    """(m,) a dual per row"""
    said: Vec
    """(d,) the model that this rank told last"""
    words: Mat
    """(k, d) the last word of each neighbour; where this rank began, before the first"""


@dataclass(frozen=True, slots=True)
class MOCHA:
    r"""MOCHA without a server: related tasks, each solved on its own dual as far as time allows; ranks may drop out.

    Problem: P(W) = sum_t f_t(w_t) + strength/2 tr(W K W'), K = L_a + delta I, a the graph's edge weights (1 if none);
    f_t(w) = 1/m sum_i phi_i(x_i'w) + l2/2 |w|^2. K is the precision of the tasks: K_ts = 0 where no edge is.
    Update: mu_t = strength sum_s |K_ts|;  c_t = w_t - (strength / mu_t) sum_s K_ts w_s; coordinate ascent from the
    duals of the round before on  min over w of q_t(w) = f_t(w) + mu_t/2 |w - c_t|^2, over a share of the rows in the
    order of a fresh permutation; w_t+ = w_t(alpha) if q_t is not larger there than at w_t, else w_t+ = w_t.

    K is at most diag(sum_s |K_ts|), so P(W) - P(W_k) is at most the sum of what the q_t fall by. So P never rises, up
    to rounding, whoever works in a round and however little; a rank that is dropped or slow costs time alone. A rank
    that never works keeps its model, and the others go to the minimiser for it. A model that is turned down loses
    nothing: its duals stay, and the next sweep goes on from them. With strength delta + l2 > 0 the minimiser of P is
    unique, and where a round gains in the mean a fixed share of what q_t has to gain, W goes there linearly. In every
    round alpha is feasible, and ``certificate`` bounds how far P is from its minimum by one number of each rank, from
    nothing but what its neighbours said; the bound goes to 0 with it.

    The last word of a neighbour stands in for a message that is late or lost. P may then rise for a round. With local
    problems solved exactly, the largest error of all ranks shrinks by the factor of strength 2 deg_t to
    strength (2 deg_t + delta) + l2 whenever all have worked and been heard, in whatever order and however late, so the
    limit is the same (Bertsekas and Tsitsiklis, chapter 6); with a few sweeps that is measured and not proved.

    What is ours: the paper's coupling is through the dense covariance K^-1 and its server; here it is through the
    models and the sparse K, with the row sums of |K| for its sigma'. The test before a step, and the bound. The ridge
    l2 of a task and its bias are part of its own problem. Where strength and l2 are 0, mu_t is 1: proximal point steps.
    Relations that are learnt: 'dmtrl:relations=learned'. It has no defence against liars.

    Message: w_t, f = 1.
    Smith, Chiang, Sanjabi and Talwalkar, "Federated multi-task learning", NIPS 2017; Jaggi et al., "Communication-
    efficient distributed dual coordinate ascent", NIPS 2014 (local dual solvers); Bertsekas and Tsitsiklis, "Parallel
    and distributed computation", 1989.
    """

    strength: float = 1.0
    """weight of the relations, at least 0"""
    delta: float = 0.1
    """how strongly models are drawn to 0 besides, at least 0"""
    passes: float = 1.0
    """sweeps over the rows in a round, above 0; below 1: a share of the rows"""
    least: float | None = None
    """the number of sweeps is drawn anew in every round, between this and ``passes``; left out: always ``passes``"""
    drop: float = 0.0
    """probability that a rank does nothing in a round, in [0, 1]"""

    needs: ClassVar[Needs] = Needs.DUAL | Needs.EDGEWISE | Needs.UNDIRECTED | Needs.UNSCREENED

    def __post_init__(self) -> None:
        check_precision("mocha", self.strength, self.delta)
        if not 0 < self.passes < np.inf:
            raise ConfigError(f"'mocha' has passes={self.passes}. It must be above 0 and finite.")
        if self.least is not None and not 0 <= self.least <= self.passes:
            raise ConfigError(f"'mocha' has least={self.least}. It must be from 0 to passes={self.passes}.")
        if not 0 <= self.drop <= 1:
            raise ConfigError(f"'mocha' has drop={self.drop}. It is a probability, from 0 to 1.")

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
        alpha = np.zeros(len(cast(Dual, task).rows), x0.dtype)
        return State(x0, alpha, x0, np.tile(x0, (len(view.sources), 1)))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Some coordinate ascent on the own problem, and its model if that is better."""
        x, dual = state.x, cast(Dual, task)
        words = heard(state.words, inbox)
        rng = view.rng(Purpose.BATCH)
        steps = self._budget(rng, len(dual.rows))
        if not steps:
            return State(x, state.alpha, x, words)
        mu = self.precision.width(view)
        mu = mu if mu + dual.ridge > 0 else 1.0
        c = x - self.precision.force(x, words, view) / mu if mu else x
        alpha, w = ascend(dual, state.alpha, c, mu, order(rng, len(dual.rows), steps))
        return State(w if _better(task, w, x, c, mu) else x, alpha, x, words)

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

    def _budget(self, rng: np.random.Generator, rows: int) -> int:
        """How many coordinates there is time for in this round; 0: dropped."""
        dropped, share = rng.random(2)
        least = self.passes if self.least is None else self.least
        return 0 if dropped < self.drop else math.ceil((least + (self.passes - least) * share) * rows)


def _better(task: Task, new: Vec, old: Vec, c: Vec, mu: float) -> bool:
    """Whether q is no larger at ``new``; what its own rounding may hide does not count."""
    before = task.loss(old) + mu / 2 * float((old - c) @ (old - c))
    after = task.loss(new) + mu / 2 * float((new - c) @ (new - c))
    return after <= before + 4 * float(np.finfo(old.dtype).eps) * abs(before)
