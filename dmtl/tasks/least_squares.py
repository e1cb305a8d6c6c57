"""Ridge regression."""

from __future__ import annotations

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
    second_moment,
    sign_error,
    signs,
    sum_of,
    weighted_mean,
    windowed,
)
from dmtl.types import Mat, Vec

__all__ = ["LeastSquares", "LeastSquaresTask"]


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Ridge regression on numbers, or on two classes as -1 and +1.

    f(w) = 1/(2m) sum_i (x_i' w - y_i)^2 + l2/2 |w|^2, with w (d,), d = p, or p + 1 with the bias last.

    Assumed: nothing about the data. The l2 term covers all parameters, the bias too, so that f is l2-strongly convex
    and a neighbour's bounded pull c moves its minimiser by at most c / l2: the bounded-harm guarantee needs that.
    The proximal map is exact, by an eigendecomposition of X'X/m made once, at a cost of d^3.
    Reports rmse and r2 (1 - SSE / SST, about the mean of those rows; left out where they do not vary) for numbers,
    error and loss (without l2) for classes.

    Reference: A. Hoerl and R. Kennard, Ridge regression, Technometrics, 1970.
    """

    l2: float = 1e-3
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    bias: bool = True
    """whether a constant 1 is the last feature"""

    def __post_init__(self) -> None:
        check_settings("least-squares", self.l2, self.batch)

    def build(self, data: Dataset) -> LeastSquaresTask:
        """Bind the task to one rank's data."""
        if data.classes not in (0, 2):
            raise misfit("least-squares", "numbers or two classes", data.classes)
        parts = prepare("least-squares", data, self.bias, signs if data.classes else lambda y: y)
        moment = second_moment(parts.train.x)
        values, vectors = np.linalg.eigh(moment)
        pull = vectors.T @ (parts.train.x.T @ parts.train.y / len(parts.train.y))
        hessian = moment + self.l2 * np.eye(len(moment))
        hessian.flags.writeable = False
        return LeastSquaresTask(self, parts, data.classes, np.maximum(values, 0.0) + self.l2, vectors, pull, hessian)


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquaresTask:
    """Ridge regression bound to data; see ``LeastSquares``."""

    settings: LeastSquares
    parts: Parts
    classes: int
    values: Vec
    """(d,) eigenvalues of the Hessian X'X/m + l2 I, ascending"""
    vectors: Mat
    """(d, d) its eigenvectors, one per column"""
    pull: Vec
    """(d,) X'y/m in the eigenvectors' coordinates"""
    hessian: Mat
    """(d, d) X'X/m + l2 I, in double precision"""

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        return int(self.parts.train.x.shape[1])

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the full-batch gradient: sigma_max^2 / m + l2."""
        return float(self.values[-1])

    @property
    def strong_convexity(self) -> float:
        """Modulus of the full-batch loss: sigma_min^2 / m + l2."""
        return float(self.values[0])

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        return _half_square(draw(self.parts.train, self.settings.batch, rng), w) + self.settings.l2 / 2 * float(w @ w)

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """X'(Xw - y)/m + l2 w, (d,)."""
        return self._gradient(draw(self.parts.train, self.settings.batch, rng), w)

    def _gradient(self, part: Part, w: Vec) -> Vec:
        x, y = part
        return x.T @ (x @ w - y) / len(y) + self.settings.l2 * w

    @property
    def batches(self) -> int:
        """How many mini-batches go over the rows once."""
        return passes(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.y)

    def curvature(self, w: Vec) -> Mat:
        """X'X/m + l2 I, the same at every ``w``."""
        return self.hessian

    def clipped_grad(self, w: Vec, clip: float, order: int) -> Vec:
        """The full-batch gradient with each row's part shortened to ``clip``, (d,)."""
        x, y = self.parts.train
        return clipped_mean(x, (x @ w - y)[:, None], clip, order) + self.settings.l2 * w

    def reweighted_grad(self, w: Vec, weigh: Callable[[Vec], Vec], rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times what ``weigh`` makes of the rows' losses; (d,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        return weighted_mean(part.x, (part.x @ w - part.y)[:, None], weigh(_row_losses(part, w))) + self.settings.l2 * w

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times its own of the ``weights`` (m,); (d,)."""
        rows = drawn(self.training_rows, self.settings.batch, rng)
        x, y = self.parts.train.x[rows], self.parts.train.y[rows]
        return weighted_mean(x, (x @ w - y)[:, None], weights[rows]) + self.settings.l2 * w

    def row_losses(self, models: Mat) -> Mat:
        """Half squared errors of ``models`` (m, d) on the training rows, (m, rows)."""
        return judge(self.parts.train, models, _row_losses)

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, self._gradient)

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Losses of ``models`` (m, d) on one half, (m, rows)."""
        return judge(half(self.parts, which), models, _row_losses)

    def prox(self, v: Vec, rho: float) -> Vec:
        """v - (H + rho I)^-1 grad f(v), (d,): one Newton step is all that a quadratic needs; rho > 0."""
        step = (self.values * (v @ self.vectors) - self.pull) / (self.values + rho)
        return (v - self.vectors @ step).astype(v.dtype, copy=False)

    @property
    def rows(self) -> Mat:
        """The training rows, with the bias column."""
        return self.parts.train.x

    @property
    def ridge(self) -> float:
        """l2."""
        return self.settings.l2

    def conjugate(self, alpha: Vec) -> float:
        """mean(alpha^2 / 2 - y alpha): every alpha is feasible."""
        return float(np.mean(alpha * (alpha / 2 - self.parts.train.y)))

    def dual_step(self, row: int, alpha: float, z: float, q: float) -> float:
        """alpha + (y - z - alpha) / (1 + q)."""
        return alpha + (float(self.parts.train.y[row]) - z - alpha) / (1 + q)

    def dual_steps(self, alpha: Vec, z: Vec, q: float) -> Vec:
        """The same for all rows."""
        moved: Vec = alpha + (self.parts.train.y - z - alpha) / (1 + q)
        return moved

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """Half squared errors of ``models`` (m, d), (m, rows)."""
        return judge(self.parts.held_out, models, _row_losses)

    def window(self, first: int, last: int) -> LeastSquaresTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone; its curvature stays that of all."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """Half the squared error, and the squared error or the share of wrong signs; means over the training rows."""
        loss, (x, y) = _half_square(self.parts.train, w), self.parts.train
        return loss, sign_error(x @ w, y) if self.classes else 2 * loss

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: rmse and r2, or error and loss for two classes."""
        measure = _two_classes if self.classes else _numbers
        return report(self.parts, self.loss(w), lambda part: measure(part, w))

    def blend(self, models: Mat, shares: Vec) -> dict[str, float]:
        """Figures of the mean prediction of ``models`` (m, d), with ``shares`` (m,): that of their mean."""
        mean = sum_of(shares, list(models))
        measure = _two_classes if self.classes else _numbers
        return report(self.parts, _half_square(self.parts.train, mean), lambda part: measure(part, mean))


def _row_losses(part: Part, w: Vec) -> Vec:
    rest: Vec = part.x @ w - part.y
    return rest * rest / 2


def _half_square(part: Part, w: Vec) -> float:
    rest = part.x @ w - part.y
    return float(rest @ rest) / (2 * len(rest))


def _numbers(part: Part, w: Vec) -> dict[str, float]:
    mean_square, variance = 2 * _half_square(part, w), float(np.var(part.y))
    spread = {"r2": 1 - mean_square / variance} if variance > 0 else {}
    return {"rmse": mean_square**0.5, **spread}


def _two_classes(part: Part, w: Vec) -> dict[str, float]:
    return {"error": sign_error(part.x @ w, part.y), "loss": _half_square(part, w)}
