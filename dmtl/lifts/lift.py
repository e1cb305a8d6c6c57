"""What a lifted form of a penalty has to offer."""

from __future__ import annotations

from typing import Protocol

from dmtl.types import Mat, Vec

__all__ = ["Lift", "Pair"]

Pair = tuple[Vec, Mat]
"""(p,) what a rank keeps to itself and (copies, q) what it shares, one row per copy"""


class Lift(Protocol):
    """A penalty g of W as min over z of sum_t phi_t(u_t, z): the network agrees on z, and u_t stays on its rank.

    The problem that remains is min sum_t [f_t(model(u_t, z_t)) + phi_t(u_t, z_t)], z_t equal on all edges. phi_t is
    the sum of a smooth part, which joins the gradient of f_t, and of one with a proximal map. Where that map is known
    for two parts of phi_t and not for their sum, a rank holds a copy of z for each, which have to agree as well.
    Coordinates are such that the distance of (u, z) is the Euclidean one.
    """

    @property
    def copies(self) -> int:
        """How many copies of z a rank holds, at least 1."""

    @property
    def smooth(self) -> bool:
        """Whether phi_t has a smooth part only."""

    def sizes(self, d: int) -> tuple[int, int]:
        """(p, q): how many numbers u and one copy of z have."""

    def start(self, x0: Vec) -> Pair:
        """u (p,) and z (copies, q) at the model ``x0`` (d,), the same on all ranks."""

    def model(self, u: Vec, z: Mat) -> Vec:
        """(d,) the model as the loss sees it."""

    def column(self, u: Vec, z: Mat) -> Vec:
        """(D,) the rank's column of W as it is reported: the model, or its upper part above its lower part."""

    def steepness(self, smoothness: float) -> float:
        """Lipschitz constant of the smooth part's gradient, where that of the loss is ``smoothness``."""

    def grad(self, u: Vec, z: Mat, g: Vec) -> Pair:
        """The smooth part's gradient, ``g`` (d,) being that of the loss at the model."""

    def prox(self, u: Vec, z: Mat, step: float) -> Pair:
        """Proximal map of ``step`` times the other part."""
