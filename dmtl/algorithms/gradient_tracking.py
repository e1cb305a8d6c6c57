"""Gradient tracking: exact consensus optimisation with a constant step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

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
    well-connected graphs and is a choice of ours. A screen or a lost message breaks the invariant, and the error stays.
    Links that are closed at both of their ends do not: on changing graphs with the weights 'metropolis', through splits
    and with ranks that join later it reaches the same minimiser, to 1e-8 in our tests.

    Message: (x - mu y, y) in one, f = 2.
    Di Lorenzo and Scutari, "NEXT: in-network nonconvex optimization", IEEE TSIPN 2(2), 2016; Nedic, Olshevsky and
    Shi, "Achieving geometric convergence for distributed optimization over time-varying graphs", SIAM J. Optim. 27(4),
    2017.
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / (4 L), L the Lipschitz constant of the task's gradient (each rank its own)"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.DOUBLY_STOCHASTIC

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'gradient-tracking' step_size")

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
        return self._adapted(x, mix(1) + (g - state.g), g, task, view.round + 1)

    def _adapted(self, x: Vec, y: Vec, g: Vec, task: Task, round: int) -> State:
        mu = rate(self.step_size, round) if self.step_size is not None else step_size(None, round, task) / 4
        return State(x, x - mu * y, y, g)
