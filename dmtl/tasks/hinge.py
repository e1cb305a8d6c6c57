"""The linear support vector machine on two classes."""

from __future__ import annotations

import math
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
    draw,
    half,
    half_grads,
    judge,
    misfit,
    prepare,
    report,
    sign_error,
    signs,
    weighted_mean,
    windowed,
)
from dmtl.types import Mat, Vec

__all__ = ["Hinge", "HingeTask"]

_TINY = 1e-300
"""a row of zeros has no curvature"""


@dataclass(frozen=True, slots=True)
class Hinge:
    """Linear support vector machine on two classes, y = -1 for label 0 and +1 for label 1.

    f(w) = 1/m sum_i max(0, 1 - y_i x_i' w) + l2/2 |w|^2, with w (d,), d = p, or p + 1 with the bias last.

    Assumed: two classes. The l2 term covers all parameters, the bias too, so that f is l2-strongly convex and a
    neighbour's bounded pull c moves its minimiser by at most c / l2: the bounded-harm guarantee needs that.
    ``grad`` is a subgradient; a row with margin exactly 1, at the kink, adds nothing to it. The gradient jumps, so
    there is no smoothness and a step size is to be given; nor has the proximal map a closed form, so there is none.
    Reports error (a score of 0 stands for label 0) and loss (without l2).

    Reference: C. Cortes and V. Vapnik, Support-vector networks, Machine Learning, 1995.
    """

    l2: float = 1e-3
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    bias: bool = True
    """whether a constant 1 is the last feature"""

    def __post_init__(self) -> None:
        check_settings("hinge", self.l2, self.batch)

    def build(self, data: Dataset) -> HingeTask:
        """Bind the task to one rank's data."""
        if data.classes != 2:
            raise misfit("hinge", "two classes", data.classes)
        return HingeTask(self, prepare("hinge", data, self.bias, signs))


@dataclass(frozen=True, slots=True, eq=False)
class HingeTask:
    """Linear support vector machine bound to data; see ``Hinge``."""

    settings: Hinge
    parts: Parts

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        return int(self.parts.train.x.shape[1])

    @property
    def strong_convexity(self) -> float:
        """Modulus of the loss: l2."""
        return self.settings.l2

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch."""
        return batch_count(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is a mean over."""
        return len(self.parts.train.y)

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        return _mean_loss(draw(self.parts.train, self.settings.batch, rng), w) + self.settings.l2 / 2 * float(w @ w)

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """-X'(y [y Xw < 1])/m + l2 w, (d,)."""
        return self._gradient(draw(self.parts.train, self.settings.batch, rng), w)

    def _gradient(self, part: Part, w: Vec) -> Vec:
        x, y = part
        return x.T @ (-y * (y * (x @ w) < 1)) / len(y) + self.settings.l2 * w

    def clipped_grad(self, w: Vec, clip: float, order: int) -> Vec:
        """The full-batch gradient with each row's part shortened to ``clip``, (d,)."""
        x, y = self.parts.train
        return clipped_mean(x, (-y * (y * (x @ w) < 1))[:, None], clip, order) + self.settings.l2 * w

    def reweighted_grad(self, w: Vec, weigh: Callable[[Vec], Vec], rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times what ``weigh`` makes of the rows' losses; (d,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        return (
            weighted_mean(part.x, (-part.y * (part.y * (part.x @ w) < 1))[:, None], weigh(_row_losses(part, w)))
            + self.settings.l2 * w
        )

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, self._gradient)

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Losses of ``models`` (m, d) on one half, (m, rows)."""
        return judge(half(self.parts, which), models, _row_losses)

    @property
    def rows(self) -> Mat:
        """The training rows, with the bias column."""
        return self.parts.train.x

    @property
    def ridge(self) -> float:
        """l2."""
        return self.settings.l2

    def conjugate(self, alpha: Vec) -> float:
        """-mean(y alpha) where all y alpha are in [0, 1]."""
        share = self.parts.train.y * alpha
        return -float(np.mean(share)) if ((share >= 0) & (share <= 1)).all() else math.inf

    def dual_step(self, row: int, alpha: float, z: float, q: float) -> float:
        """y clip(y alpha + (1 - y z) / q, 0, 1)."""
        y = float(self.parts.train.y[row])
        return y * min(max(y * alpha + (1 - y * z) / max(q, _TINY), 0.0), 1.0)

    def dual_steps(self, alpha: Vec, z: Vec, q: float) -> Vec:
        """The same for all rows."""
        y = self.parts.train.y
        moved: Vec = y * np.clip(y * alpha + (1 - y * z) / q, 0.0, 1.0)
        return moved

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """max(0, 1 - y x'w) of ``models`` (m, d), (m, rows)."""
        return judge(self.parts.held_out, models, _row_losses)

    def window(self, first: int, last: int) -> HingeTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone; its curvature stays that of all."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """Loss and error, means over the training rows."""
        figures = _measure(self.parts.train, w)
        return figures["loss"], figures["error"]

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: error and loss."""
        return report(self.parts, self.loss(w), lambda part: _measure(part, w))


def _row_losses(part: Part, w: Vec) -> Vec:
    losses: Vec = np.maximum(0.0, 1 - part.y * (part.x @ w))
    return losses


def _mean_loss(part: Part, w: Vec) -> float:
    return float(np.mean(_row_losses(part, w)))


def _measure(part: Part, w: Vec) -> dict[str, float]:
    return {"error": sign_error(part.x @ w, part.y), "loss": _mean_loss(part, w)}
