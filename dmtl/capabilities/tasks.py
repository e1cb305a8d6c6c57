"""What a task may offer beyond its protocol; asked for by ``isinstance``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from dmtl.types import Mat, Task, Vec

__all__ = [
    "Batched",
    "Clipping",
    "Convex",
    "Counted",
    "Curved",
    "Dual",
    "Halving",
    "Judging",
    "Layer",
    "Layered",
    "Placeable",
    "Proximable",
    "Reweighting",
    "Sharing",
    "Smooth",
    "Starting",
    "Weighted",
    "Windowed",
]


@runtime_checkable
class Proximable(Protocol):
    """A task with a proximal map."""

    def prox(self, v: Vec, rho: float) -> Vec:
        """argmin_w loss(w) + rho/2 |w - v|^2, (d,)."""


@runtime_checkable
class Smooth(Protocol):
    """A task that knows how fast its gradient can turn, which gives a step size without tuning."""

    @property
    def smoothness(self) -> float:
        """Lipschitz constant of ``grad`` on the full batch."""


@runtime_checkable
class Reweighting(Protocol):
    """A task that can weigh its rows by how well they fit, as robust losses ask."""

    def reweighted_grad(self, w: Vec, weigh: Callable[[Vec], Vec], rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times what ``weigh`` makes of the rows' losses (m,); (d,).

        These losses are without the ridge, which is left as it is.
        """


@runtime_checkable
class Batched(Protocol):
    """A task that knows how many of its mini-batches make an epoch."""

    @property
    def batches(self) -> int:
        """ceil(training rows / rows per batch); 1 where a batch is all rows."""


@runtime_checkable
class Counted(Protocol):
    """A task that knows from how many rows it learns."""

    @property
    def training_rows(self) -> int:
        """How many rows the full-batch loss is a mean over."""


@runtime_checkable
class Clipping(Protocol):
    """A task that can bound what a single row does to its gradient, as differential privacy asks."""

    @property
    def training_rows(self) -> int:
        """How many rows the full-batch loss is a mean over."""

    def clipped_grad(self, w: Vec, clip: float, order: int) -> Vec:
        """The full-batch gradient, that of each row's loss shortened to ``clip`` in the 1- or 2-norm; (d,).

        What does not depend on any row, the ridge, is left as it is.
        """


@runtime_checkable
class Convex(Protocol):
    """A task that knows how strongly convex its full-batch loss is, which bounds what a force can do to its model."""

    @property
    def strong_convexity(self) -> float:
        """Modulus mu of the full-batch loss; 0: none is known."""


@runtime_checkable
class Curved(Protocol):
    """A task that knows the Hessian of its loss, and of how many rows that loss is the mean."""

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""

    def curvature(self, w: Vec) -> Mat:
        """The Hessian of the full-batch loss at ``w``, (d, d), in double precision."""


@runtime_checkable
class Dual(Protocol):
    """A task whose loss is a mean over rows and a ridge: f(w) = 1/m sum_i phi_i(x_i'w) + ridge/2 |w|^2, phi_i convex.

    Its dual has one number alpha_i per row, and -alpha_i is a slope of phi_i; 0 is feasible.
    """

    @property
    def rows(self) -> Mat:
        """(m, d) the rows x_i of the full batch, as ``w`` sees them."""

    @property
    def ridge(self) -> float:
        """Weight of |w|^2 / 2 in the loss."""

    def conjugate(self, alpha: Vec) -> float:
        """1/m sum_i phi_i*(-alpha_i), phi_i* the convex conjugate; infinite where ``alpha`` (m,) is not feasible."""

    def dual_step(self, row: int, alpha: float, z: float, q: float) -> float:
        """argmax over b of -phi_i*(-b) - z (b - alpha) - q/2 (b - alpha)^2, for one row i; q at least 0."""

    def dual_steps(self, alpha: Vec, z: Vec, q: float) -> Vec:
        """The same for all rows at once, (m,); q above 0."""


@runtime_checkable
class Judging(Protocol):
    """A task that can judge models on own data that its loss never saw."""

    @property
    def held_out_rows(self) -> int:
        """How many rows those are; with 0 it cannot judge."""

    def held_out_losses(self, models: Mat) -> Mat:
        """The loss of each of ``models`` (m, d) on each of these rows, without ridge, (m, rows)."""


@runtime_checkable
class Halving(Protocol):
    """A task that can learn from either half of its training rows and judge on the other.

    How far apart the two end says how much the data tell. Where rows belong together, they are in the same half; a
    task with too few rows has no halves: gradients of 0, no rows to judge on.
    """

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d): of the loss on half 0 at ``pair[0]``, of that on half 1 at ``pair[1]``."""

    def half_losses(self, models: Mat, which: int) -> Mat:
        """The loss of each of ``models`` (m, d) on each row of half 0 or 1, without ridge, (m, rows)."""


@runtime_checkable
class Sharing(Protocol):
    """A task whose model has a part in common with other tasks and a part of its own."""

    @property
    def shared(self) -> slice:
        """The parameters in common; screens that know of it leave all others as they are."""


@runtime_checkable
class Windowed(Protocol):
    """A task that can be shown its training rows a few at a time, as a stream."""

    @property
    def training_rows(self) -> int:
        """How many rows there are."""

    def window(self, first: int, last: int) -> Task:
        """The same task with the training rows ``first`` .. ``last`` - 1 alone, as they are in the data."""

    def surprise(self, w: Vec) -> tuple[float, float]:
        """At ``w``: the mean loss of a training row, without a ridge, and the share of rows that are taken for another
        class; for numbers the mean squared error.
        """


class Layer(NamedTuple):
    """One named part of a parameter vector."""

    where: slice
    """which of the parameters"""
    shape: tuple[int, ...]
    """as what they are used: the last axis is that of outputs"""


@runtime_checkable
class Layered(Protocol):
    """A task whose vector has named parts, one after the other and without gaps."""

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The parts by name, in the order of the vector; the same on all ranks that exchange them."""


@runtime_checkable
class Starting(Protocol):
    """A task whose models must not begin at zero."""

    def start(self, rng: np.random.Generator) -> Vec:
        """A first model (d,); ranks that draw alike get the same one, without which averages of models mean nothing."""


@runtime_checkable
class Weighted(Protocol):
    """A task that takes weights for its training rows, and predicts by several models at once: for mixtures."""

    @property
    def training_rows(self) -> int:
        """How many rows there are, m."""

    def row_losses(self, models: Mat) -> Mat:
        """The loss of each of ``models`` (k, d) on each training row, without a ridge, (k, m)."""

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient (d,) at ``w`` of the mean of ``weights`` (m,) times the rows' losses, and of the ridge.

        With ``rng`` the mean is over a batch, as in ``grad``.
        """

    def blend(self, models: Mat, shares: Vec) -> Mapping[str, float]:
        """Figures as of ``evaluate``, of the predictor whose prediction is the mean of those of ``models`` (k, d).

        ``shares`` (k,) sum to one. Of classes it is the mean of probabilities.
        """


@runtime_checkable
class Placeable(Protocol):
    """Settings of a task that computes on a device, of which the ranks of one machine take one each in turn."""

    def on(self, place: int) -> Placeable:
        """The settings of the ``place``-th rank of its machine."""
