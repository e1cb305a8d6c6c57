"""Central proximal gradient steps of spectral length, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.central import LOW_RANK, Central, Problem
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Needs, Task, Vec

__all__ = ["CentralSpaRSA", "Whole"]

_FLATTEST = 1e-10
"""least curvature of a step, in shares of the Lipschitz constant"""


class Whole(NamedTuple):
    """All variables of all tasks."""

    w: Mat
    """(D, T) the iterate"""
    grad: Mat
    """(D, T) the gradient there; empty before the first step"""
    alpha: float
    """curvature that the next step assumes first; 0: the Lipschitz constant"""
    used: float
    """curvature that the last step came to; 0 before it"""
    recent: Vec
    """(memory + 1,) or fewer: the objective at the last iterates"""


@dataclass(frozen=True, slots=True)
class CentralSpaRSA:
    """Central SpaRSA: proximal gradient with spectral steps, all tasks in one process, for comparison.

    Problem: min over W = [w_1 .. w_T] of P(W) = sum_t f_t(w_t) + g(W), g the penalty.
    Update: W+ = prox_{g / alpha}(W - [grad f_t(w_t)]_t / alpha), alpha = <s, y> / <s, s> by the last step s and the
    change y of the gradient; alpha is doubled until P(W+) <= max of the last memory + 1 of P - (decrease / 2) alpha
    |W+ - W|^2. The objective may rise for a few steps and is never above the largest of those. It takes one gradient
    a step, and mostly far fewer steps than ISTA. It is an oracle and no method for networks: it reads everybody's data,
    so it runs in the simulator alone.
    What is ours: it starts from alpha = L, the Lipschitz constant of the gradient, and no alpha >= L is refused, since
    the rule holds for it but for rounding.

    Wright, Nowak and Figueiredo, "Sparse reconstruction by separable approximation", IEEE Trans. Signal Processing 57,
    2009.
    """

    penalty: Penalty = LOW_RANK
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2)"""
    memory: int = 5
    """how many iterates before the last one the objective is compared with, at least 0; 0: it never rises"""
    decrease: float = 0.01
    """share of a quadratic decrease that a step has to make, between 0 and 1"""

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.SMOOTH

    def __post_init__(self) -> None:
        if self.memory < 0:
            raise ConfigError(f"'central-sparsa' has memory={self.memory}. memory is a number of steps, at least 0.")
        if not 0 < self.decrease < 1:
            raise ConfigError(f"'central-sparsa' has decrease={self.decrease}. decrease is between 0 and 1.")

    def gathered(self, tasks: Sequence[Task], chart: Chart) -> Sequence[Central]:
        """The method of each rank."""
        return Central.on_each_rank(self, tasks, self.penalty, chart)

    def begin(self, here: Problem, w: Mat) -> Whole:
        """At ``w``."""
        return Whole(w, w[:, :0], 0.0, 0.0, np.zeros(0, w.dtype))

    def move(self, here: Problem, whole: Whole) -> Whole:
        """One step, as short as the rule asks for."""
        steepness = here.steepness
        grad = whole.grad if whole.grad.size else here.grad(whole.w)
        recent = whole.recent if len(whole.recent) else np.array([here.objective(whole.w)], whole.w.dtype)
        alpha = whole.alpha or steepness
        while True:
            w = here.penalty.prox(whole.w - grad / alpha, 1 / alpha)
            value, s = here.objective(w), w - whole.w
            square = float(np.sum(s * s))
            if value <= recent.max() - self.decrease / 2 * alpha * square or alpha >= steepness:
                break
            alpha = min(2 * alpha, steepness)
        after = here.grad(w)
        curvature = float(np.sum(s * (after - grad))) / square if square > 0 else steepness
        return Whole(
            w,
            after,
            min(max(curvature, _FLATTEST * steepness), steepness),
            alpha,
            np.append(recent, w.dtype.type(value))[-self.memory - 1 :],
        )
