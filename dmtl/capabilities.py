"""What a task, a screen or an attack may offer or ask for beyond its protocol; asked for by ``isinstance``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mat, Task, Vec, View

__all__ = [
    "Certified",
    "Clipping",
    "Convex",
    "Counted",
    "Curved",
    "Dual",
    "Ending",
    "Enduring",
    "Exposed",
    "Gathering",
    "Halving",
    "Judging",
    "Knowing",
    "Limited",
    "Merging",
    "Proximable",
    "Scoring",
    "Sharing",
    "Smooth",
    "Telling",
    "Unruly",
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
class Gathering(Protocol):
    """A central method, for comparison: it is told all tasks, so all of them are in one process."""

    def gathered(self, tasks: Sequence[Task], chart: Any) -> Sequence[Any]:
        """The algorithm of each rank, which has them; ``chart`` is the graph's ``consensus.chart.Chart``."""


@runtime_checkable
class Certified(Protocol):
    """An algorithm whose ranks can bound how far the network's objective is above its least."""

    def lacks(self, task: Task) -> str:
        """What such a bound would need that this task, or a setting, does not have; empty where there is one."""

    def certificate(self, state: Any, task: Task, view: View) -> float:
        """This rank's term, after a round in which all were heard; the sum of all ranks' terms is the bound.

        Infinite where nothing is known yet.
        """

    def vouched(self, state: Any) -> Vec:
        """(d,) the model that the term is of: that of now, or the one that was told in the last round."""


@runtime_checkable
class Ending(Protocol):
    """An algorithm that finds out by itself when it is done; all ranks do so in the same round."""

    def over(self, state: Any) -> bool:
        """Whether it is done."""

    def bound(self, state: Any) -> float:
        """How far the objective is above its least, at most, as far as is known; infinite where nothing is."""


@runtime_checkable
class Enduring(Protocol):
    """An algorithm that needs fresh messages and yet says what losing some does to it; others are taken to suffer."""

    @property
    def endures_loss(self) -> bool:
        """Whether it ends in the same place, as long as messages keep coming over every link."""


@runtime_checkable
class Exposed(Protocol):
    """An algorithm that says itself what a liar can do to it.

    One that asks no screen and does not say is taken to have no defence.
    """

    def exposure(self) -> str:
        """What no screen and no rule of its own bounds, and the way out: the end of a sentence that begins with its
        name; empty where there is no such thing.
        """


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
class Knowing(Protocol):
    """A screen that asks for more than rows and weights; one that does not have this asks for neither."""

    @property
    def needs_held_out(self) -> bool:
        """Whether its task has to be ``Judging``, with rows to judge on."""

    @property
    def needs_liars(self) -> bool:
        """Whether ``view.colluders`` has to name the Byzantine ranks: an oracle, to compare with."""


@runtime_checkable
class Scoring(Protocol):
    """An algorithm that judges models itself, perhaps on own data that its task's loss never saw."""

    @property
    def needs_held_out(self) -> bool:
        """Whether its task has to be ``Judging``, with rows to judge on."""


@runtime_checkable
class Telling(Protocol):
    """An algorithm that knows more than a model: what it writes into the rank files at each evaluation."""

    def tell(self, state: Any, view: View) -> Mapping[str, Any]:
        """Numbers or arrays by name."""


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
