"""Decision stumps as features, the same on all ranks: ensembles for boosting between peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isfinite

import numpy as np

from dmtl.errors import ConfigError
from dmtl.types import Mat, Vec

__all__ = ["Stumps"]


@dataclass(frozen=True, slots=True)
class Stumps:
    """Decision stumps: -1 and +1 on the two sides of thresholds, several to a column.

    phi(x) has sign(x_j - t) / sqrt(count) for each column j and each of ``per_column`` thresholds t, evenly spaced
    inside (-reach, reach); on a threshold it is +1. A linear model on them is a weighted vote of stumps, which is what
    'dada' combines between peers in its paper, and what a rank learns is a function of each column, added up.
    Nothing is drawn and nobody's data are looked at, so all ranks have the same. Where the run standardises, thresholds
    are in each rank's own standard deviations; with standardise=false in the units of the data.

    Freund and Schapire, "A decision-theoretic generalization of on-line learning and an application to boosting",
    Journal of Computer and System Sciences, 1997; for peers Zantedeschi, Bellet and Tommasi, AISTATS 2020.
    """

    per_column: int = 10
    """thresholds of each column, at least 1"""
    reach: float = 2.0
    """thresholds lie between -reach and reach"""

    def __post_init__(self) -> None:
        if self.per_column < 1:
            raise ConfigError(f"'stumps' has per_column={self.per_column}. It is a number of thresholds, at least 1.")
        if not (isfinite(self.reach) and self.reach > 0):
            raise ConfigError(f"'stumps' has reach={self.reach}. reach is a finite number above 0.")

    def drawn(self, columns: int, seed: int) -> Callable[[Mat], Mat]:
        """The map of rows (m, columns) to rows (m, columns * per_column)."""
        inside = np.linspace(-self.reach, self.reach, self.per_column + 2)[1:-1]
        return partial(_sides, inside)


def _sides(thresholds: Vec, x: Mat) -> Mat:
    sides = np.where(x[:, :, None] >= thresholds, 1.0, -1.0)
    count = x.shape[1] * len(thresholds)
    found: Mat = sides.reshape(len(x), count) / np.sqrt(count)
    return found
