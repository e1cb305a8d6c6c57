"""One model for tasks of unlike scales: each rank learns how much its own loss counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["State", "UncertaintyWeighted"]

Learn = Literal["closed", "gradient"]
_TINY = 1e-300
"""a loss below counts as this, since its logarithm is taken"""


class State(NamedTuple):
    """Model, adapted model, and how uncertain the own task is."""

    x: Vec
    """(d,) after combining: the model"""
    psi: Vec
    """(d,) after adapting: what is sent"""
    s: float
    """log sigma^2; it never leaves the rank"""
    loss: float
    """the averaged loss, of which s is the logarithm where it has a closed form"""


@dataclass(frozen=True, slots=True)
class UncertaintyWeighted:
    r"""Uncertainty weighting by gossip: one model for all, each task's gradient scaled by a variance that it learns.

    Problem: min over x and all s_k of sum_k exp(-s_k) f_k(x) + s_k, s_k = log sigma_k^2 >= least; f_k above 0. For
    s_k = log f_k(x), the best one, that is sum_k log f_k(x): tasks count by relative and not by absolute losses.
    Update: psi_k = x_k - mu exp(-s_k) grad f_k(x_k);  x_k+ = sum_l a_lk psi_l, as in 'diffusion', so any screen works.
    learn=closed: s_k = log of the averaged loss, m+ = memory m + (1 - memory) f_k(x_k); learn=gradient:
    s_k+ = s_k - rate (1 - exp(-s_k) f_k(x_k)), and no further than log f_k(x_k). Neither is told to anybody.
    Where it comes to rest s_k = log f_k(x), and x is the minimiser of sum_k f_k / l_k with the weights fixed at the
    final losses l_k: exactly on a complete graph if all have the same mu, else at the O(mu) distance of 'diffusion'.
    sum_k log f_k falls without end where a loss can be 0. So s_k >= least: no task counts more than exp(-least), which
    bounds the influence of a rank that fits its data perfectly. A rank that scales its loss changes nothing but s_k.
    What is ours: gossip in place of one network with many heads; the bound; the closed form with its average. Factors
    1/2 of the original, which differ between regression and classes, are left out: they scale losses alike.

    Message: psi, f = 1.
    Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and semantics",
    CVPR 2018.
    """

    learn: Learn = "closed"
    """how s is learnt: in closed form from the averaged loss, or by gradient steps"""
    least: float = -2.0
    """smallest s; no loss is weighed by more than exp(-least)"""
    memory: float = 0.9
    """how much of the averaged loss is of the past, in [0, 1); it begins at the first loss"""
    rate: Schedule = 0.1
    """step of learn=gradient, by rounds"""
    step_size: Schedule | None = None
    """mu, by rounds; left out: exp(least) / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'uncertainty-weighted' step_size")
        check_schedule(self.rate, "'uncertainty-weighted' rate")
        if self.learn not in get_args(Learn):
            raise ConfigError(f"'uncertainty-weighted' has learn={self.learn!r}. It is closed or gradient.")
        if not math.isfinite(self.least) or abs(self.least) > 100:
            raise ConfigError(f"'uncertainty-weighted' has least={self.least}. It is a logarithm, from -100 to 100.")
        if not 0 <= self.memory < 1:
            raise ConfigError(
                f"'uncertainty-weighted' has memory={self.memory}. It is a share, at least 0 and below 1."
            )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the adapted model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with the weight that its loss asks for, and adapt once."""
        loss = max(task.loss(x0, view.batch()), _TINY)
        return self._adapted(State(x0, x0, max(self.least, math.log(loss)), loss), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model, to all."""
        return (state.psi,)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """s, and the weight of the own loss."""
        return {"log_variance": state.s, "weight": math.exp(-state.s)}

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, weigh the own loss anew, then adapt for the next round."""
        x = mix()
        loss = max(task.loss(x, view.batch(1)), _TINY)  # on the batch of the gradient that follows
        if not math.isfinite(loss):  # the gradient then tells that the run has diverged
            return self._adapted(state._replace(x=x), task, view, 1)
        mean = self.memory * state.loss + (1 - self.memory) * loss
        s = math.log(mean) if self.learn == "closed" else self._moved(state.s, loss, view.round)
        return self._adapted(State(x, x, max(self.least, s), mean), task, view, 1)

    def _moved(self, s: float, loss: float, round: int) -> float:
        """A gradient step on exp(-s) loss + s, that does not go beyond the minimum."""
        best = math.log(loss)
        moved = s - rate(self.rate, round) * -math.expm1(min(best - s, 100.0))
        return min(moved, best) if s < best else max(moved, best)

    def _adapted(self, state: State, task: Task, view: View, ahead: int) -> State:
        scale = math.exp(self.least) if self.step_size is None else 1.0
        mu = scale * step_size(self.step_size, view.round + ahead, task)
        return state._replace(psi=state.x - mu * math.exp(-state.s) * task.grad(state.x, view.batch(ahead)))
