"""How far an objective is above its least, at most: each task's own term of a bound."""

from __future__ import annotations

from typing import cast

import numpy as np

from dmtl.penalties.penalty import Gauge, Penalty, Split, parts_of
from dmtl.types import Vec

__all__ = ["has_gap", "term"]


def has_gap(penalty: Penalty) -> bool:
    """Whether there is such a bound."""
    return penalty.copies == 1 or isinstance(penalty, Split)


def term(penalty: Penalty, w: Vec, slope: Vec, grad: Vec, mu: float) -> float:
    """A task's term, from its column ``w`` (D,), the gradient at its model (d,), and its modulus ``mu`` > 0.

    ``slope`` (D,) is its column of S, an element of the penalty's subdifferential at W: (V - W) / step where W is the
    proximal map of V. The terms' sum over all tasks is at least P(W) - min P, P(W) = sum_t f_t(w_t) + g(W).
    With one part a term is |s_t + grad f_t|^2 / (2 mu_t): S plus the gradients is in the subdifferential of P, and P is
    above the parabola with that slope and curvature mu_t.
    With two, C whose penalty couples the tasks and L whose h is a sum of norms of columns, it is a duality gap. A dual
    point is Theta with g*(Theta) finite and no h° above 1; S of C, each column cut to h°(theta_t) <= 1, is one, since
    no norm of rows or singular values rises when columns shrink. Fenchel-Young at C, and f_t's conjugate being 1 / mu_t
    smooth, give <c_t, s_t> + h(l_t) - <c_t + l_t, theta_t> + |theta_t + grad f_t|^2 / (2 mu_t). It may be negative.

    What is ours: that these are sums over tasks of what each knows, so that one number per task is all that is said.
    Rockafellar, "Convex Analysis", Princeton, 1970, sections 31 and 23.
    """
    if penalty.copies == 1:
        return _square(slope + grad) / (2 * mu)
    place, norm = cast(Split, penalty).private
    own, shared = parts_of(w, 2)[place], parts_of(w, 2)[1 - place]
    s = parts_of(slope, 2)[1 - place]
    theta = s / s.dtype.type(max(1.0, cast(Gauge, norm).dual(s[:, None])))
    crossed = float(shared @ s) + norm.value(own[:, None]) - float((shared + own) @ theta)
    return crossed + _square(theta + grad) / (2 * mu)


def _square(v: Vec) -> float:
    return float(np.vdot(v, v))
