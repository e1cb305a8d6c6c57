"""Two more ways to make ranks differ: by groups of labels, and in the number of their rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmtl.data.partition import DRAWS, Rows, collect, groups_of
from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Vec

__all__ = ["DirichletGroups", "QuantitySkew"]


@dataclass(frozen=True, slots=True)
class DirichletGroups:
    """Label skew by groups of labels: the classes are cut into groups, and each group is divided over the ranks.

    The classes are shuffled and cut into ``groups`` sets of nearly equal size. Of each set, p ~ Dir(alpha, .., alpha)
    over the n ranks, the counts of the ranks are Multinomial(size, p), and the shuffled set is handed out in slices of
    these lengths. A rank that has much of a set has much of all its classes: few groups make a few kinds of ranks,
    and one group for each class is a label skew as of ``dirichlet``, with counts that are drawn and not cut at p.
    Drawn anew, at most 100 times, until no rank has fewer than ``least`` rows, which is ours, as is that rows which
    belong together, a recording, move together and count as the class of their first row. For classification only.

    Marfoq, Neglia, Bellet, Kameni and Vidal, "Federated multi-task learning under a mixture of distributions",
    NeurIPS 2021.
    """

    groups: int = -1
    """sets of classes, 1 to the number of classes; -1: one for each class"""
    alpha: float = 0.4
    """concentration: the smaller, the fewer ranks have rows of a set"""
    least: int = 5
    """fewest rows that a rank may have"""

    def __post_init__(self) -> None:
        if self.groups < 1 and self.groups != -1:
            raise ConfigError(
                f"'dirichlet-groups' has groups={self.groups}. groups is a number of sets of classes, at least 1, or "
                f"-1 for one of each class."
            )
        if not 0 < self.alpha < np.inf:
            raise ConfigError(f"'dirichlet-groups' has alpha={self.alpha}. alpha is the concentration, above 0.")
        if self.least < 1:
            raise ConfigError(
                f"'dirichlet-groups' has least={self.least}. least is the fewest rows of a rank, at least 1."
            )

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Draw by ``seed``."""
        if not pool.classes:
            raise ConfigError("partition 'dirichlet-groups' divides classes, and the data are for regression. Use iid.")
        rows, label = groups_of(pool)
        kinds = np.unique(label)
        if self.groups > len(kinds):
            raise ConfigError(
                f"partition 'dirichlet-groups' has groups={self.groups}, and the data have {len(kinds)} classes. "
                f"Lower groups, or give -1 for one of each class."
            )
        sizes = np.array([len(each) for each in rows])
        rng = stream(seed, Purpose.PARTITION)
        sets = np.array_split(rng.permutation(kinds), len(kinds) if self.groups < 0 else self.groups)
        for _ in range(DRAWS):
            owner = np.empty(len(label), dtype=np.int64)
            for classes in sets:
                members = rng.permutation(np.flatnonzero(np.isin(label, classes)))
                counts = rng.multinomial(len(members), rng.dirichlet(np.full(ranks, self.alpha)))
                owner[members] = np.repeat(np.arange(ranks), counts)
            if np.bincount(owner, weights=sizes, minlength=ranks).min() >= self.least:
                return collect(rows, [np.flatnonzero(owner == rank) for rank in range(ranks)])
        raise ConfigError(
            f"partition 'dirichlet-groups' with alpha={self.alpha} left one of {ranks} ranks with fewer than "
            f"least={self.least} rows in each of {DRAWS} draws. Raise alpha, lower least, or start fewer ranks."
        )


@dataclass(frozen=True, slots=True)
class QuantitySkew:
    """Quantity skew: every rank has a random sample of the same distribution, and some have many more rows than others.

    The rows are shuffled. Each rank first gets ``least`` of them, and of the others its part is p_r, p ~ Dir(alpha, ..,
    alpha) over the n ranks: all alike as alpha goes to infinity, one rank with nearly everything as alpha goes to 0.
    Sizes are met to within one row, or within the largest group of rows that belong together. What is ours: the first
    rows, so that no draw is thrown away and every alpha has a split.

    Li, Diao, Chen and He, "Federated learning on non-IID data silos: an experimental study", ICDE 2022.
    """

    alpha: float = 0.5
    """concentration: the smaller, the more the sizes differ"""
    least: int = 5
    """rows that each rank has at least"""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < np.inf:
            raise ConfigError(f"'quantity-skew' has alpha={self.alpha}. alpha is the concentration, above 0.")
        if self.least < 1:
            raise ConfigError(
                f"'quantity-skew' has least={self.least}. least is the fewest rows of a rank, at least 1."
            )

    def assign(self, pool: Pool, ranks: int, seed: int) -> list[Rows]:
        """Draw by ``seed``."""
        groups, _ = groups_of(pool)
        sizes = np.array([len(rows) for rows in groups])
        rng = stream(seed, Purpose.PARTITION)
        order, part = rng.permutation(len(groups)), rng.dirichlet(np.full(ranks, self.alpha))
        owner, loads, dealt = np.empty(len(groups), dtype=np.int64), np.zeros(ranks), 0
        while loads.min() < self.least:
            if dealt == len(order):
                raise ConfigError(
                    f"partition 'quantity-skew' cannot give each of {ranks} ranks least={self.least} rows: the data "
                    f"have {len(pool.y)} rows in {len(groups)} groups. Lower least or start fewer ranks."
                )
            _give(order[dealt], self.least - loads, owner, loads, sizes)
            dealt += 1
        wanted: Vec = loads + part * (len(pool.y) - loads.sum())
        for group in order[dealt:]:
            _give(group, wanted - loads, owner, loads, sizes)
        return collect(groups, [np.flatnonzero(owner == rank) for rank in range(ranks)])


def _give(group: int, lacks: Vec, owner: Rows, loads: Vec, sizes: Rows) -> None:
    """Give a group to the rank that lacks most."""
    rank = int(lacks.argmax())
    owner[group] = rank
    loads[rank] += sizes[group]
