"""Low-rank models by a common factor: gradient tracking on U, ridge regression for each task's coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.power import check_count, common_basis
from dmtl.algorithms.refit import refit
from dmtl.capabilities import Smooth
from dmtl.penalties.checks import check_strength
from dmtl.schedules import Schedule, check_schedule, rate
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Factorised", "State"]


class State(NamedTuple):
    """A task's factor and coordinates, and its tracker."""

    x: Vec
    """(d,) the model U v"""
    basis: Mat
    """(d, rank) U, this rank's copy"""
    v: Vec
    """(rank,) the task's own coordinates"""
    ahead: Mat
    """(d, rank) U - mu Y: what is sent of U"""
    y: Mat
    """(d, rank) Y, the tracker: this rank's estimate of the mean gradient"""
    g: Mat
    """(d, rank) the gradient that the tracker has seen last"""


@dataclass(frozen=True, slots=True)
class Factorised:
    """Trace-norm regularised models W = U V', U common to all tasks, v_t the task's own.

    Problem: min over U (d, rank) and v_1 .. v_T of
    sum_t f_t(U v_t) + strength / 2 (|U|_F^2 + sum_t |v_t|^2), which is min of sum_t f_t(w_t) + strength |W|_* over W of
    at most that rank, as |W|_* is the least (|U|_F^2 + |V|_F^2) / 2 of all U V' = W.
    Update: v_t = argmin f_t(U_t v) + strength / 2 |v|^2; then gradient tracking on
    G_t = grad f_t(U_t v_t) v_t' + (strength / T) U_t, the gradient in U of what is left when v_t is minimised over:
    U_t+ = sum_s w_ts (U_s - mu Y_s), Y_t+ = sum_s w_ts Y_s + G_t+ - G_t. Invariant: sum Y_t = sum G_t.
    The problem is not convex, but a stationary point is the minimiser of the convex one, over all W, where
    |[grad f_1(w_1) .. grad f_T(w_T)]|_2 <= strength: that certificate fails where rank is too small, and in our tests
    holds wherever rank is more than the minimiser's or equal to it. A screen, a lie or a lost message breaks the
    invariant.
    What is ours: U starts at a matrix that all ranks draw alike, at 0 it would stay; and the default of mu, each rank
    its own.

    Message: the columns of U - mu Y and those of Y, d numbers each, f = 2 rank.
    Mardani, Mateos and Giannakis, "Decentralized sparsity-regularized rank minimization: algorithms and applications",
    IEEE Trans. Signal Processing 61, 2013 (the certificate); Di Lorenzo and Scutari, "NEXT: in-network nonconvex
    optimization", IEEE TSIPN 2, 2016 (the tracking).
    """

    ranks: int
    """T, how many tasks there are"""
    strength: float = 0.1
    """weight of the trace norm, at least 0"""
    rank: int = 5
    """columns of U"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (4 L max(1, |v_t|^2)), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.DOUBLY_STOCHASTIC | Needs.SMOOTH | Needs.CURVED
    agrees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength("trace-norm", self.strength)
        check_count("trace-norm", "rank", self.rank)
        check_schedule(self.step_size, "'trace-norm' step_size")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(2 rank, d): columns of the adapted factor and of the tracker."""
        return 2 * self.rank, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at a factor that all ranks draw alike, whatever ``x0`` is."""
        basis = common_basis(x0, self.rank, view)
        x, v, g = self._gradient(basis, np.zeros(self.rank), task)
        return self._adapted(x, basis, v, g, g, task, view.round)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Adapted factor and tracker, column by column, to all."""
        return (*state.ahead.T, *state.y.T)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine both, then feed the change of the own gradient to the tracker."""
        mixed = np.stack([mix(row) for row in range(2 * self.rank)], axis=1)
        basis, y = mixed[:, : self.rank], mixed[:, self.rank :]
        x, v, g = self._gradient(basis, state.v, task)
        return self._adapted(x, basis, v, y + (g - state.g), g, task, view.round + 1)

    def _gradient(self, basis: Mat, start: Vec, task: Task) -> tuple[Vec, Vec, Mat]:
        """The best model in the span, its coordinates, and the gradient in U."""
        v = refit(task, basis, start, self.strength).astype(basis.dtype)
        x = basis @ v
        g = np.outer(task.grad(x), v) + self.strength / self.ranks * basis
        return x, v, g.astype(basis.dtype)

    def _adapted(self, x: Vec, basis: Mat, v: Vec, y: Mat, g: Mat, task: Task, round: int) -> State:
        if self.step_size is not None:
            mu = rate(self.step_size, round)
        else:
            mu = 1 / (4 * cast(Smooth, task).smoothness * max(1.0, float(v @ v)))
        return State(x, basis, v, basis - mu * y, y, g)
