"""Lifts of penalties of singular values: the shared variable is a symmetric matrix (d, d)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Any, ClassVar

import numpy as np

from dmtl.lifts.lift import Pair
from dmtl.penalties.symmetric import length, order, square, triangle
from dmtl.types import Mat, Vec

__all__ = ["Fraction", "Trace", "pack", "unpack"]

_ROOT = sqrt(2)


def pack(matrix: Mat) -> Vec:
    """The upper triangle of a symmetric matrix (d, d), row by row, sqrt 2 times what is beside the diagonal.

    So inner products and lengths are those of matrices.
    """
    return triangle(matrix) * _weights(len(matrix), matrix.dtype)


def unpack(packed: Vec) -> Mat:
    """The symmetric matrix (d, d)."""
    return square(packed / _weights(order(packed), packed.dtype))


def _weights(d: int, dtype: np.dtype[Any]) -> Vec:
    return triangle(np.where(np.eye(d, dtype=bool), 1.0, _ROOT)).astype(dtype)


def raised(u: Vec, z: Vec) -> Pair:
    """The projection of ((D, w), (w', s)) on the positive semidefinite matrices; u = (sqrt 2 w, s), z = D packed."""
    d = len(u) - 1
    whole = np.empty((d + 1, d + 1), u.dtype)
    whole[:d, :d] = unpack(z)
    whole[d, :d] = whole[:d, d] = u[:d] / _ROOT
    whole[d, d] = u[d]
    values, vectors = np.linalg.eigh(whole)
    up = vectors[:, values > 0]
    whole = (up * values[values > 0]) @ up.T
    return np.append(whole[:d, d] * _ROOT, whole[d, d]), pack(whole[:d, :d])


def _sizes(here: object, d: int) -> tuple[int, int]:
    """u is sqrt 2 w and s, z the matrix."""
    return d + 1, length(d)


def _model(here: object, u: Vec, z: Mat) -> Vec:
    """w."""
    return u[:-1] / _ROOT


@dataclass(frozen=True, slots=True)
class Trace:
    """Trace norm: phi_t = strength / (2 sqrt T) (s_t + tr D) where ((D, w), (w', s_t)) >= 0, else infinite.

    The least s_t is w' D^-1 w, the best D is (W W')^(1/2) / sqrt T, and the sum is then the trace norm times strength.
    What is ours: with 1 / sqrt T in D, s and D have sizes that fit; w counts twice in the distance of matrices, so
    sqrt 2 w is what is kept, and the gradient is half as steep.
    """

    strength: float
    ranks: int

    copies: ClassVar[int] = 1
    smooth: ClassVar[bool] = False

    sizes = _sizes
    model = column = _model

    def start(self, x0: Vec) -> Pair:
        """The best D for models that are all the same."""
        size = float(np.linalg.norm(x0))
        return np.append(x0 * _ROOT, x0.dtype.type(size)), pack(np.outer(x0, x0 / (size or 1)))[None]

    def steepness(self, smoothness: float) -> float:
        """Half of that of the loss."""
        return smoothness / 2

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """That of the loss; none for s and D."""
        return np.append(g / _ROOT, g.dtype.type(0)), np.zeros_like(z)

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """Take the costs away, then project: one eigendecomposition."""
        cost = step * self.strength / (2 * sqrt(self.ranks))
        d = len(u) - 1
        lower, less = u.copy(), z[0] - cost * pack(np.eye(d, dtype=z.dtype))
        lower[d] -= cost
        w, packed = raised(lower, less)
        return w, packed[None]


@dataclass(frozen=True, slots=True)
class Fraction:
    """c w' A^-1 w and ridge / 2 |w|^2, with low <= A <= high and tr A <= low d + room, the order that of eigenvalues.

    phi_t = c s_t where ((A, w), (w', s_t)) >= 0, and A is within those bounds.
    Clusters of tasks: c = strength eta (1 + eta), low = eta, high = 1 + eta, room = k. The squared trace norm, and
    learned relations: c = strength / 2, low = 0, no highest, room = 1.
    What is ours: w' A^-1 w has no Lipschitz gradient, so that no step is safe for all w. Both conditions have a
    projection, together they have none: a rank holds a copy of A for each. A is kept in units of its start, which is
    the multiple of I that fits its bounds: for models of a size near 1 steps for w and A then fit each other.
    """

    cost: float
    low: float = 0.0
    high: float = inf
    room: float = 1.0
    ridge: float = 0.0

    copies: ClassVar[int] = 2
    """one for w, one for the bounds"""
    smooth: ClassVar[bool] = False

    sizes = _sizes
    model = column = _model

    def start(self, x0: Vec) -> Pair:
        """A multiple of I."""
        packed = pack(np.eye(len(x0), dtype=x0.dtype))
        return np.append(x0 * _ROOT, x0.dtype.type(float(x0 @ x0))), np.stack([packed, packed])

    def steepness(self, smoothness: float) -> float:
        """Half of that of the loss and the ridge."""
        return (smoothness + self.ridge) / 2

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """That of the loss and the ridge; none for s and A."""
        return np.append(g / _ROOT + self.ridge / 2 * u[:-1], g.dtype.type(0)), np.zeros_like(z)

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """One copy as of the trace norm, the other by its eigenvalues."""
        unit = self._unit(len(u) - 1)
        lower = u.copy()
        lower[-1] -= step * self.cost / unit
        w, packed = raised(lower, z[0])
        values, vectors = np.linalg.eigh(unpack(z[1]))
        low, high = self.low / unit, self.high / unit
        within = low + filled(values - low, high - low, self.room / unit)
        return w, np.stack([packed, pack((vectors * within) @ vectors.T)])

    def _unit(self, d: int) -> float:
        return self.low + min(self.high - self.low, self.room / d)


def filled(values: Vec, high: float, room: float) -> Vec:
    """The nearest to ``values`` (d,) of all in [0, high] whose sum is at most ``room``."""
    within: Vec = np.clip(values, 0, high)
    if float(within.sum()) <= room:
        return within
    corners = np.sort(np.concatenate((values, values - high, [0]) if high < inf else (values, [0])))
    sums = np.clip(np.subtract.outer(values, corners), 0, high).sum(axis=0)
    after = int(np.flatnonzero(sums <= room)[0])  # not the first: at 0 the sum is too large, and so it is before
    low, top = corners[after - 1], corners[after]
    by = top - (top - low) * ((room - sums[after]) / (sums[after - 1] - sums[after]))
    nearest: Vec = np.clip(values - by, 0, high)
    return nearest
