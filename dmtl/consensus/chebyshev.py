"""Averages to any precision in the fewest rounds that the two ends of the spectrum allow: Chebyshev gossip."""

from __future__ import annotations

from math import acosh, ceil, inf, sqrt
from typing import NamedTuple

import numpy as np

from dmtl.consensus.exact import apart
from dmtl.types import Mask, Mat, Vec

__all__ = ["Chebyshev", "contraction", "needed"]


class Chebyshev(NamedTuple):
    """A vector on its way to the average of all ranks' vectors, by steps with momentum.

    After k rounds it is p_k(L) x, p_k the polynomial of degree k with p_k(0) = 1 that is least on [lo, hi], where all
    nonzero eigenvalues of the Laplacian L lie: a Chebyshev polynomial. With theta = (hi + lo) / 2 and
    delta = (hi - lo) / 2, the first round is p = -L x / theta, x <- x + p, r = delta / theta, a later one
    c = 1 / (2 theta - delta r), p <- delta c r p - 2 c L x, x <- x + p, r <- delta c.
    The distance from the average, over all ranks, is at most 2 s^k / (1 + s^2k) times what it was, s =
    (sqrt(hi) - sqrt(lo)) / (sqrt(hi) + sqrt(lo)) (``contraction``); a plain average needs about sqrt(hi / lo) times as
    many rounds. It is worth its while where the exact average (``Averaging``) would take too many rounds, or where the
    precision may come little by little. Sums are kept by every round. A message that does not come counts as the own
    vector.

    Golub and Varga, "Chebyshev semi-iterative methods, successive over-relaxation iterative methods, and second order
    Richardson iterative methods", Numerische Mathematik 3, 1961.
    """

    x: Vec
    """(q,) what is said to all neighbours"""
    p: Vec
    """(q,) the last step"""
    r: float = 0.0
    """delta over what divided the last step"""
    done: int = 0
    """rounds that it has gone through"""

    @classmethod
    def start(cls, x: Vec) -> Chebyshev:
        """Before its first round."""
        return cls(x, np.zeros_like(x))

    def heard(self, messages: Mat, valid: Mask, lo: float, hi: float) -> Chebyshev:
        """One round on, with the neighbours' vectors (k, q)."""
        pull = apart(self.x, messages, valid)
        theta, delta = (hi + lo) / 2, (hi - lo) / 2
        if not self.done:
            p = -pull / theta
            return Chebyshev(self.x + p, p, delta / theta, 1)
        share = 1 / (2 * theta - delta * self.r)
        p = delta * share * self.r * self.p - 2 * share * pull
        return Chebyshev(self.x + p, p, delta * share, self.done + 1)


def contraction(lo: float, hi: float) -> float:
    """What a round takes the distance from the average down to, in the long run: s."""
    return (sqrt(hi) - sqrt(lo)) / (sqrt(hi) + sqrt(lo))


def needed(precision: float, lo: float, hi: float) -> int:
    """Rounds after which the distance from the average is at most ``precision`` times what it was.

    1 / T_k(theta / delta), T_k the Chebyshev polynomial, is what is left after k.
    """
    if precision >= 1:
        return 0
    delta = (hi - lo) / 2
    slope = acosh((hi + lo) / 2 / delta) if delta > 0 else inf
    return max(1, ceil(acosh(1 / precision) / slope - 1e-9))
