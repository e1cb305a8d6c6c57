"""Online relation learning with sums that are tracked by gossip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.dual_averaging import DualAveraging, common
from dmtl.algorithms.relation import Relation
from dmtl.consensus.tracking import Tracking
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Gossip", "State"]

_LEAST, _MOST = 0.25, 4.0
"""the square of the length of a direction that is said to be of length 1"""


class State(NamedTuple):
    """Model, dual variable, the relation as this rank sees it, and the tracked sum."""

    x: Vec
    """(d,) the model"""
    start: Vec
    """(d,) where it began"""
    a: Vec
    """(d,) a_i: the gradients so far, added up"""
    relation: Relation
    v: float
    """the own entry of the direction, which is about of length 1 over all ranks"""
    tracking: Tracking
    """(d + 1,) the estimate of the averages of a_j v_j and v_j^2"""
    heard: int
    """rounds of gossip since the direction changed"""
    powers: int
    """power steps since the last step of the relation"""


@dataclass(frozen=True, slots=True)
class Gossip:
    """'drom' with dynamic average consensus: a power step after every ``rounds`` rounds of gossip, however good it is.

    With s = (P, q) the estimates, N = n q and A v = n P: the relation is turned towards v / sqrt(N), and the next
    direction is v_i = a_i'(A v) sqrt(N) / |A v|^2, which is of length 1 where the direction is at rest. So N is about
    1, and where too few rounds of gossip say something else it is held in [1/4, 4], and v_i in [-1, 1]; without that
    one round on a ring of 24 diverges.
    """

    learner: DualAveraging
    ranks: int
    rounds: int = 4
    power: int = 1
    history: int = 0
    period: int = 1

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.DOUBLY_STOCHASTIC

    @property
    def reweighs(self) -> bool:
        """Whether rows are weighted."""
        return self.learner.reweighs

    def exposure(self) -> str:
        """Sums are plain, and remember."""
        return "has no defence: a lie is in every sum. With liars use sums=local with a clip, or 'diffusion'."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 1): the estimate."""
        return 1, task.dim + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Nothing learnt, nothing tracked."""
        nothing = np.zeros(len(x0) + 1, x0.dtype)
        begun = Relation.begun(x0, self.history)
        return State(x0, x0, np.zeros_like(x0), begun, 0.0, Tracking.start(nothing), 0, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The estimate."""
        return (state.tracking.s,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Gossip, turn the relation where it is time, learn, and feed what is new to the estimate."""
        state = self._heard(state, inbox, view)
        x, a = self.learner.learnt(state.start, state.a, state.relation.pull, task, view)
        return self._fed(state._replace(x=x, a=a), view)

    def serve(self, state: State, inbox: Inbox, view: View) -> State:
        """The same without learning."""
        return self._fed(self._heard(state, inbox, view), view)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """How much of the relation is learnt, and this task's share of it."""
        return {"learnt": 1 - state.relation.base, "own_weight": state.relation.own / self.ranks}

    def _heard(self, state: State, inbox: Inbox, view: View) -> State:
        """One round of gossip, and a power step if it was the last of its kind."""
        before = state.tracking
        tracking = before.heard(inbox.messages[:, 0], inbox.valid, view.weights[1:], before.q)
        state = state._replace(tracking=tracking, heard=state.heard + 1)
        due = state.heard >= self.rounds and (view.round + 1) % self.period == 0
        return self._summed(state, tracking.s * self.ranks) if due else state

    def _summed(self, state: State, total: Vec) -> State:
        """A power step, and every ``power``-th time a step of the relation, with the estimated sum (d + 1,)."""
        state = state._replace(heard=0)
        square, length = min(max(float(total[-1]), _LEAST), _MOST), float(total[:-1] @ total[:-1])
        if not length > 0:
            return state._replace(v=0.0)
        size, powers, relation = sqrt(square), state.powers + 1, state.relation
        if powers == self.power:
            rest = (total[:-1] - state.tracking.q[:-1]) / size
            g = self.learner.towards(relation.steps)
            relation, powers = relation.turned(g, state.v / size, rest, self.ranks), 0
        v = min(max(float(state.a @ total[:-1]) * size / length, -1.0), 1.0)
        return state._replace(v=v, powers=powers, relation=relation)

    def _fed(self, state: State, view: View) -> State:
        """The own part of the sum as it is now."""
        v = state.v or self._drawn(state.a, view)
        q = np.append(v * state.a, state.a.dtype.type(v * v))
        tracking = Tracking(state.tracking.s + (q - state.tracking.q), q)
        return state._replace(v=v, tracking=tracking)

    def _drawn(self, a: Vec, view: View) -> float:
        """A first entry: how far a_i is along a direction that all ranks draw alike, in units of its own length."""
        length = float(np.linalg.norm(a)) * sqrt(self.ranks)
        return float(a @ common(a, view)) / length if length > 0 else 0.0
