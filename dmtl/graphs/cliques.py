"""Cliques that hardly know each other: the graphs on which screens are put to the test.

Inside a clique all is well, so a liar's best place is at the few links in between; a screen that drops
as many neighbours as there are links to the other side cuts the network in two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import networkx as nx

from dmtl.errors import ConfigError
from dmtl.graphs.common import clique, from_edges, size

__all__ = ["Barbell", "Dumbbell", "Octopus", "TwoCastles"]


def _at_least(name: str, field: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"'{name}' has {field}={value}. {field} is a number of at least {least}: raise it.")


def _at_most(name: str, field: str, value: int, most: int) -> None:
    if value > most:
        raise ConfigError(
            f"'{name}' has {field}={value}, and each of its two cliques has {most} ranks. "
            f"Lower {field} to {most} or give more ranks."
        )


def _parts(name: str, ranks: int | None, parts: int, extra: int = 0) -> int:
    """Size of each of so many equal parts, ``extra`` ranks being left over for something else."""
    n = size(name, ranks)
    each, over = divmod(n - extra, parts)
    if over or each < 1:
        low, high = (extra + parts * max(count, 1) for count in (each, each + 1))
        use = f"{low} or {high}" if low != high else f"{low}"
        rest = f" and {extra} more" if extra else ""
        raise ConfigError(f"'{name}' needs {parts} equal parts{rest}, got {n} ranks. Use {use} ranks.")
    return each


def _two_cliques(h: int, between: int = 0) -> list[tuple[int, int]]:
    return [*clique(0, h), *clique(h + between, 2 * h + between)]


@dataclass(frozen=True, slots=True)
class Dumbbell:
    """Two cliques of n/2 and a few bridges: bridge j links rank j to rank n/2 + j.

    The standard bad case for clipping and for trimming: the ranks at a bridge see one or no honest stranger.
    Ours: no two bridges share a rank. Reference: He, Karimireddy and Jaggi, arXiv 2202.01545, 2022.
    """

    bridges: int = 1
    """links between the two cliques, 1 .. n/2"""

    def __post_init__(self) -> None:
        _at_least("dumbbell", "bridges", self.bridges, 1)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the dumbbell on an even number of nodes."""
        h = _parts("dumbbell", ranks, 2)
        _at_most("dumbbell", "bridges", self.bridges, h)
        return from_edges(2 * h, [*_two_cliques(h), *((j, h + j) for j in range(self.bridges))])


@dataclass(frozen=True, slots=True)
class TwoCastles:
    """Two cliques of n/2 in which everybody has as many links to the other side.

    Rank i < n/2 is linked to n/2 + (i + j mod n/2) for j = 0 .. across - 1. The vector that is 1 on one side and -1
    on the other has the Laplacian eigenvalue 2 across, which is mu_2 unless across is close to n/2.
    A screen that drops as many neighbours as ``across`` may never hear the other side.
    Ours: any number across; the papers' castles lack one link each, or are told by their spectrum.
    Reference: Wu, Chen and Ling, IEEE Transactions on Signal Processing, 2023; Gaucher et al., ICML, 2025.
    """

    across: int | None = None
    """links of each rank to the other side, 1 .. n/2; None: all but one, n/2 - 1"""

    def __post_init__(self) -> None:
        _at_least("two-castles", "across", 1 if self.across is None else self.across, 1)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the two castles on an even number of nodes."""
        h = _parts("two-castles", ranks, 2)
        across = max(h - 1, 1) if self.across is None else self.across
        _at_most("two-castles", "across", across, h)
        links = ((i, h + (i + j) % h) for i, j in product(range(h), range(across)))
        return from_edges(2 * h, [*_two_cliques(h), *links])


@dataclass(frozen=True, slots=True)
class Octopus:
    """A head, which is a clique, and hands, each of which holds on to one rank of the head only.

    The head is the ranks 0 .. h - 1 with h = n / (1 + hands); rank r >= h is a hand and is linked to r mod h alone,
    so that each rank of the head has as many hands. A hand whose one neighbour lies is lost to the others.
    Ours: more than one hand per rank of the head.
    Reference: Wu, Chen and Ling, IEEE Transactions on Signal Processing, 2023.
    """

    hands: int = 1
    """hands of each rank of the head, at least 1"""

    def __post_init__(self) -> None:
        _at_least("octopus", "hands", self.hands, 1)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the octopus; the number of nodes is a multiple of 1 + hands."""
        h = _parts("octopus", ranks, 1 + self.hands)
        n = h * (1 + self.hands)
        return from_edges(n, [*clique(0, h), *((r % h, r) for r in range(h, n))])


@dataclass(frozen=True, slots=True)
class Barbell:
    """Two cliques of (n - path)/2 joined by a path of ``path`` further ranks, counted from one clique to the other.

    The graph on which a random walk, and with it gossip, is slowest: the gap is of order 1 / n^3 for path = n/3.
    Reference: Aldous and Fill, Reversible Markov Chains and Random Walks on Graphs, 2002, chapter 5.
    """

    path: int = 0
    """ranks between the two cliques; 0: a single link joins them"""

    def __post_init__(self) -> None:
        _at_least("barbell", "path", self.path, 0)

    def graph(self, ranks: int | None, seed: int) -> nx.Graph:
        """Give the barbell; n - path is even."""
        h = _parts("barbell", ranks, 2, self.path)
        between = pairwise(range(h - 1, h + self.path + 1))
        return from_edges(2 * h + self.path, [*_two_cliques(h, self.path), *between])
