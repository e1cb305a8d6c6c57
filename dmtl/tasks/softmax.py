"""Multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dmtl.data.pool import Dataset
from dmtl.tasks.linear import (
    Part,
    Parts,
    batch_count,
    check_settings,
    clipped_mean,
    cross_entropies,
    draw,
    drawn,
    half,
    half_grads,
    judge,
    misfit,
    one_hot,
    prepare,
    probabilities,
    report,
    report_classes,
    sum_of,
    top_eigenvalue,
    weighted_mean,
    windowed,
)
from dmtl.tasks.newton import Function, conjugate_gradients, newton
from dmtl.types import Mat, Vec

__all__ = ["Softmax", "SoftmaxTask"]


@dataclass(frozen=True, slots=True)
class Softmax:
    """Multinomial logistic regression on two or more classes, y_i the one-hot row of a label.

    f(W) = 1/m sum_i [log sum_c exp(x_i' W_c) - x_i' W y_i] + l2/2 |W|^2, with W (q, classes), q = p, or p + 1 with the
    bias last; the parameter vector w (d,) is W row by row (C order), d = q classes.

    Assumed: all ranks have the same number of classes, whether or not they have rows of each. The l2 term covers all
    parameters, the biases too, so that f is l2-strongly convex (without it, a constant added to all columns changes
    nothing) and a neighbour's bounded pull c moves its minimiser by at most c / l2: the bounded-harm guarantee needs
    that. The proximal map is solved to rounding by damped Newton steps, found by conjugate gradients.
    Reports error (of equal scores the lowest label stands) and loss (without l2).

    Reference: D. Böhning, Multinomial logistic regression algorithm, Ann. Inst. Statistical Mathematics, 1992.
    """

    l2: float = 1e-3
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    bias: bool = True
    """whether a constant 1 is the last feature"""

    def __post_init__(self) -> None:
        check_settings("softmax", self.l2, self.batch)

    def build(self, data: Dataset) -> SoftmaxTask:
        """Bind the task to one rank's data."""
        if data.classes < 2:
            raise misfit("softmax", "two or more classes", data.classes)
        parts = prepare("softmax", data, self.bias, lambda y: one_hot(y, data.classes))
        return SoftmaxTask(self, parts, top_eigenvalue(parts.train.x) / 2 + self.l2)


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxTask:
    """Multinomial logistic regression bound to data; see ``Softmax``."""

    settings: Softmax
    parts: Parts
    smoothness: float
    """Lipschitz constant of the full-batch gradient: sigma_max^2 / (2m) + l2"""

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        x, y = self.parts.train
        return int(x.shape[1] * y.shape[1])

    @property
    def strong_convexity(self) -> float:
        """Modulus of the loss: l2."""
        return self.settings.l2

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        return _mean_loss(draw(self.parts.train, self.settings.batch, rng), w) + self.settings.l2 / 2 * float(w @ w)

    def losses(self, models: Mat, rng: np.random.Generator | None = None) -> Vec:
        """The losses of ``models`` (m, d) on the same rows, (m,)."""
        x, y = draw(self.parts.train, self.settings.batch, rng)
        z = np.matmul(x, models.reshape(len(models), x.shape[1], -1))
        z -= z.max(axis=2, keepdims=True)
        rows = np.log(np.exp(z).sum(axis=2)) - (z * y).sum(axis=2)
        found: Vec = rows.mean(axis=1) + self.settings.l2 / 2 * np.vecdot(models, models)
        return found

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """X'(P - Y)/m + l2 W, flat (d,), P the rows' class probabilities."""
        return self._gradient(draw(self.parts.train, self.settings.batch, rng), w)

    def _gradient(self, part: Part, w: Vec) -> Vec:
        x, y = part
        return (x.T @ (probabilities(_scores(x, w)) - y)).ravel() / len(y) + self.settings.l2 * w

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch."""
        return batch_count(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.x)

    def curvature(self, w: Vec) -> Mat:
        """The Hessian (d, d), d = q classes: X'diag(P_a ([a = b] - P_b))X/m for the classes a and b, and the ridge."""
        x = self.parts.train.x.astype(np.float64, copy=False)
        share = probabilities(_scores(x, w))
        (rows, q), classes = x.shape, share.shape[1]
        blocks = np.empty((q, classes, q, classes))
        for a in range(classes):
            for b in range(classes):
                blocks[:, a, :, b] = (x.T * (share[:, a] * ((a == b) - share[:, b]) / rows)) @ x
        return blocks.reshape(self.dim, self.dim) + self.settings.l2 * np.eye(self.dim)

    def clipped_grad(self, w: Vec, clip: float, order: int) -> Vec:
        """The full-batch gradient with each row's part shortened to ``clip``, (d,)."""
        x, y = self.parts.train
        return clipped_mean(x, probabilities(_scores(x, w)) - y, clip, order) + self.settings.l2 * w

    def reweighted_grad(self, w: Vec, weigh: Callable[[Vec], Vec], rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times what ``weigh`` makes of the rows' losses; (d,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        return (
            weighted_mean(part.x, probabilities(_scores(part.x, w)) - part.y, weigh(_row_losses(part, w)))
            + self.settings.l2 * w
        )

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times its own of the ``weights`` (m,); (d,)."""
        rows = drawn(self.training_rows, self.settings.batch, rng)
        x, y = self.parts.train.x[rows], self.parts.train.y[rows]
        return weighted_mean(x, probabilities(_scores(x, w)) - y, weights[rows]) + self.settings.l2 * w

    def row_losses(self, models: Mat) -> Mat:
        """Cross-entropies of ``models`` (m, d) on the training rows, (m, rows)."""
        return judge(self.parts.train, models, _row_losses)

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, self._gradient)

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Losses of ``models`` (m, d) on one half, (m, rows)."""
        return judge(half(self.parts, which), models, _row_losses)

    def prox(self, v: Vec, rho: float) -> Vec:
        """argmin_w f(w) + rho/2 |w - v|^2, (d,), by Newton steps from ``v``; rho > 0."""
        x = self.parts.train.x
        ridge = self.settings.l2 + rho

        def solve(p: Vec, g: Vec) -> Vec:
            share = probabilities(_scores(x, p))

            def product(s: Vec) -> Vec:
                tilted = share * _scores(x, s)
                tilted -= share * tilted.sum(axis=1, keepdims=True)
                return (x.T @ tilted).ravel() / len(x) + ridge * s

            return conjugate_gradients(product, g, tolerance=1e-3)

        def value(p: Vec) -> float:
            return self.loss(p) + rho / 2 * float((p - v) @ (p - v))

        def gradient(p: Vec) -> Vec:
            return self.grad(p) + rho * (p - v)

        return newton(Function(value, gradient, solve, self.smoothness + rho), v)

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """Cross-entropies of ``models`` (m, d), (m, rows)."""
        return judge(self.parts.held_out, models, _row_losses)

    def window(self, first: int, last: int) -> SoftmaxTask:
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
            return sum_of(shares, [probabilities(_scores(part.x, w)) for w in models])

        return report_classes(self.parts, mean)


def _scores(x: Mat, w: Vec) -> Mat:
    """X W, (m, classes), column by column in memory: what runs over classes is then several times faster."""
    scores: Mat = (w.reshape(x.shape[1], -1).T @ x.T).T
    return scores


def _row_losses(part: Part, w: Vec) -> Vec:
    return cross_entropies(_scores(part.x, w), part.y)


def _mean_loss(part: Part, w: Vec) -> float:
    return float(np.mean(_row_losses(part, w)))


def _measure(part: Part, w: Vec) -> dict[str, float]:
    wrong = _scores(part.x, w).argmax(axis=1) != part.y.argmax(axis=1)
    return {"error": float(np.mean(wrong)), "loss": _mean_loss(part, w)}
