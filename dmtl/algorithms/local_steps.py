"""Training on the own data between two exchanges: several gradient steps, on one batch after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dmtl.capabilities import Batched
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, step_size
from dmtl.types import Task, Vec, View

__all__ = ["Gradient", "Training", "check_training", "descent", "near", "steps_of"]

Gradient = Callable[[Vec, np.random.Generator | None], Vec]
"""(w, rng) -> the direction to descend against; each call with the same generator draws the next batch"""


class Training(NamedTuple):
    """How a rank trains between two exchanges, as its method was set."""

    step_size: Schedule | None
    epochs: int
    steps: int | None
    momentum: float = 0.0
    weight_decay: float = 0.0
    pull: float = 0.0

    def rate(self, task: Task, view: View, ahead: int) -> float:
        """The step, or what the curvature of the loss and of the terms added to it allows."""
        return step_size(self.step_size, view.round + ahead, task, self.weight_decay + self.pull)

    def after(self, w: Vec, task: Task, view: View, ahead: int) -> Vec:
        """The model (d,) after training from ``w`` on f + pull / 2 |. - w|^2 + weight_decay / 2 |.|^2.

        ``ahead`` is 0 before round 0 and 1 in a round, whose training is for the next. The momentum begins at zero.
        """
        mu = self.rate(task, view, ahead)
        if not mu:
            return w
        count = steps_of(task, view, self.epochs, self.steps)
        return descent(near(task, w, self.pull, self.weight_decay), w, view.batch(ahead), mu, count, self.momentum)


def steps_of(task: Task, view: View, epochs: int, steps: int | None) -> int:
    """``steps``; or where that is None as many as ``epochs`` have, each of ceil(rows / batch), or 1 on full batches."""
    if steps is not None:
        return steps
    return epochs * (task.batches if view.stochastic and isinstance(task, Batched) else 1)


def near(task: Task, anchor: Vec, pull: float, decay: float = 0.0) -> Gradient:
    """The gradient of the task's loss + pull / 2 |w - anchor|^2 + decay / 2 |w|^2; the task's own where both are 0."""
    if not (pull or decay):
        return task.grad
    return lambda w, rng: task.grad(w, rng) + pull * (w - anchor) + decay * w


def descent(
    gradient: Gradient, w: Vec, rng: np.random.Generator | None, mu: float, steps: int, momentum: float = 0.0
) -> Vec:
    """``w`` (d,) after ``steps`` of w+ = w - mu v, v+ = momentum v + gradient, v = 0 at first."""
    v = w
    for step in range(steps):
        found = gradient(w, rng)
        v = momentum * v + found if momentum and step else found
        w = w - mu * v
    return w


def check_training(name: str, epochs: int, steps: int | None, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """Refuse what is no training."""
    for key, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise ConfigError(f"'{name}' has {key}={value}. It must be at least 1.")
    if not 0 <= momentum < 1:
        raise ConfigError(f"'{name}' has momentum={momentum}. momentum is a share, at least 0 and below 1.")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ConfigError(f"'{name}' has weight_decay={weight_decay}. It must be a finite number of at least 0.")
