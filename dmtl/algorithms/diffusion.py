"""Adapt-then-combine diffusion: gossip learning of one common model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Diffusion", "State"]


class State(NamedTuple):
    """Model and adapted model."""

    x: Vec
    """(d,) after combining: the model"""
    psi: Vec
    """(d,) after adapting: what is sent"""


@dataclass(frozen=True, slots=True)
class Diffusion:
    r"""Adapt-then-combine diffusion (decentralised gradient descent): all ranks learn one model by gossip.

    Update: psi_k = x_k - mu grad f_k(x_k);  x_k+ = sum_l a_lk psi_l.
    The sum is the screen's, so any screen takes its place. A constant mu leaves an O(mu) distance to the minimiser
    of sum f_k, and a schedule that falls removes it; on tasks that differ the common model is a compromise.
    With ``step_size=0`` nothing is learnt and this is plain gossip averaging.
    What is ours: the first adaptation happens before round 0, so that a round is one exchange and then one gradient.

    Message: psi, f = 1.
    Chen and Sayed, "Diffusion adaptation strategies for distributed optimization and learning over networks",
    IEEE Transactions on Signal Processing 60(8), 2012.
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'diffusion' step_size")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the adapted model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and adapt once."""
        return State(x0, self._adapt(x0, task, view, 0))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model, to all."""
        return (state.psi,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then adapt for the next round."""
        x = mix()
        return State(x, self._adapt(x, task, view, 1))

    def _adapt(self, x: Vec, task: Task, view: View, ahead: int) -> Vec:
        mu = step_size(self.step_size, view.round + ahead, task)
        return x - mu * task.grad(x, view.batch(ahead)) if mu else x
