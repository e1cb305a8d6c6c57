"""Greedy subspace pursuit: a common subspace that grows by one direction at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.power import NEEDS, Power, check_count, common_direction
from dmtl.algorithms.refit import refit
from dmtl.capabilities import Curved
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["DGSP", "DNSP", "Pursuit", "State"]

_NEEDS = NEEDS | Needs.CURVED


class State(NamedTuple):
    """A task's model in the common subspace, and the next direction on its way."""

    x: Vec
    """(d,) the model U v"""
    basis: Mat
    """(d, rank) U, its columns orthonormal, or 0 from the last one found on"""
    v: Vec
    """(rank,) the task's own coordinates"""
    found: int
    """columns tried so far"""
    g: Vec
    """(d,) the column of G: what the next direction is taken from"""
    power: Power
    norm: float
    """the spectral norm of G when a direction was last taken from it; after the last one, of the gradients"""


@dataclass(frozen=True, slots=True)
class DGSP:
    """Distributed greedy subspace pursuit (DGSP): all tasks find a common low-dimensional subspace.

    Problem: min over U (d, rank) and v_1 .. v_T of sum_t f_t(U v_t).
    Update, from U empty: u the leading left singular vector of G = [grad f_1(w_1) .. grad f_T(w_T)];
    U = [U u], orthonormal; v_t = argmin f_t(U v), w_t = U v_t. So each column costs all ranks one vector.
    u is found by the power iteration u <- G G'u / |G G'u| from a start that all ranks draw alike. Each of its steps is
    one exact average of (grad f_t'u) grad f_t, in as many rounds as the Laplacian has distinct eigenvalues, and all
    ranks have the same u, to rounding. v_t stays with its task. After ``rank`` columns and one more power iteration
    nothing changes, and ``norm`` in the state is |G|_2, which certifies the answer for convex losses: no matrix W' at
    all has an objective that is lower by more than |G|_2 |W'|_*. It is a lower bound of |G|_2 until the power iteration
    has converged. There is no defence against liars.
    What is ours: power iteration in place of a server that sees G.

    Message: the sum on its way, and two sums of numbers, d + 2 numbers, f = 1.
    Wang, Kolar and Srebro, "Distributed multi-task learning with shared representation", arXiv:1603.02185, 2016.
    """

    rank: int = 5
    """columns of U"""
    power_steps: int = 30
    """of the power iteration for each column"""

    needs: ClassVar[Needs] = _NEEDS

    def __post_init__(self) -> None:
        check_count("dgsp", "rank", self.rank)
        check_count("dgsp", "power_steps", self.power_steps)

    def charted(self, chart: Chart) -> Pursuit:
        """The method on that graph."""
        return Pursuit(self.rank, self.power_steps, None, chart)


@dataclass(frozen=True, slots=True)
class DNSP:
    """Distributed Newton subspace pursuit (DNSP): as 'dgsp', with Newton directions in the place of gradients.

    Update: as that of 'dgsp', the columns of G being (H_t + damping L_t I)^-1 grad f_t(w_t), H_t the Hessian of f_t and
    L_t its largest eigenvalue. It often needs fewer columns; no guarantee is known. ``norm`` in the state is at the end
    that of the gradients, as in 'dgsp'.

    Message: the sum on its way, and two sums of numbers, d + 2 numbers, f = 1.
    Wang, Kolar and Srebro, "Distributed multi-task learning with shared representation", arXiv:1603.02185, 2016.
    """

    rank: int = 5
    """columns of U"""
    power_steps: int = 30
    """of the power iteration for each column"""
    damping: float = 1e-3
    """what is added to the Hessian, as a share of its largest eigenvalue, above 0"""

    needs: ClassVar[Needs] = _NEEDS

    def __post_init__(self) -> None:
        check_count("dnsp", "rank", self.rank)
        check_count("dnsp", "power_steps", self.power_steps)
        if not (isfinite(self.damping) and self.damping > 0):
            raise ConfigError(f"'dnsp' has damping={self.damping}. damping is a finite number above 0.")

    def charted(self, chart: Chart) -> Pursuit:
        """The method on that graph."""
        return Pursuit(self.rank, self.power_steps, self.damping, chart)


@dataclass(frozen=True, slots=True)
class Pursuit:
    """Either pursuit on a graph; see ``DGSP`` and ``DNSP``."""

    rank: int
    power_steps: int
    damping: float | None
    """of Newton directions; None: gradients"""
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = _NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 2): a vector, and two numbers."""
        return 1, task.dim + 2

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start with no subspace, which makes the model 0, whatever ``x0`` is."""
        basis = np.zeros((len(x0), self.rank), x0.dtype)
        return self._sought(np.zeros_like(x0), basis, basis[0], 0, 0.0, task, view)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average."""
        return (state.power.mean.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the average; where it is complete one power step; after the last of them a column."""
        if not state.power.left:
            return state
        power = state.power.heard(inbox, self.chart)
        if not power.mean.complete(self.chart.spectrum):
            return state._replace(power=power)
        if power.left > 1:
            return state._replace(power=power.next(state.g))
        norm = power.norm(self.chart.ranks)
        if state.found == self.rank:
            return state._replace(power=power._replace(left=0), norm=norm)
        basis = state.basis.copy()
        basis[:, state.found] = _beyond(basis, power.direction)
        v = refit(task, basis, state.v)
        x, v = (part.astype(state.x.dtype) for part in (basis @ v, v))
        return self._sought(x, basis, v, state.found + 1, norm, task, view)

    def _sought(self, x: Vec, basis: Mat, v: Vec, found: int, norm: float, task: Task, view: View) -> State:
        """Begin to look for the next direction; after the last one, for the norm of the gradients."""
        g = task.grad(x)
        if self.damping is not None and found < self.rank:
            hessian = cast(Curved, task).curvature(x)
            top = float(np.linalg.eigvalsh(hessian)[-1])
            g = np.linalg.solve(hessian + self.damping * top * np.eye(len(g)), g)
        g = g.astype(x.dtype)
        power = Power.begun(common_direction(x, view, found), g, self.power_steps)
        return State(x, basis, v, found, g, power, norm)


def _beyond(basis: Mat, u: Vec) -> Vec:
    """The part of the unit vector ``u`` (d,) that is orthogonal to ``basis``, at length 1; 0 where there is none."""
    for _ in range(2):  # once leaves rounding in the span
        u = u - basis @ (basis.T @ u)
        size = np.linalg.norm(u)
        if not size > np.finfo(u.dtype).eps ** 0.5:
            return np.zeros_like(u)
        u = u / size
    return u
