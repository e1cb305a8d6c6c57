"""Adapt-then-combine diffusion: gossip learning of one common model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Diffusion", "State"]


class State(NamedTuple):
    """Model and adapted model."""

    x: Vec
    """(d,) after combining: the model"""
    psi: Vec
    """(d,) after adapting: what is sent"""
    m: Vec
    """(d,) the averaged gradient; (0,) without momentum"""


@dataclass(frozen=True, slots=True)
class Diffusion:
    r"""Adapt-then-combine diffusion (decentralised gradient descent): all ranks learn one model by gossip.

    Update: psi_k = x_k - mu m_k;  x_k+ = sum_l a_lk psi_l,
    m_k the gradient grad f_k(x_k), or with momentum beta its average: m_k+ = beta m_k + (1 - beta) grad f_k(x_k).
    Averaging over rounds makes honest messages differ less, and the less they differ the less a lie can hide.
    The sum is the screen's, so any screen takes its place. A constant mu leaves an O(mu) distance to the minimiser
    of sum f_k, and a schedule that falls removes it; on tasks that differ the common model is a compromise.
    With ``step_size=0`` nothing is learnt and this is plain gossip averaging.
    What is ours: the first adaptation happens before round 0, so that a round is one exchange and then one gradient.

    Momentum before screening is that of Karimireddy, He and Jaggi, "Learning from history for Byzantine robust
    optimization", ICML 2021; m starts at the first gradient.

    Message: psi, f = 1.
    Chen and Sayed, "Diffusion adaptation strategies for distributed optimization and learning over networks",
    IEEE Transactions on Signal Processing 60(8), 2012.
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    momentum: float = 0.0
    """beta in [0, 1), how much of the last averaged gradient stays; 0: the gradient itself"""

    needs: ClassVar[Needs] = Needs.NOTHING
    agrees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'diffusion' step_size")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"'diffusion' has momentum={self.momentum}. momentum is a share, at least 0 and below 1.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the adapted model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and adapt once."""
        start = task.grad(x0, view.batch()) if self.momentum else np.zeros(0, x0.dtype)
        return self._adapted(x0, start, task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model, to all."""
        return (state.psi,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then adapt for the next round."""
        return self._adapted(mix(), state.m, task, view, 1)

    def _adapted(self, x: Vec, m: Vec, task: Task, view: View, ahead: int) -> State:
        mu = step_size(self.step_size, view.round + ahead, task)
        if not mu:
            return State(x, x, m)
        gradient = task.grad(x, view.batch(ahead))
        if self.momentum:
            gradient = m = self.momentum * m + (1 - self.momentum) * gradient
        psi = mu * gradient
        # In place where it can be: a network's vector is the largest thing that a rank holds.
        return State(x, np.subtract(x, psi, out=psi if psi.dtype == x.dtype else None), m)
