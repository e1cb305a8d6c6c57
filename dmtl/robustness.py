"""How far values spread in a graph whose ranks distrust some of what they hear: r-robustness and connectivity.

A set of ranks is r-reachable if one of its members hears r or more ranks outside it. A graph is r-robust if of any two
disjoint sets of ranks, neither of them empty, one at least is r-reachable. A rule that disregards up to b neighbours
that differ from all others leaves two sets as they are for ever of which no member hears more than b outsiders; so
agreement needs (b + 1)-robustness, liars or not. (r, s)-robustness asks that in the two sets together at least s
members hear r outsiders each, unless all members of one of them do.

To decide it is coNP-hard. What is ours: the smallest reach among all subsets of each set is found for all sets at once
by a minimum over subsets, bit after bit, which takes n 2^n steps where trying all pairs takes 3^n. A larger graph gets
bounds: from below mu_2 / 2, which the members of the smaller of two sets hear from outside on average or more; from
above what some pairs of sets show.

LeBlanc, Zhang, Koutsoukos and Sundaram, "Resilient asymptotic consensus in robust networks", IEEE Journal on Selected
Areas in Communications 31, 2013; Shahrivar, Pirani and Sundaram, "Robustness and algebraic connectivity of random
interdependent networks", arXiv:1508.03650, 2015, for mu_2 as a bound.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import networkx as nx
import numpy as np
from networkx.algorithms.connectivity import build_auxiliary_node_connectivity, local_node_connectivity
from networkx.algorithms.flow import build_residual_network
from numpy.typing import NDArray

__all__ = ["EXACT", "Bounds", "algebraic_connectivity", "connectivity", "joint_robustness", "margin", "robustness"]

EXACT = 20
"""ranks up to which all sets are tried"""
_NONE = 10_000
"""more outsiders than anybody hears"""

Links = NDArray[np.bool_]
"""(n, n) whether rank i hears rank j, as ``topology.hears`` gives it"""
Counts = NDArray[np.int64]
Reach = NDArray[np.int16]
"""(2^n,) a number for each set of ranks; rank i is in set s if bit i of s is set"""


class Bounds(NamedTuple):
    """What is known of a number."""

    least: int
    most: int

    @property
    def exact(self) -> bool:
        """Whether that is the number itself."""
        return self.least == self.most


def robustness(links: Links) -> Bounds:
    """The largest r for which the graph is r-robust; 1 for a single rank, by convention."""
    return margin(links, np.zeros(len(links), np.int64)) if len(links) > 1 else Bounds(1, 1)


def margin(links: Links, need: Counts) -> Bounds:
    """By how many outsiders more than it needs the best placed rank of two disjoint sets hears, in the worst two sets.

    ``need`` (n,) is the number of outsiders that move a rank. From 0 on no two sets can be stuck; without need it is
    the robustness. Needs two ranks.
    """
    need = np.minimum(need, _NONE // 2)
    if len(links) <= EXACT:
        worst = _worst(_reach(links, need))
        return Bounds(worst, worst)
    most = min(_of_sweep(links, need), _of_singles(links, need))
    return Bounds(min(most, _of_cuts(links) - int(need.max())), most)


def joint_robustness(links: Links, r: int) -> int | None:
    """The largest s for which the graph is (r, s)-robust, at most n, 0 if it is not r-robust; None if n is too large.

    The liars being f in all and saying the same to everybody, W-MSR reaches agreement if and only if the graph is
    (f + 1, f + 1)-robust.
    """
    n = len(links)
    if n > EXACT:
        return None
    if n < 2:
        return n
    count, size = np.zeros(1 << n, np.int16), np.zeros(1 << n, np.int16)
    for rank in range(n):
        _with(count, rank)[...] += _outsiders(links, rank) >= r
        _with(size, rank)[...] += 1
    count[count == size] = _NONE  # no such set stands in the way
    count[0] = _NONE
    return min(n, int((count[1:-1] + _least_of_subsets(count)[-2:0:-1]).min()))


def connectivity(links: Links, lost: int = 0) -> int | None:
    """Fewest ranks whose loss cuts the rest in two, after the worst loss of ``lost`` ranks; None above 200 ranks.

    The worst loss takes members of a smallest cut, so each costs one.
    """
    if len(links) > 200:
        return None
    if len(links) < 2:
        return 0
    if np.array_equal(links, links.T):
        return max(int(nx.node_connectivity(nx.from_numpy_array(links))) - lost, 0)
    return max(_directed_connectivity(links) - lost, 0)


def _directed_connectivity(links: Links) -> int:
    """Fewest ranks whose loss leaves some rank that another does not reach.

    networkx looks from one rank to the others and not back, which finds too many. Of more ranks than that number one is
    in no smallest cut, and the paths from and to it tell: Even, "An algorithm for determining whether the connectivity
    of a graph is at least k", SIAM J. Computing 4, 1975.
    """
    graph = nx.from_numpy_array(links.T, create_using=nx.DiGraph)
    ways, fewest = build_auxiliary_node_connectivity(graph), len(links) - 1
    residual, rank = build_residual_network(ways, "capacity"), 0
    while rank <= fewest:
        for other in range(len(links)):
            for one, two in ((rank, other), (other, rank)):
                if one != two and not graph.has_edge(one, two):
                    found = local_node_connectivity(graph, one, two, auxiliary=ways, residual=residual, cutoff=fewest)
                    fewest = min(fewest, int(found))
        rank += 1
    return fewest


def algebraic_connectivity(links: Links) -> float:
    """mu_2, the second smallest eigenvalue of the Laplacian with unit weights, directions forgotten; 0 for one rank."""
    if len(links) < 2:
        return 0.0
    return round(float(np.linalg.eigvalsh(_laplacian(links))[1]), 9) + 0.0  # so that rounding decides no bound


def _laplacian(links: Links) -> NDArray[np.float64]:
    either = (links | links.T).astype(np.float64)
    return np.diag(either.sum(axis=1)) - either


def _with(table: Reach, rank: int) -> Reach:
    """A view of the entries of those sets that contain ``rank``."""
    return table.reshape(-1, 2, 1 << rank)[:, 1]


def _outsiders(links: Links, rank: int) -> NDArray[np.uint8]:
    """How many ranks ``rank`` hears from outside each set that contains it, shaped as ``_with`` shapes it."""
    n = len(links)
    sets = np.arange(1 << n, dtype=np.uint32).reshape(-1, 2, 1 << rank)[:, 1]
    heard = np.uint32(sum(1 << int(other) for other in np.flatnonzero(links[rank])))
    count: NDArray[np.uint8] = np.bitwise_count(heard & ~sets)
    return count


def _reach(links: Links, need: Counts) -> Reach:
    """For each set the largest margin of a member; the empty set has none."""
    n = len(links)
    reach = np.full(1 << n, -_NONE, np.int16)
    for rank in range(n):
        inside = _with(reach, rank)
        np.maximum(inside, _outsiders(links, rank) - np.int16(need[rank]), out=inside)
    reach[0] = _NONE
    return reach


def _worst(reach: Reach) -> int:
    """The least, over all sets and all subsets of the rest, of the larger of both numbers."""
    # the complement of set s has the number 2^n - 1 - s
    return int(np.maximum(reach[1:-1], _least_of_subsets(reach)[-2:0:-1]).min())


def _least_of_subsets(table: Reach) -> Reach:
    """For each set the least entry among its subsets."""
    least = table.copy()
    for rank in range(len(table).bit_length() - 1):
        halves = least.reshape(-1, 2, 1 << rank)
        np.minimum(halves[:, 1], halves[:, 0], out=halves[:, 1])
    return least


def _of_cuts(links: Links) -> int:
    """A lower bound on the robustness.

    Of two disjoint sets one has at most n / 2 members, and its cut has mu_2 |S| (n - |S|) / n links or more: so many
    outsiders its members hear together. Of a directed graph only this is used: it is 1-robust if all can be reached
    from one rank.
    """
    n = len(links)
    if np.array_equal(links, links.T):
        return ceil(algebraic_connectivity(links) * ((n + 1) // 2) / n - 1e-9)
    graph = nx.from_numpy_array(links.T, create_using=nx.DiGraph)
    condensed = nx.condensation(graph)
    return int(sum(degree == 0 for _, degree in condensed.in_degree()) == 1)


def _of_sweep(links: Links, need: Counts) -> int:
    """An upper bound on the margin: the ranks in the order of the Fiedler vector, cut in two at each place."""
    order = np.argsort(np.linalg.eigh(_laplacian(links))[1][:, 1], kind="stable")
    heard, needed = links[np.ix_(order, order)], need[order, None]
    before = np.cumsum(heard, axis=1, dtype=np.int64)[:, :-1]  # [i, t] how many of the first t + 1 ranks i hears
    after = heard.sum(axis=1, keepdims=True) - before
    first = np.arange(len(links))[:, None] <= np.arange(len(links) - 1)
    reach = np.where(first, after - needed, -_NONE).max(axis=0), np.where(first, -_NONE, before - needed).max(axis=0)
    return int(np.maximum(*reach).min())


def _of_singles(links: Links, need: Counts) -> int:
    """An upper bound on the margin: the two ranks that hear the fewest, each alone, or one of them against the rest."""
    alone = links.sum(axis=1) - need
    beside = links - need[:, None]
    np.fill_diagonal(beside, -_NONE)
    return int(min(np.sort(alone)[1], np.maximum(alone, beside.max(axis=0)).min()))
