"""Federated averaging without a server, with local training held near the average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.fedavg_gossip import State
from dmtl.algorithms.local_steps import Training, check_training
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["FedProxGossip", "State"]


@dataclass(frozen=True, slots=True)
class FedProxGossip:
    r"""FedProx by gossip: local epochs with a proximal term that keeps training near the average received.

    Problem: min sum_k f_k(x), one x for all ranks, with fewer exchanges than gradients.
    Update: psi_k is what local steps on f_k(w) + strength / 2 |w - x_k|^2, from w = x_k, come to;
    x_k+ = sum_l a_lk psi_l, as in 'fedavg-gossip', whose settings mean the same here. The sum is the screen's.
    strength = 0 is 'fedavg-gossip', bit for bit; with one local step the term is zero, whatever its strength.
    With many steps psi_k nears the proximal map of f_k at x_k, which for a convex f_k is within
    |grad f_k(x_k)| / strength of x_k. On a complete graph the limit then solves sum_k (prox_k(x) - x) = 0: it nears the
    minimiser of sum f_k as the strength grows, while what a round changes falls as 1 / strength.
    What is ours: the average of the neighbours in place of the server's; all ranks take part and take all their steps,
    where the original has stragglers and inexact solutions.

    Message: psi, f = 1.
    Li, Sahu, Zaheer, Sanjabi, Talwalkar and Smith, "Federated optimization in heterogeneous networks", MLSys 2020.
    """

    strength: float = 0.1
    """weight of the proximal term, the paper's mu, at least 0"""
    epochs: int = 1
    """passes over the own rows in a round, at least 1"""
    steps: int | None = None
    """local steps in a round, at least 1; left out: as many as the epochs have"""
    step_size: Schedule | None = None
    """step by rounds; left out: 1 / (L + strength + weight_decay), L the Lipschitz constant of the task's gradient"""
    momentum: float = 0.0
    """how much of the last local step stays, in [0, 1); it begins at zero in every round"""
    weight_decay: float = 0.0
    """weight of |w|^2 / 2 in local training, at least 0"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'fedprox-gossip' step_size")
        check_training("fedprox-gossip", self.epochs, self.steps, self.momentum, self.weight_decay)
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"'fedprox-gossip' has strength={self.strength}. It must be a finite number, at least 0.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the trained model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and train."""
        return State(x0, self._training.after(x0, task, view, 0))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The trained model, to all."""
        return (state.psi,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average, then train for the next round."""
        x = mix()
        return State(x, self._training.after(x, task, view, 1))

    @property
    def _training(self) -> Training:
        return Training(self.step_size, self.epochs, self.steps, self.momentum, self.weight_decay, self.strength)
