"""Gradient tracking: exact consensus optimisation with a constant step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.ball import into_ball
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["GradientTracking", "State"]


class State(NamedTuple):
    """Model, adapted model, tracker, and the gradient that the tracker has seen last."""

    x: Vec
    """(d,) the model"""
    u: Vec
    """(d,) x - mu y: what is sent of the model"""
    y: Vec
    """(d,) the tracker: this rank's estimate of the mean gradient"""
    g: Vec
    """(d,) grad f_k(x_k)"""


@dataclass(frozen=True, slots=True)
class GradientTracking:
    r"""Gradient tracking, adapt-then-combine form: all ranks reach the minimiser of sum f_k with a constant step.

    Update: x_k+ = sum_l w_kl (x_l - mu y_l);  y_k+ = sum_l w_kl y_l + grad f_k(x_k+) - grad f_k(x_k),  y_k = grad f_k
    at the start. Invariant: sum_k y_k = sum_k grad f_k(x_k), for doubly stochastic weights and no lost message.
    Linear convergence for strongly convex f where mu is small enough for the graph; the default 1 / (4 L) suits
    well-connected graphs and is a choice of ours. A screen, a lie or a lost message breaks the invariant, for good.
    Links that are closed at both of their ends do not: on changing graphs with the weights 'metropolis', through splits
    and with ranks that join later it reaches the same minimiser, to 1e-8 in our tests.

    With a leak beta or a cap (ours) y_k+ = grad f_k(x_k+) + P((1 - beta) (sum_l w_kl y_l - grad f_k(x_k))), P the
    projection on the ball of radius cap: the rank's own gradient and a correction, which forgets and is bounded.
    The leak keeps the invariant, and a broken one heals: what is wrong with the sum is multiplied by 1 - beta in every
    round. A lie v that is repeated for ever, heard with the weights w, adds no more than w v (1 - beta) / beta to it,
    where the plain method adds w v in every round and runs away. The price is a bias: ranks disagree in the end, by
    at most the share beta / (1 - (1 - beta) sigma) of the bound for 'diffusion' with the same step, sigma the second
    largest absolute eigenvalue of the weights (symmetric ones); beta = 1 is 'diffusion'.
    The cap bounds what any lie about trackers can do: with f_k m-strongly convex, mu at most 1 / L and true models in
    the messages, every model goes to within r = (max_k |grad f_k(p)| + cap) / m of any point p; what it is farther
    away is multiplied by 1 - mu m in every round. A cap that no correction reaches changes nothing; in the end
    they are -grad f_k at the minimiser of the sum. One that holds a correction back on the way breaks the invariant, so
    it goes with a leak. Lies about the models themselves are the screen's. beta = 0 without a cap is the plain method,
    bit for bit.

    Message: (x - mu y, y) in one, f = 2.
    Di Lorenzo and Scutari, "NEXT: in-network nonconvex optimization", IEEE TSIPN 2(2), 2016; Nedic, Olshevsky and
    Shi, "Achieving geometric convergence for distributed optimization over time-varying graphs", SIAM J. Optim. 27(4),
    2017.
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / (4 L), L the Lipschitz constant of the task's gradient (each rank its own)"""
    leak: float = 0.0
    """beta in [0, 1], the share of a tracker's correction that is forgotten in a round; 0: none"""
    cap: float | None = None
    """the longest correction of the own gradient by what others say, at least 0; left out: any"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.DOUBLY_STOCHASTIC
    agrees: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'gradient-tracking' step_size")
        if not 0 <= self.leak <= 1:
            raise ConfigError(f"'gradient-tracking' has leak={self.leak}. leak is a share, at least 0 and at most 1.")
        if self.cap is not None and not self.cap >= 0:
            raise ConfigError(
                f"'gradient-tracking' has cap={self.cap}. cap is the length of a gradient, at least 0; leave it out "
                f"for no limit."
            )

    def exposure(self) -> str:
        """Lies about trackers, where no cap holds their sum; those about models are the screen's."""
        if not self.leak or (self.cap is not None and self.cap < np.inf):
            return ""  # without a leak its needs say that a sum breaks
        return "with a leak forgets a lie about its trackers and does not bound it. Give it a cap as well."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(2, d): adapted model and tracker."""
        return 2, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, tracking the own gradient."""
        g = task.grad(x0, view.batch())
        return self._adapted(x0, g, g, task, view.round)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Adapted model and tracker, to all."""
        return state.u, state.y

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine both rows, then feed the change of the own gradient to the tracker."""
        x = mix(0)
        g = task.grad(x, view.batch(1))
        return self._adapted(x, self._tracked(mix(1), state.g, g), g, task, view.round + 1)

    def _tracked(self, mean: Vec, before: Vec, g: Vec) -> Vec:
        """The new tracker from the neighbours' ``mean`` and the own gradients of before and now."""
        cap = np.inf if self.cap is None else self.cap
        if not self.leak and cap == np.inf:
            return mean + (g - before)
        return g + into_ball((1 - self.leak) * (mean - before), cap)

    def _adapted(self, x: Vec, y: Vec, g: Vec, task: Task, round: int) -> State:
        mu = rate(self.step_size, round) if self.step_size is not None else step_size(None, round, task) / 4
        return State(x, x - mu * y, y, g)
