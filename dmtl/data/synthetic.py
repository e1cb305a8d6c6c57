"""Linear tasks that are related in a known way, with the parameters that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from dmtl.data.pool import Pool
from dmtl.errors import ConfigError, unknown
from dmtl.rng import Purpose, stream
from dmtl.types import Mat, Vec

__all__ = ["Synthetic"]

Shape = Literal["low-rank", "clustered", "graph-smooth"]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Linear tasks y = <w_t, x> + noise e with x ~ N(0, I) and e ~ N(0, 1), related by one of three shapes.

    low-rank      w_t = U v_t / sqrt(rank p), U (p, rank) common, v_t the task's own, all N(0, 1)
    clustered     w_t = (c_j + spread e_t) / sqrt(p), j = t mod clusters, c_j and e_t (p,) all N(0, 1)
    graph-smooth  w_t = sum_m f_m(t) a_m / sqrt(rank p), a_m (p,) N(0, 1), f_m the ``rank`` lowest Fourier modes
                  1, sqrt2 cos(2 pi t/T), sqrt2 sin(2 pi t/T), sqrt2 cos(4 pi t/T) .. on the ring of the T tasks

    so that E |w_t|^2 is 1 (clustered: 1 + spread^2), and the bias 0. With classes=2 the label is 1 with probability
    sigmoid(<w_t, x> / noise), which for noise=0 is the sign of <w_t, x>; the truth is then w_t / noise.
    With a drift the parameters turn while the rows go by: those of row i of m are cos(a) w_t + sin(a) w'_t,
    a = drift i/m, w' a second draw of all tasks' parameters in the same shape; the truth is that of the last row.
    With flips each label is turned with that probability, in training and test alike; all else stays as it is without.
    The draws of a task come from its own stream: low-rank and clustered tasks do not change with their number.
    The scales are ours.

    Shapes: Argyriou, Evgeniou, Pontil, Machine Learning 2008; Jacob, Bach, Vert, NeurIPS 2008; Evgeniou, Micchelli,
    Pontil, JMLR 2005.
    """

    shape: Shape = "clustered"
    """how the tasks are related"""
    tasks: int = 0
    """number T of tasks; 0: as many as there are ranks"""
    features: int = 20
    """number p of features"""
    rows: int = 60
    """rows of each task, before training and test are divided"""
    noise: float = 0.3
    """standard deviation of the noise; for labels the temperature of the logistic draw"""
    rank: int = 3
    """rank of W where low-rank; number of modes where graph-smooth"""
    clusters: int = 3
    """number of clusters where clustered"""
    spread: float = 0.2
    """distance of a task from its centre where clustered, in units of the centres' own size"""
    classes: int = 0
    """0: regression; 2: logistic labels"""
    drift: float = 0.0
    """angle, in radians, that the parameters turn by from the first row to the last"""
    flips: float = 0.0
    """share of the labels that are turned, at most 1; for classes=2"""

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise unknown("shape of 'synthetic'", self.shape, get_args(Shape))
        for name, least in (("tasks", 0), ("features", 1), ("rows", 3), ("rank", 1), ("clusters", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"'synthetic' has {name}={getattr(self, name)}. {name} is at least {least}.")
        for name in ("noise", "spread", "drift"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"'synthetic' has {name}={getattr(self, name)}. {name} is a number, at least 0.")
        if not 0 <= self.flips <= (1 if self.classes else 0):
            raise ConfigError(f"'synthetic' has flips={self.flips}. flips is a share of labels, 0 without classes=2.")
        if self.classes not in (0, 2):
            raise ConfigError(f"'synthetic' has classes={self.classes}. classes is 0 for regression, or 2 for labels.")
        if self.shape == "low-rank" and self.rank > self.features:
            raise ConfigError(
                f"'synthetic' has rank={self.rank} and features={self.features}. rank is at most the features."
            )

    def load(self, ranks: int, seed: int) -> Pool:
        """Draw the tasks by ``seed``: as many as ``ranks``, or as ``tasks`` says."""
        count = self.tasks or ranks
        drawn = [self._task(t, count, seed) for t in range(count)]
        w = np.stack([parameters for parameters, _, _ in drawn])
        scale = self.noise if self.classes and self.noise else 1.0
        return Pool(
            x=np.concatenate([x for _, x, _ in drawn]),
            y=np.concatenate([y for _, _, y in drawn]),
            task=np.repeat(np.arange(count), self.rows),
            group=np.arange(count * self.rows),
            classes=self.classes,
            truth=np.column_stack([w / scale, np.zeros(count)]),
        )

    def _task(self, t: int, count: int, seed: int) -> tuple[Vec, Mat, Vec]:
        """Parameters (p,), features (rows, p) and targets (rows,) of task ``t`` of ``count``."""
        rng = stream(seed, Purpose.DATA, rank=t)
        common = stream(seed, Purpose.DATA)
        w = self._parameters(t, count, common, rng)
        other = self._parameters(t, count, common, rng) if self.drift else w
        x = rng.standard_normal((self.rows, self.features))
        z = x @ w
        if self.drift:
            angle = self.drift * np.arange(self.rows) / self.rows
            z = np.cos(angle) * z + np.sin(angle) * (x @ other)
            w = np.cos(angle[-1]) * w + np.sin(angle[-1]) * other
        if not self.classes:
            return w, x, z + self.noise * rng.standard_normal(self.rows)
        # x w + noise L > 0 with L logistic has probability sigmoid(x w / noise), also as noise goes to 0
        ones = z + self.noise * rng.logistic(size=self.rows) > 0
        if self.flips:
            ones ^= rng.random(self.rows) < self.flips
        return w, x, ones.astype(np.float64)

    def _parameters(self, t: int, count: int, common: np.random.Generator, own: np.random.Generator) -> Vec:
        """w_t (p,): ``common`` draws what all tasks share, ``own`` what is this task's."""
        if self.shape == "clustered":
            centres = common.standard_normal((self.clusters, self.features))
            near: Vec = centres[t % self.clusters] + self.spread * own.standard_normal(self.features)
            return near / float(np.sqrt(self.features))
        basis = common.standard_normal((self.rank, self.features)) / np.sqrt(self.rank * self.features)
        place = own.standard_normal(self.rank) if self.shape == "low-rank" else _modes(t / count, self.rank)
        w: Vec = place @ basis
        return w


def _modes(place: float, count: int) -> Vec:
    """The ``count`` lowest Fourier modes (count,) at ``place`` in [0, 1) of a ring, of mean square 1."""
    m = np.arange(count)
    angle = 2 * np.pi * place * ((m + 1) // 2)
    return np.where(m == 0, 1.0, np.sqrt(2) * np.where(m % 2 == 1, np.cos(angle), np.sin(angle)))
