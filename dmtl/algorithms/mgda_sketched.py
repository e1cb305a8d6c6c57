"""A common descent direction from sketches of the gradients, or from one layer of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.min_norm import min_norm
from dmtl.algorithms.normalisers import rescaled, slope
from dmtl.algorithms.sketch import merged, padded, sketch, table, table_products
from dmtl.algorithms.steepness import own_steepness, steepest, step
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.consensus.extrema import Largest
from dmtl.schedules import Schedule
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["SketchedMGDA", "State"]

FLOOD, AVERAGE, VOTE = range(3)
"""what is on its way: the table of sketches, the direction, the least slope along it"""


class State(NamedTuple):
    """The common model, this task's gradient there, and what is on its way."""

    x: Vec
    """(d,) the model, the same on all ranks to rounding"""
    g: Vec
    """(d,) grad f_t(x)"""
    scale: float
    """c_t, by which it is divided in sketches"""
    stage: int
    """FLOOD, AVERAGE or VOTE"""
    done: int
    """rounds that what is on its way has gone through"""
    said: Vec
    """(q,) what is on its way, and zeros"""
    gram: Mat
    """(T, T) inner products of the sketches of this step so far"""
    sketches: int
    """how many these are"""
    first: int
    """the round in which the first of them was taken"""
    direction: Vec
    """(d,) sum_t alpha_t g_t where it has been averaged"""
    steep: float
    """the largest Lipschitz constant heard of"""
    alpha: Vec
    """(T,) the last weights"""
    length: float
    """of the direction of the last step; infinite before the first"""
    common: bool
    """whether the last step was seen to go down for all tasks"""
    steps: int


@dataclass(frozen=True, slots=True)
class SketchedMGDA:
    """'mgda' with form=sketch, and 'mgda-ub'."""

    step_size: Schedule | None
    m: int
    """numbers in a sketch"""
    most: int
    """sketches in a step, at most"""
    vote: bool
    """whether to find out that a direction goes down for all tasks"""
    part: Callable[[Task], slice]
    """which parameters' gradients weigh the tasks"""
    normalise: str
    chart: Chart = field(repr=False)
    published: bool = False
    """whether the weights of the scaled gradients are those of the gradients too"""
    smooth: float = 0.0
    """how much of the last weights stays in the next"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, max(d, T (m + 2)) + 1): a direction or all sketches; a Lipschitz constant."""
        return 1, max(task.dim, self.chart.ranks * (2 + self._width(task))) + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, as everybody does."""
        ranks, steep = self.chart.ranks, own_steepness(self.step_size, task, x0)
        said = np.zeros(self.message_shape(task)[1] - 1, x0.dtype)
        alpha, gram = np.full(ranks, 1 / ranks), np.zeros((ranks, ranks))
        g, scale = slope(self.normalise, x0, self.part(task), task, view, 0)
        state = State(x0, g, scale, FLOOD, 0, said, gram, 0, view.round, g, steep, alpha, np.inf, False, 0)
        return self._sketched(state, task, view)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way."""
        return (np.append(state.said, state.x.dtype.type(state.steep)),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of what is on its way; where it has come everywhere, what is next."""
        state = self._heard(state, inbox, task)
        if state.stage == FLOOD and state.done >= self.chart.diameter:
            state = self._weighed(state, task, view)
        if state.stage == AVERAGE and state.done >= len(self.chart.spectrum):
            state = self._directed(state)
            if not self.vote:
                return self._moved(state, task, view)
        if state.stage == VOTE and state.done >= self.chart.diameter:
            down = float(state.said[0]) <= 0
            if down or state.sketches >= min(self.most, -(-padded(self._size(task)) // self._width(task))):
                return self._moved(state._replace(common=down), task, view)
            return self._sketched(state, task, view)
        return state

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The weights of the tasks, the length of the direction, and whether it was seen to go down for all."""
        told = {"weights": state.alpha, "length": state.length, "steps": state.steps}
        return {**told, "common": state.common} if self.vote else told

    def _size(self, task: Task) -> int:
        part = self.part(task)
        return int(part.stop - part.start)

    def _width(self, task: Task) -> int:
        return min(self.m, padded(self._size(task)))

    def _heard(self, state: State, inbox: Inbox, task: Task) -> State:
        """One round on."""
        messages, valid = inbox.messages[:, 0], inbox.valid
        steep, said, words = steepest(state.steep, messages[:, -1], valid), state.said, messages[:, :-1]
        if state.stage == AVERAGE and state.done < len(self.chart.spectrum):
            said = Averaging(said, state.done).heard(words, valid, self.chart.spectrum).x
        elif state.stage == FLOOD:
            size = self.chart.ranks * (2 + self._width(task))
            own = said[:size].reshape(self.chart.ranks, -1)
            said = np.append(merged(own, words[:, :size], valid), said[size:])
        elif state.stage == VOTE:
            said = Largest(said).heard(words, valid).x
        return state._replace(steep=steep, said=said, done=state.done + 1)

    def _sketched(self, state: State, task: Task, view: View) -> State:
        """The next sketch of the own gradient sets out."""
        h = state.g[self.part(task)] / state.scale
        row = np.append(sketch(h, self._width(task), state.sketches, view, state.first), state.scale)
        rows = table(row.astype(state.x.dtype), view.rank, self.chart.ranks).ravel()
        return state._replace(stage=FLOOD, done=0, said=_filled(state.said, rows), sketches=state.sketches + 1)

    def _weighed(self, state: State, task: Task, view: View) -> State:
        """All sketches are here: the weights, and the own part of the direction sets out."""
        ranks = self.chart.ranks
        rows = state.said[: ranks * (2 + self._width(task))].reshape(ranks, -1)
        gram, scales = state.gram + table_products(rows[:, :-1]), rows[:, -1].astype(np.float64)
        alpha = min_norm(gram)
        if not self.published:
            alpha = rescaled(alpha, np.where(scales > 0, scales, 1.0))
        alpha = self.smooth * state.alpha + (1 - self.smooth) * alpha
        scaled = state.g * state.x.dtype.type(ranks * alpha[view.rank])
        return state._replace(stage=AVERAGE, done=0, said=_filled(state.said, scaled), gram=gram, alpha=alpha)

    def _directed(self, state: State) -> State:
        """The direction is here; whether it goes down for all is found out next."""
        direction = state.said[: len(state.x)].copy()
        up = np.array([-(state.g.astype(np.float64) @ direction)], state.x.dtype)
        return state._replace(stage=VOTE, done=0, said=_filled(state.said, up), direction=direction)

    def _moved(self, state: State, task: Task, view: View) -> State:
        """A step along the direction, and the first sketch of the next."""
        rate = step(self.step_size, view.round, state.steep)
        x = state.x - state.x.dtype.type(rate) * state.direction
        length = float(np.linalg.norm(state.direction))
        g, scale = slope(self.normalise, x, self.part(task), task, view, 1)
        state = state._replace(x=x, g=g, scale=scale, length=length, steps=state.steps + 1)
        fresh = state._replace(gram=np.zeros_like(state.gram), sketches=0, first=view.round + 1)
        return self._sketched(fresh, task, view)


def _filled(like: Vec, words: Vec) -> Vec:
    """``words`` and zeros, as long as ``like`` (q,)."""
    found = np.zeros_like(like)
    found[: len(words)] = words
    return found
