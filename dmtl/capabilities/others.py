"""What a screen, a pre-screen or an attack may offer or ask for beyond its protocol; asked for by ``isinstance``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mat, View

__all__ = ["Knowing", "Limited", "Merging", "Unruly"]


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
