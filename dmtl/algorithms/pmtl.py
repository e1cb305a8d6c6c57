"""Parallel multi-task learning without a master: FISTA on the dual of all tasks, what couples them solved exactly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.precision import Precision, check_precision
from dmtl.capabilities import Dual
from dmtl.consensus.chart import Chart, spectrum
from dmtl.errors import ConfigError
from dmtl.penalties.momentum import momentum
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["PMTL", "Solving", "State"]

_NEEDS = Needs.DUAL | Needs.EDGEWISE | Needs.FRESH | Needs.STATIC | Needs.UNDIRECTED | Needs.UNSCREENED


class State(NamedTuple):
    """This rank's duals, and the linear system that is on its way."""

    x: Vec
    """(d,) the model of the duals before ``alpha``"""
    alpha: Vec
    """(m,) the duals"""
    ahead: Vec
    """(m,) the duals where the next gradient is taken"""
    lead: float
    """ahead = alpha + lead (alpha - the alpha before)"""
    t: float
    """momentum"""
    pull: Vec
    """(d,) X'ahead / m, the right side"""
    said: Vec
    """(d + 1,) the solution so far, and what tells of a restart on its way to the average"""
    done: int
    """rounds that the solution has gone through"""
    curve: float
    """|X|_2^2 / (m g): how steep the dual is, per row"""


@dataclass(frozen=True, slots=True)
class PMTL:
    r"""Parallel multi-task learning without a master: the iterates of accelerated gradients on the dual of all tasks.

    Problem: min over W of sum_t f_t(w_t) + strength/2 tr(W K W'), K = L_a + delta I, a the graph's edge weights (1 if
    none); f_t(w) = 1/m sum_i phi_i(x_i'w) + l2/2 |w|^2. Its dual has one number per row:
    max of -sum_t 1/m sum_i phi_i*(-alpha_i) - 1/2 tr(B Q^-1 B'),  b_t = X_t'alpha_t/m,  Q = strength K + l2 I.
    Update (FISTA): W = B(beta) Q^-1;  alpha_i+ = argmax over b of -phi_i*(-b) - b x_i'w_t - q_t/2 (b - beta_i)^2, all
    rows at once, q_t = |X_t|_2^2 / (m g), g = strength delta + l2, the smallest eigenvalue of Q: each task has its own
    step, and needs nobody's;  beta+ = alpha+ + ((t - 1) / t+) (alpha+ - alpha). It begins anew, t = 1, where
    sum_t q_t/m <beta - alpha+, alpha+ - alpha> > 0.
    Only W couples the tasks. It is found by w <- w + (b - Q w)_t / theta_i with theta_i all distinct eigenvalues of Q
    in turn, which ends at the exact solution: each step takes out one eigenvalue. With theta_1 = g the first step needs
    no message, so a step of FISTA takes as many rounds as the Laplacian has distinct nonzero eigenvalues: n / 2 on a
    ring, 1 on the complete graph. The number that tells of a restart is averaged in the same rounds.
    So every rank makes the steps that one machine would make, to rounding. alpha is feasible in every round; without
    the restart the dual comes within O(1 / k^2) of its maximum in k steps; measured, it is linear in the end.

    It is slow where g is small, as q_t and the number of steps show; 'dmtrl' has no inner solve, needs no g and is the
    better method on large graphs. This one is the published algorithm, step by step, and does well where the graph has
    few eigenvalues. What is ours: the paper's master gathers B and makes W = B Q^-1; Chebyshev's method would need
    sqrt(cond Q) log(1 / eps) rounds for an error eps. The steps by task, the restart (one step late) and l2, which all
    tasks have to have in common. Learnt relations: 'dmtrl:relations=learned'.
    A lost message leaves the solution inexact. It has no defence against liars.

    Message: the solution on its way and one number for the restart, d + 1 numbers, f = 1.
    Zhang, "Parallel multi-task learning", ICDM 2015; Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009 (FISTA);
    O'Donoghue and Candes, Found. Comput. Math. 15, 2015 (the restart).
    """

    strength: float = 1.0
    """weight of the relations, at least 0"""
    delta: float = 0.1
    """how strongly models are drawn to 0 besides, at least 0; strength delta + l2 has to be above 0"""

    needs: ClassVar[Needs] = _NEEDS

    def __post_init__(self) -> None:
        check_precision("pmtl", self.strength, self.delta)

    def charted(self, chart: Chart) -> Solving:
        """The method on that graph."""
        if not (chart.couplings > 0).all():
            raise ConfigError("'pmtl' needs edge weights above 0. Leave such edges out of the graph.")
        values = spectrum(chart.ranks, chart.edges, chart.couplings)
        return Solving(Precision(self.strength, self.delta), chart.ranks, values)


@dataclass(frozen=True, slots=True)
class Solving:
    """The method on a graph whose eigenvalues it knows."""

    precision: Precision
    ranks: int
    values: tuple[float, ...] = field(repr=False)
    """distinct nonzero eigenvalues of L_a, in Leja order"""

    needs: ClassVar[Needs] = _NEEDS

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 1)."""
        return 1, task.dim + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start with duals of zero; ``x0`` is shown until the first model is there."""
        dual = cast(Dual, task)
        floor = self._floor(dual)
        if not floor > 0:
            raise ConfigError("'pmtl' needs strength delta + l2 above 0. Give it a delta, or the task an l2.")
        x = np.asarray(dual.rows, np.float64)
        alpha = np.zeros(len(x), x0.dtype)
        curve = float(np.linalg.norm(x, 2)) ** 2 / (len(x) * floor)
        state = State(x0, alpha, alpha, 0.0, 1.0, x0, x0, 0, curve)
        return self._begun(state._replace(x=np.zeros_like(x0)), 0.0, dual)._replace(x=x0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way."""
        return (state.said,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One round of the linear system, and where it is solved one step of the method."""
        dual = cast(Dual, task)
        if state.done < len(self.values):
            state = self._heard(state, inbox, dual, view)
        return state if state.done < len(self.values) else self._moved(state, dual)

    def _floor(self, dual: Dual) -> float:
        return self.precision.strength * self.precision.delta + dual.ridge

    def _heard(self, state: State, inbox: Inbox, dual: Dual, view: View) -> State:
        """Take one eigenvalue out of what is missing."""
        valid, value, strength = inbox.valid, self.values[state.done], self.precision.strength
        a = view.couplings[valid]
        apart = a.sum() * state.said - a @ inbox.messages[valid, 0]
        floor = self._floor(dual)
        said = state.said.copy()
        said[:-1] += (state.pull - strength * apart[:-1] - floor * said[:-1]) / (strength * value + floor)
        said[-1] -= apart[-1] / value
        return state._replace(said=said, done=state.done + 1)

    def _moved(self, state: State, dual: Dual) -> State:
        """The step of FISTA that the model at ``ahead`` completes."""
        w = state.said[:-1]
        x = (w + state.lead * state.x) / (1 + state.lead)
        alpha = dual.dual_steps(state.ahead, dual.rows @ w, state.curve)
        lead, t = momentum(state.t, bool(state.said[-1] > 0))
        turn = state.curve / len(alpha) * float((state.ahead - alpha) @ (alpha - state.alpha))
        ahead = alpha + lead * (alpha - state.alpha)
        return self._begun(state._replace(x=x, alpha=alpha, ahead=ahead, lead=lead, t=t), turn, dual)

    def _begun(self, state: State, turn: float, dual: Dual) -> State:
        """The system for the model at ``ahead``, after the step that needs nobody."""
        pull = state.ahead @ dual.rows / len(dual.rows)
        said = np.append(pull / self._floor(dual), pull.dtype.type(turn))
        return state._replace(pull=pull, said=said, done=0)
