"""What a task, a screen or an attack may offer or ask for beyond its protocol; asked for by ``isinstance``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mat, Task, Vec, View

__all__ = [
    "Clipping",
    "Convex",
    "Counted",
    "Gathering",
    "Halving",
    "Judging",
    "Knowing",
    "Limited",
    "Merging",
    "Proximable",
    "Sharing",
    "Smooth",
    "Unruly",
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
class Gathering(Protocol):
    """A central method, for comparison: it is told all tasks, so all of them are in one process."""

    def gathered(self, tasks: Sequence[Task], chart: Any) -> Sequence[Any]:
        """The algorithm of each rank, which has them; ``chart`` is the graph's ``consensus.chart.Chart``."""


@runtime_checkable
class Counted(Protocol):
    """A task that knows from how many rows it learns."""

    @property
    def rows(self) -> int:
        """How many rows the full-batch loss is a mean over."""


@runtime_checkable
class Clipping(Protocol):
    """A task that can bound what a single row does to its gradient, as differential privacy asks."""

    @property
    def rows(self) -> int:
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
class Knowing(Protocol):
    """A screen that asks for more than rows and weights; one that does not have this asks for neither."""

    @property
    def needs_held_out(self) -> bool:
        """Whether its task has to be ``Judging``, with rows to judge on."""

    @property
    def needs_liars(self) -> bool:
        """Whether ``view.colluders`` has to name the Byzantine ranks: an oracle, to compare with."""


@runtime_checkable
class Unruly(Protocol):
    """An attack that breaks the rules of messages where a transport has any; elsewhere its words are all there is."""

    @property
    def protocol(self) -> Literal["in step", "breaks off"]:
        """Whether it then goes on as if nothing had happened, or has nothing more to do with that target."""

    def wire(self, words: Mat) -> Iterator[NDArray[Any]]:
        """What travels in place of ``words`` (f, d) that say nothing, message by message."""


@runtime_checkable
class Limited(Protocol):
    """A screen whose work grows so fast with neighbours that it does not take any number."""

    def most_neighbours(self) -> int:
        """Most neighbours among which it does what it promises in bearable time."""


@runtime_checkable
class Merging(Protocol):
    """A pre-screen that makes fewer rows of several neighbours'; a screen's answer is carried back to its members."""

    def left(self, neighbours: int) -> int:
        """How many rows besides the own one come out of that many; more of more."""

    def groups(self, neighbours: int, view: View) -> NDArray[np.intp]:
        """(k,) into which of these rows each neighbour goes in this round."""
