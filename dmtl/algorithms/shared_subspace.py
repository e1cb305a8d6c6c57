"""A common subspace by diffusion, and least squares in it on each rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.power import check_count, common_basis
from dmtl.algorithms.refit import refit
from dmtl.capabilities import Smooth
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["SharedSubspace", "State"]


class State(NamedTuple):
    """A task's subspace and its model there."""

    x: Vec
    """(d,) the model U b"""
    basis: Mat
    """(d, rank) U, orthonormal columns, this rank's copy"""
    b: Vec
    """(rank,) the task's own coordinates"""
    ahead: Mat
    """(d, rank) what is sent: in the warm-up the tracker, then the adapted U"""
    seen: Mat
    """(d, rank) c_t c_t'U as the tracker has seen it last"""
    c: Vec
    """(d,) grad f_t(0) of all rows, in double precision"""


@dataclass(frozen=True, slots=True)
class SharedSubspace:
    """Alternating minimisation by diffusion (Dif-AltGDmin): all tasks learn a common subspace, each its model in it.

    Problem: min over U (d, rank), U'U = I, and b_1 .. b_T of sum_t f_t(U b_t).
    Update, adapt then combine: b_t = argmin f_t(U_t b); Psi_t = U_t - mu grad f_t(U_t b_t) b_t';
    U_t+ = the Q of the QR decomposition of sum_s w_ts Psi_s, R with a positive diagonal. b_t stays with its task.
    Where all tasks can be fitted exactly in one subspace, all gradients vanish there: it is a fixed point for any mu,
    and in our tests it is found to rounding with fewer rows per task than features. Where they cannot, a constant mu
    leaves ranks apart by O(mu). The sums are the screen's, column by column, so any screen that does not judge models
    takes their place.
    The first subspace is that of the leading left singular vectors of [c_1 .. c_T], c_t = grad f_t(0), looked for in
    ``warm_up`` rounds from a matrix that all ranks draw alike: S_t+ = sum_s w_ts S_s + c_t c_t'(U_t+ - U_t), U_t+ the Q
    of the sum. It need not have settled. With few rows the method may still end in another subspace, most of all on
    sparse graphs, where ranks are far apart for long.
    What is ours: that first estimate, one exchange a round where the papers average for longer; and mu, which they take
    from the largest singular value of all models.

    Message: the columns of Psi, d numbers each, f = rank.
    Kang and Moothedath, "Diffusion-based decentralized federated multi-task representation learning",
    arXiv:2512.23161, 2025; Nayer and Vaswani, "Fast and sample-efficient federated low rank matrix recovery from
    column-wise linear and quadratic projections", IEEE Trans. Information Theory 69, 2023 (alternating minimisation
    with a server).
    """

    rank: int = 5
    """columns of U, at most as many as there are parameters are used"""
    warm_up: int = 50
    """rounds in which the first subspace is looked for"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (L m), L the Lipschitz constant of the task's gradient and m the larger one of |b_t|^2 and
    |grad f_t(0)|^2 / L^2"""

    needs: ClassVar[Needs] = Needs.SMOOTH | Needs.CURVED
    agrees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("shared-subspace", "rank", self.rank)
        if self.warm_up < 0:
            raise ConfigError(f"'shared-subspace' has warm_up={self.warm_up}. warm_up is a number of rounds.")
        check_schedule(self.step_size, "'shared-subspace' step_size")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(rank, d): the columns of the adapted subspace."""
        return self._columns(task), task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start in a subspace that all ranks draw alike, whatever ``x0`` is."""
        basis = _orthonormal(common_basis(x0, self._columns(task), view))
        c = task.grad(np.zeros(task.dim))
        state = State(x0, basis, np.zeros(basis.shape[1], x0.dtype), basis, np.zeros_like(basis), c)
        return (
            self._tracked(state, np.zeros_like(basis), task) if self.warm_up else self._adapted(state, task, view.round)
        )

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Tracker or adapted subspace, column by column, to all."""
        return tuple(state.ahead.T)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then adapt for the next round."""
        mixed = np.stack([mix(row) for row in range(state.basis.shape[1])], axis=1)
        state = state._replace(basis=_orthonormal(mixed))
        if view.round + 1 < self.warm_up:
            return self._tracked(state, mixed, task)
        return self._adapted(state, task, view.round + 1)

    def _tracked(self, state: State, mixed: Mat, task: Task) -> State:
        """One step of the tracked orthogonal iteration; the model is the best one in the subspace so far."""
        c = state.c
        now = np.outer(c, c @ state.basis).astype(mixed.dtype)
        b = refit(task, state.basis, state.b).astype(mixed.dtype)
        return State(state.basis @ b, state.basis, b, mixed + (now - state.seen), now, c)

    def _adapted(self, state: State, task: Task, round: int) -> State:
        basis = state.basis
        b = refit(task, basis, state.b).astype(basis.dtype)
        x = basis @ b
        g = np.outer(task.grad(x), b).astype(basis.dtype)
        return State(x, basis, b, basis - self._rate(b, state.c, task, round) * g, state.seen, state.c)

    def _rate(self, b: Vec, start: Vec, task: Task, round: int) -> float:
        if self.step_size is not None:
            return rate(self.step_size, round)
        steepness = cast(Smooth, task).smoothness
        size = max(float(b @ b), float(start @ start) / steepness**2)
        return 1 / (steepness * size) if size > 0 else 0.0

    def _columns(self, task: Task) -> int:
        return min(self.rank, task.dim)


def _orthonormal(psi: Mat) -> Mat:
    """The Q of Q R = ``psi`` (d, r) whose R has a positive diagonal: nearby matrices have nearby ones."""
    q, r = np.linalg.qr(psi)
    found: Mat = q * np.where(np.diag(r) < 0, -1, 1).astype(psi.dtype)
    return found
