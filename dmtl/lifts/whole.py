"""Lifts whose shared variable is as long as a model."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from dmtl.lifts.lift import Pair
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Vec

__all__ = ["Common", "Heights", "Lengths", "Middle"]

_NEWTON = 60
"""steps after which a root is found from any start: each takes a third off at least, until they double its digits"""


def _sizes(here: object, d: int) -> tuple[int, int]:
    """(d, d)."""
    return d, d


def _own(here: object, u: Vec, z: Mat) -> Vec:
    """u."""
    return u


def _steepness(here: object, smoothness: float) -> float:
    """That of the loss."""
    return smoothness


def _grad(here: object, u: Vec, z: Mat, g: Vec) -> Pair:
    """That of the loss; none for z."""
    return g, np.zeros_like(z)


@dataclass(frozen=True, slots=True)
class Common:
    """One model x for all ranks, z = x: each pays its share g(x) / T of a penalty on it."""

    penalty: Penalty | None
    ranks: int

    copies: ClassVar[int] = 1

    steepness = _steepness

    @property
    def smooth(self) -> bool:
        """Without a penalty."""
        return self.penalty is None

    def sizes(self, d: int) -> tuple[int, int]:
        """(0, d)."""
        return 0, d

    def start(self, x0: Vec) -> Pair:
        """The model."""
        return x0[:0], x0[None]

    def model(self, u: Vec, z: Mat) -> Vec:
        """z."""
        x: Vec = z[0]
        return x

    column = model

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """That of the loss."""
        return u, g[None]

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """That of the penalty on a single column."""
        return (u, z) if self.penalty is None else (u, self.penalty.prox(z.T, step / self.ranks).T)


@dataclass(frozen=True, slots=True)
class Middle:
    """Models near their mean: phi_t = strength / 2 |w - z|^2; the best z is the mean."""

    strength: float

    copies: ClassVar[int] = 1
    smooth: ClassVar[bool] = True

    sizes = _sizes
    model = column = _own

    def start(self, x0: Vec) -> Pair:
        """The mean of models that are all the same."""
        return x0, x0[None]

    def steepness(self, smoothness: float) -> float:
        """Largest eigenvalue of ((L + a, -a), (-a, a)), a the strength."""
        return self.strength + smoothness / 2 + sqrt(smoothness**2 / 4 + self.strength**2)

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """Both pull at each other."""
        pull = self.strength * (u - z[0])
        return g + pull, -pull[None]

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """There is no other part."""
        return u, z


@dataclass(frozen=True, slots=True)
class Lengths:
    """Joint sparsity: phi_t = strength / (2 sqrt T) sum_j (w_j^2 / z_j + z_j); the best z_j is |w^j| / sqrt T.

    What is ours: z is the root of the mean square of a row, and not its length, so that it has the size of the numbers
    in that row; with a size that is sqrt T times that, steps for w and z fit each other badly. Rows that are 0 in the
    limit come to be 0 on some ranks only, and on the others nearer to it in every round: so a row is reported as 0
    where it and its z are below the root of the machine's precision times the largest z. Iterates stay as they are.
    """

    strength: float
    ranks: int

    copies: ClassVar[int] = 1
    smooth: ClassVar[bool] = False

    sizes = _sizes
    model = _own
    steepness = _steepness
    grad = _grad

    def start(self, x0: Vec) -> Pair:
        """The best z for models that are all the same."""
        return x0, np.abs(x0)[None]

    def column(self, u: Vec, z: Mat) -> Vec:
        """u, exactly 0 where it and z are next to nothing beside the largest z."""
        least = sqrt(float(np.finfo(z.dtype).eps)) * float(z[0].max(initial=0.0))
        return np.where(np.maximum(z[0], np.abs(u)) > least, u, u.dtype.type(0))

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """Feature by feature; both are exactly 0 where they are so little that w^2 <= -2 c z, c the weight."""
        force = step * self.strength / sqrt(self.ranks)
        if force == 0:
            return u, np.maximum(z, 0)
        w, s = perspective(u, z[0] - force / 2, force)
        return w, s[None]


@dataclass(frozen=True, slots=True)
class Heights:
    """Peaks of rows: phi_t = strength / T sum_j z_j where |w_j| <= z_j, else infinite; the best z_j is max_t |w_jt|."""

    strength: float
    ranks: int

    copies: ClassVar[int] = 1
    smooth: ClassVar[bool] = False

    sizes = _sizes
    steepness = _steepness
    grad = _grad
    model = column = _own

    def start(self, x0: Vec) -> Pair:
        """The best z for models that are all the same."""
        return x0, np.abs(x0)[None]

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """The projection of each (w_j, z_j - step strength / T) on the cone |w_j| <= z_j."""
        size, height = np.abs(u), z[0] - step * self.strength / self.ranks
        half = np.maximum((size + height) / 2, 0)
        within = size <= height
        return np.where(within, u, np.sign(u) * half), np.where(within, height, half)[None]


def perspective(a: Vec, b: Vec, force: float) -> Pair:
    """argmin over w and s >= 0 of force w^2 / (2 s) + |w - a|^2 / 2 + |s - b|^2 / 2, elementwise, for ``force`` > 0.

    force w^2 / (2 s) is the support function of force times {(p, r): r <= -p^2 / 2}; so the map takes away the
    projection on that set, whose point (p, -p^2 / 2) has p^3 / 2 + (1 + b / force) p = a / force, with the sign of a.
    """
    reach, slope = np.abs(a) / force, 1 + b / force
    p = (2 * reach) ** (1 / 3) + np.sqrt(2 * np.maximum(-slope, 0))
    for _ in range(_NEWTON):  # convex above 0, and from above the root: each step stays above it
        turn = 1.5 * p * p + slope
        less = p - np.divide(p**3 / 2 + slope * p - reach, turn, out=np.zeros_like(p), where=turn > 0)
        less = np.clip(less, 0, p)
        if np.array_equal(less, p):
            break
        p = less
    out = b > -a * a / (2 * force)
    w = np.where(out, np.sign(a) * np.maximum(np.abs(a) - force * p, 0), 0)
    return w, np.where(out, np.maximum(b + force * p * p / 2, 0), 0)
