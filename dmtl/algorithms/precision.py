"""Relations of tasks by a sparse precision matrix on the graph, and what a rank can certify about it by itself."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import numpy as np

from dmtl.capabilities import Dual
from dmtl.errors import ConfigError
from dmtl.types import Inbox, Mat, Task, Vec, View

__all__ = ["UNDEFENDED", "Precision", "check_precision", "heard"]

UNDEFENDED = "has no defence: a neighbour pulls as hard as it likes. With liars use 'laplacian' and a screen."
"""what a liar can do to a method with this coupling"""


def check_precision(name: str, strength: float, delta: float) -> None:
    """Refuse what makes no positive semidefinite matrix."""
    for field, value in (("strength", strength), ("delta", delta)):
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name!r} has {field}={value}. It must be a finite number of at least 0.")


class Precision(NamedTuple):
    """strength K, K = L_a + delta I, L_a the Laplacian of the graph with its edge weights a (1 if it has none)."""

    strength: float
    delta: float

    def width(self, view: View) -> float:
        """strength sum_s |K_ts| = strength (2 deg_t + delta): K is at most the diagonal matrix of these sums."""
        return self.strength * (2 * float(view.couplings.sum()) + self.delta)

    def force(self, own: Vec, words: Mat, view: View) -> Vec:
        """strength sum_s K_ts w_s, (d,), from the own model and the neighbours' ``words`` (k, d)."""
        a = view.couplings
        pulled: Vec = self.strength * (self.delta * own + (a.sum() * own - a @ words))
        return pulled

    def lacks(self, task: Task) -> str:
        """What a certificate needs that is not there."""
        if self.strength * self.delta + cast(Dual, task).ridge > 0:
            return ""
        return "a strongly convex task or a delta above 0: give it a ridge, as in --task hinge:l2=0.01"

    def certificate(self, task: Task, own: Vec, words: Mat, alpha: Vec, view: View) -> float:
        """This rank's term of a bound: their sum over all ranks is at least P(W) - min P, whatever the alphas are.

        P(W) = sum_t f_t(w_t) + strength/2 tr(W K W'), f_t(w) = 1/m sum_i phi_i(x_i'w) + ridge/2 |w|^2. The term is
        1/m sum_i (phi_i(z_i) + phi_i*(-alpha_i) + alpha_i z_i) + |r|^2 / (2 g),  z = X w,
        r = strength sum_s K_ts w_s + ridge w - X'alpha/m,  g = strength delta + ridge.
        It is P(W) - D(alpha) with R Q^-1 R' replaced by R R' / g, Q = strength K + ridge I >= g I; infinite for g = 0.
        """
        dual = cast(Dual, task)
        floor = self.strength * self.delta + dual.ridge
        if not floor > 0:
            return math.inf
        x, wide = np.asarray(dual.rows, np.float64), np.asarray(own, np.float64)
        pull = np.asarray(alpha, np.float64) @ x / len(x)
        rest = self.force(wide, np.asarray(words, np.float64), view) + dual.ridge * wide - pull
        bare = task.loss(own) - dual.ridge / 2 * float(wide @ wide)
        return bare + dual.conjugate(alpha) + float(wide @ pull) + float(rest @ rest) / (2 * floor)


def heard(words: Mat, inbox: Inbox) -> Mat:
    """(k, d) each neighbour's last word: this round's where one came, else what ``words`` has."""
    last: Mat = np.where(inbox.valid[:, None], inbox.messages[:, 0], words)
    return last
