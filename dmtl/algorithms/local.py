"""No cooperation: the line that every other method is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Local", "State"]


class State(NamedTuple):
    """The model, and nothing else."""

    x: Vec
    """(d,)"""


@dataclass(frozen=True, slots=True)
class Local:
    r"""Every rank learns alone: gradient descent on its own loss, no message sent.

    Update: x+ = x - mu grad f(x).
    With mu = 1/L it converges to the minimiser of its own f; this is 'alone' in every table.

    Message: none (f = 0).
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNSCREENED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'local' step_size")

    def exposure(self) -> str:
        """Nothing: it hears nobody."""
        return ""

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(0, d): nothing is sent."""
        return 0, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``."""
        return State(x0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Say nothing."""
        return ()

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One gradient step."""
        mu = step_size(self.step_size, view.round, task)
        return State(state.x - mu * task.grad(state.x, view.batch()))
