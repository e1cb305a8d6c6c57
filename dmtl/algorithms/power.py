"""The largest singular value of a matrix with one column on each rank: power iteration by exact averages."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np

from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Inbox, Mat, Needs, Vec, View

__all__ = ["NEEDS", "Power", "check_count", "common_basis", "common_direction"]

NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC
"""what a method that iterates so asks for"""


class Power(NamedTuple):
    """One step of u <- G G'u / |G G'u|, G = [g_1 .. g_T]: the sum of (g_t'u) g_t over the ranks is on its way.

    With it goes the sum of (g_t'u)^2, and of one number of the method's own.
    """

    u: Vec
    """(d,) a direction, of length 1, or 0 where G is"""
    left: int
    """steps to go, this one too"""
    mean: Averaging
    """(d + 2,)"""

    @staticmethod
    def begun(u: Vec, g: Vec, left: int, extra: float = 0.0) -> Power:
        """A step with the direction ``u`` and the own column ``g``."""
        along = u.dtype.type(g @ u)
        said = np.concatenate([along * g, [along * along, extra]]).astype(u.dtype)
        return Power(u, left, Averaging(said))

    def heard(self, inbox: Inbox, chart: Chart) -> Power:
        """One round on."""
        if self.mean.complete(chart.spectrum):
            return self
        return self._replace(mean=self.mean.heard(inbox.messages[:, 0], inbox.valid, chart.spectrum))

    def next(self, g: Vec, extra: float = 0.0) -> Power:
        """The step after this one, where the sum is there."""
        return Power.begun(self.direction, g, self.left - 1, extra)

    @property
    def direction(self) -> Vec:
        """(d,) G G'u / |G G'u|, where the sum is there."""
        image = self.mean.x[:-2]
        size = float(np.linalg.norm(image))
        return image / image.dtype.type(size) if size > 0 and isfinite(size) else np.zeros_like(image)

    def height(self, ranks: int) -> float:
        """|G'u|: a lower bound of the largest singular value."""
        return sqrt(ranks * max(float(self.mean.x[-2]), 0.0))

    def norm(self, ranks: int) -> float:
        """|G G'u| / |G'u|: a lower bound of the largest singular value that is no less than |G'u|."""
        height = self.height(ranks)
        return ranks * float(np.linalg.norm(self.mean.x[:-2])) / height if height > 0 else 0.0


def common_direction(x: Vec, view: View, number: int) -> Vec:
    """A random direction like ``x`` (d,) that all ranks draw alike."""
    drawn = stream(view.seed, Purpose.INIT, round=number).standard_normal(len(x))
    return (drawn / np.linalg.norm(drawn)).astype(x.dtype)


def common_basis(x: Vec, columns: int, view: View) -> Mat:
    """A random matrix (d, columns) of vectors like ``x`` (d,) that all ranks draw alike, of length 1 or so each."""
    drawn = stream(view.seed, Purpose.INIT).standard_normal((len(x), columns))
    return (drawn / sqrt(len(x))).astype(x.dtype)


def check_count(algorithm: str, name: str, count: int) -> None:
    """Refuse less than one of what there has to be one of."""
    if count < 1:
        raise ConfigError(f"'{algorithm}' has {name}={count}. {name} is a number of at least 1.")
