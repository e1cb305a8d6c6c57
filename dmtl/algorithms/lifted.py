"""Lifted forms on a graph: the problem of a lift, and what all methods that solve it have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np

from dmtl.capabilities import Smooth
from dmtl.consensus.chart import Chart
from dmtl.consensus.extrema import Largest
from dmtl.lifts.lift import Lift, Pair
from dmtl.penalties.penalty import columns
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["NEEDS", "Engine", "Lifted", "Local", "State"]

NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.DOUBLY_STOCHASTIC | Needs.STATIC | Needs.SMOOTH
"""what every method asks for that solves a lifted form"""


class Local(NamedTuple):
    """A rank's own part of the problem."""

    lift: Lift
    task: Task
    steepness: float
    """Lipschitz constant of the smooth part's gradient, the largest of all ranks"""

    def grad(self, u: Vec, z: Mat) -> Pair:
        """The smooth part's gradient."""
        return self.lift.grad(u, z, self.task.grad(self.lift.model(u, z)))


class Engine(Protocol):
    """A method for min sum_t [s_t(u_t, z_t) + r_t(u_t, z_t)], all z_t equal: s_t smooth, r_t with a proximal map.

    Its state is a NamedTuple with u (p,) and z (copies, q), where the objective is measured, and with y (copies, q),
    which adds up to 0 over all copies and ranks in every round.
    """

    def begin(self, u: Vec, z: Mat, here: Local) -> Any:
        """The state before the first exchange."""

    def said(self, state: Any) -> Mat:
        """(copies, q) what is to be mixed."""

    def moved(self, state: Any, mixed: Mat, here: Local) -> Any:
        """The next state, ``mixed`` (copies, q) being (I + M) / 2 said, M the weights of all copies on all ranks."""


class State(NamedTuple):
    """The model, and where the engine is."""

    x: Vec
    """(d,) the model"""
    steepness: Largest
    """(q,) the largest Lipschitz constant heard of, in all entries"""
    inner: Any
    """the engine's state"""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A lifted form and an engine on one graph.

    Before the engine begins, as many rounds as the diameter find the largest Lipschitz constant. A rank with several
    copies of z sends their average and takes each of them for averaged with it: that is mixing by the matrix
    M x 11' / copies, symmetric and doubly stochastic like M, and the message is no longer.
    """

    engine: Engine
    lift: Lift
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, q)."""
        return 1, self.lift.sizes(task.dim)[1]

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``."""
        own = self.lift.steepness(cast(Smooth, task).smoothness)
        return self._begun(x0, Largest(np.full(self.message_shape(task)[1], own, x0.dtype)), task)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The average of what is to be mixed; at first the largest constant heard of."""
        return (self.engine.said(state.inner).mean(axis=0) if self._knows(state) else state.steepness.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One step of the engine, which begins when the largest constant is known."""
        if not self._knows(state):
            state = state._replace(steepness=state.steepness.heard(inbox.messages[:, 0], inbox.valid))
            return self._begun(state.x, state.steepness, task) if self._knows(state) else state
        here = self._here(state.steepness, task)
        mixed = (self.engine.said(state.inner) + mix()) / 2
        inner = self.engine.moved(state.inner, mixed, here)
        column = self.lift.column(inner.u, inner.z)
        return state._replace(x=columns(column, len(column) // task.dim), inner=inner)

    def column(self, state: State) -> Vec:
        """(D,) the rank's column of W: the model, or its two parts."""
        return self.lift.column(state.inner.u, state.inner.z)

    def _knows(self, state: State) -> bool:
        """Whether the largest Lipschitz constant is everybody's."""
        return state.steepness.complete(self.chart.diameter)

    def _here(self, steepness: Largest, task: Task) -> Local:
        return Local(self.lift, task, float(steepness.x[0]))

    def _begun(self, x: Vec, steepness: Largest, task: Task) -> State:
        """The engine at its start ``x``, with the largest constant heard of."""
        return State(x, steepness, self.engine.begin(*self.lift.start(x), self._here(steepness, task)))
