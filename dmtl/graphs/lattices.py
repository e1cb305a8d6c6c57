"""Regular graphs: rings, lattices, cubes. ``cliques``, ``drawn`` and ``files`` have the others.

Each piece has one method, ``graph(ranks, seed)``, and gives a graph on the nodes 0 .. n-1, undirected unless it says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import isqrt, prod

import networkx as nx

from dmtl.errors import ConfigError
from dmtl.graphs.common import clique, from_edges, size

__all__ = [
    "Complete",
    "Exponential",
    "Grid",
    "Hypercube",
    "Path",
    "Ring",
    "Star",
    "Torus",
]


def _sides(name: str, shape: str) -> tuple[int, ...]:
    words = shape.split("x") if shape else []
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ConfigError(f"'{name}' has shape={shape!r}. A shape is the sides joined by x, each at least 1: 3x4.")
    return tuple(map(int, words))


def _fitted(name: str, shape: str, ranks: int | None) -> tuple[int, ...]:
    sides = _sides(name, shape)
    if not sides:
        n = size(name, ranks)
        short = next(side for side in range(isqrt(n), 0, -1) if n % side == 0)
        return short, n // short
    if ranks not in (None, prod(sides)):
        raise ConfigError(
            f"'{name}:{shape}' has {prod(sides)} nodes, got {ranks} ranks. Give --ranks {prod(sides)} or another shape."
        )
    return sides


def _lattice(sides: tuple[int, ...], wrap: bool) -> nx.Graph:
    number = {cell: i for i, cell in enumerate(product(*map(range, sides)))}
    edges = []
    for cell, axis in product(number, range(len(sides))):
        ahead = cell[axis] + 1
        if wrap or ahead < sides[axis]:
            edges.append((number[cell], number[(*cell[:axis], ahead % sides[axis], *cell[axis + 1 :])]))
    return from_edges(len(number), edges)


@dataclass(frozen=True, slots=True)
class Ring:
    """A cycle: i is linked to i + 1 mod n. Two ranks share one link, one rank has none.

    The slowest of the regular graphs: mu_2 = 2 - 2 cos(2 pi / n).
    Reference: Xiao and Boyd, Systems & Control Letters, 2004.
    """

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the ring on ``ranks`` nodes."""
        n = size("ring", ranks)
        return from_edges(n, ((i, (i + 1) % n) for i in range(n)))


@dataclass(frozen=True, slots=True)
class Path:
    """A line: i is linked to i + 1. Every inner rank is a bridge, so one liar cuts it.

    mu_2 = 2 - 2 cos(pi / n). Reference: Fiedler, Czechoslovak Mathematical Journal, 1973.
    """

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the path on ``ranks`` nodes."""
        n = size("path", ranks)
        return from_edges(n, ((i, i + 1) for i in range(n - 1)))


@dataclass(frozen=True, slots=True)
class Star:
    """Everybody is linked to the hub, rank 0, and to nobody else.

    A master in disguise, for comparison: if rank 0 lies or dies, no two others can talk.
    mu_2 = 1. Reference: Fiedler, Czechoslovak Mathematical Journal, 1973.
    """

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the star on ``ranks`` nodes, its hub being 0."""
        n = size("star", ranks)
        return from_edges(n, ((0, i) for i in range(1, n)))


@dataclass(frozen=True, slots=True)
class Complete:
    """Everybody is linked to everybody: mu_2 = n, the exact average after one round.

    Reference: Fiedler, Czechoslovak Mathematical Journal, 1973.
    """

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the complete graph on ``ranks`` nodes."""
        n = size("complete", ranks)
        return from_edges(n, clique(0, n))


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice with borders, in any number of dimensions; ranks are counted along the last side first.

    Ours: without a shape it is the most square rectangle, which for a prime number of ranks is a path.
    Reference: Boyd, Ghosh, Prabhakar and Shah, IEEE Transactions on Information Theory, 2006.
    """

    shape: str = ""
    """sides joined by x, such as 3x4; empty: the most square rectangle of that many ranks"""

    def __post_init__(self) -> None:
        _sides("grid", self.shape)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the grid; ``ranks`` None takes the shape's own size."""
        return _lattice(_fitted("grid", self.shape, ranks), wrap=False)


@dataclass(frozen=True, slots=True)
class Torus:
    """A lattice whose sides close into rings, in any number of dimensions; a side of 2 closes by its one link.

    Ours: without a shape it is the most square rectangle, which for a prime number of ranks is a ring.
    Reference: Boyd, Ghosh, Prabhakar and Shah, IEEE Transactions on Information Theory, 2006.
    """

    shape: str = ""
    """sides joined by x, such as 3x4; empty: the most square rectangle of that many ranks"""

    def __post_init__(self) -> None:
        _sides("torus", self.shape)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the torus; ``ranks`` None takes the shape's own size."""
        return _lattice(_fitted("torus", self.shape, ranks), wrap=True)


@dataclass(frozen=True, slots=True)
class Hypercube:
    """Ranks whose binary numbers differ in one digit are linked: n = 2^j, degree j, mu_2 = 2.

    Reference: Harary, Hayes and Wu, Computers & Mathematics with Applications, 1988.
    """

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the hypercube on ``ranks`` nodes, a power of two."""
        n = size("hypercube", ranks)
        low = 1 << (n.bit_length() - 1)
        if n != low:
            raise ConfigError(f"'hypercube' needs a power of two, got {n} ranks. Use {low} or {2 * low}.")
        return from_edges(n, ((i, i ^ bit) for i in range(n) for bit in _powers(n)))


@dataclass(frozen=True, slots=True)
class Exponential:
    """The static exponential graph: i is linked to i + 2^j and i - 2^j mod n for all 2^j < n.

    About 2 log2(n) neighbours each and a spectral gap of order 1 / log(n).
    Ours: links go both ways unless ``directed``; the paper's go to i + 2^j only.
    Reference: Ying, Yuan, Chen, Hu, Pan and Yin, NeurIPS, 2021.
    """

    directed: bool = False
    """links go to i + 2^j only, as the time-varying one-peer-exponential needs them"""

    def graph(self, ranks: int | None, seed: int) -> nx.Graph | nx.DiGraph:
        """Give the exponential graph on ``ranks`` nodes."""
        n = size("exponential", ranks)
        return from_edges(n, ((i, (i + hop) % n) for i in range(n) for hop in _powers(n)), self.directed)


def _powers(n: int) -> list[int]:
    return [1 << j for j in range((n - 1).bit_length())]
