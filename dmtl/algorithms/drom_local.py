"""Online relation learning among the neighbours alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.ball import into_ball
from dmtl.algorithms.dual_averaging import DualAveraging, common
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Near", "State"]


class State(NamedTuple):
    """Model, dual variables of the neighbourhood, and the relation among them."""

    x: Vec
    """(d,) the model"""
    start: Vec
    """(d,) where it began"""
    a: Vec
    """(d,) a_i: the gradients so far, added up"""
    said: Vec
    """(d,) a_i as the neighbours have it"""
    words: Mat
    """(k, d) their a_j as they were heard last"""
    omega: Mat
    """(1 + k, 1 + k) the relation, this rank first, times 1 + k"""
    v: Vec
    """(1 + k,) the leading direction"""
    steps: int
    """steps of the relation"""


@dataclass(frozen=True, slots=True)
class Near:
    """'drom' with a relation of each rank's own, on it and its neighbours."""

    learner: DualAveraging
    power: int = 1
    period: int = 1
    threshold: float | None = None
    clip: float | None = None

    needs: ClassVar[Needs] = Needs.UNDIRECTED | Needs.EDGEWISE | Needs.UNSCREENED

    @property
    def reweighs(self) -> bool:
        """Whether rows are weighted."""
        return self.learner.reweighs

    def exposure(self) -> str:
        """Only a clip bounds what a neighbour says."""
        return "" if self.clip is not None else "believes any a_j. Give it a clip, drom:sums=local,clip=1."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): a_i."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Everybody alone."""
        k, none = len(view.sources), np.zeros_like(x0)
        eye = np.eye(1 + k, dtype=x0.dtype)
        return State(x0, x0, none, none, np.zeros((k, len(x0)), x0.dtype), eye, np.zeros(1 + k, x0.dtype), 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """a_i, as it was when it was last thought worth telling."""
        return (state.said,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Hear, turn the relation, learn, and tell if it is time."""
        words = np.where(inbox.valid[:, None], inbox.messages[:, 0], state.words)
        state = self._turned(state._replace(words=words), view)
        x, a = self.learner.learnt(state.start, state.a, partial(self._pull, state), task, view)
        state = state._replace(x=x, a=a)
        return state._replace(said=state.a) if self._tells(state, view) else state

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """Trust: how near each neighbour's row of the relation is to the own one, |Om_ji| / sqrt(Om_ii Om_jj)."""
        diagonal = np.sqrt(np.maximum(np.diag(state.omega), np.finfo(state.omega.dtype).tiny))
        trust = np.abs(state.omega[0, 1:]) / (diagonal[0] * diagonal[1:])
        return {"trust": np.minimum(trust, 1.0), "own_weight": float(state.omega[0, 0]) / len(diagonal)}

    def _tells(self, state: State, view: View) -> bool:
        """Whether it is the time, or a_i has moved too far."""
        if (view.round + 1) % self.period == 0:
            return True
        moved = float(np.linalg.norm(state.a - state.said))
        return self.threshold is not None and moved > self.threshold * float(np.linalg.norm(state.said))

    def _all(self, state: State, a: Vec) -> Mat:
        """(1 + k, d) ``a`` for a_i and the neighbours' a_j, none longer than ``clip`` times that."""
        if self.clip is None:
            return np.concatenate((a[None], state.words))
        most = self.clip * float(np.linalg.norm(a))
        return np.stack([a, *(into_ball(word, most) for word in state.words)])

    def _pull(self, state: State, a: Vec) -> Vec:
        """(d,) (1 + k) sum_j Om_ji a_j."""
        pull: Vec = state.omega[0] @ self._all(state, a)
        return pull

    def _turned(self, state: State, view: View) -> State:
        """Power steps and a Frank-Wolfe step."""
        rows, v = self._all(state, state.a), state.v
        for _ in range(self.power):
            image = v @ rows if v.any() else common(state.a, view)
            v = rows @ image
            size = np.linalg.norm(v)
            if not size > 0:
                return state._replace(v=np.zeros_like(v))
            v = v / size
        g = self.learner.towards(state.steps)
        omega = (1 - g) * state.omega + g * len(v) * np.multiply.outer(v, v)
        return state._replace(omega=omega, v=v, steps=state.steps + 1)
