"""Lifts of models that are the sum of a part in common and a part of a rank's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmtl.lifts.lift import Lift, Pair
from dmtl.penalties.penalty import Penalty
from dmtl.types import Mat, Vec

__all__ = ["Composed"]


@dataclass(frozen=True, slots=True)
class Composed:
    """Models w = p + q: p has a lift, q a penalty that couples no tasks, so q never travels."""

    lift: Lift
    own: Penalty

    @property
    def copies(self) -> int:
        """Those of p's lift."""
        return self.lift.copies

    @property
    def smooth(self) -> bool:
        """It is not."""
        return False

    def sizes(self, d: int) -> tuple[int, int]:
        """Those of p's lift, and q."""
        private, shared = self.lift.sizes(d)
        return private + d, shared

    def start(self, x0: Vec) -> Pair:
        """All of the model in p."""
        u, z = self.lift.start(x0)
        return np.concatenate((u, np.zeros_like(x0))), z

    def model(self, u: Vec, z: Mat) -> Vec:
        """p + q."""
        upper, lower = _parts(u)
        return self.lift.model(upper, z) + lower

    def column(self, u: Vec, z: Mat) -> Vec:
        """P above q."""
        upper, lower = _parts(u)
        return np.concatenate((self.lift.column(upper, z), lower))

    def steepness(self, smoothness: float) -> float:
        """That of p's lift and that of the loss: both parts add to the model."""
        return self.lift.steepness(smoothness) + smoothness

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """The same for both parts."""
        first, shared = self.lift.grad(_parts(u)[0], z, g)
        return np.concatenate((first, g)), shared

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """Each part by itself."""
        upper, lower = _parts(u)
        first, shared = self.lift.prox(upper, z, step)
        return np.concatenate((first, self.own.prox(lower[:, None], step)[:, 0])), shared


def _parts(u: Vec) -> tuple[Vec, Vec]:
    """What p's lift keeps, d or d + 1 numbers, and q (d,)."""
    d = len(u) // 2
    return u[: len(u) - d], u[len(u) - d :]
