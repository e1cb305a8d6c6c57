"""What gradients are divided by before tasks are weighed, so that a task counts by more than its units."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from dmtl.errors import unknown
from dmtl.types import Task, Vec, View

__all__ = ["Normalise", "Slope", "check_normalise", "rescaled", "slope"]

Normalise = Literal["none", "l2", "loss", "loss+"]
"""1, the gradient's length, the loss, or both multiplied"""


class Slope(NamedTuple):
    """A task's gradient, and what it is divided by where tasks are weighed."""

    g: Vec
    """(d,)"""
    scale: float
    """c, in the precision of messages"""


def check_normalise(method: str, normalise: str) -> None:
    """Refuse what is no normaliser."""
    if normalise not in get_args(Normalise):
        raise unknown(f"normalise of '{method}'", normalise, get_args(Normalise))


def slope(normalise: str, x: Vec, part: slice, task: Task, view: View, ahead: int) -> Slope:
    """The gradient at ``x`` (d,) on the batch of this round or ``ahead``; lengths are of the ``part`` that weighs."""
    loss = task.loss(x, view.batch(ahead)) if normalise in ("loss", "loss+") else 1.0
    g = task.grad(x, view.batch(ahead))
    length = float(np.linalg.norm(g[part])) if normalise in ("l2", "loss+") else 1.0
    scale = float(x.dtype.type(loss * length))
    return Slope(g, scale if scale > 0 and np.isfinite(scale) else 1.0)


def rescaled(alpha: Vec, scales: Vec) -> Vec:
    """The weights (T,) of the gradients themselves, which sum to one, from those of the gradients over ``scales``."""
    weights = alpha / scales
    found: Vec = weights / weights.sum()
    return found
