"""Common descent of each neighbourhood: what a rank can do with what its neighbours say in one round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.min_norm import closest
from dmtl.schedules import Schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["NeighbourhoodMGDA", "State"]


class State(NamedTuple):
    """The model, the gradient that is said with it, and the weights that it was moved by."""

    x: Vec
    """(d,)"""
    g: Vec
    """(d,) grad f_t(x)"""
    alpha: Vec
    """(1 + k,) of the own and the neighbours' gradients in the last step"""
    length: float
    """of the direction of the last step; infinite before the first"""


@dataclass(frozen=True, slots=True)
class NeighbourhoodMGDA:
    """'mgda' with form=neighbourhood."""

    step_size: Schedule | None

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED

    def exposure(self) -> str:
        """Gradients are believed, as far as a shortest average goes."""
        return (
            "moves along no direction that is longer than its own gradient or along which its own loss rises, whatever "
            "is said; but a liar that says the opposite of a gradient holds its neighbours still."
        )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(2, d): model and gradient."""
        return 2, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``."""
        alpha = np.zeros(1 + len(view.sources))
        alpha[0] = 1
        return State(x0, task.grad(x0, view.batch()), alpha, np.inf)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Model and gradient, to all."""
        return state.x, state.g

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """The average of the models, less a step along the shortest average of the gradients."""
        there = np.append(True, inbox.valid)
        alpha = np.zeros(len(there))
        alpha[there], direction = closest(np.concatenate((state.g[None], inbox.messages[:, 1]))[there])
        x = mix() - state.x.dtype.type(step_size(self.step_size, view.round, task)) * direction
        return State(x, task.grad(x, view.batch(1)), alpha, float(np.linalg.norm(direction)))

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The weights of the neighbourhood's tasks, the own first, and how long the direction was."""
        return {"weights": state.alpha, "length": state.length}
