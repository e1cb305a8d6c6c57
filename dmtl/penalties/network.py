"""The network lasso's penalty on a matrix: norms of the differences over the graph's edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.penalties.checks import check_strength
from dmtl.penalties.momentum import momentum
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Vec

__all__ = ["Fused", "OnEdges"]

_STEPS = 20_000
_CLOSE = 1e-15
"""gap of the proximal map's own problem, over the size of its terms, at which it is solved"""


@dataclass(frozen=True, slots=True)
class Fused:
    """Network lasso: strength sum_{edges st} a_st |w_s - w_t|_2, a the graph's edge weights, 1 if it has none.

    Its proximal map has no closed form: it is found from its dual, by accelerated projected gradients, to rounding. It
    is meant for the oracle; the method 'network-lasso' needs no such map.
    Hallac, Leskovec and Boyd, KDD 2015.
    """

    strength: float = 0.1
    """weight of the norms, at least 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_strength("network-lasso", self.strength)

    def linked(self, edges: NDArray[np.int64], weights: Vec, tasks: int) -> Penalty:
        """The penalty on that graph."""
        return OnEdges(self.strength * weights, edges)


class OnEdges(NamedTuple):
    """The penalty of a graph that it knows."""

    force: Vec
    """(m,) strength times the edges' weights"""
    edges: NDArray[np.int64]
    """(m, 2)"""

    @property
    def copies(self) -> int:
        """1."""
        return 1

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return float(np.sum(self.force * np.linalg.norm(self._gaps(w), axis=0)))

    def prox(self, v: Mat, step: float) -> Mat:
        """V - sum_e y_e (e_s - e_t)', y the maximiser of the dual: |y_e| <= step force_e."""
        if not len(self.edges):
            return v
        radius = step * self.force
        y = ahead = np.zeros((len(v), len(self.edges)), v.dtype)
        rate = 1 / (2 * float(np.bincount(self.edges.ravel()).max()))  # 1 / the largest eigenvalue that L can have
        t = 1.0
        for _ in range(_STEPS):
            before, y = y, _inside(ahead + rate * self._gaps(self._pulled(v, ahead)), radius)
            share, t = momentum(t, float(np.sum((ahead - y) * (y - before))) > 0)
            ahead = y + share * (y - before)
            w = self._pulled(v, y)
            gaps = self._gaps(w)
            primal = float(radius @ np.linalg.norm(gaps, axis=0))
            if primal - float(np.sum(y * gaps)) <= _CLOSE * (primal + float(np.sum(v * v))):
                break
        return self._pulled(v, y)

    def _gaps(self, w: Mat) -> Mat:
        """(d, m) w_s - w_t."""
        gaps: Mat = w[:, self.edges[:, 0]] - w[:, self.edges[:, 1]]
        return gaps

    def _pulled(self, v: Mat, y: Mat) -> Mat:
        """V less what the edges pull."""
        w = v.copy()
        np.subtract.at(w.T, self.edges[:, 0], y.T)
        np.add.at(w.T, self.edges[:, 1], y.T)
        return w


def _inside(y: Mat, radius: Vec) -> Mat:
    """Each column (d,) at most ``radius`` (m,) long."""
    inside: Mat = y / np.maximum(np.linalg.norm(y, axis=0) / np.maximum(radius, 1e-300), 1.0)
    return inside
