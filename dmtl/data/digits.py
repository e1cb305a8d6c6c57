"""Handwritten digits of 8 x 8 pixels: one task to spread over the ranks, or ten binary ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmtl.data.optional import installed_file
from dmtl.data.pool import Pool
from dmtl.data.split import spread_out
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mat, Vec

__all__ = ["Digits", "DigitsOneVsRest"]

SHARE = 179
"""1797 images among ten tasks"""


def _read(piece: str) -> tuple[Mat, Vec]:
    """(1797, 64) pixels in [0, 1] and (1797,) digits."""
    # the file itself: importing scikit-learn costs each rank a second, reading this a tenth
    path = installed_file(piece, "scikit-learn", "sklearn", "datasets/data/digits.csv.gz")
    table = np.loadtxt(path, delimiter=",")
    return table[:, :-1] / 16, table[:, -1].copy()


@dataclass(frozen=True, slots=True)
class Digits:
    """The 1797 handwritten digits that come with scikit-learn: 64 pixels in [0, 1], ten classes, one natural task.

    Choose a partition to spread them over the ranks: iid, dirichlet or shards. Every row is a group of its own.

    Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository 1998.
    """

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the digits; ``ranks`` and ``seed`` are not looked at."""
        x, y = _read("digits")
        return Pool(x, y, task=np.zeros(len(y), dtype=np.int64), group=np.arange(len(y)), classes=10)


@dataclass(frozen=True, slots=True)
class DigitsOneVsRest:
    """Ten binary tasks from the digits of scikit-learn: task c asks whether an image is the digit c.

    y = 1 where the digit is c, else 0. Each task has images of its own, drawn by the seed, disjoint from the others',
    with all ten digits in about equal numbers: one row in ten is positive. That division is ours.

    Alpaydin, Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository 1998.
    """

    rows: int = 0
    """images of each task, 20 to 179; 0: as many as there are, 179 or 180"""

    def __post_init__(self) -> None:
        if self.rows != 0 and not 20 <= self.rows <= SHARE:
            raise ConfigError(
                f"'digits-one-vs-rest' has rows={self.rows}. "
                f"rows is 20 to {SHARE} images of each task, or 0 for as many as there are."
            )

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the digits and deal them to ten tasks by ``seed``; ``ranks`` is not looked at."""
        x, digit = _read("digits-one-vs-rest")
        rng = stream(seed, Purpose.DATA)
        drawn = spread_out(digit, rng)[: 10 * self.rows or None]
        dealt = drawn[np.argsort(digit[drawn], kind="stable")]
        task = np.empty(len(digit), dtype=np.int64)
        task[dealt] = np.arange(len(dealt)) % 10
        kept = np.sort(dealt)
        return Pool(
            x=x[kept],
            y=(digit[kept] == task[kept]).astype(np.float64),
            task=task[kept],
            group=kept,
            classes=2,
            labels=tuple(str(c) for c in range(10)),
        )
