"""Multitask diffusion: adapt, then smooth over the graph, by the Laplacian or a polynomial of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["LaplacianDiffusion", "State"]


class State(NamedTuple):
    """The model, the adapted model, and the polynomial of the Laplacian that is on its way."""

    x: Vec
    """(d,) after combining: the model"""
    psi: Vec
    """(d,) after adapting"""
    term: Vec
    """(d,) this rank's part of L^hop psi: what is sent"""
    total: Vec
    """(d,) sum_s c_s L^s psi up to s = hop"""
    hop: int
    """rounds since the adaptation"""


@dataclass(frozen=True, slots=True)
class LaplacianDiffusion:
    r"""Multitask diffusion with a graph regulariser: adapt first, then combine, by the Laplacian or a polynomial of it.

    Problem: min over X = [x_1 .. x_n] of sum_k f_k(x_k) + (strength / 2) <X, r(L) X>, L = I - W, W the symmetric mixing
    weights, r(L) = c_1 L + c_2 L^2 + ..; with r(L) = L that of 'laplacian'. A power of L leaves alone what is smooth
    over the graph and penalises more what is not: r(lambda) is the price of the graph frequency lambda.
    Update: psi_k = x_k - mu grad f_k(x_k);  X+ = (I - mu strength r(L)) Psi. r(L) is made one hop after the other,
    L^s Psi = L^(s-1) Psi - mix of it, so a step takes as many rounds as the polynomial has a degree.
    Stable for mu <= 1 / (L_f + strength r(2)), the default (2 bounds the eigenvalues of L): no error grows then.
    With m-strongly convex f_k it shrinks by 1 - mu m in each step, to the point where X = (I - mu strength r(L))
    (X - mu grad f(X)). That is the minimiser up to O(mu): the regulariser is taken after the gradient step and not at
    the same point, as by 'laplacian', which ends in the minimiser exactly. On mini-batches there is noise of the
    square root of mu besides. strength = 0 learns alone, a great one is consensus.
    What is ours: the first adaptation happens before round 0, so that a round is one exchange; the sums are the
    screen's, so any screen takes their place, for more than one hop as well.

    Message: L^hop psi, f = 1.
    Nassif, Vlaski, Richard and Sayed, "Learning over multitask graphs", Parts I and II, IEEE Open Journal of Signal
    Processing 1, 2020; Nassif, Vlaski, Richard, Chen and Sayed, "Multitask learning over graphs: an approach for
    distributed, streaming machine learning", IEEE Signal Processing Magazine 37(3), 2020 (polynomials).
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0"""
    polynomial: str = "1"
    """the coefficients of L, L^2 .., none below 0, with spaces between them: '1' is L, '0 1' is L^2"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (L_f + strength r(2)), L_f the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED | Needs.FRESH

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'laplacian-diffusion' step_size")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"'laplacian-diffusion' has strength={self.strength}. It must be at least 0.")
        try:
            values = _coefficients(self.polynomial)
        except ValueError:
            values = ()
        if not (values and all(math.isfinite(value) and value >= 0 for value in values) and values[-1] > 0):
            raise ConfigError(
                f"'laplacian-diffusion' has polynomial={self.polynomial!r}. Give the coefficients of L, L^2 .., at "
                f"least 0, the last one above 0, with spaces between them: '1', '0 1'."
            )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): a power of the Laplacian times the adapted models."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and adapt once."""
        return self._adapted(x0, task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """L^hop psi, to all."""
        return (state.term,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One hop further, and after the last one combine and adapt."""
        weights = _coefficients(self.polynomial)
        term = state.term - mix()
        total = state.total + weights[state.hop] * term
        if state.hop + 1 < len(weights):
            return state._replace(term=term, total=total, hop=state.hop + 1)
        x = state.psi - self._rate(task, view.round) * self.strength * total
        return self._adapted(x, task, view, 1)

    def _adapted(self, x: Vec, task: Task, view: View, ahead: int) -> State:
        psi = x - self._rate(task, view.round + ahead) * task.grad(x, view.batch(ahead))
        return State(x, psi, psi, np.zeros_like(x), 0)

    def _rate(self, task: Task, round: int) -> float:
        steepest = sum(value * 2.0**power for power, value in enumerate(_coefficients(self.polynomial), 1))
        return step_size(self.step_size, round, task, self.strength * steepest)


@cache
def _coefficients(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())
