"""The plain weighted average."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from dmtl.sums import weighted_sum
from dmtl.types import Mat, Mixed, Task, Vec, View

__all__ = ["Average"]


@cache
def _ones(k: int) -> Vec:
    """Full trust in ``k`` neighbours, made once and read-only: the average is taken in every round."""
    ones = np.ones(k)
    ones.flags.writeable = False
    return ones


@dataclass(frozen=True, slots=True)
class Average:
    """The plain weighted average: no defence, and the yardstick of all others.

    value = w_0 x + sum_j w_j x_j.
    Nothing is assumed of the neighbours' vectors and nothing is bounded: one liar moves the result at will.
    The trust is 1 for every neighbour. Weights are used.

    DeGroot, "Reaching a consensus", Journal of the American Statistical Association 69(345), 1974.
    """

    linear: ClassVar[bool] = True

    def least_neighbours(self) -> int:
        """None: alone, it is the own vector."""
        return 0

    def capacity(self, neighbours: int) -> int:
        """No liar at all."""
        return 0

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, rows: Mat, weights: Vec, memory: Any, task: Task, view: View) -> Mixed:
        """One product of the weights with the rows."""
        return Mixed(weighted_sum(weights, rows)[0], _ones(len(rows) - 1))
