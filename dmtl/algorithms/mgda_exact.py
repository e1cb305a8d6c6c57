"""The exact common descent direction: gradients that matter are flooded, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.algorithms.min_norm import closest
from dmtl.algorithms.normalisers import rescaled, slope
from dmtl.algorithms.steepness import own_steepness, steepest, step
from dmtl.consensus.chart import Chart
from dmtl.consensus.extrema import Least
from dmtl.schedules import Schedule
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["ExactMGDA", "State"]


class State(NamedTuple):
    """The common model, this task's gradient there, and the gradients that have been flooded."""

    x: Vec
    """(d,) the model, the same bits on all ranks"""
    g: Vec
    """(d,) grad f_t(x) over its scale c_t"""
    scale: float
    """c_t"""
    who: NDArray[np.int64]
    """(c,) whose gradients have been flooded"""
    cached: Mat
    """(c, d) these gradients"""
    scales: Vec
    """(c,) what they were divided by"""
    shortest: Vec
    """(d,) the shortest average of them; 0 before there is one"""
    least: Least
    """the next one, on its way: <g, shortest>, or |g|^2 at first, whose it is, and the gradient"""
    steep: float
    """the largest Lipschitz constant heard of"""
    alpha: Vec
    """(T,) the weights of the last step"""
    length: float
    """of the direction of the last step; infinite before the first"""
    steps: int


@dataclass(frozen=True, slots=True)
class ExactMGDA:
    """'mgda' with form=exact."""

    step_size: Schedule | None
    normalise: str
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 4): a slope, a rank, its gradient and scale; a Lipschitz constant."""
        return 1, task.dim + 4

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, as everybody does."""
        g, scale = self._slope(x0, task, view, 0)
        alpha = np.full(self.chart.ranks, 1 / self.chart.ranks)
        nobody = np.zeros(0, np.int64), np.zeros((0, len(x0)), x0.dtype), np.zeros(0), np.zeros_like(x0)
        steep = own_steepness(self.step_size, task, x0)
        return State(x0, g, scale, *nobody, self._first(g, scale, view), steep, alpha, np.inf, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to everybody."""
        return (np.append(state.least.x, state.x.dtype.type(state.steep)),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the flood; where it has come everywhere, the weights, and a step if it changed nothing."""
        said, valid = inbox.messages[:, 0], inbox.valid
        state = state._replace(steep=steepest(state.steep, said[:, -1], valid))
        if not state.least.complete(self.chart.diameter):
            state = state._replace(least=state.least.heard(said[:, :-1], valid))
        if not state.least.complete(self.chart.diameter):
            return state
        known = len(state.who)
        state = self._taken(state, view)
        if known < len(state.who) < self.chart.ranks:
            return state
        return self._moved(state, task, view)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The weights of the tasks, and how long the direction was."""
        return {"weights": state.alpha, "length": state.length, "steps": state.steps}

    def _slope(self, x: Vec, task: Task, view: View, ahead: int) -> tuple[Vec, float]:
        """The own gradient over its scale, and the scale."""
        g, scale = slope(self.normalise, x, slice(0, len(x)), task, view, ahead)
        return g / g.dtype.type(scale), scale

    def _first(self, g: Vec, scale: float, view: View) -> Least:
        exact = g.astype(np.float64)
        return Least.start(float(exact @ exact), view.rank, np.append(g, g.dtype.type(scale)))

    def _taken(self, state: State, view: View) -> State:
        """Take in what was flooded; ask for the next where it lies farther down than the shortest average."""
        rank = min(max(state.least.rank, 0), self.chart.ranks - 1)
        if rank in state.who or (len(state.who) and not self._below(state)):
            return state
        cached = np.concatenate((state.cached, state.least.x[None, 2:-1]))
        scale = float(state.least.x[-1])
        scales = np.append(state.scales, scale if scale > 0 else 1.0)
        who = np.append(state.who, rank)
        _, shortest = closest(cached)
        state = state._replace(who=who, cached=cached, scales=scales, shortest=shortest)
        along = float(state.g.astype(np.float64) @ shortest)
        words = np.append(state.g, state.g.dtype.type(state.scale))
        return state._replace(least=Least.start(along, view.rank, words))

    def _below(self, state: State) -> bool:
        """Whether the least slope is less than the square of the shortest average, by more than rounding."""
        g, u = state.least.x[2:-1].astype(np.float64), state.shortest.astype(np.float64)
        rounding = 16 * float(np.finfo(state.x.dtype).eps) * float(np.linalg.norm(g))
        longest = float(np.linalg.norm(state.cached.astype(np.float64), axis=1).max())
        return bool(g @ u < u @ u - rounding * longest)

    def _moved(self, state: State, task: Task, view: View) -> State:
        """A step along the direction, and the first flood of the next."""
        rate = step(self.step_size, view.round, state.steep)
        weights, _ = closest(state.cached)
        alpha, length = np.zeros(self.chart.ranks), np.linalg.norm(state.shortest) / np.sum(weights / state.scales)
        alpha[state.who] = rescaled(weights, state.scales)
        x = state.x - state.x.dtype.type(rate / np.sum(weights / state.scales)) * state.shortest
        g, scale = self._slope(x, task, view, 1)
        return state._replace(
            x=x,
            g=g,
            scale=scale,
            who=state.who[:0],
            cached=state.cached[:0],
            scales=state.scales[:0],
            shortest=np.zeros_like(x),
            least=self._first(g, scale, view),
            alpha=alpha,
            length=float(length),
            steps=state.steps + 1,
        )
