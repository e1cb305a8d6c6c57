"""The primal-dual method of multipliers: consensus by local solves and a dual per edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.ball import into_balls
from dmtl.capabilities import Proximable
from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Mask, Mat, Mix, Needs, Task, Vec, View

__all__ = ["PDMM", "State"]


class State(NamedTuple):
    """Model and auxiliary edge variables."""

    x: Vec
    """(d,) the model"""
    z: Mat
    """(k, d) z_ij: what neighbour j told this rank i, averaged; oriented by A_ij = 1 if i < j, else -1"""


@dataclass(frozen=True, slots=True)
class PDMM:
    r"""Primal-dual method of multipliers: all ranks reach the minimiser of sum f_i by local solves.

    Problem: min sum_i f_i(x_i) subject to A_ij x_i + A_ji x_j = 0 on every edge, A_ij = 1 if i < j, else -1.
    Update: x_i = argmin f_i(x) + sum_j (z_ij . A_ij x + rho/2 |x|^2), which is a proximal map of f_i with weight
    rho deg_i at -sum_j A_ij z_ij / (rho deg_i);  y_ij = z_ij + 2 rho A_ij x_i goes to j;
    z_ij+ = (1 - theta) z_ij + theta y_ji.
    theta = 1/2 (Peaceman-Rachford averaged to Douglas-Rachford, which is ADMM on the edges) converges for every convex
    f; theta = 1 is the original PDMM, faster, and sure to converge for strongly convex and smooth f.
    A message that does not come leaves that edge's z as it was, and the limit stays exact: on changing graphs, and
    where single messages are lost (measured to 1e-10 at a tenth lost; Heusdens and Zhang, 2024, on random updates).
    Late messages are refused. Without a cap one lie takes a model anywhere, and a lie about a dual that is repeated
    makes duals grow for ever wherever the graph has a cycle.

    With a cap each edge's dual is kept in a ball (ours): (z_ij + theta (y_ji - z_ij)) above equals
    z_ij + 2 theta (u_ij - rho A_ij x_i - z_ij), u_ij = (y_ij + y_ji) / 2 the dual, which is the same at both ends; u_ij
    is projected on the ball of radius cap a_ij, a the graph's edge weights (1 if none). This is Douglas-Rachford
    splitting of sum_i f_i(x_i) + cap sum_{edges ij} a_ij |x_i - x_j|_2, so without lies it ends where 'network-lasso'
    with strength = cap ends, exactly: groups of ranks with one model each, and consensus where cap is large enough.
    Where nothing comes, rho A_ij x_i + z_ij, the force that this edge would have, is kept in the same ball.
    With f_i mu-strongly convex, theta at most 1/2 and whatever neighbours say or leave unsaid, the model goes to within
    r = sum_j cap a_ij / mu of the one learnt alone: a bound on what it is farther away is multiplied by
    1 - 2 theta c / (1 + c) in every round, c = mu / (rho deg_i). An infinite cap is the plain method, bit for bit.
    What is ours besides: a rank without neighbours takes proximal-point steps.

    Message: y_ij, one per edge, f = 1.
    Zhang and Heusdens, "Distributed optimization using the primal-dual method of multipliers", IEEE TSIPN 4(1), 2018;
    Sherson, Heusdens and Kleijn, "Derivation and analysis of the primal-dual method of multipliers based on monotone
    operator theory", IEEE TSIPN 5(2), 2019; Heusdens and Zhang, "Distributed nonlinear conic optimisation with
    partially separable structure", arXiv:2405.09490, 2024.
    """

    rho: float = 1.0
    """edge penalty, above 0"""
    theta: float = 0.5
    """averaging, above 0 and at most 1"""
    cap: float | None = None
    """the most force that one neighbour has, at least 0; left out: any, and ranks agree on one model"""

    needs: ClassVar[Needs] = Needs.PROX | Needs.EDGEWISE | Needs.UNSCREENED | Needs.UNDIRECTED | Needs.FRESH
    endures_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ConfigError(f"'pdmm' has rho={self.rho}. It must be above 0.")
        if not 0 < self.theta <= 1:
            raise ConfigError(f"'pdmm' has theta={self.theta}. It must be above 0 and at most 1.")
        if self.cap is not None and not self.cap >= 0:
            raise ConfigError(f"'pdmm' has cap={self.cap}. cap is a force, at least 0; leave it out for no limit.")

    def exposure(self) -> str:
        """Everything without a cap."""
        if self._capped:
            return ""
        return "has duals that a lie can drive without bound. Give it a cap, pdmm:cap=0.1, or use 'network-lasso'."

    @property
    def _capped(self) -> bool:
        return self.cap is not None and self.cap < np.inf

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): one edge's y."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Duals such that every y says ``x0``, then one local solve."""
        signs = orientation(view)
        return self._solve(x0, -self.rho * signs[:, None] * x0, task, signs)

    def send(self, state: State, view: View) -> Block:
        """y_ij for every neighbour j."""
        return self._said(state, view)[:, None, :]

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average what the neighbours told into z, then solve."""
        z = state.z.copy()
        came = inbox.valid
        z[came] += self.theta * (inbox.messages[came, 0] - z[came])
        if self._capped:
            self._hold(z, state, inbox.messages[:, 0], came, view)
        return self._solve(state.x, z, task, orientation(view))

    def _said(self, state: State, view: View) -> Mat:
        return state.z + 2 * self.rho * orientation(view)[:, None] * state.x

    def _hold(self, z: Mat, state: State, heard: Mat, came: Mask, view: View) -> None:
        """Put the rows of the new ``z`` (k, d) right whose dual would leave its ball."""
        radius = cast(float, self.cap) * view.couplings
        own = self.rho * orientation(view)[:, None] * state.x
        dual = state.z + own
        dual[came] = (self._said(state, view)[came] + heard[came]) / 2
        held = into_balls(dual, radius)
        over = (held != dual).any(axis=1)
        step = np.where(came, 2 * self.theta, 1.0).astype(z.dtype)[:, None]
        z[over] = (state.z + step * (held - own - state.z))[over]

    def _solve(self, x: Vec, z: Mat, task: Task, signs: Vec) -> State:
        prox = cast(Proximable, task).prox
        if not len(z):
            return State(prox(x, self.rho), z)
        weight = self.rho * len(z)
        return State(prox(-(signs @ z) / weight, weight), z)


def orientation(view: View) -> Vec:
    """(k,) A_ij of this rank i for each neighbour j: 1 if i < j, else -1."""
    return np.array([1.0 if view.rank < j else -1.0 for j in view.sources], dtype=view.weights.dtype)
