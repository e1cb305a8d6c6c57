"""Drawn graphs. The same seed gives the same graph on every rank; a draw that falls apart is refused, not redrawn.

Redrawing until it is connected would silently sample from another law than the one that was named.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import networkx as nx

from dmtl.errors import ConfigError
from dmtl.graphs.common import check_connected, from_edges, size
from dmtl.rng import Purpose, stream

__all__ = ["BarabasiAlbert", "ErdosRenyi", "RandomRegular", "SmallWorld"]


def _draw_seed(own: int | None, seed: int) -> int:
    chosen = seed if own is None else own
    return int(stream(chosen, Purpose.GRAPH).integers(2**32))


def _check_probability(name: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ConfigError(f"'{name}' has p={p}. p is a probability: give a number from 0 to 1.")


def _check_seed(name: str, seed: int | None) -> None:
    if seed is not None and seed < 0:
        raise ConfigError(f"'{name}' has seed={seed}. A seed is at least 0: give another or leave it out.")


def _check_least(name: str, field: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"'{name}' has {field}={value}. {field} is a number of links, at least 1.")


def _check_room(name: str, field: str, value: int, n: int) -> None:
    if value >= n:
        raise ConfigError(
            f"'{name}' with {field}={value} needs at least {value + 1} ranks, got {n}. "
            f"Lower {field} or give more ranks."
        )


@dataclass(frozen=True, slots=True)
class ErdosRenyi:
    """Every pair is linked with probability p, independently.

    Connected with probability near 1 once p is well above log(n) / n; a draw in several pieces is refused.
    Reference: Gilbert, Annals of Mathematical Statistics, 1959; Erdős and Rényi, Publicationes Mathematicae, 1959.
    """

    p: float
    """probability of a link, 0 .. 1"""
    seed: int | None = None
    """seed of this graph alone; None: the experiment's"""

    def __post_init__(self) -> None:
        _check_probability("erdos-renyi", self.p)
        _check_seed("erdos-renyi", self.seed)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Draw the graph on ``ranks`` nodes."""
        n = size("erdos-renyi", ranks)
        drawn = nx.gnp_random_graph(n, self.p, seed=_draw_seed(self.seed, seed))
        graph = from_edges(n, drawn.edges)
        fix = f"Raise p well above log(n)/n = {log(n) / n:.3g}, or give another seed."
        check_connected(graph, f"'erdos-renyi' with p={self.p} and {n} ranks", fix)
        return graph


@dataclass(frozen=True, slots=True)
class RandomRegular:
    """A graph in which every rank has d neighbours, asymptotically uniform among all such graphs.

    n d is even and d < n. From d = 3 on it is nearly always connected and an expander; a draw in pieces is refused.
    Reference: Steger and Wormald, Combinatorics, Probability and Computing, 1999; Friedman, Memoirs of the AMS, 2008.
    """

    d: int
    """neighbours of each rank, at least 1"""
    seed: int | None = None
    """seed of this graph alone; None: the experiment's"""

    def __post_init__(self) -> None:
        _check_least("random-regular", "d", self.d)
        _check_seed("random-regular", self.seed)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Draw the graph on ``ranks`` nodes."""
        n = size("random-regular", ranks)
        _check_room("random-regular", "d", self.d, n)
        if n * self.d % 2:
            raise ConfigError(f"'random-regular' with d={self.d} needs an even number of ranks, got {n}. Use {n + 1}.")
        drawn = nx.random_regular_graph(self.d, n, seed=_draw_seed(self.seed, seed))
        graph = from_edges(n, drawn.edges)
        fix = "Use d of at least 3, or give another seed."
        check_connected(graph, f"'random-regular' with d={self.d} and {n} ranks", fix)
        return graph


@dataclass(frozen=True, slots=True)
class SmallWorld:
    """A ring in which each rank knows its k nearest; then each link's far end is moved with probability p.

    k is even and below n. p = 0 is the ring lattice, p = 1 nearly random; a draw in several pieces is refused.
    Reference: Watts and Strogatz, Nature, 1998.
    """

    k: int = 4
    """neighbours before moving, half of them on each side; even"""
    p: float = 0.2
    """probability that a link is moved, 0 .. 1"""
    seed: int | None = None
    """seed of this graph alone; None: the experiment's"""

    def __post_init__(self) -> None:
        _check_probability("small-world", self.p)
        _check_seed("small-world", self.seed)
        if self.k < 2 or self.k % 2:
            raise ConfigError(f"'small-world' has k={self.k}. k is an even number of neighbours, at least 2.")

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Draw the graph on ``ranks`` nodes."""
        n = size("small-world", ranks)
        _check_room("small-world", "k", self.k, n)
        drawn = nx.watts_strogatz_graph(n, self.k, self.p, seed=_draw_seed(self.seed, seed))
        graph = from_edges(n, drawn.edges)
        fix = "Raise k, lower p, or give another seed."
        check_connected(graph, f"'small-world' with k={self.k}, p={self.p} and {n} ranks", fix)
        return graph


@dataclass(frozen=True, slots=True)
class BarabasiAlbert:
    """Ranks come one by one and each links to m earlier ones, drawn in proportion to their degree.

    It starts from a star on m + 1 ranks, so it is always connected; a few ranks become hubs.
    Reference: Barabási and Albert, Science, 1999.
    """

    m: int = 2
    """links that each new rank brings, at least 1"""
    seed: int | None = None
    """seed of this graph alone; None: the experiment's"""

    def __post_init__(self) -> None:
        _check_least("barabasi-albert", "m", self.m)
        _check_seed("barabasi-albert", self.seed)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Draw the graph on ``ranks`` nodes."""
        n = size("barabasi-albert", ranks)
        _check_room("barabasi-albert", "m", self.m, n)
        return from_edges(n, nx.barabasi_albert_graph(n, self.m, seed=_draw_seed(self.seed, seed)).edges)
