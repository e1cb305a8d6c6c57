"""Successive regularisation: tasks in an order, each held near those that come before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.local_steps import check_training, descent, near
from dmtl.algorithms.peers import Words, listened, silence
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mask, Mix, Needs, Task, Vec, View

__all__ = ["ManyTaskHierarchy", "State"]


class State(NamedTuple):
    """The model, and the newest words of the neighbours."""

    x: Vec
    """(d,) the model, which is sent"""
    words: Words


@dataclass(frozen=True, slots=True)
class ManyTaskHierarchy:
    r"""Many tasks in a directed order by gossip: each rank's model stays near those of earlier neighbours.

    Problem: rank t minimises f_t(theta_t) + strength / 2 |theta_t - m_t|^2, m_t the mean of the models of those
    neighbours that come before it in the order; who has none learns alone. Later ranks change nothing for earlier ones.
    Update: theta_t after ``steps`` gradient steps on that, m_t the screen's average of the neighbours' newest words.
    Each stage is solved given the stages before it, so for convex f_t the limit is that of training one task after the
    other, exactly and on every graph, and late or lost words do not change it. Errors pass on: those of stage t shrink
    once the stages before it are done. The words of later neighbours are heard and not used.
    What is ours: each stage is a rank of its own with a whole model, all of them train at once, and the target is what
    the earlier rank has now. The original trains one network, task after task, in each epoch, and holds the layers in
    common near what they were before the task; with --private, what stays at home is free here as well.
    What a liar can do: a rank with one earlier neighbour has nothing to compare its words with, whatever the screen.
    A lie that moves m_t by r moves theta_t by at most r strength / (strength + mu) for a mu-strongly convex f_t, and
    the ranks after it by less at each stage; ranks before the liar not at all.

    Message: theta, f = 1.
    Hashimoto, Xiong, Tsuruoka and Socher, "A joint many-task model: growing a neural network for multiple NLP tasks",
    EMNLP 2017.
    """

    strength: float = 0.1
    """how strongly a model is held near those before it, delta of the paper, at least 0"""
    order: str = ""
    """the ranks from first to last, as in '2-0-1'; those that it does not name follow by number; left out: by number"""
    steps: int = 1
    """gradient steps in a round, at least 1"""
    step_size: Schedule | None = None
    """step by rounds; left out: 1 / (L + strength), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'many-task-hierarchy' step_size")
        check_training("many-task-hierarchy", 1, self.steps)
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"'many-task-hierarchy' has strength={self.strength}. It must be finite and at least 0.")
        parts = str(self.order).split("-") if str(self.order) else []
        if not all(part.strip().isdecimal() for part in parts) or len({int(part) for part in parts}) < len(parts):
            raise ConfigError(f"'many-task-hierarchy' has order={self.order!r}. Write different ranks, as in 2-0-1.")

    def exposure(self) -> str:
        """What single predecessors can do."""
        return (
            "asks the screen about earlier neighbours only: who has one of them believes it. Give each rank several, "
            "by more links, or use 'laplacian' and a screen."
        )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``; nobody has said anything."""
        return State(x0, silence((1, task.dim), x0, view))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Listen to those before it, then train near them."""
        words = listened(state.words, inbox)
        there = words.there & self._earlier(view)
        mix.instead(words.said, there, _evenly(there, state.x))
        pull = self.strength if there.any() else 0.0
        gradient = near(task, mix(), pull)
        mu = step_size(self.step_size, view.round, task, self.strength)
        return State(descent(gradient, state.x, view.batch(), mu, self.steps), words)

    def _earlier(self, view: View) -> Mask:
        """(k,) which neighbours come before this rank."""
        own = _place(str(self.order), view.rank)
        return np.array([_place(str(self.order), source) < own for source in view.sources], np.bool_)


def _evenly(there: Mask, x: Vec) -> Vec:
    """(1 + k,) equal weights of those who are there, and none of the own model unless nobody is."""
    count = int(there.sum())
    return np.concatenate(([not count], there / max(count, 1))).astype(x.dtype)


@cache
def _place(order: str, rank: int) -> tuple[int, int]:
    """Where a rank is in the order: those that it names first, then all others by number."""
    named = [int(part) for part in order.split("-")] if order else []
    return (0, named.index(rank)) if rank in named else (1, rank)
