"""The replicated master: a central proximal gradient method on every rank, its one sum made by an exact average."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.capabilities import Convex, Smooth
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.consensus.extrema import Largest
from dmtl.errors import ConfigError
from dmtl.penalties.gap import has_gap, term
from dmtl.penalties.momentum import momentum
from dmtl.penalties.penalty import Linked, Penalty, Placed, Summed, columns
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["NEEDS", "Replicated", "State", "replicated"]

NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC | Needs.SMOOTH
"""what every replicated method asks for"""


class State(NamedTuple):
    """This task's column of what the central method holds, and the sum that is on its way."""

    x: Vec
    """(d,) the model"""
    w: Vec
    """(D,) the column of W"""
    z: Vec
    """(D,) the column of Z, where the gradient was taken"""
    v: Vec
    """(D,) z - eta grad f(z)"""
    slope: Vec
    """(D,) this column of an element of the penalty's subdifferential at W; infinite before the first step"""
    t: float
    """momentum"""
    steepness: Largest
    """(q + 1,) the largest Lipschitz constant heard of, in all entries"""
    mean: Averaging
    """the average of the summaries of v, and of what tells of a restart, last"""


@dataclass(frozen=True, slots=True)
class Replicated:
    """Central ISTA or FISTA on every rank: the same iterates, to rounding, without a master.

    A rank holds its own columns of W and Z. Column t of prox(V) depends on the others by one sum only,
    sum_s summary(v_s), which every rank gets by an exact average (``Averaging``) of as many rounds as the graph's
    Laplacian has distinct nonzero eigenvalues. Before it begins, as many rounds as the diameter find the largest
    Lipschitz constant. It has a certificate: (V - W) / eta is in the penalty's subdifferential at W, and with the
    gradients there it bounds how far the objective is above its least, by a sum of terms that each rank knows.
    """

    penalty: Penalty
    chart: Chart = field(repr=False)
    fast: bool = True

    needs: ClassVar[Needs] = NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, q + 1): a summary, and one number for the restart."""
        return 1, cast(Summed, self.penalty).length(self.penalty.copies * task.dim) + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, the lower of two parts at 0."""
        w = np.zeros(self.penalty.copies * len(x0), x0.dtype)
        w[: len(x0)] = x0
        own = np.full(self.message_shape(task)[1], cast(Smooth, task).smoothness, x0.dtype)
        state = State(x0, w, w, w, np.full_like(w, np.inf), 1.0, Largest(own), Averaging(own))
        return self._begun(state, 0.0, task, view) if self._knows(state) else state

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average, or to the largest."""
        return (state.mean.x if self._knows(state) else state.steepness.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the average, and where it is complete one step of the method."""
        if not self._knows(state):
            state = state._replace(steepness=state.steepness.heard(inbox.messages[:, 0], inbox.valid))
            return self._begun(state, 0.0, task, view) if self._knows(state) else state
        mean = state.mean
        if not mean.complete(self.chart.spectrum):
            mean = mean.heard(inbox.messages[:, 0], inbox.valid, self.chart.spectrum)
        if not mean.complete(self.chart.spectrum):
            return state._replace(mean=mean)
        return self._moved(state, mean.x * self.chart.ranks, task, view)

    def lacks(self, task: Task) -> str:
        """A modulus of the task, or a bound for the penalty."""
        if not has_gap(self.penalty):
            return f"a penalty of which at most one part couples the tasks, and not {type(self.penalty).__name__}"
        known = isinstance(task, Convex) and task.strong_convexity > 0
        return "" if known else "a strongly convex task: give it a ridge, as in --task logistic:l2=0.01"

    def certificate(self, state: State, task: Task, view: View) -> float:
        """This rank's term of a bound, exact but for the rounding of the averages; one gradient more."""
        if not np.isfinite(state.slope).all():
            return np.inf
        return term(self.penalty, state.w, state.slope, task.grad(state.x), cast(Convex, task).strong_convexity)

    def vouched(self, state: State) -> Vec:
        """The model of now."""
        return state.x

    def _knows(self, state: State) -> bool:
        """Whether the largest Lipschitz constant is everybody's."""
        return state.steepness.complete(self.chart.diameter)

    def _begun(self, state: State, turn: float, task: Task, view: View) -> State:
        """Take the gradient at z, and send the summary of where it leads."""
        z = state.z
        grad = task.grad(columns(z, self.penalty.copies))
        v = z - self.rate(state) * np.concatenate([grad] * self.penalty.copies)
        said = np.append(self._here(view).summary(v), v.dtype.type(turn))
        return state._replace(v=v, mean=Averaging(said))

    def _moved(self, state: State, total: Vec, task: Task, view: View) -> State:
        """The step of the central method that ``total`` completes."""
        rate = self.rate(state)
        w = self._here(view).shrink(state.v, total[:-1], rate)
        x, slope = columns(w, self.penalty.copies), (state.v - w) / rate
        if not self.fast:
            return self._begun(state._replace(x=x, w=w, z=w, slope=slope), 0.0, task, view)
        ahead, t = momentum(state.t, bool(total[-1] > 0))
        turn = float((state.z - w) @ (w - state.w))
        z = w + ahead * (w - state.w)
        return self._begun(state._replace(x=x, w=w, z=z, slope=slope, t=t), turn, task, view)

    def rate(self, state: State) -> float:
        """eta, once it is known."""
        return 1 / (self.penalty.copies * float(state.steepness.x[0]))

    def _here(self, view: View) -> Summed:
        """The penalty as this rank sees it."""
        return cast(Summed, self.penalty.placed(view.rank) if isinstance(self.penalty, Placed) else self.penalty)


def replicated(name: str, penalty: Penalty | Linked, chart: Chart, fast: bool = True) -> Replicated:
    """The replicated master for a penalty; ConfigError, with the method's ``name``, where one sum does not suffice."""
    known = penalty.linked(chart.edges, chart.couplings, chart.ranks) if isinstance(penalty, Linked) else penalty
    if not isinstance(known, Summed):
        raise ConfigError(
            f"{name!r} cannot use the penalty {type(penalty).__name__}: its proximal map needs more of the others than "
            f"one sum. Use l21, nuclear, mtrl, clustered, mean or robust, or the method 'nids'."
        )
    return Replicated(known, chart, fast)
