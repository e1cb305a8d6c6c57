"""Newton's method for the proximal maps without a closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dmtl.types import Vec

__all__ = ["Function", "conjugate_gradients", "newton"]

ROUNDING = 32
"""a number of so many roundings of its own terms is as small as it gets"""
STEPS = 200
"""ten are common; it takes rows with margins of millions and no ridge to speak of to run out of them"""
HALVINGS = 60


class Function(NamedTuple):
    """What is minimised: smooth and strongly convex."""

    value: Callable[[Vec], float]
    gradient: Callable[[Vec], Vec]
    solve: Callable[[Vec, Vec], Vec]
    """the Newton step s (d,) at p for the gradient g: H(p) s = g, if need be roughly"""
    steepness: float
    """Lipschitz constant of the gradient: it tells what rounding alone does to it"""


def newton(function: Function, start: Vec) -> Vec:
    """Return the minimiser (d,), to the precision of ``start``'s type.

    A step is halved until the value falls by a tenth of what its slope promises. The value stops to tell points apart
    long before the gradient does: from there on full steps are taken for as long as they shrink the gradient.

    Reference: S. Boyd and L. Vandenberghe, Convex Optimization, section 9.5, 2004.
    """
    p, value, g = start.copy(), function.value(start), function.gradient(start)
    rounding = ROUNDING * float(np.finfo(p.dtype).eps)
    scale = _norm(g) + function.steepness * _norm(start)
    for _ in range(STEPS):
        if not _norm(g) > rounding * (scale + function.steepness * _norm(p)):
            break
        step = function.solve(p, g)
        promise, noise = float(g @ step), rounding * abs(value)
        q, value = _shorten(function.value, p, step, value + noise, promise / 10)
        g_q = function.gradient(q)
        if q is p or (promise <= noise and _norm(g_q) >= _norm(g)):
            break
        p, g = q, g_q
    return p


def _norm(w: Vec) -> float:
    return float(np.linalg.norm(w))


def _shorten(value: Callable[[Vec], float], p: Vec, step: Vec, ceiling: float, slope: float) -> tuple[Vec, float]:
    """Go the longest of the steps 1, 1/2, 1/4 .. after which the value is below ``ceiling - length * slope``."""
    for halving in range(HALVINGS):
        length = 0.5**halving
        q = p - length * step
        reached = value(q)
        if reached <= ceiling - length * slope:
            return q, reached
    return p, ceiling


def conjugate_gradients(product: Callable[[Vec], Vec], b: Vec, tolerance: float) -> Vec:
    """Solve A s = b, for A (d, d) symmetric and positive definite, known by its ``product``, to |A s - b| <= tol |b|.

    Reference: M. Hestenes and E. Stiefel, Methods of conjugate gradients, J. Research NBS, 1952.
    """
    s, r, direction = np.zeros_like(b), b, b
    square: Any = r @ r
    goal = tolerance**2 * square
    for _ in range(2 * b.size + 10):
        if square <= goal:
            break
        image = product(direction)
        curvature = direction @ image
        if not curvature > 0:  # rounding has eaten the smallest eigenvalues: what is found so far has to do
            break
        length = square / curvature
        s, r = s + length * direction, r - length * image
        square, before = r @ r, square
        direction = r + (square / before) * direction
    return s
