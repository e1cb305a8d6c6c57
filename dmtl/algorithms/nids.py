"""NIDS: a network independent step size for composite consensus problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.lifted import NEEDS, Lifted, Local
from dmtl.consensus.chart import Chart
from dmtl.lifts.find import check_lift, lift_of
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Needs, Vec

__all__ = ["NIDS", "NIDSEngine", "State"]


class State(NamedTuple):
    """Where the gradient was taken, and the dual that makes ranks agree."""

    u: Vec
    """(p,) what stays on this rank"""
    z: Mat
    """(copies, q) what is shared"""
    gu: Vec
    """(p,) the gradient by u"""
    gz: Mat
    """(copies, q) the gradient by z"""
    y: Mat
    """(copies, q) the dual times the step; it adds up to 0 over the network"""
    ahead: Mat
    """(copies, q) 2 z - v + y - a gz: what is mixed"""


class NIDSEngine(NamedTuple):
    """NIDS on any lift."""

    def begin(self, u: Vec, z: Mat, here: Local) -> State:
        """A step of the proximal gradient method, with duals of 0."""
        return self._stepped(u, z, *here.grad(u, z), np.zeros_like(z), here)

    def said(self, state: State) -> Mat:
        """The extrapolated z."""
        return state.ahead

    def moved(self, state: State, mixed: Mat, here: Local) -> State:
        """The dual takes what mixing changes."""
        y = state.y - (state.ahead - mixed)
        return self._stepped(state.u, state.z, state.gu, state.gz, y, here)

    def _stepped(self, u: Vec, z: Mat, gu: Vec, gz: Mat, y: Mat, here: Local) -> State:
        a = 1 / here.steepness
        v = z - a * gz + y
        u, z = here.lift.prox(u - a * gu, v, a)
        gu, gz = here.grad(u, z)
        return State(u, z, gu, gz, y, 2 * z - v + y - a * gz)


@dataclass(frozen=True, slots=True)
class NIDS:
    r"""NIDS: exact decentralised proximal gradients with a step that no graph makes smaller.

    Problem: min over x of sum_t f_t(x) + g(x), one model for all ranks; without a penalty g that is all.
    With a penalty that couples tasks: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + g(W), each rank its own model, in
    its lifted form min sum_t [f_t(w_t) + phi_t(u_t, z_t)], z_t equal on all edges, where g(W) = min_z sum_t phi_t. The
    model w_t is a part of u_t, or the sum of two, and u_t never travels. Penalties with a lift: clustered, dirty,
    l1inf, l21, mean, mtrl, nuclear, robust, robust-features, squared-nuclear.
    Update: v = z - a grad_z s + y, (u, z)+ = prox_{a r}(u - a grad_u s, v), s the smooth part of f + phi, r the other;
    c = 2 z+ - v + y - a grad_z s+;  y+ = y - (c - W c), W = (I + M) / 2, M the mixing weights. v is that of the paper,
    v+ = v - z + W(2 z - z- - a grad s + a grad s-), and y = v - z- + a grad s- from round to round.
    a = 1 / L, L the largest Lipschitz constant, found by the ranks before they begin; any a < 2 / L converges, on every
    graph. On u it is the ordinary proximal gradient method. sum_t y_t = 0 in every round: what a screen changes, a lie
    or a lost message breaks that, for good.
    What is ours: lifts whose u and z have sizes that fit each other, and mixing between several copies of z on a rank.

    Message: c, as long as z: d numbers, d (d + 1) / 2 for penalties of singular values; f = 1.
    Li, Shi and Yan, "A decentralized proximal-gradient method with network independent step-sizes and separated
    convergence rates", IEEE TSP 67, 2019.
    """

    penalty: Penalty | None = None
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2); left out: one model for all"""
    common: bool = False
    """whether all ranks learn one model, of which that is the penalty; any will do then that is of one part"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_lift("nids", self.penalty, self.common)

    def charted(self, chart: Chart) -> Lifted:
        """The method on that graph."""
        return Lifted(NIDSEngine(), lift_of(self.penalty, chart.ranks, self.common), chart)
