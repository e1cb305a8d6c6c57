"""Logistic regression on two classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dmtl.data.pool import Dataset
from dmtl.tasks.linear import (
    Part,
    Parts,
    check_settings,
    clipped_mean,
    draw,
    drawn,
    half,
    half_grads,
    judge,
    misfit,
    passes,
    prepare,
    report,
    report_classes,
    sign_error,
    signs,
    sum_of,
    top_eigenvalue,
    weighted_mean,
    windowed,
)
from dmtl.tasks.newton import Function, newton
from dmtl.types import Mat, Vec

__all__ = ["Logistic", "LogisticTask"]

_STEPS = 100
_CLOSE = 1e-15
"""relative change of a Newton step at which it has ended"""
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression on two classes, y = -1 for label 0 and +1 for label 1.

    f(w) = 1/m sum_i log(1 + exp(-y_i x_i' w)) + l2/2 |w|^2, with w (d,), d = p, or p + 1 with the bias last.

    Assumed: two classes. The l2 term covers all parameters, the bias too, so that f is l2-strongly convex and a
    neighbour's bounded pull c moves its minimiser by at most c / l2: the bounded-harm guarantee needs that.
    The proximal map is solved to rounding by damped Newton steps, each at a cost of m d^2 + d^3.
    Reports error (a score of 0 stands for label 0) and loss (without l2).

    Reference: D. Cox, The regression analysis of binary sequences, J. Royal Statistical Society B, 1958.
    """

    l2: float = 1e-3
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    bias: bool = True
    """whether a constant 1 is the last feature"""

    def __post_init__(self) -> None:
        check_settings("logistic", self.l2, self.batch)

    def build(self, data: Dataset) -> LogisticTask:
        """Bind the task to one rank's data."""
        if data.classes != 2:
            raise misfit("logistic", "two classes", data.classes)
        parts = prepare("logistic", data, self.bias, signs)
        return LogisticTask(self, parts, top_eigenvalue(parts.train.x) / 4 + self.l2)


@dataclass(frozen=True, slots=True, eq=False)
class LogisticTask:
    """Logistic regression bound to data; see ``Logistic``."""

    settings: Logistic
    parts: Parts
    smoothness: float
    """Lipschitz constant of the full-batch gradient: sigma_max^2 / (4m) + l2"""

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        return int(self.parts.train.x.shape[1])

    @property
    def strong_convexity(self) -> float:
        """Modulus of the loss: l2."""
        return self.settings.l2

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        return _mean_loss(draw(self.parts.train, self.settings.batch, rng), w) + self.settings.l2 / 2 * float(w @ w)

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """-X'(y sigmoid(-y Xw))/m + l2 w, (d,)."""
        return self._gradient(draw(self.parts.train, self.settings.batch, rng), w)

    def _gradient(self, part: Part, w: Vec) -> Vec:
        x, y = part
        return x.T @ (-y * _doubt(y * (x @ w))) / len(y) + self.settings.l2 * w

    @property
    def batches(self) -> int:
        """How many mini-batches go over the rows once."""
        return passes(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.y)

    def curvature(self, w: Vec) -> Mat:
        """X'diag(s (1 - s))X/m + l2 I, s = sigmoid(-y Xw), in double precision: a small ridge would drown in single."""
        return self._moment(w) + self.settings.l2 * np.eye(self.dim)

    def _moment(self, w: Vec) -> Mat:
        x, y = self.parts.train
        wide, doubt = x.astype(np.float64, copy=False), _doubt(y * (x @ w))
        moment: Mat = (wide.T * (doubt * (1 - doubt) / len(y))) @ wide
        return moment

    def clipped_grad(self, w: Vec, clip: float, order: int) -> Vec:
        """The full-batch gradient with each row's part shortened to ``clip``, (d,)."""
        x, y = self.parts.train
        return clipped_mean(x, (-y * _doubt(y * (x @ w)))[:, None], clip, order) + self.settings.l2 * w

    def reweighted_grad(self, w: Vec, weigh: Callable[[Vec], Vec], rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times what ``weigh`` makes of the rows' losses; (d,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        return (
            weighted_mean(part.x, (-part.y * _doubt(part.y * (part.x @ w)))[:, None], weigh(_row_losses(part, w)))
            + self.settings.l2 * w
        )

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times its own of the ``weights`` (m,); (d,)."""
        rows = drawn(self.training_rows, self.settings.batch, rng)
        x, y = self.parts.train.x[rows], self.parts.train.y[rows]
        return weighted_mean(x, (-y * _doubt(y * (x @ w)))[:, None], weights[rows]) + self.settings.l2 * w

    def row_losses(self, models: Mat) -> Mat:
        """log(1 + exp(-y x'w)) of ``models`` (m, d) on the training rows, (m, rows)."""
        return judge(self.parts.train, models, _row_losses)

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, self._gradient)

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Losses of ``models`` (m, d) on one half, (m, rows)."""
        return judge(half(self.parts, which), models, _row_losses)

    def prox(self, v: Vec, rho: float) -> Vec:
        """argmin_w f(w) + rho/2 |w - v|^2, (d,), by Newton steps from ``v``; rho > 0."""
        ridge = (self.settings.l2 + rho) * np.eye(self.dim)

        def solve(p: Vec, g: Vec) -> Vec:
            return np.linalg.solve(self._moment(p) + ridge, g).astype(g.dtype, copy=False)

        def value(p: Vec) -> float:
            return self.loss(p) + rho / 2 * float((p - v) @ (p - v))

        def gradient(p: Vec) -> Vec:
            return self.grad(p) + rho * (p - v)

        return newton(Function(value, gradient, solve, self.smoothness + rho), v)

    @property
    def rows(self) -> Mat:
        """The training rows, with the bias column."""
        return self.parts.train.x

    @property
    def ridge(self) -> float:
        """l2."""
        return self.settings.l2

    def conjugate(self, alpha: Vec) -> float:
        """mean(p log p + (1 - p) log(1 - p)), p = y alpha, where all p are in [0, 1]."""
        p = np.asarray(self.parts.train.y * alpha, np.float64)
        return -float(np.mean(_entropy(p))) if ((p >= 0) & (p <= 1)).all() else math.inf

    def dual_step(self, row: int, alpha: float, z: float, q: float) -> float:
        """y p, p the root of log(p / (1 - p)) + y z + q (p - y alpha)."""
        y = float(self.parts.train.y[row])
        return y * _share(q * y * alpha - y * z, q)

    def dual_steps(self, alpha: Vec, z: Vec, q: float) -> Vec:
        """The same for all rows."""
        y = self.parts.train.y
        levels = y * (q * alpha - z)
        return y * np.fromiter((_share(level, q) for level in levels.tolist()), y.dtype, len(y))

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """log(1 + exp(-y x'w)) of ``models`` (m, d), (m, rows)."""
        return judge(self.parts.held_out, models, _row_losses)

    def window(self, first: int, last: int) -> LogisticTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone; its curvature stays that of all."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """Loss and error, means over the training rows."""
        figures = _measure(self.parts.train, w)
        return figures["loss"], figures["error"]

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: error and loss."""
        return report(self.parts, self.loss(w), lambda part: _measure(part, w))

    def blend(self, models: Mat, shares: Vec) -> dict[str, float]:
        """Figures of the mean of the probabilities that ``models`` (m, d) give, with ``shares`` (m,)."""

        def mean(part: Part) -> Mat:
            first = sum_of(shares, [_doubt(part.x @ w) for w in models])
            return np.stack((first, 1 - first), axis=1)

        train, held_out, test = (part._replace(y=np.stack((part.y < 0, part.y > 0), axis=1)) for part in self.parts[:3])
        return report_classes(Parts(train, held_out, test, None), mean)


def _doubt(margin: Vec) -> Vec:
    """sigmoid(-margin), (m,), the probability of the wrong label, without overflow."""
    share: Vec = np.exp(-np.logaddexp(0.0, margin))
    return share


def _share(level: float, q: float) -> float:
    """sigmoid(s), s the root of s + q sigmoid(s) - level: Newton steps inside an interval that shrinks."""
    low, high = level - q, level
    s = min(max(0.0, low), high)
    for _ in range(_STEPS):
        p = _sigmoid(s)
        rest = s + q * p - level
        low, high = (s, high) if rest < 0 else (low, s)
        after = s - rest / (1 + q * p * (1 - p))
        after = after if low <= after <= high else (low + high) / 2
        if abs(after - s) <= _CLOSE * (1 + abs(s)):
            return _sigmoid(after)
        s = after
    return _sigmoid(s)


def _sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))


def _entropy(p: Vec) -> Vec:
    """-p log p - (1 - p) log(1 - p), 0 at both ends."""
    rest = 1 - p
    return -(p * np.log(np.maximum(p, _TINY)) + rest * np.log(np.maximum(rest, _TINY)))


def _row_losses(part: Part, w: Vec) -> Vec:
    losses: Vec = np.logaddexp(0.0, -part.y * (part.x @ w))
    return losses


def _mean_loss(part: Part, w: Vec) -> float:
    return float(np.mean(_row_losses(part, w)))


def _measure(part: Part, w: Vec) -> dict[str, float]:
    return {"error": sign_error(part.x @ w, part.y), "loss": _mean_loss(part, w)}
