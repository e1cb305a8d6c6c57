"""The one product that every averaging method makes in every round."""

from __future__ import annotations

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["weighted_sum"]

SMALL = 4096
"""Numbers up to which ``dot`` is quicker to call than ``matmul``; beyond, ``dot`` would copy rows with gaps between."""


def weighted_sum(weights: Vec, rows: Mat) -> tuple[Vec, float]:
    """Return ``weights @ rows`` (d,) and its squared norm, which is not finite if any row was not.

    The squared norm costs little and spares a pass over all rows in search of a NaN.
    """
    value = weights.dot(rows) if rows.size <= SMALL else np.matmul(weights, rows)
    return value, value.dot(value)
