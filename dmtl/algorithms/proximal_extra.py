"""EXTRA and PG-EXTRA: exact first-order methods for consensus problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.lifted import NEEDS, Lifted, Local
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.lifts.find import check_lift, lift_of
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Needs, Vec

__all__ = ["Extra", "ExtraEngine", "ProximalExtra", "State", "check_smooth"]


class State(NamedTuple):
    """The variables, the gradient at them, and the dual that makes ranks agree."""

    u: Vec
    """(p,) what stays on this rank"""
    z: Mat
    """(copies, q) what is shared, and mixed"""
    gu: Vec
    """(p,) the gradient by u"""
    gz: Mat
    """(copies, q) the gradient by z"""
    y: Mat
    """(copies, q) the dual times the step; it adds up to 0 over the network"""


class ExtraEngine(NamedTuple):
    """PG-EXTRA on any lift; EXTRA where a lift is smooth."""

    def begin(self, u: Vec, z: Mat, here: Local) -> State:
        """Gradients, and duals of 0."""
        return State(u, z, *here.grad(u, z), np.zeros_like(z))

    def said(self, state: State) -> Mat:
        """z."""
        return state.z

    def moved(self, state: State, mixed: Mat, here: Local) -> State:
        """Mix, step, and let the dual take half of what mixing changed."""
        a = 1 / here.steepness
        u, z = here.lift.prox(state.u - a * state.gu, mixed - a * state.gz + state.y, a)
        return State(u, z, *here.grad(u, z), state.y - (state.z - mixed) / 2)


@dataclass(frozen=True, slots=True)
class Extra:
    r"""EXTRA: gradient descent whose fixed point is exact consensus, with a constant step.

    Problem: min over x of sum_t f_t(x), one model for all ranks; with the penalty 'mean' each rank its own model,
    min sum_t f_t(w_t) + strength / 2 sum_t |w_t - mean|^2, in its lifted form sum_t [f_t(w_t) + strength / 2
    |w_t - z_t|^2], z_t equal on all edges; w_t never travels then. For penalties that are not smooth see 'pg-extra'.
    Update: z+ = W z - a grad s(z) + y;  y+ = y - (z - W z) / 2, W = (I + M) / 2, M the mixing weights: that is
    z++ = (I + W) z+ - (I + W) / 2 z - a (grad s(z+) - grad s(z)), the paper's. sum_t y_t = 0 in every round: what a
    screen changes, a lie or a lost message breaks that, for good. a = 1 / L, L the largest Lipschitz constant, found by
    the ranks before they begin.
    What is ours: (I + M) / 2 in place of M, which has no negative eigenvalue on any graph, so that a = 1 / L is safe.

    Message: z, d numbers, f = 1.
    Shi, Ling, Wu and Yin, "EXTRA: an exact first-order algorithm for decentralized consensus optimization", SIAM J.
    Optim. 25, 2015.
    """

    penalty: Penalty | None = None
    """'mean', with its strength in brackets: penalty=(mean:strength=0.2); left out: one model for all"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_lift("extra", self.penalty)
        check_smooth("extra", self.penalty)

    def charted(self, chart: Chart) -> Lifted:
        """The method on that graph."""
        return Lifted(ExtraEngine(), lift_of(self.penalty, chart.ranks), chart)


@dataclass(frozen=True, slots=True)
class ProximalExtra:
    r"""PG-EXTRA: EXTRA with a proximal map, for problems with a part that is not smooth.

    Problem: min over x of sum_t f_t(x) + g(x), one model for all ranks; without a penalty g that is 'extra'.
    With a penalty that couples tasks: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + g(W), each rank its own model, in
    its lifted form min sum_t [f_t(w_t) + phi_t(u_t, z_t)], z_t equal on all edges, where g(W) = min_z sum_t phi_t. The
    model w_t is a part of u_t, or the sum of two, and u_t never travels. Penalties with a lift: clustered, dirty,
    l1inf, l21, mean, mtrl, nuclear, robust, robust-features, squared-nuclear.
    Update: (u, z)+ = prox_{a r}(u - a grad_u s, W z - a grad_z s + y), s the smooth and r the other part of f + phi;
    y+ = y - (z - W z) / 2, W = (I + M) / 2, M the mixing weights. That is the paper's h+ = W z+ + h - (I + W) / 2 z
    - a (grad s+ - grad s), with y = h+ - W z+ + a grad s+. a = 1 / L, L the largest Lipschitz constant, found by the
    ranks before they begin; on u it is the ordinary proximal gradient method. sum_t y_t = 0 in every round: what a
    screen changes, a lie or a lost message breaks that, for good.
    What is ours: (I + M) / 2 in place of M: steps up to (1 + least eigenvalue of W) / L converge, so 1 / L always does;
    lifts whose u and z have sizes that fit each other, and mixing between several copies of z on a rank.

    Message: z: d numbers, d (d + 1) / 2 for penalties of singular values; f = 1.
    Shi, Ling, Wu and Yin, "A proximal gradient algorithm for decentralized composite optimization", IEEE TSP 63, 2015.
    """

    penalty: Penalty | None = None
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2); left out: one model for all"""
    common: bool = False
    """whether all ranks learn one model, of which that is the penalty; any will do then that is of one part"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_lift("pg-extra", self.penalty, self.common)

    def charted(self, chart: Chart) -> Lifted:
        """The method on that graph."""
        return Lifted(ExtraEngine(), lift_of(self.penalty, chart.ranks, self.common), chart)


def check_smooth(method: str, penalty: Penalty | None) -> None:
    """Refuse a penalty whose lift is not smooth."""
    if not lift_of(penalty, 1).smooth:
        raise ConfigError(f"'{method}' has penalty={penalty}, which is not smooth. Use 'mean', or 'pg-extra'.")
