"""What all graph makers share: sizes, simple graphs from links, cliques, and the refusal of graphs in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import networkx as nx

from dmtl.errors import ConfigError

__all__ = ["Edges", "check_connected", "clique", "from_edges", "size"]

Edges = Iterable[tuple[int, int]]


def size(name: str, ranks: int | None) -> int:
    """Return the number of ranks of a piece that has no size of its own, or refuse."""
    if ranks is None:
        raise ConfigError(f"'{name}' has no size of its own: give --ranks N.")
    if ranks < 1:
        raise ConfigError(f"'{name}' got {ranks} ranks. It needs at least 1: give a larger --ranks N.")
    return ranks


def from_edges(n: int, edges: Edges, directed: bool = False) -> nx.Graph | nx.DiGraph:
    """Make the simple graph on 0 .. n-1; a link to oneself is left out, a link named twice is one link."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((u, v) for u, v in edges if u != v)
    return graph


def check_connected(graph: nx.Graph | nx.DiGraph, where: str, fix: str = "Add edges, or raise p.") -> None:
    """Refuse a graph in which some rank cannot be heard by some other; ``where`` opens the sentence."""
    find = nx.strongly_connected_components if graph.is_directed() else nx.connected_components
    parts = sorted(sorted(part) for part in find(graph))
    if len(parts) > 1:
        kind = "strongly connected" if graph.is_directed() else "connected"
        shown = ", ".join(map(_abbreviated, parts[:4])) + (" and more" if len(parts) > 4 else "")
        raise ConfigError(f"{where} is not {kind}: it falls into {len(parts)} components, {shown}. {fix}")


def _abbreviated(part: list[int]) -> str:
    shown = part if len(part) <= 6 else [*part[:4], "...", part[-1]]
    return "{" + ", ".join(map(str, shown)) + "}"


def clique(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield all links among the ranks start .. stop - 1."""
    return combinations(range(start, stop), 2)
