"""Central proximal Newton steps, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, cast

import numpy as np

from dmtl.algorithms.central import LOW_RANK, Central, Problem
from dmtl.capabilities import Curved, Smooth
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.penalties.momentum import momentum
from dmtl.penalties.penalty import Penalty, columns
from dmtl.types import Block, Mat, Needs, Task, Vec

__all__ = ["CentralPNOPT", "Whole"]

_INNER = 1000
"""most steps within a step"""
_FORCING = 0.1
"""share of the optimality that is left undone within a step, at most"""
_ARMIJO = 1e-4
_HALVINGS = 40
_ROUNDING = 16
"""a number of so many roundings of its own terms is as small as it gets"""
_BENT = 1e-10
"""cosine of a step and its change of the gradient below which they say nothing about curvature"""


class Whole(NamedTuple):
    """All variables of all tasks."""

    w: Mat
    """(D, T) the iterate"""
    grad: Mat
    """(D, T) the gradient there; empty before the first step"""
    steps: Block
    """(m, d, T) the last steps of the models"""
    turns: Block
    """(m, d, T) and what they changed of the gradients"""
    residual: float
    """length of the proximal gradient step at the last iterate, times its steepness; 0 before the first step"""
    missed: float
    """the same of the last model, where its solution was taken as good enough"""


class Model(Protocol):
    """The quadratic that stands for the loss around an iterate, task by task."""

    @property
    def steepness(self) -> float:
        """Largest eigenvalue, or a bound of it."""

    def product(self, p: Mat) -> Mat:
        """The Hessian times the models' steps (d, T), column by column."""


class Exact(NamedTuple):
    """The tasks' own Hessians."""

    hessians: Block
    """(T, d, d)"""
    steepness: float

    def product(self, p: Mat) -> Mat:
        """H_t p_t."""
        turned: Mat = np.einsum("tij,jt->it", self.hessians, p)
        return turned


class Pairs(NamedTuple):
    """BFGS from the last steps, each task by itself: theta I + sum_i b_i b_i' - a_i a_i'."""

    theta: Vec
    """(T,)"""
    b: Block
    """(m, d, T)"""
    a: Block
    """(m, d, T)"""

    @property
    def steepness(self) -> float:
        """Largest over the tasks, from the small matrix of b and a."""
        return max(float(theta) + _top(self.b[..., t], self.a[..., t]) for t, theta in enumerate(self.theta))

    def product(self, p: Mat) -> Mat:
        """B_t p_t."""
        return self.theta * p + _outer(self.b, p) - _outer(self.a, p)


@dataclass(frozen=True, slots=True)
class CentralPNOPT:
    """Central proximal Newton (PNOPT): few gradients, many cheap steps in between; in one process, for comparison.

    Problem: min over W = [w_1 .. w_T] of P(W) = sum_t f_t(w_t) + g(W), g the penalty.
    Update: V = argmin <grad, V - W> + sum_t (v_t - w_t)' H_t (v_t - w_t) / 2 + g(V) by FISTA, no more exactly than
    pays: to the share min(0.1, |R - R'| / R_before) of the optimality R, R' what the last model took it for. Then
    W+ = W + s (V - W), s = 1, 1/2, .. until P falls by 1e-4 s of what the model's slope promises. H_t is the task's
    Hessian, or BFGS from the last steps where a task has none. One gradient a step; the objective never rises; with
    exact Hessians of strongly convex tasks the last steps converge faster than linearly. It is an oracle and no method
    for networks: it reads everybody's data, so it runs in the simulator alone.
    What is ours: the loss is a sum over tasks, so each has its own BFGS, in the space of its model even where that is a
    sum of two parts, and starts from L_t I.

    Lee, Sun and Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim. 24, 2014.
    """

    penalty: Penalty = LOW_RANK
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2)"""
    memory: int = 50
    """how many steps BFGS remembers, at least 1"""
    exact: bool = True
    """whether the tasks are asked for their Hessians, where all have one"""

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.SMOOTH

    def __post_init__(self) -> None:
        if self.memory < 1:
            raise ConfigError(f"'central-pnopt' has memory={self.memory}. memory is a number of steps, at least 1.")

    def gathered(self, tasks: Sequence[Task], chart: Chart) -> Sequence[Central]:
        """The method of each rank."""
        return Central.on_each_rank(self, tasks, self.penalty, chart)

    def begin(self, here: Problem, w: Mat) -> Whole:
        """At ``w``, with nothing to remember."""
        none = np.zeros((0, len(w) // here.penalty.copies, w.shape[1]), w.dtype)
        return Whole(w, w[:, :0], none, none, 0.0, 0.0)

    def move(self, here: Problem, whole: Whole) -> Whole:
        """One step of Newton's method."""
        grad = whole.grad if whole.grad.size else here.grad(whole.w)
        steepness = here.steepness
        residual = steepness * _norm(whole.w - here.penalty.prox(whole.w - grad / steepness, 1 / steepness))
        share = abs(residual - whole.missed) / whole.residual if whole.residual else _FORCING
        model = self._model(here, whole)
        v, missed = _solved(here, whole.w, grad, model, min(_FORCING, share) * residual)
        w = _descended(here, whole.w, grad, v - whole.w)
        after, d = here.grad(w), whole.steps.shape[1]
        s = columns(w - whole.w, here.penalty.copies)
        steps = np.concatenate((whole.steps, s[None]))[-self.memory :]
        turns = np.concatenate((whole.turns, (after - grad)[None, :d]))[-self.memory :]
        return Whole(w, after, steps, turns, residual, missed)

    def _model(self, here: Problem, whole: Whole) -> Model:
        if self.exact and all(isinstance(task, Curved) for task in here.tasks):
            models = columns(whole.w, here.penalty.copies)
            pairs = zip(here.tasks, models.T, strict=True)
            hessians = [cast(Curved, task).curvature(w).astype(w.dtype, copy=False) for task, w in pairs]
            return Exact(np.stack(hessians), here.steepness / here.penalty.copies)
        start = np.array([cast(Smooth, task).smoothness for task in here.tasks], whole.w.dtype)
        return remembered(whole.steps, whole.turns, start)


def remembered(steps: Block, turns: Block, start: Vec) -> Pairs:
    """BFGS's Hessians after ``steps`` (m, d, T) that changed the gradients by ``turns``; ``start`` (T,) before any.

    A pair that is too small or bent to say anything counts as none.
    """
    theta, b, a = start, np.zeros_like(steps), np.zeros_like(steps)
    inner, length = np.sum(steps * turns, axis=1), np.sum(steps**2, axis=1)
    known = inner > _BENT * np.sqrt(length * np.sum(turns**2, axis=1))
    for fits, turn, product in zip(known, turns, inner, strict=True):
        theta = np.where(fits, np.sum(turn**2, axis=0) / np.where(fits, product, 1), theta)
    for i, fits in enumerate(known):
        image = theta * steps[i] + _outer(b[:i], steps[i]) - _outer(a[:i], steps[i])
        along = np.sum(steps[i] * image, axis=0)
        sound = fits & (along > 0)
        b[i] = np.where(sound, turns[i] / np.sqrt(np.where(sound, inner[i], 1)), 0)
        a[i] = np.where(sound, image / np.sqrt(np.where(sound, along, 1)), 0)
    return Pairs(theta, b, a)


def _outer(a: Block, p: Mat) -> Mat:
    """sum_i a_i a_i' p, task by task."""
    summed: Mat = np.einsum("mdt,mt->dt", a, np.einsum("mdt,dt->mt", a, p))
    return summed


def _top(b: Mat, a: Mat) -> float:
    """Largest eigenvalue of b' b - a' a, b and a (m, d), or 0."""
    r = np.linalg.qr(np.concatenate((b, a)).T)[1]
    up, down = r[:, : len(b)], r[:, len(b) :]
    return float(np.linalg.eigvalsh(up @ up.T - down @ down.T).max(initial=0.0))


def _solved(here: Problem, at: Mat, grad: Mat, model: Model, enough: float) -> tuple[Mat, float]:
    """Minimise model and penalty by FISTA, until the proximal gradient is ``enough`` or less; and what it is."""
    copies = here.penalty.copies
    rounding = _ROUNDING * float(np.finfo(at.dtype).eps)
    enough = max(enough, rounding * (_norm(grad) + copies * model.steepness * _norm(at)))
    rate = 1 / (copies * model.steepness)
    w = z = at
    t, missed = 1.0, np.inf
    for _ in range(_INNER):
        slope = grad + np.concatenate([model.product(columns(z - at, copies))] * copies)
        before, w = w, here.penalty.prox(z - rate * slope, rate)
        missed = _norm(z - w) / rate
        if missed <= enough:
            break
        ahead, t = momentum(t, float(np.sum((z - w) * (w - before))) > 0)
        z = w + ahead * (w - before)
    return w, missed


def _descended(here: Problem, at: Mat, grad: Mat, p: Mat) -> Mat:
    """W + s P for the first s of 1, 1/2, 1/4 .. that brings enough of what the slope promises; W where none does."""
    value = here.objective(at)
    slope = float(np.sum(grad * p)) + here.penalty.value(at + p) - here.penalty.value(at)
    noise = 4 * float(np.finfo(at.dtype).eps) * abs(value)
    for halving in range(_HALVINGS):
        s = 0.5**halving
        w = at + s * p
        if here.objective(w) <= value + _ARMIJO * s * slope + noise:
            return w
    return at


def _norm(w: Mat) -> float:
    return float(np.linalg.norm(w))
