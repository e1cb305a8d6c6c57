"""A known hierarchy of tasks: groups within groups, each with a part in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.penalties.checks import check_positive
from dmtl.types import Mat, Vec

__all__ = ["Tree", "parse_groups"]


@dataclass(frozen=True, slots=True)
class Tree:
    """Taxonomy: w_t = u_t + sum_{groups g with t} u_g + u_0, each part with a ridge of its own, at the best parts.

    g(W) = 1/2 tr(W K^-1 W'), K = I / own + sum_g 1_g 1_g' / group + 1 1' / common, 1_g the members of a group.
    Groups are written level by level, from coarse to fine, each within one of the level before: 0-3|4-7/0-1|2-3|4-7.
    A task in no group of a level is a group by itself there.

    Its proximal map is V K (K + step I)^-1. Two tasks of the same finest groups have the same entries but for the
    diagonal, so a task needs no more of the others than the sum of each finest group.
    Evgeniou, Micchelli and Pontil, JMLR 6, 2005 (kernels of tasks); Widmer, Leiva, Altun and Ratsch, "Leveraging
    sequence classification by taxonomy-based multitask learning", RECOMB 2010.
    """

    groups: str = ""
    """ranks that belong together, such as 0-3|4-7, levels apart by /; empty: all are one group"""
    own: float = 1.0
    """ridge on what a task has for itself, above 0"""
    group: float = 0.1
    """ridge on what a group has in common, above 0"""
    common: float = 0.01
    """ridge on what all have in common, above 0"""

    copies: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("own", "group", "common"):
            check_positive("tree", getattr(self, name), name)
        parse_groups(self.groups)

    def linked(self, edges: NDArray[np.int64], weights: Vec, tasks: int) -> Rooted:
        """The penalty for that many tasks; raises ConfigError for a group with another one."""
        levels = parse_groups(self.groups)
        last = max((task for level in levels for group in level for task in group), default=0)
        if last >= tasks:
            raise ConfigError(f"'tree' has a group with rank {last}; there are {tasks} ranks, 0 .. {tasks - 1}.")
        relation = np.eye(tasks) / self.own + np.ones((tasks, tasks)) / self.common
        finest = np.zeros(tasks, np.int64)
        for level in levels:
            member = _members(level, tasks)
            relation += np.equal.outer(member, member) / self.group
            finest = np.unique(np.stack((finest, member)), axis=1, return_inverse=True)[1].ravel()
        return Rooted(relation, finest, -1)


class Rooted(NamedTuple):
    """The penalty of a hierarchy with a known number of tasks, as one of them sees it."""

    relation: Mat
    """(T, T) K"""
    finest: NDArray[np.int64]
    """(T,) the finest group of each task, numbered from 0"""
    rank: int
    """whose column ``summary`` and ``shrink`` are for; -1: none"""

    @property
    def copies(self) -> int:
        """1."""
        return 1

    def placed(self, rank: int) -> Rooted:
        """The same on a rank."""
        return self._replace(rank=rank)

    def value(self, w: Mat) -> float:
        """The penalty of W (d, T)."""
        return float(np.sum(w * np.linalg.solve(self.relation, w.T).T)) / 2

    def prox(self, v: Mat, step: float) -> Mat:
        """V K (K + step I)^-1."""
        near: Mat = v @ self._map(step)
        return near.astype(v.dtype, copy=False)

    def length(self, d: int) -> int:
        """A sum for each of the finest groups."""
        return d * (int(self.finest.max()) + 1)

    def summary(self, v: Vec) -> Vec:
        """The column in its own group's place."""
        sums = np.zeros((int(self.finest.max()) + 1, len(v)), v.dtype)
        sums[self.finest[self.rank]] = v
        return sums.ravel()

    def shrink(self, v: Vec, total: Vec, step: float) -> Vec:
        """The column, by the sums of all groups: its own entry apart, what it shares with others of the group."""
        row, groups = self._map(step)[self.rank], int(self.finest.max()) + 1
        others = np.zeros(groups, v.dtype)
        for group in range(groups):
            members = np.flatnonzero(self.finest == group)
            there = members[members != self.rank]
            others[group] = row[there[0]] if len(there) else 0.0
        mine = self.finest[self.rank]
        column: Vec = others @ total.reshape(groups, -1) + (row[self.rank] - others[mine]) * v
        return column.astype(v.dtype, copy=False)

    def _map(self, step: float) -> Mat:
        """(T, T) K (K + step I)^-1, symmetric."""
        whole: Mat = np.linalg.solve(self.relation + step * np.eye(len(self.relation)), self.relation)
        return whole


def parse_groups(text: str) -> list[list[list[int]]]:
    """Levels of groups of ranks; raises ConfigError for text that is not such, or groups that cross."""
    levels = [[_ranks(group, text) for group in level.split("|")] for level in text.split("/")] if text else []
    for place, level in enumerate(levels):
        ranks = [rank for group in level for rank in group]
        if len(ranks) != len(set(ranks)):
            raise ConfigError(f"groups {text!r} has a rank twice on a level. Put each in one group.")
        for wider in levels[:place]:
            for group in level:
                if any(set(group) & set(other) and not set(group) <= set(other) for other in wider):
                    raise ConfigError(f"groups {text!r} cross: a group lies within one of each level before. Split it.")
    return levels


def _ranks(text: str, whole: str) -> list[int]:
    """Ranks such as 0-3 or 1,4,6-7."""
    found = list[int]()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdigit() and (last.isdigit() if dash else True)) or (dash and int(last) < int(first)):
            raise ConfigError(f"groups {whole!r}: {text!r} names no ranks. Write groups such as 0-3|4-7/0-1|2-3|4-7.")
        found += range(int(first), int(last if dash else first) + 1)
    return found


def _members(level: list[list[int]], tasks: int) -> NDArray[np.int64]:
    """(T,) the number of each task's group on a level; those in none have one for themselves."""
    member = np.arange(len(level), len(level) + tasks)
    for number, group in enumerate(level):
        member[group] = number
    return member
