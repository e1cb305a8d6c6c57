"""The one product that every averaging method makes in every round."""

from __future__ import annotations

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["TILE", "weighted_sum"]

TILE = 16384
"""Columns summed at a time: their result is still in the cache when its norm is taken."""


def weighted_sum(weights: Vec, rows: Mat) -> tuple[Vec, float]:
    """Return ``weights @ rows`` (d,) and its squared norm, which is not finite if any row was not.

    The squared norm costs almost nothing here and spares a pass over all rows in search of a NaN.
    """
    if rows.size <= TILE:
        value = weights.dot(rows)
        return value, value.dot(value)
    d = rows.shape[1]
    value = np.empty(d, rows.dtype)
    square = 0.0
    for start in range(0, d, TILE):
        part = value[start : start + TILE]
        np.dot(weights, rows[:, start : start + TILE], out=part)
        square += part.dot(part)
    return value, square
