"""Places in a square, and the graph of those that are near each other."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.graphs.common import check_connected, from_edges, size
from dmtl.rng import Purpose, stream

__all__ = ["Near", "place"]


def place(rank: int, side: float, seed: int) -> NDArray[np.float64]:
    """(2,) where a rank is: uniform in [0, side]^2, the same for the graph and for data that have places."""
    return stream(seed, Purpose.GRAPH, rank).uniform(0.0, side, 2)


@dataclass(frozen=True, slots=True)
class Near:
    """Ranks have random places in a square, and each hears at most ``most`` of those within ``radius``.

    Places are uniform in [0, side]^2, drawn by the experiment's seed: those of the data 'localisation'. A rank that has
    more ranks near it hears ``most`` of them, drawn once, which need not hear it: the graph is then directed, and asks
    for --weights uniform. Every rank draws for itself, so a larger network has the same places first.
    What is ours: a draw in several pieces is refused.

    Reference: Gilbert, Random plane networks, Journal of the SIAM, 1961; with so many links at most: Li, Abbas and
    Koutsoukos, Byzantine resilient distributed multi-task learning, NeurIPS, 2020.
    """

    radius: float = 1.0
    """how far a rank hears, above 0"""
    most: int = 0
    """most ranks that a rank hears; 0: all within the radius, and the graph is undirected"""
    side: float = 3.0
    """side of the square, above 0"""

    def __post_init__(self) -> None:
        for name in ("radius", "side"):
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigError(f"'near' has {name}={getattr(self, name)}. {name} is a length, above 0.")
        if self.most < 0:
            raise ConfigError(f"'near' has most={self.most}. most is a number of links, at least 1, or 0 for all.")

    def graph(self, ranks: int | None, seed: int) -> nx.Graph | nx.DiGraph:
        """Draw the places of ``ranks`` nodes and link those that are near."""
        n = size("near", ranks)
        places = np.array([place(rank, self.side, seed) for rank in range(n)])
        apart = np.linalg.norm(places[:, None] - places, axis=2)
        heard = [self._heard(rank, np.flatnonzero(row <= self.radius), seed) for rank, row in enumerate(apart)]
        links = ((int(source), rank) for rank, sources in enumerate(heard) for source in sources)
        graph = from_edges(n, links, directed=self.most > 0)
        fix = "Raise the radius or most, or give another seed."
        check_connected(graph, f"'near' with radius={self.radius}, most={self.most} and {n} ranks", fix)
        return graph

    def _heard(self, rank: int, near: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
        """Those of the ranks ``near`` that a rank hears."""
        others: NDArray[np.intp] = near[near != rank]
        if not 0 < self.most < len(others):
            return others
        kept: NDArray[np.intp] = stream(seed, Purpose.GRAPH, rank, 1).choice(others, self.most, replace=False)
        return kept
