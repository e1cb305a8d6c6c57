"""Graph-regularised multi-task learning, exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["Laplacian", "State"]


class State(NamedTuple):
    """The model, and nothing else."""

    x: Vec
    """(d,)"""


@dataclass(frozen=True, slots=True)
class Laplacian:
    r"""Multi-task learning with a Laplacian regulariser: each rank its own model, drawn towards its neighbours'.

    Objective: sum_k f_k(x_k) + (strength / 4) sum_k sum_l w_kl |x_k - x_l|^2, w the symmetric mixing weights; the
    gradient of the second term with respect to x_k is strength (x_k - sum_l w_kl x_l) = strength (x_k - mix_k).
    Update: x_k+ = x_k - mu (grad f_k(x_k) + strength (x_k - mix_k)).
    That is gradient descent on the joint objective, so a constant mu <= 1 / (L + 2 strength) converges to its exact
    minimiser (2 bounds the eigenvalues of I - W). strength = 0 learns alone; strength -> infinity is consensus.
    On a changing graph w is another in each round, which makes this a stochastic gradient: with a constant mu it keeps
    moving at a distance of about sqrt(mu) from the minimiser that the mean weights have; with '3/t' it reaches that.
    What is ours: the term is evaluated before the gradient step and not after it, as the diffusion form does, whose
    limit is off by O(mu).

    Message: x, f = 1.
    Evgeniou, Micchelli and Pontil, "Learning multiple tasks with kernel methods", JMLR 6, 2005 (the regulariser);
    Nassif, Vlaski, Richard and Sayed, "Learning over multitask graphs", IEEE Open Journal of Signal Processing 1,
    2020 (on a network).
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (L + 2 strength), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'laplacian' step_size")
        if not self.strength >= 0:
            raise ConfigError(f"'laplacian' has strength={self.strength}. It must be at least 0.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``."""
        return State(x0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One gradient step on loss and regulariser together."""
        x = state.x
        mu = step_size(self.step_size, view.round, task, 2 * self.strength)
        return State(x - mu * (task.grad(x, view.batch()) + self.strength * (x - mix())))
