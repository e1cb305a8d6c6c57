"""Frank-Wolfe on the ball of the trace norm, without a master."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite
from typing import ClassVar, NamedTuple

from dmtl.algorithms.power import NEEDS, Power, check_count, common_direction
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["FrankWolfe", "OnGraph", "State"]


class State(NamedTuple):
    """This task's column of the iterate, and the next vertex on its way."""

    x: Vec
    """(d,) the model: the column of W"""
    steps: int
    """steps made"""
    g: Vec
    """(d,) the column of G = [grad f_1(w_1) .. grad f_T(w_T)]"""
    power: Power
    gap: float
    """the duality gap of the iterate before; infinite before the first step"""


@dataclass(frozen=True, slots=True)
class FrankWolfe:
    """Decentralised Frank-Wolfe: low-rank models, each step adds a rank-one matrix.

    Problem: min of sum_t f_t(w_t) over W = [w_1 .. w_T] with trace norm |W|_* <= radius.
    Update, k = 0, 1, ..: u and v the leading left and right singular vectors of G = [grad f_1(w_1) .. grad f_T(w_T)],
    W <- (1 - c) W - c radius u v', c = 2 / (k + 2). A rank needs u, its own gradient and |G'u|, as
    v_t = grad f_t(w_t)'u / |G'u|; so it keeps its own column of W alone. u is found by the power iteration
    u <- G G'u / |G G'u|, from the last step's, the first one from a direction that all ranks draw alike; each of its
    steps is one exact average, in as many rounds as the Laplacian has distinct eigenvalues. The rank of W grows by at
    most one in a step. After k steps the objective is within 2 L (2 radius)^2 / (k + 2) of its least value, L the
    largest Lipschitz constant, where u is exact. There is no defence against liars.
    ``gap`` in the state is <G, W> + radius |G|_2 before the last step: no less than what the objective was above its
    least value, as soon as the power iteration has converged; |G|_2 is a lower bound before that.
    What is ours: the power iteration by exact averages, and that it starts warm.

    Message: the sum on its way, and two sums of numbers, d + 2 numbers, f = 1.
    Frank and Wolfe, "An algorithm for quadratic programming", Naval Research Logistics Quarterly 3, 1956; Jaggi,
    "Revisiting Frank-Wolfe: projection-free sparse convex optimization", ICML 2013 (the gap); Wang, Kolar and Srebro,
    "Distributed multi-task learning with shared representation", arXiv:1603.02185, 2016 (one task per machine).
    """

    radius: float = 1.0
    """of the ball: the largest trace norm of W, above 0"""
    power_steps: int = 10
    """of the power iteration in each step"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_count("frank-wolfe", "power_steps", self.power_steps)
        if not (isfinite(self.radius) and self.radius > 0):
            raise ConfigError(f"'frank-wolfe' has radius={self.radius}. radius is a finite number above 0.")

    def charted(self, chart: Chart) -> OnGraph:
        """The method on that graph."""
        return OnGraph(self, chart)


@dataclass(frozen=True, slots=True)
class OnGraph:
    """Frank-Wolfe on a graph; see ``FrankWolfe``."""

    settings: FrankWolfe
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 2): a vector, and two numbers."""
        return 1, task.dim + 2

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, of which the first step, of length 1, leaves nothing."""
        return self._aimed(x0, 0, common_direction(x0, view, 0), inf, task)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average."""
        return (state.power.mean.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the average; where it is complete one power step; after the last of them a step."""
        power, ranks = state.power.heard(inbox, self.chart), self.chart.ranks
        if not power.mean.complete(self.chart.spectrum):
            return state._replace(power=power)
        if power.left > 1:
            return state._replace(power=power.next(state.g, float(state.g @ state.x)))
        height = power.height(ranks)
        share = float(state.g @ power.u) / height if height > 0 else 0.0
        length = 2 / (state.steps + 2)
        x = (1 - length) * state.x - length * self.settings.radius * share * power.u
        gap = ranks * float(power.mean.x[-1]) + self.settings.radius * power.norm(ranks)
        return self._aimed(x, state.steps + 1, power.direction, gap, task)

    def _aimed(self, x: Vec, steps: int, u: Vec, gap: float, task: Task) -> State:
        """Begin to look for the vertex of the next step."""
        g = task.grad(x).astype(x.dtype)
        power = Power.begun(u, g, self.settings.power_steps, float(g @ x))
        return State(x, steps, g, power, gap)
