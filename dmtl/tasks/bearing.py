"""Finding a point from noisy bearings and distances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.tasks.linear import Part, Parts, batch_count, check_settings, draw, judge, misfit, prepare, report, windowed
from dmtl.types import Mat, Vec

__all__ = ["Bearing", "BearingTask"]


@dataclass(frozen=True, slots=True)
class Bearing:
    """A point w in the plane from rows (u, x) with target d: seen from x it is at the distance d in the direction u.

    loss      1/m sum_i (d_i + x_i'u_i - w'u_i)^2, how far w is off along the bearing
    gradient  w - 1/m sum_i q_i with q_i = x_i + d_i u_i, the point that row i measures

    What is not as in other tasks: the gradient is that of 1/(2m) sum_i |w - q_i|^2, which is 0 at the same w where
    there is no noise, and not the loss's, which says nothing across the bearing. So adapting moves w to the measured
    points, and models are judged by the distance alone, whose noise is far smaller. Methods that rely on the loss's own
    slope are not for this task: it has neither a proximal map nor a curvature.

    Assumed: the data are not standardised. Each rank judges by its own place x, which is what its rows hold.
    Reports loss.

    Li, Abbas and Koutsoukos, "Byzantine resilient distributed multi-task learning", NeurIPS 2020; the measured points
    are those of Chen and Sayed, IEEE Transactions on Signal Processing, 2012.
    """

    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""

    def __post_init__(self) -> None:
        check_settings("bearing", 0.0, self.batch)

    def build(self, data: Dataset) -> BearingTask:
        """Bind the task to one rank's data."""
        if data.classes:
            raise misfit("bearing", "bearings and distances", data.classes)
        if data.x.shape[1] != 4:
            raise ConfigError(
                f"task 'bearing' is for rows of a bearing and a place, 4 features; the data have {data.x.shape[1]}. "
                f"Use 'least-squares'."
            )
        parts = prepare("bearing", data, False, lambda y: y)
        if np.linalg.norm(parts.train.x[:, :2].mean(axis=0)) < 1e-3:
            raise ConfigError(
                "task 'bearing' needs bearings as they are, and these have the mean 0. Give --set standardise=false."
            )
        return BearingTask(self, parts)


@dataclass(frozen=True, slots=True, eq=False)
class BearingTask:
    """Finding a point, bound to data; see ``Bearing``."""

    settings: Bearing
    parts: Parts

    @property
    def dim(self) -> int:
        """2."""
        return 2

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of the gradient: 1."""
        return 1.0

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Mean squared error along the bearings at ``w`` (2,)."""
        return _mean_loss(draw(self.parts.train, self.settings.batch, rng), w)

    def losses(self, models: Mat, rng: np.random.Generator | None = None) -> Vec:
        """The losses of ``models`` (m, 2) on the same rows, (m,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        u, x = part.x[:, :2], part.x[:, 2:]
        off = (part.y + np.vecdot(x, u))[:, None] - u @ models.T
        found: Vec = np.square(off).sum(axis=0) / len(off)
        return found

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """From the mean of the measured points to ``w``, (2,)."""
        (x, d) = draw(self.parts.train, self.settings.batch, rng)
        away: Vec = w - (x[:, 2:] + d[:, None] * x[:, :2]).mean(axis=0)
        return away

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch."""
        return batch_count(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.y)

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """Losses of ``models`` (m, 2), (m, rows)."""
        return judge(self.parts.held_out, models, _row_losses)

    def window(self, first: int, last: int) -> BearingTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """The loss, twice: it is a squared error."""
        loss = self.loss(w)
        return loss, loss

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: loss."""
        return report(self.parts, self.loss(w), lambda part: {"loss": _mean_loss(part, w)})


def _off(part: Part, w: Vec) -> Vec:
    u, x = part.x[:, :2], part.x[:, 2:]
    off: Vec = part.y + np.vecdot(x - w, u)
    return off


def _row_losses(part: Part, w: Vec) -> Vec:
    off = _off(part, w)
    return off * off


def _mean_loss(part: Part, w: Vec) -> float:
    off = _off(part, w)
    return float(off @ off) / len(off)
