"""Mixed-effect kernel learning without a server: one exact average."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.capabilities import Curved
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.errors import ConfigError
from dmtl.penalties.symmetric import square, triangle
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Dinuzzo", "MixedEffect", "State"]

_NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC | Needs.CURVED


class State(NamedTuple):
    """A task's model, the part of it that all have in common, and the sum on its way."""

    x: Vec
    """(d,) the model w_t = w + v_t"""
    common: Vec
    """(d,) w"""
    s: Mat
    """(d, d) S_t at the model"""
    h: Vec
    """(d,) h_t there"""
    left: int
    """averages still to be made"""
    mean: Averaging
    """(d (d + 1) / 2 + d,) the average of S_t, its upper triangle row by row, and of h_t"""


@dataclass(frozen=True, slots=True)
class Dinuzzo:
    """Client-server multi-task learning without its server: a common function and each task's own, in one shot.

    Problem: min over w and v_1 .. v_T of sum_t f_t(w + v_t) + strength / 2 (|w|^2 / a + sum_t |v_t|^2 / (1 - a)), a the
    share; w is 0 where a = 0, v_t where a = 1. It is kernel ridge regression with the kernel of (x, t) and (x', s)
    C_ts k(x, x'), C = a 11' + (1 - a) I and k(x, x') = <x, x'>: a = 0 learns each task alone, a = 1 all of them as one.
    For least squares these are the equations (K + strength diag(n_t)) c = y. What a task adds to its loss counts too: a
    bias, which is a feature that is always 1, makes k(x, x') + 1 of k, and l2 makes C (I + l2 / strength C)^-1 of C; so
    l2=0,bias=false leaves the kernel as it is written.
    Update, with H_t the Hessian and c_t = H_t w_t - grad f_t(w_t): S_t = (I + (1 - a) / strength H_t)^-1 H_t,
    h_t = (I + (1 - a) / strength H_t)^-1 c_t; S = sum S_t and h = sum h_t, one exact average;
    w = a (strength I + a S)^-1 h;  w_t = w + (1 - a) / strength (h_t - S_t w).
    For least squares this is the minimiser, after one average, in as many rounds as the Laplacian has distinct
    eigenvalues. No row and no target leaves its rank. There is no defence against liars.
    What is ours: the paper's server solves in the coordinates of all inputs; here it is done in those of the d
    features, which for the linear kernel is the same and needs nobody's inputs. For other losses each of the ``steps``
    is a step of Newton's method for the whole problem, without a line search. Other kernels are linear ones on features
    that all ranks have alike before they begin: --features polynomial is exact, --features rbf is near the Gaussian
    kernel, the nearer the larger its count. Nobody needs anybody's inputs for either.

    Message: what is on its way to the average, d (d + 1) / 2 + d numbers, f = 1.
    Dinuzzo, Pillonetto and De Nicolao, "Client-server multitask learning from distributed datasets", IEEE Trans.
    Neural Networks 22, 2011; Evgeniou and Pontil, "Regularized multi-task learning", KDD 2004.
    """

    strength: float = 0.1
    """weight of the ridge, above 0"""
    share: float = 0.5
    """a in [0, 1], how much of the kernel is common to all tasks"""
    steps: int = 1
    """averages; one is all that least squares needs"""

    needs: ClassVar[Needs] = _NEEDS

    def __post_init__(self) -> None:
        if not (isfinite(self.strength) and self.strength > 0):
            raise ConfigError(f"'dinuzzo' has strength={self.strength}. strength is a finite number above 0.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"'dinuzzo' has share={self.share}. share is at least 0 and at most 1.")
        if self.steps < 1:
            raise ConfigError(f"'dinuzzo' has steps={self.steps}. steps is a number of averages, at least 1.")

    def charted(self, chart: Chart) -> MixedEffect:
        """The method on that graph."""
        return MixedEffect(self, chart)


@dataclass(frozen=True, slots=True)
class MixedEffect:
    """The method on a graph; see ``Dinuzzo``."""

    settings: Dinuzzo
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = _NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d (d + 1) / 2 + d)."""
        return 1, task.dim * (task.dim + 3) // 2

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, which for least squares is forgotten."""
        return self._solved(self._begun(x0, np.zeros_like(x0), self.settings.steps, task), task)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average."""
        return (state.mean.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the average, and where it is complete one step; nothing after the last."""
        if not state.left:
            return state
        if not state.mean.complete(self.chart.spectrum):
            mean = state.mean.heard(inbox.messages[:, 0], inbox.valid, self.chart.spectrum)
            state = state._replace(mean=mean)
        return self._solved(state, task)

    def _begun(self, x: Vec, common: Vec, left: int, task: Task) -> State:
        s, h = self._reduced(x, task)
        said = np.concatenate([triangle(s), h])
        return State(x, common, s, h, left, Averaging(said.astype(x.dtype)))

    def _reduced(self, x: Vec, task: Task) -> tuple[Mat, Vec]:
        """S_t and h_t at the model ``x``."""
        hessian = cast(Curved, task).curvature(x)
        pull = hessian @ x - task.grad(x)
        damped = np.eye(task.dim) + self._own * hessian
        both: Mat = np.linalg.solve(damped, np.column_stack([hessian, pull]))
        return (both[:, :-1] + both[:, :-1].T) / 2, both[:, -1]

    def _solved(self, state: State, task: Task) -> State:
        """Solve for the common part and for the own one, where the average is there."""
        if not state.mean.complete(self.chart.spectrum):
            return state
        d, a = task.dim, self.settings.share
        total = state.mean.x.astype(np.float64) * self.chart.ranks
        sums = square(total[:-d])
        common = a * np.linalg.solve(self.settings.strength * np.eye(d) + a * sums, total[-d:])
        both = (common + self._own * (state.h - state.s @ common), common)
        x, common = (part.astype(state.x.dtype) for part in both)
        if state.left == 1:
            return state._replace(x=x, common=common, left=0)
        return self._begun(x, common, state.left - 1, task)

    @property
    def _own(self) -> float:
        return (1 - self.settings.share) / self.settings.strength
