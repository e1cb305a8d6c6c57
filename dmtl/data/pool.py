"""What a data set is before and after it is spread over the ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mask, Mat, Vec

__all__ = ["Borrowing", "Data", "Dataset", "FeatureMap", "Origin", "Partition", "Poison", "Pool", "Shift"]


@dataclass(frozen=True, slots=True)
class Pool:
    """A whole data set, the same on every rank: rows with the task and the group that they belong to."""

    x: Mat
    """(m, p) features"""
    y: Vec
    """(m,) targets: numbers for regression, 0 .. classes-1 for classification"""
    task: NDArray[np.int64]
    """(m,) natural task of each row, 0 .. T-1; a person, a school, a digit"""
    group: NDArray[np.int64]
    """(m,) rows of one group are never divided between training, held-out and test data: a recording"""
    classes: int = 0
    """number of classes; 0 for regression"""
    labels: tuple[str, ...] = ()
    """what the tasks are called, T names; empty: numbered"""
    truth: Mat | None = None
    """(T, p + 1) generating parameters, bias last, where the data are synthetic"""
    test: Mask | None = None
    """(m,) the rows to test on, where the source fixes them; None: drawn by the split"""


class Origin(NamedTuple):
    """From which natural tasks the rows of one rank are."""

    train: NDArray[np.int64]
    """(m,) the natural task of each training row, 0 .. tasks - 1"""
    held: NDArray[np.int64]
    """(h,) that of the rows that are held out"""
    test: NDArray[np.int64]
    """(t,) that of the test rows"""
    tasks: int
    """how many natural tasks the pool has"""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One rank's own data. Nothing of it ever leaves the rank."""

    x: Mat
    """(m, p) training features"""
    y: Vec
    """(m,) training targets"""
    held_x: Mat
    """(h, p) held out of training: for tuning and for screens that judge by data; may be empty"""
    held_y: Vec
    test_x: Mat
    """(t, p) for reported figures only"""
    test_y: Vec
    classes: int = 0
    label: str = ""
    truth: Vec | None = None
    """(p + 1,) generating parameters, bias last, in the units of ``x``"""
    half: Mask | None = None
    """(m,) the training rows of the second half, where one half is to judge what is learnt from the other: no group is
    in both, and the classes are in proportion; None: every second row"""
    origin: Origin | None = None
    """the natural task of each row; None where the pool has one task alone"""


class Data(Protocol):
    """A source of a pool."""

    def load(self, ranks: int, seed: int) -> Pool:
        """Read or draw the pool; only generators look at ``ranks`` (how many tasks to make) and at ``seed``."""


class Partition(Protocol):
    """A way of spreading a pool over ranks."""

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[NDArray[np.int64]]:
        """Row numbers of each rank, ascending: disjoint, none empty."""


class FeatureMap(Protocol):
    """New features made of the old ones, row by row: the same on all ranks, because it knows nobody's data."""

    def drawn(self, columns: int, seed: int) -> Callable[[Mat], Mat]:
        """The map of rows (m, columns) to rows (m, q); raises ConfigError where q is beyond what it takes."""


class Shift(Protocol):
    """A change of features that each rank has in its own way, in its test rows too: another sensor, another angle."""

    def shifted(self, data: Dataset, rank: int, ranks: int, seed: int) -> Dataset:
        """The data of rank ``rank`` of ``ranks`` under its change; raises ConfigError where they have not the form."""


class Poison(Protocol):
    """A falsification of a liar's own data; the liar then follows the protocol honestly."""

    def __call__(self, data: Dataset, rng: np.random.Generator) -> Dataset:
        """The poisoned data set."""


@runtime_checkable
class Borrowing(Protocol):
    """A poison that needs another rank's data."""

    def lender(self, rank: int, ranks: int) -> int:
        """Whose data rank ``rank`` of ``ranks`` needs."""

    def lent(self, other: Dataset) -> Poison:
        """The poison that has them."""
