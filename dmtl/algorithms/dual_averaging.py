"""What the forms of online learning with a learned relation have in common: dual averaging with a capped loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from dmtl.capabilities import Reweighting
from dmtl.rng import Purpose, stream
from dmtl.schedules import Schedule, rate
from dmtl.types import Task, Vec, View

__all__ = ["DualAveraging", "common"]

_SHIFT = 1e-8
"""added to a loss whose power is negative"""


@dataclass(frozen=True, slots=True)
class DualAveraging:
    """w = x0 - eta_t pull, a + grad: the settings of the local half, and its functions."""

    step_size: Schedule
    p: float
    cap: float | None
    g: float | str

    @property
    def reweighs(self) -> bool:
        """Whether rows have weights."""
        return self.p != 1 or self.cap is not None

    def gradient(self, w: Vec, task: Task, view: View) -> Vec:
        """(d,) of phi(h) = min(h^p, cap), a mean over the rows."""
        if not self.reweighs:
            return task.grad(w, view.batch())
        return cast(Reweighting, task).reweighted_grad(w, self.slopes, view.batch())

    def learnt(self, start: Vec, a: Vec, pull: Callable[[Vec], Vec], task: Task, view: View) -> tuple[Vec, Vec]:
        """The next model and dual variable, (d,) each, after this round's rows; ``pull`` is of the dual variable."""
        a = a + self.gradient(self.model(start, pull(a), view.round), task, view)
        return self.model(start, pull(a), view.round + 1), a

    def slopes(self, losses: Vec) -> Vec:
        """phi'(h): p h^(p-1) up to the cap, 0 beyond."""
        shift = losses.dtype.type(_SHIFT if self.p < 1 else 0)
        slopes: Vec = self.p * (losses + shift) ** (self.p - 1)
        return slopes if self.cap is None else np.where(losses**self.p <= self.cap, slopes, losses.dtype.type(0))

    def model(self, start: Vec, pull: Vec, round: int) -> Vec:
        """The model that the rows of ``round`` meet."""
        return start - rate(self.step_size, round) * pull

    def towards(self, steps: int) -> float:
        """The Frank-Wolfe step after so many."""
        return 2 / (steps + 3) if isinstance(self.g, str) else self.g


def common(x: Vec, view: View) -> Vec:
    """(d,) a random vector like ``x`` that all ranks draw alike."""
    drawn: Vec = stream(view.seed, Purpose.INIT).standard_normal(len(x)).astype(x.dtype)
    return drawn
