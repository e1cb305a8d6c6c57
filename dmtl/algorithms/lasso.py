"""The lasso of one task and what takes its bias away: coordinate descent on a Hessian, without rows."""

from __future__ import annotations

from typing import cast

import numpy as np

from dmtl.capabilities import Curved
from dmtl.types import Mat, Task, Vec

__all__ = ["inverse", "lasso"]

SWEEPS = 1000
STEPS = 50
"""of Newton's method; one is all that a quadratic needs"""
HALVINGS = 30
TOLERANCE = 1e-10
"""the largest change in a sweep, relatively to the largest entry, after which it ends"""


def lasso(task: Task, strength: float, start: Vec) -> Vec:
    """argmin_w f(w) + strength |w|_1, (d,), in double precision.

    Each step minimises the quadratic model of f and the norm together; it is halved until the objective falls by a
    tenth of what the model promises.

    Lee, Sun and Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optimization 24,
    2014.
    """
    w = start.astype(np.float64)

    def objective(p: Vec) -> float:
        return task.loss(p) + strength * float(np.abs(p).sum())

    value = objective(w)
    for _ in range(STEPS):
        h, g = cast(Curved, task).curvature(w), task.grad(w)
        near = _descend(h, (h @ w - g)[:, None], strength, w[:, None])[:, 0]
        step = near - w
        if np.abs(step).max() <= TOLERANCE * np.abs(near).max():
            return near
        promise = float(g @ step) + strength * float(np.abs(near).sum() - np.abs(w).sum())
        length, reached = 1.0, objective(near)
        while reached > value + length * promise / 10 and length > 0.5**HALVINGS:
            length /= 2
            reached = objective(w + length * step)
        w, value = w + length * step, reached
    return w


def inverse(h: Mat, slack: float, rows: int) -> Mat:
    """M (d, d) near the inverse of the Hessian ``h`` of ``rows`` rows: the inverse itself where these are more than d.

    Else the nodewise lasso: column j of ``h`` is told from the other columns with the strength ``slack``, which leaves
    gamma_j, and row j of M is (e_j - gamma_j) / tau_j, tau_j = h_jj - h_j' gamma_j; then no entry of h m_j - e_j is
    larger than slack / tau_j.

    Van de Geer, Bühlmann, Ritov and Dezeure, "On asymptotically optimal confidence regions and tests for
    high-dimensional models", Annals of Statistics 42, 2014.
    """
    if rows > len(h):
        found: Mat = np.linalg.pinv(h, hermitian=True)
        return found
    gamma = _descend(h, h, slack, np.zeros_like(h), hollow=True)
    tau = np.diag(h) - np.sum(h * gamma, axis=0)
    sound = tau > TOLERANCE * np.diag(h).max()  # a feature that is always 0 tells nothing
    return np.where(sound, (np.eye(len(h)) - gamma) / np.where(sound, tau, 1.0), 0.0).T


def _descend(h: Mat, c: Mat, strength: float, start: Mat, hollow: bool = False) -> Mat:
    """argmin_b b'h b / 2 - c_j'b + strength |b|_1 for each column c_j of ``c`` (d, k), all at once, (d, k).

    Coordinate after coordinate in turn, until a sweep changes nothing. ``hollow``: the diagonal stays 0.
    """
    b = start.copy()
    for _ in range(SWEEPS):
        change = 0.0
        for i in np.flatnonzero(np.diag(h) > 0):
            pull = c[i] - h[i] @ b + h[i, i] * b[i]
            row = np.sign(pull) * np.maximum(np.abs(pull) - strength, 0.0) / h[i, i]
            if hollow:
                row[i] = 0.0
            change = max(change, float(np.abs(row - b[i]).max()))
            b[i] = row
        if change <= TOLERANCE * float(np.abs(b).max()):
            break
    return b
