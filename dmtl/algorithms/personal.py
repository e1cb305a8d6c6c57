"""Layers that stay at home: a method works on the shared rest of a model, and each rank keeps a part of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from dmtl.capabilities import Batched, Halving, Judging, Layer, Layered, Predicting, Telling
from dmtl.schedules import Schedule, rate
from dmtl.starts import first_model
from dmtl.types import Algorithm, Block, Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Personal", "Shared", "State", "starting"]


class Cut(NamedTuple):
    """Which parameters travel and which stay."""

    dim: int
    shared: tuple[slice, ...]
    private: tuple[slice, ...]

    @classmethod
    def of(cls, task: Task, private: tuple[str, ...]) -> Cut:
        """That of a task with named layers."""
        layers = cast(Layered, task).layers
        own = tuple(layer.where for name, layer in layers.items() if name in private)
        return cls(task.dim, tuple(layer.where for name, layer in layers.items() if name not in private), own)

    def whole(self, shared: Vec, private: Vec) -> Vec:
        """(d,) both put together."""
        found = np.empty(self.dim, shared.dtype)
        for part, places in ((shared, self.shared), (private, self.private)):
            at = 0
            for place in places:
                size = place.stop - place.start
                found[place] = part[at : at + size]
                at += size
        return found


def taken(w: Vec, places: tuple[slice, ...]) -> Vec:
    """Those parameters of ``w`` (d,), one after the other."""
    return np.concatenate([w[place] for place in places])


class Shared:
    """What a task is to the shared parameters, while the private ones are ``private``.

    With a ``rate`` each gradient moves the private ones too, against their own part of the same gradient, so that a
    round with several gradients has as many steps on both. It lives for one round, and what it ends at is the state's.
    """

    __slots__ = ("cut", "names", "private", "rate", "task")

    def __init__(self, task: Task, names: tuple[str, ...], private: Vec, rate: float = 0.0) -> None:
        self.task, self.names, self.private, self.rate = task, names, private, rate
        self.cut = Cut.of(task, names)

    @property
    def dim(self) -> int:
        """How many parameters are shared."""
        return sum(place.stop - place.start for place in self.cut.shared)

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The shared layers, in their places among each other."""
        found, at = {}, 0
        for name, layer in cast(Layered, self.task).layers.items():
            if name not in self.names:
                size = layer.where.stop - layer.where.start
                found[name] = Layer(slice(at, at + size), layer.shape)
                at += size
        return found

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """The whole model's."""
        return self.task.loss(self.cut.whole(w, self.private), rng)

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The shared part of the whole model's gradient."""
        gradient = self.task.grad(self.cut.whole(w, self.private), rng)
        if self.rate:
            self.private = self.private - self.rate * taken(gradient, self.cut.private)
        return taken(gradient, self.cut.shared)

    def evaluate(self, w: Vec) -> Mapping[str, float]:
        """The whole model's figures."""
        return self.task.evaluate(self.cut.whole(w, self.private))

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch; 1 where the task does not say."""
        return self.task.batches if isinstance(self.task, Batched) else 1

    @property
    def held_out_rows(self) -> int:
        """How many rows the task can judge models on; 0 where it cannot."""
        return self.task.held_out_rows if isinstance(self.task, Judging) else 0

    def held_out_losses(self, models: Mat) -> Mat:
        """Of the shared parts of ``models`` (m, q) with the own private part, (m, rows)."""
        return cast(Judging, self.task).held_out_losses(self._whole(models))

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """On both halves of the rows, (2, q); 0 where the task has no halves."""
        if not isinstance(self.task, Halving):
            return np.zeros_like(pair)
        return np.array([taken(row, self.cut.shared) for row in self.task.half_grads(self._whole(pair), rng)])

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Of the shared parts of ``models`` (m, q), (m, rows); no rows where the task has no halves."""
        if not isinstance(self.task, Halving):
            return np.zeros((len(models), 0))
        return self.task.half_losses(self._whole(models), which)

    def _whole(self, models: Mat) -> Mat:
        return np.array([self.cut.whole(row, self.private) for row in models]).reshape(len(models), self.cut.dim)


def starting(task: Task, names: tuple[str, ...], seed: int) -> Shared:
    """The shared part of a task whose private layers are where a run of that seed starts."""
    return Shared(task, names, taken(first_model(task, seed), Cut.of(task, names).private))


class State(NamedTuple):
    """The whole model, the method's state, and what stays at home."""

    x: Vec
    """(d,)"""
    inner: Any
    """the method's state, of the shared part"""
    private: Vec
    """(p,)"""


@dataclass(frozen=True, slots=True)
class Personal:
    """Another method on a part of the model: some layers are private to each rank and never leave it.

    Problem: min over the shared u and all private v_i of sum_i f_i(u_i, v_i), with whatever the method asks of the u_i.
    Each gradient that the method takes at u moves v as well: v_i+ = v_i - mu grad_v f_i(u, v_i), mu the method's own
    step, on the same rows. Screens and attacks see shared parts only; models of neighbours are judged with the own
    private part.

    A shared representation with private heads: Collins, Hassani, Mokhtari and Shakkottai, "Exploiting shared
    representations for personalized federated learning", ICML 2021. What is ours: both parts move at once, where they
    alternate.
    """

    inner: Algorithm[Any]
    private: tuple[str, ...]
    """the layers that stay at home"""

    @property
    def needs(self) -> Needs:
        """The method's."""
        return self.inner.needs

    @property
    def agrees(self) -> bool:
        """Whether the method averages to agree."""
        return getattr(self.inner, "agrees", False)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """The method's, of the shared part."""
        return self.inner.message_shape(self._start(task))

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """The method's start at the shared part of ``x0``."""
        part = self._part(task, taken(x0, Cut.of(task, self.private).private), view)
        inner = self.inner.init(taken(x0, part.cut.shared), part, view)
        return State(part.cut.whole(inner.x, part.private), inner, part.private)

    def send(self, state: State, view: View) -> tuple[Vec, ...] | Block:
        """What the method says."""
        return self.inner.send(state.inner, view)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """The method's step, with the private part moving along."""
        part = self._part(task, state.private, view)
        inner = self.inner.step(state.inner, inbox, mix, part, view)
        return State(part.cut.whole(inner.x, part.private), inner, part.private)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """What the method tells."""
        return self.inner.tell(state.inner, view) if isinstance(self.inner, Telling) else {}

    def evaluate(self, state: State, task: Task) -> Mapping[str, float]:
        """The figures of the whole model, or of what the method predicts with."""
        if isinstance(self.inner, Predicting):
            return self.inner.evaluate(state.inner, self.shown(state, task))
        return task.evaluate(state.x)

    def shown(self, state: State, task: Task) -> Shared:
        """The task of the shared part."""
        return Shared(task, self.private, state.private)

    def _part(self, task: Task, private: Vec, view: View) -> Shared:
        step: Schedule = self.inner.step_size  # type: ignore[attr-defined]  # asked for before round 0
        return Shared(task, self.private, private, rate(step, view.round))

    def _start(self, task: Task) -> Shared:
        return Shared(task, self.private, np.zeros(0))
