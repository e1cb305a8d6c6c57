"""How the rows of a pool are spread over the ranks. Whole groups move: no recording is on two ranks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Vec

__all__ = ["DRAWS", "IID", "Dirichlet", "Natural", "Rows", "Shards", "collect", "groups_of", "task_count"]

Rows = NDArray[np.int64]
DRAWS = 100
"""attempts at a Dirichlet draw that leaves no rank too small"""


def task_count(pool: Pool) -> int:
    """Return the number T of natural tasks."""
    return int(pool.task.max(initial=-1)) + 1


def groups_of(pool: Pool) -> tuple[list[Rows], Vec]:
    """The rows of each group, ascending, and the target of each group's first row."""
    _, first, inverse = np.unique(pool.group, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse))
    return np.split(order, ends[:-1]), pool.y[first]


def collect(groups: list[Rows], shares: Sequence[Rows]) -> list[Rows]:
    """Rows of each rank, ascending, from the numbers of its groups."""
    return [np.sort(np.concatenate([groups[g] for g in share])) for share in shares]


def _enough(name: str, groups: int, needed: int, fix: str) -> None:
    """Refuse to spread too few groups."""
    if groups < needed:
        raise ConfigError(
            f"partition {name!r} needs {needed} groups of rows and the data have {groups}: a rank would be empty. {fix}"
        )


@dataclass(frozen=True, slots=True)
class Natural:
    """Rank r holds the r-th natural task: a person, a school, a digit.

    There must be as many ranks as tasks. Nothing is drawn.

    Smith, Chiang, Sanjabi, Talwalkar, Federated Multi-Task Learning, NeurIPS 2017.
    """

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Rows of task r for rank r."""
        tasks = task_count(pool)
        fix = f"Give --tasks 0-{ranks - 1}, or start {tasks} ranks."
        if tasks < ranks:
            fix = f"Start {tasks} {'rank' if tasks == 1 else 'ranks'}, or choose --partition iid, dirichlet or shards."
        if tasks != ranks:
            have = f"{tasks} {'task' if tasks == 1 else 'tasks'}"
            raise ConfigError(f"data has {have} and there {'is 1 rank' if ranks == 1 else f'are {ranks} ranks'}. {fix}")
        shares = [np.flatnonzero(pool.task == rank) for rank in range(ranks)]
        for rank, rows in enumerate(shares):
            if not len(rows):
                raise ConfigError(f"task {rank} of the data has no rows. Number the tasks without a gap.")
        return shares


@dataclass(frozen=True, slots=True)
class IID:
    """Every rank gets a random sample of the same distribution, all samples of nearly the same size.

    The groups are shuffled and each in turn goes to the rank that has the fewest rows (the lowest of them): sizes
    differ by no more than the largest group, that is by 1 where each row is a group. Balancing by groups is ours.

    McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-Efficient Learning of Deep Networks from
    Decentralized Data, AISTATS 2017.
    """

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Shuffle by ``seed`` and deal out."""
        groups, _ = groups_of(pool)
        _enough("iid", len(groups), ranks, f"Start at most {len(groups)} ranks.")
        shares: list[list[int]] = [[] for _ in range(ranks)]
        loads = [(0, rank) for rank in range(ranks)]
        for g in stream(seed, Purpose.PARTITION).permutation(len(groups)):
            load, rank = loads[0]
            shares[rank].append(int(g))
            heapq.heapreplace(loads, (load + len(groups[g]), rank))
        return collect(groups, [np.array(share) for share in shares])


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Label skew: the groups of each class are shuffled and divided over the n ranks by p ~ Dir(alpha, .., alpha).

    alpha to infinity gives every rank the same mix of classes, alpha to 0 gives each class to one rank. Drawn anew, at
    most 100 times, until no rank has fewer than ``least`` rows. A group counts as the class of its first row, which is
    ours. For classification only.

    Yurochkin, Agarwal, Ghosh, Greenewald, Hoang, Khazaeni, Bayesian Nonparametric Federated Learning of Neural
    Networks, ICML 2019; the draw of each rank's classes instead of each class's ranks is Hsu, Qi, Brown, 2019.
    """

    alpha: float = 0.5
    """concentration: the smaller, the fewer classes on a rank"""
    least: int = 5
    """fewest rows that a rank may have"""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < np.inf:
            raise ConfigError(f"'dirichlet' has alpha={self.alpha}. alpha is the concentration, above 0.")
        if self.least < 1:
            raise ConfigError(f"'dirichlet' has least={self.least}. least is the fewest rows of a rank, at least 1.")

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Draw by ``seed``."""
        if not pool.classes:
            raise ConfigError("partition 'dirichlet' divides classes, and the data are for regression. Choose iid.")
        groups, label = groups_of(pool)
        sizes = np.array([len(rows) for rows in groups])
        rng = stream(seed, Purpose.PARTITION)
        for _ in range(DRAWS):
            owner = self._draw(label, ranks, rng)
            if np.bincount(owner, weights=sizes, minlength=ranks).min() >= self.least:
                return collect(groups, [np.flatnonzero(owner == rank) for rank in range(ranks)])
        raise ConfigError(
            f"partition 'dirichlet' with alpha={self.alpha} left one of {ranks} ranks with fewer than "
            f"least={self.least} rows in each of {DRAWS} draws. Raise alpha, lower least, or start fewer ranks."
        )

    def _draw(self, label: Vec, ranks: int, rng: np.random.Generator) -> Rows:
        """The rank of each group."""
        owner = np.empty(len(label), dtype=np.int64)
        for value in np.unique(label):
            members = rng.permutation(np.flatnonzero(label == value))
            cuts = np.rint(np.cumsum(rng.dirichlet(np.full(ranks, self.alpha)))[:-1] * len(members))
            owner[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
        return owner


@dataclass(frozen=True, slots=True)
class Shards:
    """Pathological label skew: sort by label, cut into n * per_rank shards of equal size, deal them out at random.

    A rank sees few classes, about ``per_rank``. The sort keeps the order of rows within a label; groups stand for their
    first row and shards have equally many groups, to within one, which is ours, as is sorting by target in regression.

    McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-Efficient Learning of Deep Networks from
    Decentralized Data, AISTATS 2017.
    """

    per_rank: int = 2
    """shards that each rank gets"""

    def __post_init__(self) -> None:
        if self.per_rank < 1:
            raise ConfigError(f"'shards' has per_rank={self.per_rank}. per_rank is the shards of a rank, at least 1.")

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Deal the shards by ``seed``."""
        groups, label = groups_of(pool)
        count = ranks * self.per_rank
        _enough("shards", len(groups), count, "Lower per_rank or start fewer ranks.")
        shards = np.array_split(np.argsort(label, kind="stable"), count)
        dealt = stream(seed, Purpose.PARTITION).permutation(count).reshape(ranks, self.per_rank)
        return collect(groups, [np.concatenate([shards[s] for s in hand]) for hand in dealt])
