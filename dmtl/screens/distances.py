"""What the screens by distance share: lengths of the differences from the own vector, and the clipped average."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.sums import weighted_sum
from dmtl.types import Mat, Mixed, Vec

__all__ = ["clipped_average", "distances", "shares", "tiles"]

TILE = 16384
"""columns worked on at a time, so that they stay in the cache"""
_FAINT = 1e-290
"""a squared length below this has lost digits to underflow"""
_LIFT = 2.0**900
"""takes the shortest vectors that float64 can hold to where their squares are exact"""


def tiles(d: int) -> Iterator[slice]:
    """Cut ``d`` columns into runs that fit in the cache."""
    return (slice(start, min(start + TILE, d)) for start in range(0, d, TILE))


def distances(rows: Mat) -> NDArray[np.float64]:
    """Euclidean distances (k,) of ``rows[1:]`` from ``rows[0]``, right from the smallest subnormal up to 1e150."""
    squares = _squares(rows, slice(1, None), 1.0)
    length = np.sqrt(squares)
    faint = squares < _FAINT
    if faint.any():
        length[faint] = np.sqrt(_squares(rows, 1 + np.flatnonzero(faint), _LIFT)) / _LIFT
    return length


def _squares(rows: Mat, which: Any, lift: float) -> NDArray[np.float64]:
    """Squared lengths of ``lift`` times the differences, summed in float64 whatever the rows are in."""
    total = np.zeros(len(rows[which, :1]))
    for tile in tiles(rows.shape[1]):
        part = np.subtract(rows[which, tile], rows[0, tile], dtype=np.float64)
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


def clipped_average(rows: Mat, weights: Vec, share: NDArray[np.float64]) -> Mixed:
    """x + sum_j w_j s_j (x_j - x) as one product; all s_j = 1 gives the plain average bit for bit."""
    used = weights[1:] * share
    own = weights[0] + np.sum(weights[1:] - used)
    factors = np.concatenate(([own], used)).astype(rows.dtype)
    return Mixed(weighted_sum(factors, rows)[0], share)
