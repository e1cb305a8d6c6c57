"""A task's loss on a subspace: its minimiser there, by Newton's method."""

from __future__ import annotations

from typing import cast

import numpy as np

from dmtl.capabilities import Curved
from dmtl.types import Mat, Task, Vec

__all__ = ["refit"]

STEPS = 100
"""ten are common, and one is all that a quadratic needs"""
HALVINGS = 40
ROUNDING = 32
"""a number of so many roundings is as small as it gets"""


def refit(task: Task, basis: Mat, start: Vec, ridge: float = 0.0) -> Vec:
    """argmin_v f(B v) + ridge / 2 |v|^2, (r,), in double precision; of several the one that is nearest to ``start``.

    A step is halved until the value falls by a tenth of what its slope promises. Once rounding hides the value, full
    steps are taken for as long as they halve the gradient.
    """
    wide = basis.astype(np.float64)

    def value(v: Vec) -> float:
        return task.loss(wide @ v) + ridge / 2 * float(v @ v)

    def gradient(v: Vec) -> Vec:
        return wide.T @ task.grad(wide @ v) + ridge * v

    v, rounding = start.astype(np.float64), ROUNDING * float(np.finfo(np.float64).eps)
    here, g = value(v), gradient(v)
    for _ in range(STEPS):
        hessian = wide.T @ cast(Curved, task).curvature(wide @ v) @ wide + ridge * np.eye(len(v))
        if np.linalg.norm(g) <= rounding * np.linalg.norm(hessian) * np.linalg.norm(v):
            return v
        step = np.linalg.lstsq(hessian, g)[0]
        promise, noise = float(g @ step), rounding * abs(here)
        length, reached = 1.0, value(v - step)
        while reached > here + noise - length * promise / 10 and length > 0.5**HALVINGS:
            length /= 2
            reached = value(v - length * step)
        after = v - length * step
        slope = gradient(after)
        if promise <= noise and np.linalg.norm(slope) >= np.linalg.norm(g) / 2:
            return v
        v, here, g = after, reached, slope
    return v
