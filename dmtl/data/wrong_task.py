"""Another rank's data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from dmtl.data.pool import Dataset, Poison
from dmtl.errors import ConfigError

__all__ = ["WrongTask"]


@dataclass(frozen=True, slots=True)
class WrongTask:
    """Train on another rank's data: the honest model of another task, said in the name of the own one.

    The training rows are the other rank's, as they are before any poison; held-out and test rows stay the own ones, so
    that what the liar reports of itself is measured on its true task. It then follows the protocol honestly. Where
    tasks differ this is what every neighbour does: a screen that refuses it refuses other tasks.
    What is ours: as a poison it works under every method, and needs nothing but the other's data.
    """

    whose: int | None = None
    """the rank whose data are taken; left out: the one half-way round the ranks"""

    def __post_init__(self) -> None:
        if self.whose is not None and self.whose < 0:
            raise ConfigError(
                f"'wrong-task' has whose={self.whose}. whose is a rank, at least 0; leave it out to choose."
            )

    def lender(self, rank: int, ranks: int) -> int:
        """Whose data rank ``rank`` takes; raises ConfigError where there is no such other rank."""
        other = (rank + ranks // 2) % ranks if self.whose is None else self.whose
        if other >= ranks or other == rank:
            raise ConfigError(
                f"'wrong-task' has rank {rank} take the data of rank {other}. whose is another rank, 0 .. {ranks - 1}."
            )
        return other

    def lent(self, other: Dataset) -> Poison:
        """The poison that has the other's data."""
        return partial(_swapped, other)


def _swapped(other: Dataset, data: Dataset, rng: np.random.Generator) -> Dataset:
    origin = data.origin._replace(train=other.origin.train) if data.origin and other.origin else None
    return replace(data, x=other.x, y=other.y, origin=origin)
