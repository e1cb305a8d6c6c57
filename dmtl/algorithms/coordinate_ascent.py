"""Dual coordinate ascent on one rank's own problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmtl.capabilities import Dual
from dmtl.types import Vec

__all__ = ["ascend", "order"]


def ascend(task: Dual, alpha: Vec, c: Vec, mu: float, rows: NDArray[np.intp]) -> tuple[Vec, Vec]:
    """Steps on the dual of min over w of f(w) + mu/2 |w - c|^2, one row after the other; alpha (m,) and w(alpha) (d,).

    f(w) = 1/m sum_i phi_i(x_i'w) + ridge/2 |w|^2, so with nu = mu + ridge > 0 the dual is, up to a constant,
    D(alpha) = -1/m sum_i phi_i*(-alpha_i) - nu/2 |w(alpha)|^2,  w(alpha) = (mu c + 1/m sum_i alpha_i x_i) / nu.
    A step is the exact maximiser over one alpha_i, so D never falls, whatever ``rows`` are taken. w is made anew from
    alpha at each call: what rounding adds up to in a sweep is forgotten.

    Shalev-Shwartz and Zhang, "Stochastic dual coordinate ascent methods for regularized loss minimization", JMLR 14,
    2013.
    """
    x, nu = task.rows, mu + task.ridge
    count = len(x)
    alpha, w = alpha.copy(), (mu * c + alpha @ x / count) / nu
    for row in rows.tolist():
        feature, old = x[row], float(alpha[row])
        new = task.dual_step(row, old, float(feature @ w), float(feature @ feature) / (count * nu))
        if new != old:
            alpha[row] = new
            w += ((new - old) / (count * nu)) * feature
    return alpha, w


def order(rng: np.random.Generator, rows: int, steps: int) -> NDArray[np.intp]:
    """The rows of ``steps`` steps: fresh permutations, one after the other, the last one cut short."""
    sweeps = -(-steps // rows)
    return np.concatenate([rng.permutation(rows) for _ in range(sweeps)] or [np.empty(0, np.intp)])[:steps]
