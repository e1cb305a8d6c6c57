"""Gate, cap and anchor: evidence on own data, bounded force, a ball around what one learns alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from dmtl.capabilities import Halving, Judging, Sharing
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.screens.distances import clipped_average, distances, shares
from dmtl.screens.judging import Judge, gains, places, surely
from dmtl.types import Mask, Mat, Mixed, Task, Vec, View
from dmtl.verdicts import Why

__all__ = ["GateCapAnchor", "Memory"]

_REACH = 10.0
"""a row farther than so many radii is not looked at: there is nothing to learn from there within the ball"""
_WIDEST = 3.0
"""the most that the radius is widened"""

Row = NDArray[np.float64]


class Memory(NamedTuple):
    """What this rank learns alone, and what is on record of each neighbour."""

    rounds: int
    """rounds that it has seen"""
    anchor: Vec
    """(d,) v, learnt alone from all training rows"""
    halves: Mat
    """(2, d) v_0 and v_1, each learnt from half of them; (0, d) where the task cannot be halved"""
    wide: float
    """the radius in distances |v_0 - v_1|, where it is not given"""
    sources: NDArray[np.int64]
    """(k,) the neighbours' ranks, ascending"""
    record: Row
    """(k,) averaged gains, in own losses, each in [-1, 1]"""
    heard: NDArray[np.int64]
    """(k,) rounds that went into them"""


@dataclass(frozen=True, slots=True)
class GateCapAnchor:
    """Gate, cap and anchor: use who helps on own data, with bounded force, never far from what is learnt alone.

    Made for neighbours with different tasks, of which most may be of no use and any number may lie. In each round:
    anchor   v is what this rank learns alone: gradient steps on its own training rows, started where x starts.
    record   is half a step from v towards x_j, c = clip(x_j - v, R), of use? g_j = mean loss(v) - loss(v + c / 2) over
             rows that v has not learnt from, less ``margin`` standard errors of this mean, in units of loss(v).
             r_j <- (1 - nu) r_j + nu g_j; a neighbour is used from its ``warm_up``-th round on, if r_j > 0.
    gate     and only if half a step from x towards it, c_j = clip(x_j - x, R), does no harm on held-out rows now: the
             mean loss does not rise by more than ``margin`` standard errors.
    cap      y = x + sum_j a_j c_j, a_j ~ r_j, a_j <= ``most``, sum_j a_j <= 1/2.
    ball     value = the point nearest to y with |value - v| <= R.

    Guarantee, whatever anybody says and however many lie: v and R come from own data and from nothing that was heard,
    and value is in the ball, so |value - w*| <= |v - w*| + R for any w*: learning alone, and R. And as projecting
    makes no distance longer, the words of one round move the value by at most sum_j a_j |c_j| <= R / 2. For convex
    losses the mean of the points x + c_j / 2 is no worse than they are, so y fails on own held-out rows by no more
    than the margin. 'diffusion' takes the value as its model. 'laplacian' steps towards it: with its own step size for
    v it stays in the ball as well, with another one in the end, once v rests. 'network-lasso' asks for the trust only;
    its own bound holds in place of this one.

    The rows for the record take turns: held-out rows with v, and either half of the training rows with what was learnt
    from the other half. So all own rows judge, none judges a model that has learnt from it, and a round costs a third.
    Where v_0 and v_1 end apart, own data leave room: R = |v_0 - v_1| q. With more rows than parameters that is about
    twice the error of v, and q = 1. With fewer, both leave the same directions unlearnt, and q is how much farther off
    they are than from each other: q^2 = (loss(v) on held-out rows - on training rows) / 2 D, 1 <= q <= 3, with
    D = loss(v_0) + loss(v_1) - 2 loss((v_0 + v_1) / 2) on held-out rows: the curvature times |v_0 - v_1|^2 / 4. With a
    quadratic loss that makes R about |v - w*|.

    What is ours: all of it, put together from known parts: judging by own loss (Li, Abbas and Koutsoukos), clipping
    (He, Karimireddy and Jaggi), an anchor (Friedkin and Johnsen). Rows farther than 10 R are not looked at. Memory is
    per neighbour and rests while it is silent. Where a task names parameters that it shares with others, only these
    are mixed and held in the ball. Without halves of the data (a task of your own) only held-out rows judge, and R is
    to be given. One held-out row has no standard error: then nobody is used. Mixing weights are not used. Trust:
    min(1, R / |x_j - x|) of those used.

    Li, Abbas and Koutsoukos, "Byzantine resilient distributed multi-task learning", NeurIPS 2020 (the gate);
    Friedkin and Johnsen, "Social influence and opinions", Journal of Mathematical Sociology 15, 1990 (the anchor).
    """

    radius: float | None = None
    """R, in the units of the model; left out: estimated from own data"""
    margin: float = 0.5
    """standard errors, at least 0: how sure a record has to be, and how much harm may be chance"""
    most: float = 0.25
    """largest weight of a neighbour, in [0, 0.5]; all together weigh at most 0.5"""
    nu: float = 0.2
    """how much of a record is of this round, above 0 and at most 1"""
    warm_up: int = 6
    """rounds in which a neighbour is judged before it is used, at least 0"""
    step_size: Schedule | None = None
    """step of v; left out: 1 / L, L the Lipschitz constant of the task's gradient"""
    steps: int = 1
    """gradient steps of v in a round, at least 1: as many as the method's own, or what is learnt alone lags behind"""

    linear: ClassVar[bool] = False
    needs_held_out: ClassVar[bool] = True
    needs_liars: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.radius is not None and not self.radius >= 0:
            raise ConfigError(
                f"'gate-cap-anchor' has radius={self.radius}. radius is a distance, at least 0; leave it out to "
                f"estimate it."
            )
        if not self.margin >= 0:
            raise ConfigError(f"'gate-cap-anchor' has margin={self.margin}. margin is standard errors, at least 0.")
        if not 0 <= self.most <= 0.5:
            raise ConfigError(f"'gate-cap-anchor' has most={self.most}. most is a weight, between 0 and 0.5.")
        if not 0 < self.nu <= 1:
            raise ConfigError(f"'gate-cap-anchor' has nu={self.nu}. nu is a share, above 0 and at most 1.")
        if self.warm_up < 0:
            raise ConfigError(f"'gate-cap-anchor' has warm_up={self.warm_up}. warm_up is rounds, at least 0.")
        if self.steps < 1:
            raise ConfigError(f"'gate-cap-anchor' has steps={self.steps}. steps is gradient steps, at least 1.")
        check_schedule(self.step_size, "'gate-cap-anchor' step_size")

    def least_neighbours(self) -> int:
        """None: alone, it learns alone."""
        return 0

    def capacity(self, neighbours: int) -> int:
        """All of them, with a finite radius."""
        return neighbours if self.radius is None or self.radius < np.inf else 0

    def init(self, task: Task, view: View) -> Memory:
        """Nothing on record; v starts in the first round, where x is."""
        k, dtype = len(view.sources), view.weights.dtype
        halves = np.zeros((2 if isinstance(task, Halving) else 0, task.dim), dtype)
        sources = np.array(view.sources, np.int64)
        return Memory(0, np.zeros(task.dim, dtype), halves, 1.0, sources, np.zeros(k), np.zeros(k, np.int64))

    def __call__(self, rows: Mat, weights: Vec, memory: Memory, task: Task, view: View) -> Mixed:
        """Own iterates, record, gate, one product, ball."""
        block = cast(Sharing, task).shared if hasattr(task, "shared") else slice(None)
        part, here = rows[:, block], places(memory.sources, view)
        with np.errstate(all="ignore"):  # what a liar sent may overflow
            memory = self._learnt(rows[0], memory, task, view)
            radius = self._radius(memory, block)
            distance = distances(part)
            near = distance <= _REACH * radius
            memory = _recorded(memory, here, self._gains(rows, near, radius, memory, task, block), self.nu)
            pull = self._pulls(rows, near, radius, memory, here, task, block)
        share = shares(distance, radius)
        mixed = clipped_average(part, np.concatenate(([1 - pull.sum()], pull)), share)
        value = rows[0].copy()
        value[block] = _into_ball(mixed.value, memory.anchor[block], radius)
        used = pull > 0
        why = np.where(used, np.where(share < 1, Why.FAR, Why.KEPT), np.where(near, Why.USELESS, Why.FAR))
        return Mixed(value, np.where(used, share, 0.0), memory, why.astype(np.int8))

    def _learnt(self, own: Vec, memory: Memory, task: Task, view: View) -> Memory:
        """The memory with all that is learnt alone one step on; in the first round it is put where x is."""
        anchor, halves = memory.anchor, memory.halves
        if not memory.rounds:
            anchor = own.astype(anchor.dtype)
            halves = np.repeat(anchor[None], len(halves), axis=0)
        else:
            step, rng, again = step_size(self.step_size, view.round, task), view.batch(), view.batch()
            for _ in range(self.steps):
                anchor = anchor - step * task.grad(anchor, rng)
                if len(halves):  # half the rows can bend the loss twice as much: half the step
                    halves = halves - step / 2 * cast(Halving, task).half_grads(halves, again)
        memory = memory._replace(rounds=memory.rounds + 1, anchor=anchor, halves=halves)
        if self.radius is None and _turn(memory) == 0:
            return memory._replace(wide=_width(memory, task))
        return memory

    def _radius(self, memory: Memory, block: slice) -> float:
        if self.radius is not None:
            return self.radius
        return memory.wide * float(distances(memory.halves[:, block])[0])

    def _gains(self, rows: Mat, near: Mask, radius: float, memory: Memory, task: Task, block: slice) -> Row | None:
        """For the record: gains (k,) on rows whose turn it is, -1 for the far; None: nothing to measure by."""
        turn, found = _turn(memory), np.full(len(near), -1.0)
        centre = memory.halves[turn - 1] if turn else memory.anchor
        judge = _on_half(task, 2 - turn) if turn else cast(Judging, task).held_out_losses
        gain, level = gains(centre, rows, 1 + np.flatnonzero(near), radius, block, judge)
        if not (0 < level < np.inf and radius > 0 and gain.shape[1] > 1):
            return None
        found[near] = np.clip(surely(gain, self.margin) / level, -1.0, 1.0)
        found[np.isnan(found)] = -1.0
        return found

    def _pulls(
        self, rows: Mat, near: Mask, radius: float, memory: Memory, here: NDArray[np.int64], task: Task, block: slice
    ) -> Row:
        """The neighbours' weights (k,)."""
        merit = np.where(near & (memory.heard[here] > self.warm_up), np.maximum(memory.record[here], 0.0), 0.0)
        asked = np.flatnonzero(merit)
        if not len(asked):
            return merit
        gain, _ = gains(rows[0], rows, 1 + asked, radius, block, cast(Judging, task).held_out_losses)
        merit[asked[~(surely(gain, -self.margin) >= 0)]] = 0.0  # NaN is no
        total = merit.sum()
        return np.minimum(merit / total / 2, self.most) if total > 0 else merit


def _turn(memory: Memory) -> int:
    """Whose turn it is to judge: 0 the held-out rows with v, 1 and 2 the halves with what was learnt from the other."""
    return memory.rounds % 3 if len(memory.halves) else 0


def _on_half(task: Task, which: int) -> Judge:
    halved = cast(Halving, task)
    return lambda models: halved.half_losses(models, which)


def _recorded(memory: Memory, here: NDArray[np.int64], gain: Row | None, nu: float) -> Memory:
    """The memory with this round's gains of the neighbours ``here``."""
    if gain is None:
        return memory
    record, heard = memory.record.copy(), memory.heard.copy()
    fresh = np.where(heard[here] > 0, nu, 1.0)
    record[here] = (1 - fresh) * record[here] + fresh * gain
    heard[here] += 1
    return memory._replace(record=record, heard=heard)


def _width(memory: Memory, task: Task) -> float:
    """q: how much farther off what own data leave unlearnt is than the two halves are from each other."""
    middle = memory.halves.mean(axis=0, keepdims=True)
    models = np.concatenate((memory.anchor[None], memory.halves, middle))
    here, first, second, between = cast(Judging, task).held_out_losses(models).mean(axis=1)
    bend, gap = first + second - 2 * between, here - task.loss(memory.anchor)
    if not gap > 2 * bend:  # for NaN too
        return 1.0
    return float(np.sqrt(gap / (2 * bend))) if gap < 2 * bend * _WIDEST**2 else _WIDEST


def _into_ball(value: Vec, centre: Vec, radius: float) -> Vec:
    """The nearest point to ``value`` (d,) within ``radius`` of ``centre``."""
    share = shares(distances(np.stack((centre, value))), radius)[0]
    return value if share == 1 else (centre + share * (value - centre)).astype(value.dtype)
