"""The weight step of a graph that is learnt: the exact minimum over the weight of one edge, for many edges at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["best_weights"]

HALVINGS = 64
Numbers = NDArray[np.floating[Any]]


def best_weights(price: Numbers, here: Numbers, there: Numbers, barrier: float, spread: float) -> Numbers:
    """argmin over w >= 0 of price w + barrier (spread w^2 / 2 - log(here + w) - log(there + w)), (k,), in double.

    ``here`` and ``there``, at least 0, are what the degrees of the two ends are without this edge; to change them round
    changes no bit of the result. barrier and spread are above 0. By bisection of the derivative, which rises with w.
    """
    price, here, there = (np.asarray(numbers, np.float64) for numbers in (price, here, there))
    low, high = np.zeros_like(price), _beyond(price, 2 * barrier, barrier * spread)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = price + barrier * spread * middle - barrier * (1 / (middle + here) + 1 / (middle + there))
        low, high = np.where(slope > 0, low, middle), np.where(slope > 0, middle, high)
    needless = (price * here * there >= barrier * (here + there)) & (here + there > 0)  # it rises from 0 on
    return np.where(needless, 0.0, (low + high) / 2)


def _beyond(price: Numbers, pull: float, stiffness: float) -> Numbers:
    """The positive root of stiffness w^2 + price w = pull, which is the weight if both ends have no other edge."""
    root = np.sqrt(price**2 + 4 * stiffness * pull)
    beyond: Numbers = np.where(price > 0, 2 * pull / (np.abs(price) + root), (root - price) / (2 * stiffness))
    return beyond
