"""Personalised models around one common centre, by Moreau envelopes and gossip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.algorithms.local_steps import check_training, descent, near
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["PFedMe", "State"]


class State(NamedTuple):
    """The personal model, and this rank's word for the common centre."""

    x: Vec
    """(d,) theta, the personal model"""
    w: Vec
    """(d,) the centre after local training: what is sent"""


@dataclass(frozen=True, slots=True)
class PFedMe:
    r"""pFedMe by gossip: each rank its own model near a common centre, which moves towards all of them.

    Problem: min over w of sum_k F_k(w), F_k(w) = min over theta of f_k(theta) + strength / 2 |theta - w|^2, the Moreau
    envelope of f_k; the model of rank k is the minimising theta_k.
    Update: w_k = sum_l a_lk w_l;  theta_k+ = theta_k after ``steps`` gradient steps on f_k + strength / 2 |. - w_k|^2;
    w_k+ = w_k - eta strength (w_k - theta_k+), a gradient step on F_k, and eta strength is the ``share``. The last two
    are made ``local_rounds`` times between two averages. Averages are the screen's, so any screen takes their place.
    strength -> 0 learns alone; for strength -> infinity all have one model. The problem is that of 'mean-regularised',
    whose limit is exact on every graph; here screens apply, and tasks that are not convex.
    On a complete graph with one local round the limit solves the problem exactly, at any share. On others, and with
    more local rounds, a constant share leaves a distance to it that falls with the share; a schedule removes it.
    theta_k is within |grad f_k(w_k)| / strength of w_k for a convex f_k. If f_k is mu-strongly convex, what moves w_k
    by r moves theta_k by at most r strength / (strength + mu).
    What is ours: the average of the neighbours in place of the server's. theta starts at its last value, so the limit
    does not depend on ``steps``. Each inner step draws its own batch; the paper keeps one for all of them.

    Message: w, f = 1.
    T. Dinh, Tran and Nguyen, "Personalized federated learning with Moreau envelopes", NeurIPS 2020.
    """

    strength: float = 1.0
    """how strongly models are drawn to the centre, lambda of the paper, at least 0"""
    share: Schedule = 0.1
    """eta strength, how far the centre moves towards the own model, above 0 and at most 1"""
    steps: int = 5
    """inner gradient steps on the personal model, at least 1"""
    local_rounds: int = 1
    """how often model and centre move between two averages, R of the paper, at least 1"""
    step_size: Schedule | None = None
    """inner step by rounds; left out: 1 / (L + strength), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'pfedme' step_size")
        check_schedule(self.share, "'pfedme' share")
        check_training("pfedme", 1, self.steps)
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"'pfedme' has strength={self.strength}. It must be a finite number of at least 0.")
        if not 0 < rate(self.share, 0) <= 1:
            raise ConfigError(f"'pfedme' has share={self.share}. It must be above 0 and at most 1.")
        if self.local_rounds < 1:
            raise ConfigError(f"'pfedme' has local_rounds={self.local_rounds}. It must be at least 1.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the centre."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Model and centre start at ``x0``, and move once."""
        return self._moved(State(x0, x0), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The centre, to all."""
        return (state.w,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average the centres, then move model and centre for the next round."""
        return self._moved(State(state.x, mix()), task, view, 1)

    def _moved(self, state: State, task: Task, view: View, ahead: int) -> State:
        theta, w = state
        rng, now = view.batch(ahead), view.round + ahead
        mu, share = step_size(self.step_size, now, task, self.strength), rate(self.share, now)
        for _ in range(self.local_rounds):
            theta = descent(near(task, w, self.strength), theta, rng, mu, self.steps)
            w = w - share * (w - theta)
        return State(theta, w)
