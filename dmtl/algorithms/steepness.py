"""One step size for all ranks: what the steepest task asks for, heard of along the way."""

from __future__ import annotations

from typing import cast

import numpy as np

from dmtl.capabilities import Smooth
from dmtl.schedules import Schedule, rate
from dmtl.types import Mask, Task, Vec

__all__ = ["own_steepness", "steepest", "step"]


def own_steepness(schedule: Schedule | None, task: Task, x0: Vec) -> float:
    """The Lipschitz constant of the task's gradient where no step is given, with the digits of ``x0``; else 0."""
    return float(x0.dtype.type(cast(Smooth, task).smoothness)) if schedule is None else 0.0


def steepest(own: float, said: Vec, valid: Mask) -> float:
    """The larger of the own number and the neighbours' (k,): after as many rounds as the diameter, of all."""
    return max(own, float(said[valid].max(initial=0.0)))


def step(schedule: Schedule | None, round: int, steep: float) -> float:
    """The schedule's value, or for None 1 / L, L the largest constant heard of."""
    if schedule is None:
        return 1 / steep if steep > 0 and np.isfinite(steep) else 0.0
    return rate(schedule, round)
