"""Base graphs and a piece of every time-varying kind that fits them, for tests."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np

from dmtl.changing import Changing
from dmtl.graphs.lattices import Exponential
from dmtl.registry import find, names
from dmtl.topology import hears

REQUIRED = {"activation": {"p": 0.3}}

NAMES = names("time-varying")
UNDIRECTED = [name for name in NAMES if name != "one-peer-exponential"]
DIRECTED = NAMES


def base(directed: bool = False) -> nx.Graph | nx.DiGraph:
    """Ten ranks with degrees that differ, or the directed exponential graph on as many."""
    return Exponential(directed=True).graph(10, 0) if directed else nx.barabasi_albert_graph(10, 2, seed=4)


def links_of(graph: nx.Graph | nx.DiGraph) -> np.ndarray:
    links = np.argwhere(hears(graph).T if graph.is_directed() else np.triu(hears(graph)))
    links.flags.writeable = False
    return links


def made(name: str, links: np.ndarray, folder: Path):
    """A piece with settings; a schedule has a few links of ``links`` in each of five rounds, and all in some."""
    if name != "file":
        return find("time-varying", name)(**REQUIRED.get(name, {}))
    part = np.random.default_rng(5).integers(5, size=len(links))
    lines = [f"{t}: " + " ".join(f"{u}-{v}" for u, v in links[part == t]) for t in range(5)]
    path = folder / f"schedule-{abs(hash(links.tobytes()))}.txt"
    path.write_text("\n".join(lines), "utf-8")
    return find("time-varying", name)(str(path))


def changing(name: str, weights: str, directed: bool, folder: Path, seed: int = 3) -> Changing:
    graph = base(directed)
    return Changing(graph, weights, made(name, links_of(graph), folder), seed)
