"""Graph-regularised multi-task learning for ranks that do not wait for each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["AMTL", "State"]

WINDOW = 5
"""Rounds over which the dynamic step averages the delay."""


class State(NamedTuple):
    """The model, and how late the neighbours were."""

    x: Vec
    """(d,)"""
    delays: Vec
    """(5,) age of the oldest message of each of the last rounds, the newest last; 0 before the first"""


@dataclass(frozen=True, slots=True)
class AMTL:
    r"""Asynchronous multi-task learning without a server: the objective of 'laplacian', relaxed steps, late messages.

    Objective: sum_k f_k(x_k) + (strength / 4) sum_k sum_l w_kl |x_k - x_l|^2, as for 'laplacian'.
    Update: p_k = x_k - mu (grad f_k(x_k) + strength (x_k - mix_k));  x_k+ = x_k + min(1, c eta) (p_k - x_k),
    eta the relaxation; c = log(max(nu, 10)) with ``dynamic``, nu the mean delay of the last five rounds; else c = 1.
    mix_k is made of the newest words that have come, however old. With c eta >= 1 this is 'laplacian' to the last bit.

    For m-strongly convex f_k and mu <= 1 / (L + 2 strength) a step shrinks the error of x_k to at most
    1 - min(1, c eta) mu m times the largest error of any model that it is made of. So it converges to the minimiser
    of 'laplacian' for every eta in (0, 1] and for any delay, lost messages included, as long as words of every
    neighbour keep coming (Bertsekas and Tsitsiklis, chapter 6). The relaxation then only slows it down. The paper
    does not assume that and needs eta below about 1 / (2 tau / sqrt(n) + 1), tau the longest delay in updates. The
    dynamic step gives back a part of what the relaxation costs; from eta = 1 / log 10 = 0.43 on it is a full step.

    What is ours: the graph instead of the server; its prox falls away, because this regulariser is smooth. The delay of
    a round is the largest age among its messages, in rounds; the paper has seconds, and c depends on that unit. A rank
    with slow neighbours takes longer steps, in the paper the slow rank itself does. c eta is capped at 1. A message
    older than ``staleness`` counts as none: its weight goes to the own vector, and while it is left out the limit is
    that of the graph without it.

    Message: x, f = 1.
    Baytas, Yan, Jain and Zhou, "Asynchronous multi-task learning", ICDM 2016; Bertsekas and Tsitsiklis, "Parallel and
    distributed computation", 1989.
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0"""
    relaxation: float = 0.9
    """eta, the share of a step that is taken, above 0 and at most 1"""
    dynamic: bool = False
    """whether ranks whose messages come late take a larger share"""
    staleness: int = 0
    """leave out messages that are older than that many rounds; 0: use the newest, however old"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (L + 2 strength), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'amtl' step_size")
        if not self.strength >= 0:
            raise ConfigError(f"'amtl' has strength={self.strength}. It must be at least 0.")
        if not 0 < self.relaxation <= 1:
            raise ConfigError(f"'amtl' has relaxation={self.relaxation}. It must be above 0 and at most 1.")
        if self.staleness < 0:
            raise ConfigError(f"'amtl' has staleness={self.staleness}. It must be at least 0; 0 sets no limit.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, nobody late yet."""
        return State(x0, np.zeros(WINDOW, x0.dtype))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """A relaxed gradient step on loss and regulariser together."""
        x, delays, age = state.x, state.delays, inbox.age
        if self.staleness:
            late = age > self.staleness
            mix.refuse(late)
            age = age[~late]
        if self.dynamic:
            delays = np.append(delays[1:], age.max(initial=0).astype(delays.dtype))
        mu = step_size(self.step_size, view.round, task, 2 * self.strength)
        share = min(1.0, self._longer(delays) * self.relaxation)
        return State(x - share * mu * (task.grad(x, view.batch()) + self.strength * (x - mix())), delays)

    def _longer(self, delays: Vec) -> float:
        """c: how much longer a step is for the delays that were seen."""
        return math.log(max(float(delays.mean()), 10.0)) if self.dynamic else 1.0
