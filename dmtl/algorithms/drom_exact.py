"""Online relation learning with exact sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.dual_averaging import DualAveraging, common
from dmtl.algorithms.relation import Relation
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Exact", "State"]


class State(NamedTuple):
    """Model, dual variable, the relation as this rank sees it, and the sum that is on its way."""

    x: Vec
    """(d,) the model"""
    start: Vec
    """(d,) where it began"""
    a: Vec
    """(d,) a_i: the gradients so far, added up"""
    relation: Relation
    u: float
    """the own entry of the direction, before it is normalised"""
    said: Vec
    """(d + 1,) a_i u_i and u_i^2 of when the sum set out"""
    mean: Averaging
    """the average of these on its way"""
    idle: bool
    """whether no sum is on its way"""
    powers: int
    """power steps since the last step of the relation"""


@dataclass(frozen=True, slots=True)
class Exact:
    """'drom' with exact averages: one power step with each, in as many rounds as an average takes."""

    learner: DualAveraging
    chart: Chart = field(repr=False)
    power: int = 1
    history: int = 0
    period: int = 1

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC

    @property
    def reweighs(self) -> bool:
        """Whether rows are weighted."""
        return self.learner.reweighs

    def exposure(self) -> str:
        """Sums are plain."""
        return "has no defence: a lie is in every sum. With liars use sums=local with a clip, or 'diffusion'."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 1): a sum on its way."""
        return 1, task.dim + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Nothing learnt, nothing on its way."""
        said = np.zeros(len(x0) + 1, x0.dtype)
        begun = Relation.begun(x0, self.history)
        return State(x0, x0, np.zeros_like(x0), begun, 0.0, said, Averaging(said), True, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The sum on its way; the last one where there is none."""
        return (state.mean.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Hear, turn the relation where a sum is complete, learn, let the next sum set out."""
        state = self._heard(state, inbox, view)
        x, a = self.learner.learnt(state.start, state.a, state.relation.pull, task, view)
        return self._set_out(state._replace(x=x, a=a), view)

    def serve(self, state: State, inbox: Inbox, view: View) -> State:
        """The same without learning."""
        return self._set_out(self._heard(state, inbox, view), view)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """How much of the relation is learnt, and this task's share of it."""
        return {"learnt": 1 - state.relation.base, "own_weight": state.relation.own / self.chart.ranks}

    def _heard(self, state: State, inbox: Inbox, view: View) -> State:
        if state.idle:
            return state
        mean = state.mean
        if not mean.complete(self.chart.spectrum):
            mean = mean.heard(inbox.messages[:, 0], inbox.valid, self.chart.spectrum)
        state = state._replace(mean=mean)
        return self._summed(state, mean.x * self.chart.ranks) if mean.complete(self.chart.spectrum) else state

    def _summed(self, state: State, total: Vec) -> State:
        """A power step, and every ``power``-th time a step of the relation, with the sum (d + 1,) of all ranks."""
        square = max(float(total[-1]), state.u * state.u)
        if square <= 0:  # nobody has learnt anything, or the direction has died out
            return state._replace(idle=True, u=0.0)
        size, powers, relation = sqrt(square), state.powers + 1, state.relation
        if powers == self.power:
            rest = (total[:-1] - state.said[:-1]) / size
            g = self.learner.towards(relation.steps)
            relation, powers = relation.turned(g, state.u / size, rest, self.chart.ranks), 0
        u = float(state.a @ total[:-1]) / size
        return state._replace(idle=True, u=u, powers=powers, relation=relation)

    def _set_out(self, state: State, view: View) -> State:
        """The next sum, with what this rank has learnt by now."""
        if not state.idle or (view.round + 1) % self.period:
            return state
        u = state.u or float(state.a @ common(state.a, view))
        said = np.append(u * state.a, state.a.dtype.type(u * u))
        return state._replace(u=u, said=said, mean=Averaging(said), idle=False)
