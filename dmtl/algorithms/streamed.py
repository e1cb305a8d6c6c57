"""Learning on a stream: rows come a few at a time, are predicted first and learnt from afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from dmtl.capabilities import Predicting, Showing, Telling, Windowed
from dmtl.types import Algorithm, Block, Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Online", "Serving", "State", "Streamed"]

_RECENT = 50
"""rounds that the windowed error looks back"""


@runtime_checkable
class Serving(Protocol):
    """An algorithm that serves the others when its own rows have ended: it can count on every link and learn online."""

    def serve(self, state: Any, inbox: Inbox, view: View) -> Any:
        """The state after this round's messages, without learning from any row."""


class Online(NamedTuple):
    """How a model has done on rows that it had not learnt from."""

    rows: int
    """how many there were"""
    loss: float
    """the sum of their losses"""
    wrong: float
    """how many of them were taken for another class, or the sum of their squared errors"""
    recent: Vec
    """(50,) error of the last rounds, in the place of the round; NaN before there were so many"""

    @classmethod
    def begun(cls) -> Online:
        """Before the first row."""
        return cls(0, 0.0, 0.0, np.full(_RECENT, np.nan))

    def scored(self, task: Windowed, w: Vec, round: int) -> Online:
        """After the rows of that round, predicted with ``w``."""
        (loss, error), rows = task.surprise(w), task.training_rows
        recent = self.recent.copy()
        recent[round % _RECENT] = error
        return Online(self.rows + rows, self.loss + rows * loss, self.wrong + rows * error, recent)

    def told(self) -> dict[str, float]:
        """For the rank files."""
        if not self.rows:
            return {"online_rows": 0}
        return {
            "online_rows": self.rows,
            "online_loss": self.loss,
            "online_error": self.wrong / self.rows,
            "recent_error": float(np.nanmean(self.recent)),
        }


class State(NamedTuple):
    """The method's own state, and how its models have done."""

    x: Vec
    """(d,) the method's model"""
    inner: Any
    """the method's state"""
    online: Online
    over: bool
    """whether its rows had ended when the last round began"""


@dataclass(frozen=True, slots=True)
class Streamed:
    """Another method, whose task shows it ``rows`` new training rows in each round, in the order of the data.

    In round t the model that the rank has is scored on rows t, before anything has been learnt from them: test, then
    train. Then the method makes its step with the loss of these rows alone. What a method does before round 0, such as
    a first gradient step, it does with the rows of round 0; the model that is scored on them is not yet touched by
    that. The last round has the rows that are left. After it the rank learns no more, nor does it listen, and goes on
    saying what it said last, so that neighbours with more rows can use it; a method that counts on being heard in
    every round (``Serving``) takes its part in the others' sums, and its model stays as it is.
    Its memory of how it did is part of its state: sums over all rows, and the errors of the last 50 rounds.

    Cesa-Bianchi and Lugosi, "Prediction, learning, and games", Cambridge, 2006.
    """

    inner: Algorithm[Any]
    rows: int

    @property
    def needs(self) -> Needs:
        """The method's."""
        return self.inner.needs

    @property
    def agrees(self) -> bool:
        """Whether the method averages to agree."""
        return getattr(self.inner, "agrees", False)

    @property
    def reweighs(self) -> bool:
        """Whether the method weighs rows by their losses."""
        return getattr(self.inner, "reweighs", False)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """The method's."""
        return self.inner.message_shape(task)

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """The method's start, with the first rows."""
        inner = self.inner.init(x0, self._shown(task, 0), view)
        return State(inner.x, inner, Online.begun(), False)

    def send(self, state: State, view: View) -> tuple[Vec, ...] | Block:
        """What the method says."""
        return self.inner.send(state.inner, view)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Score the model, then the method's step; no learning once the rows have ended."""
        if view.round * self.rows >= cast(Windowed, task).training_rows:
            if isinstance(self.inner, Serving):
                state = state._replace(inner=self.inner.serve(state.inner, inbox, view))
            return state._replace(over=True)
        shown = self._shown(task, view.round)
        online = state.online.scored(cast(Windowed, shown), state.x, view.round)
        inner = self.inner.step(state.inner, inbox, mix, shown, view)
        return State(inner.x, inner, online, False)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """How the models have done, and what the method tells; no trust of a rank that does not listen any more."""
        more = self.inner.tell(state.inner, view) if isinstance(self.inner, Telling) else {}
        deaf = {"trust": np.full(len(view.sources), np.nan)} if state.over else {}
        return {**state.online.told(), **more, **deaf}

    def evaluate(self, state: State, task: Task) -> Mapping[str, float]:
        """What the method predicts with."""
        return self.inner.evaluate(state.inner, task) if isinstance(self.inner, Predicting) else task.evaluate(state.x)

    def shown(self, state: State, task: Task) -> Task:
        """What the method shows."""
        return self.inner.shown(state.inner, task) if isinstance(self.inner, Showing) else task

    def _shown(self, task: Task, round: int) -> Task:
        return cast(Windowed, task).window(round * self.rows, (round + 1) * self.rows)
