"""What the screens by distance share: lengths of differences, who is left without the farthest, and two averages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.sums import weighted_sum
from dmtl.types import Mat, Mixed, Vec
from dmtl.verdicts import Why

__all__ = [
    "clipped_average",
    "combined",
    "distances",
    "heaviest",
    "kept_mean",
    "lengths",
    "radius",
    "shares",
    "spared",
    "tiles",
]

TILE = 16384
"""columns worked on at a time, so that they stay in the cache"""
_FAINT = 1e-290
"""a squared length below this has lost digits to underflow"""
_LIFT = 2.0**900
"""takes the shortest vectors that float64 can hold to where their squares are exact"""
_EQUAL = 1e-9
"""distances and weights that differ by less, relatively, are equal: what rounding parts must not be told apart"""


def tiles(d: int) -> Iterator[slice]:
    """Cut ``d`` columns into runs that fit in the cache."""
    return (slice(start, min(start + TILE, d)) for start in range(0, d, TILE))


def distances(rows: Mat) -> NDArray[np.float64]:
    """Euclidean distances (k,) of ``rows[1:]`` from ``rows[0]``, right from the smallest subnormal up to 1e150."""
    return lengths(rows[1:], rows[0])


def lengths(rows: Mat, centre: Vec) -> NDArray[np.float64]:
    """Euclidean distances (m,) of ``rows`` (m, d) from ``centre`` (d,), as right as ``distances``.

    Differences of float32 are taken in float32, where they are right to their last digit: this halves the time.
    """
    squares = _squares(rows, centre, rows.dtype, 1.0)
    length = np.sqrt(squares)
    faint, huge = squares < _FAINT, ~(squares < np.inf)
    for row in np.flatnonzero(faint | huge):  # again, where the differences do not underflow or overflow
        lift = _LIFT if faint[row] else 1.0
        length[row] = np.sqrt(_squares(rows[row : row + 1], centre, np.dtype(np.float64), lift)[0]) / lift
    return length


def _squares(rows: Mat, centre: Vec, dtype: np.dtype[Any], lift: float) -> NDArray[np.float64]:
    """Squared lengths of ``lift`` times the differences, taken in ``dtype`` and summed in float64."""
    total = np.zeros(len(rows))
    for tile in tiles(rows.shape[1]):
        with np.errstate(over="ignore"):
            part = np.subtract(rows[:, tile], centre[tile], dtype=dtype).astype(np.float64, copy=False)
        if lift != 1.0:
            part *= lift
        total += np.vecdot(part, part)
    return total


def shares(distance: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    """min(1, tau / d_j), (k,): what clipping at ``tau`` leaves of each difference, 1 where there is none."""
    share = np.ones(len(distance))
    far = distance > tau
    share[far] = tau / distance[far]
    return share


def heaviest(weights: Vec, b: int) -> float:
    """Weight that ``b`` of the neighbours with ``weights`` (k,) have at most: b times the largest."""
    return b * float(weights.max(initial=0.0))


def spared(distance: NDArray[np.float64], weights: Vec, drop: float) -> NDArray[np.float64]:
    """What is left of each neighbour, a share (k,), when the farthest of total weight ``drop`` go.

    The one at the border goes in part; those equally far share what is left there.
    """
    if drop == 0 or not len(weights):
        return np.ones(len(weights))
    order = distance.argsort(kind="stable")
    nearest, within = distance[order], weights[order].cumsum(dtype=np.float64)
    left = float(within[-1]) - drop
    share = np.zeros(len(weights))
    if left <= _EQUAL * drop:
        return share
    border = float(nearest[within.searchsorted(left * (1 - _EQUAL))])
    first = int(nearest.searchsorted(border * (1 - _EQUAL)))
    last = int(nearest.searchsorted(border * (1 + _EQUAL), "right"))
    inside = float(within[first - 1]) if first else 0.0
    rest = (left - inside) / (float(within[last - 1]) - inside)
    share[order[:first]] = 1.0
    share[order[first:last]] = 1.0 if rest > 1 - _EQUAL else rest
    return share


def radius(distance: NDArray[np.float64], weights: NDArray[np.float64], delta: float) -> float:
    """sqrt((1 / delta) sum_j w_j d_j^2), infinity for delta = 0: He, Karimireddy and Jaggi's clipping radius."""
    if delta == 0:
        return np.inf
    heard = weights > 0
    longest = distance[heard].max(initial=0.0)
    if longest == 0:
        return 0.0
    return float(longest * np.sqrt(np.sum(weights[heard] * (distance[heard] / longest) ** 2) / delta))


def clipped_average(rows: Mat, weights: Vec, share: NDArray[np.float64]) -> Mixed:
    """x + sum_j w_j s_j (x_j - x) as one product; all s_j = 1 gives the plain average bit for bit, all 0 gives x."""
    used = weights[1:] * share
    own = weights[0] + np.sum(weights[1:] - used)
    return combined(rows, np.concatenate(([own], used)), share)


def kept_mean(rows: Mat, weights: Vec, share: NDArray[np.float64]) -> Mixed:
    """(w_0 x + sum_j w_j s_j x_j) / (w_0 + sum_j w_j s_j); as ``clipped_average`` where nobody or everybody is left."""
    if np.all(share == 1) or not share.any():
        return clipped_average(rows, weights, share)
    factors = np.concatenate((weights[:1], weights[1:] * share))
    return combined(rows, factors / factors.sum(), share)


def combined(rows: Mat, factors: Vec, share: NDArray[np.float64]) -> Mixed:
    """One product with ``factors`` (1 + k,), or the own vector where all ``share`` (k,) are 0; too far are the rest."""
    value = weighted_sum(factors.astype(rows.dtype), rows)[0] if share.any() else rows[0].copy()
    return Mixed(value, share, (), np.int8(Why.FAR) * (share < 1))
