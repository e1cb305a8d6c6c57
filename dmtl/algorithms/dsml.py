"""One-shot joint sparsity: every task's lasso, and one exact average."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, log, sqrt
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.lasso import inverse, lasso
from dmtl.capabilities import Curved
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.errors import ConfigError
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["DSML", "OneShot", "State"]

_NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC | Needs.CURVED


class State(NamedTuple):
    """What a task has found by itself, and the average that tells it which of it to keep."""

    x: Vec
    """(d,) the model: u, and once the average is there, u on the common support"""
    u: Vec
    """(d,) the lasso without its bias"""
    mean: Averaging
    """(d + 1,) the average of u^2, and of the largest variance of an entry of u"""


@dataclass(frozen=True, slots=True)
class DSML:
    """Debiased sparse multi-task lasso (DSML): all tasks find their common features in one shot.

    Model: y_t = X_t w_t + noise, most rows of W = [w_1 .. w_T] being 0.
    Update, with H_t the Hessian and n the number of rows: b_t = argmin f_t(b) + lam |b|_1;
    u_t = b_t - M_t grad f_t(b_t), M_t near the inverse of H_t; S = {j : sqrt(sum_t u_jt^2) > threshold};
    w_t = u_t on S, 0 elsewhere. The sum is all that the tasks share: one exact average in as many rounds as the
    Laplacian has distinct eigenvalues, after which nothing changes any more. The support is that of a server that
    sees all u_t, where no row is within rounding of the threshold. There is no defence against liars, and a lost
    message leaves the average inexact.
    What is ours: M_t is the inverse where n > d and the nodewise lasso elsewhere, where the paper has a linear program.
    The paper gives lam and threshold up to constants. Here lam = noise sqrt(2 h log d / n), h the mean of the diagonal
    of H_t, the same as the strength in M_t with noise = 1 and sqrt(h) once more; and threshold =
    sqrt(v (T + 2 sqrt(T log d) + 2 log d)), v the mean over tasks of the largest variance noise^2 (M_t H_t M_t')_jj / n
    of an entry: sums of squares of noise alone stay below it (Laurent and Massart, Annals of Statistics 28, 2000). The
    lasso and M_t are found from Hessians, so logistic tasks are as good as linear ones; their noise is 1.

    Message: what is on its way to the average, d + 1 numbers, f = 1.
    Wang, Kolar and Srebro, "Distributed multi-task learning", AISTATS 2016.
    """

    lam: float | None = None
    """strength of each task's lasso, at least 0; left out: from noise, rows and features"""
    threshold: float | None = None
    """how long a row of W has to be to be kept, at least 0; left out: from noise, rows, features and tasks"""
    noise: float = 1.0
    """standard deviation of the targets' noise, above 0, for what is left out"""

    needs: ClassVar[Needs] = _NEEDS

    def __post_init__(self) -> None:
        for name, value in (("lam", self.lam), ("threshold", self.threshold)):
            if value is not None and not (isfinite(value) and value >= 0):
                raise ConfigError(f"'dsml' has {name}={value}. {name} is a finite number of at least 0, or left out.")
        if not (isfinite(self.noise) and self.noise > 0):
            raise ConfigError(f"'dsml' has noise={self.noise}. noise is a finite number above 0.")

    def charted(self, chart: Chart) -> OneShot:
        """The method on that graph."""
        return OneShot(self, chart)


@dataclass(frozen=True, slots=True)
class OneShot:
    """DSML on a graph; see ``DSML``."""

    settings: DSML
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = _NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 1): squares, and a variance."""
        return 1, task.dim + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Do all that a task can do alone: start the lasso at ``x0``, and take its bias away."""
        curved, noise = cast(Curved, task), self.settings.noise
        n, d = curved.training_rows, task.dim
        spread = sqrt(float(np.diag(curved.curvature(x0)).mean()))
        order = spread * sqrt(2 * log(d) / n)
        b = lasso(task, noise * order if self.settings.lam is None else self.settings.lam, x0)
        h = curved.curvature(b)
        m = inverse(h, spread * order, n)
        variance = noise**2 * float(np.einsum("ij,jk,ik->i", m, h, m, optimize=True).max()) / n
        u = (b - m @ task.grad(b)).astype(x0.dtype)
        return self._kept(State(u, u, Averaging(np.append(u * u, u.dtype.type(variance)))))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average."""
        return (state.mean.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the average; nothing once it is there."""
        if state.mean.complete(self.chart.spectrum):
            return state
        mean = state.mean.heard(inbox.messages[:, 0], inbox.valid, self.chart.spectrum)
        return self._kept(state._replace(mean=mean))

    def _kept(self, state: State) -> State:
        """Keep the rows that are long enough, where the average is there."""
        if not state.mean.complete(self.chart.spectrum):
            return state
        long = self.chart.ranks * state.mean.x[:-1] > self._threshold(float(state.mean.x[-1]), len(state.u)) ** 2
        return state._replace(x=np.where(long, state.u, state.u.dtype.type(0)))

    def _threshold(self, variance: float, d: int) -> float:
        if self.settings.threshold is not None:
            return self.settings.threshold
        tasks, features = self.chart.ranks, log(d)
        return sqrt(max(variance, 0.0) * (tasks + 2 * sqrt(tasks * features) + 2 * features))
