"""What an algorithm may offer beyond its protocol; asked for by ``isinstance``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from dmtl.types import Task, Vec, View

__all__ = [
    "Agreeing",
    "Certified",
    "Dividing",
    "Ending",
    "Enduring",
    "Exposed",
    "Predicting",
    "Scoring",
    "Showing",
    "Telling",
]


@runtime_checkable
class Agreeing(Protocol):
    """An algorithm that averages to agree: a shorter step towards the average takes longer and changes no more."""

    @property
    def agrees(self) -> bool:
        """Whether it does."""


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
class Dividing(Protocol):
    """An algorithm with several models, each for a part of the rows: screens judge each by its part."""

    def parts(self, state: Any, task: Task, view: View) -> Sequence[Task]:
        """For each vector of a message of that round, the task that it is a model of."""


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
class Predicting(Protocol):
    """An algorithm whose prediction is not that of one vector."""

    def evaluate(self, state: Any, task: Task) -> Mapping[str, float]:
        """What the task's ``evaluate`` gives for a model, for what this rank would predict with."""


@runtime_checkable
class Showing(Protocol):
    """An algorithm whose messages are not vectors of the task itself, but of a task made of it."""

    def shown(self, state: Any, task: Task) -> Task:
        """The task of which messages are vectors: what screens and attacks work with."""
