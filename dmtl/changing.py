"""A graph that changes from round to round: what a rank needs to know of each round, and whether it can agree.

The base graph is who may talk to whom, a time-varying piece says which of its links are in use in a round, and the
weights are those of the graph that is left. All of it is a pure function of configuration, seed and round, so every
rank works out its own row by itself. The consensus that static weights reach in one connected graph is reached here
if the links that are in use keep connecting all ranks over some number of rounds.

References: Jadbabaie, Lin and Morse, IEEE Transactions on Automatic Control, 2003; Xiao, Boyd and Lall, IPSN, 2005,
for Metropolis weights on changing graphs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from math import ceil, fsum, log
from types import MappingProxyType
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.errors import CompatibilityError, ConfigError
from dmtl.topology import hears
from dmtl.types import Mask, TimeVarying

__all__ = ["Changing", "Coverage", "Row", "coverage"]

Indices = NDArray[np.int64]
Matrix = NDArray[np.float64]
Rule = Callable[[Any, Indices, int], Any]
"""(own degree, the neighbours' degrees (k,), largest degree of the base graph) -> weights (k,) or one for all"""

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "max-degree": lambda own, near, most: 1.0 / (1.0 + most),
        "metropolis": lambda own, near, most: 1.0 / (1.0 + np.maximum(own, near)),
        "uniform": lambda own, near, most: 1.0 / (1.0 + own),
    }
)
"""Weights from the degrees of a round, each as in ``topology``; 'max-degree' keeps the base graph's largest degree."""


class Row(NamedTuple):
    """What one rank needs to know of one round."""

    weights: Matrix
    """(1 + k_in,) self first, then as ``View.sources``; 0 where nothing is said, the rest to itself, summing to one"""
    hears: Mask
    """(k_in,) which sources speak to it"""
    speaks: Mask
    """(k_out,) which targets it speaks to"""


class _Round(NamedTuple):
    number: int
    active: Mask
    """(m,) which links are in use"""
    degree: Indices
    """(n,) how many ranks each one hears"""


class Changing:
    """A base graph, the name of the weights, a time-varying piece and a seed.

    Weights on the links in use: 'metropolis' 1 / (1 + the larger degree of the round) and 'max-degree' 1 / (1 + D), D
    being the base graph's largest degree, both doubly stochastic in every round and for undirected graphs only;
    'uniform' 1 / (1 + the in-degree of the round). Other weights belong to one fixed graph and are refused.
    """

    __slots__ = (
        "_incoming",
        "_most",
        "_outgoing",
        "_recent",
        "_rule",
        "_sources",
        "directed",
        "links",
        "piece",
        "seed",
    )

    def __init__(self, graph: nx.Graph | nx.DiGraph, weights: str, piece: TimeVarying, seed: int = 0) -> None:
        """Raise ConfigError or CompatibilityError where the parts do not go together, as far as round 0 shows it."""
        heard = hears(graph)
        self.directed = bool(graph.is_directed())
        self._rule = _rule(weights, self.directed)
        self.links: Indices = np.argwhere(heard.T if self.directed else np.triu(heard))
        """(m, 2) each (source, target), in lexical order; once and with u < v where the graph is undirected"""
        self.links.flags.writeable = False
        self.piece = piece
        self.seed = seed
        number = np.zeros(heard.shape, np.int64)  # [target, source] -> which link
        source, target = self.links.T
        number[target, source] = np.arange(len(self.links))
        if not self.directed:
            number[source, target] = np.arange(len(self.links))
        self._sources = [np.flatnonzero(row) for row in heard]
        self._incoming = [numbers[row] for numbers, row in zip(number, heard, strict=True)]
        self._outgoing = [numbers[row] for numbers, row in zip(number.T, heard.T, strict=True)]
        self._most = int(heard.sum(axis=1).max())
        self._recent = self._draw(0)

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self._sources)

    def row(self, rank: int, round: int) -> Row:
        """What ``rank`` needs to know of ``round``."""
        _, active, degree = self._at(round)
        heard = active[self._incoming[rank]]
        weights = np.empty(1 + len(heard))
        weights[1:] = self._rule(degree[rank], degree[self._sources[rank]], self._most) * heard
        weights[0] = fsum([1.0, *(-weights[1:]).tolist()])  # rounded once: the exact sum of the row is nearest to 1
        return Row(weights, heard, active[self._outgoing[rank]])

    def active(self, round: int) -> Mask:
        """(m,) which of ``links`` are in use in a round, read-only."""
        return self._at(round).active

    def matrix(self, round: int) -> Matrix:
        """(n, n) all weights of a round, row i those of rank i; for analysis, since a rank needs its row only."""
        matrix = np.zeros((self.size, self.size))
        for rank, sources in enumerate(self._sources):
            matrix[rank, [rank, *sources]] = self.row(rank, round).weights
        return matrix

    def _at(self, round: int) -> _Round:
        """The round, kept until another is asked for: in a simulator all ranks ask for the same one."""
        recent = self._recent
        if recent.number != round:
            recent = self._recent = self._draw(round)
        return recent

    def _draw(self, round: int) -> _Round:
        active = self.piece.active(self.links, self.size, round, self.seed)
        active.flags.writeable = False
        source, target = self.links[active].T
        degree = np.bincount(target, minlength=self.size)
        return _Round(round, active, degree if self.directed else degree + np.bincount(source, minlength=self.size))


def _rule(weights: str, directed: bool) -> Rule:
    if weights not in RULES:
        raise CompatibilityError(
            f"the weights {weights!r} belong to one fixed graph, and this one is time-varying. "
            f"Use 'uniform'{'' if directed else ', or better metropolis'}."
        )
    if directed and weights != "uniform":
        raise ConfigError(f"the weights {weights!r} need an undirected graph, got a directed one. Use 'uniform'.")
    return RULES[weights]


class Coverage(NamedTuple):
    """Whether a changing graph can bring all ranks together, from a look at its first rounds."""

    rounds: int
    """how many were looked at"""
    connected_after: int | None
    """rounds until the links used so far connect all ranks, in both directions; None: not within those rounds"""
    rounds_to_1e6: int | None
    """rounds until any disagreement is a millionth of what it was: counted, or beyond the rounds looked at
    extrapolated from the rate in them; None: it does not shrink, or there are more than 200 ranks"""


def coverage(changing: Changing, rounds: int = 200) -> Coverage:
    """Look at the rounds 0 .. rounds - 1.

    A disagreement is what is left of x after its mean is taken away; after t rounds it has shrunk, from the worst
    start, by the 2-norm of (I - 11'/n) W(t-1) .. W(0). With doubly stochastic weights that is the second singular
    value of the product.
    """
    return Coverage(rounds, _connected_after(changing, rounds), _rounds_to_1e6(changing, rounds))


def _connected_after(changing: Changing, rounds: int) -> int | None:
    from scipy.sparse import coo_array  # here, because a run needs none of it
    from scipy.sparse.csgraph import connected_components

    first = np.full(len(changing.links), rounds)  # the round in which each link is in use for the first time
    for round in reversed(range(rounds)):
        first[changing.active(round)] = round

    def connected(after: int) -> bool:
        source, target = changing.links[first < after].T
        union = coo_array((np.ones(len(source)), (source, target)), shape=(changing.size, changing.size))
        return bool(connected_components(union, changing.directed, "strong", return_labels=False) == 1)

    after = bisect_left(range(rounds + 1), True, key=connected)
    return after if after <= rounds else None


def _rounds_to_1e6(changing: Changing, rounds: int) -> int | None:
    n = changing.size
    if n > 200:
        return None
    left = np.eye(n) - 1.0 / n
    for round in range(rounds):
        left = changing.matrix(round) @ left
        left -= left.mean(axis=0)
        # The Frobenius norm is cheaper and at most sqrt(n) times as large, so it says when to look closer.
        if np.linalg.norm(left) <= 1e-6 * n**0.5 and np.linalg.norm(left, 2) <= 1e-6:
            return round + 1
    shrunk = float(np.linalg.norm(left, 2))
    return ceil(rounds * log(1e-6) / log(shrunk)) if shrunk < 1.0 - 1e-12 else None
