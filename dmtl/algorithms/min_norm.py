"""The shortest vector among the averages of a few: the weights of a common descent direction."""

from __future__ import annotations

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["closest", "min_norm", "pair"]

_ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""slopes that differ by less, relatively to the lengths of what they are products of, are the same"""


def min_norm(gram: Mat) -> Vec:
    """argmin |sum_t alpha_t g_t| over alpha >= 0 with sum 1, (T,), from the inner products g_s'g_t (T, T), in double.

    Wolfe's method: minimise over the affine hull of some vectors, walk to that point until a weight is 0, drop its
    vector; where no weight is, take in the vector that lies farthest down. It ends after finitely many steps at the
    exact minimum, <g_t, u> >= |u|^2 for all t, up to rounding. The same numbers in give the same bits out.

    Wolfe, "Finding the nearest point in a polytope", Mathematical Programming 11, 1976.
    """
    gram = np.asarray(gram, np.float64)
    if len(gram) == 2:
        return pair(gram)
    lengths = np.sqrt(np.maximum(np.diag(gram), 0))
    alpha: Vec = np.zeros(len(gram))
    alpha[int(lengths.argmin())] = 1.0
    for _ in range(50 * len(gram)):
        slopes = gram @ alpha
        low = int((slopes - alpha @ slopes).argmin())
        if alpha[low] > 0 or slopes[low] >= alpha @ slopes - _ROUNDING * lengths[low] * (alpha @ lengths):
            break
        after = _within(gram, alpha, low)
        if not after @ gram @ after < alpha @ slopes:  # rounding has the last word
            break
        alpha = after
    return alpha


def pair(gram: Mat) -> Vec:
    """The same of two vectors, in closed form: c = <g_2 - g_1, g_2> / |g_1 - g_2|^2, cut to [0, 1], is g_1's weight."""
    apart = float(gram[0, 0] - 2 * gram[0, 1] + gram[1, 1])
    c = min(max(float(gram[1, 1] - gram[0, 1]) / apart, 0.0), 1.0) if apart > 0 else 0.5
    return np.array([c, 1 - c])


def closest(vectors: Mat) -> tuple[Vec, Vec]:
    """The weights (T,) in double and the shortest average (d,) of ``vectors`` (T, d)."""
    alpha = min_norm(products(vectors))
    shortest: Vec = (alpha @ vectors.astype(np.float64)).astype(vectors.dtype)
    return alpha, shortest


def products(vectors: Mat) -> Mat:
    """The inner products (T, T), in double."""
    exact = vectors.astype(np.float64)
    found: Mat = exact @ exact.T
    return found


def _within(gram: Mat, alpha: Vec, low: int) -> Vec:
    """The weights after taking in the vector ``low``, and dropping those that stand in the way."""
    inside = alpha > 0
    inside[low] = True
    while True:
        goal = np.zeros_like(alpha)
        goal[inside] = _affine(gram[np.ix_(inside, inside)])
        wrong = inside & (goal <= 0)
        if not wrong.any():
            return goal
        share = float((alpha[wrong] / (alpha[wrong] - goal[wrong])).min()) if (alpha[wrong] > 0).all() else 0.0
        alpha = np.maximum((1 - share) * alpha + share * goal, 0)
        out = wrong & (alpha <= _ROUNDING)
        alpha[out] = 0
        alpha /= alpha.sum()
        inside &= ~out
        if not out.any():
            return alpha


def _affine(gram: Mat) -> Vec:
    """argmin |sum_t a_t g_t| over a with sum 1, of any sign: a solution of (gram + s 11') a = 1, scaled."""
    scale = float(np.diag(gram).max()) or 1.0
    bordered = gram / scale + 1.0
    ones = np.ones(len(gram))
    try:
        found: Vec = np.linalg.solve(bordered, ones)
    except np.linalg.LinAlgError:  # vectors that are averages of each other
        found = np.linalg.lstsq(bordered, ones)[0]
    weights: Vec = found / found.sum()
    return weights
