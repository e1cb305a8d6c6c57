"""Graphs from files: GraphML, GML, edge list, adjacency list, node-link JSON; among them those that come with dmtl."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any

import networkx as nx

from dmtl.errors import ConfigError, unknown

__all__ = ["File", "bundled", "bundled_sources"]


@dataclass(frozen=True, slots=True)
class File:
    """A graph from a file, or a bundled one by its bare name, such as file:abilene.

    The suffix tells the format: .graphml, .gml, .edges .edgelist .txt (two nodes a line and perhaps a weight),
    .adj .adjlist (a node and its neighbours a line), .json (node-link). Lists are undirected.
    Ranks follow the labels if all are whole numbers, else the order in the file; node attribute "label" keeps the name.
    A link to oneself is dropped, and of links named twice the first stays. A link's "weight" couples two tasks and
    is finite and above 0. Reference: Himsolt, GML, 1997; Brandes et al., GraphML progress report, Graph Drawing, 2001.
    """

    path: str
    """path of the file, or a bundled graph's name"""

    def graph(self, ranks: int | None, seed: int) -> nx.Graph | nx.DiGraph:
        """Read the graph; ``ranks``, if given, must be its size."""
        graph = _numbered(_read(_locate(self.path)), self.path)
        n = len(graph)
        if ranks not in (None, n):
            raise ConfigError(
                f"'file:{self.path}' has {n} nodes, got {ranks} ranks. Give --ranks {n} or another graph."
            )
        return graph


def bundled() -> dict[str, pathlib.Path]:
    """Name and path of every graph that comes with dmtl."""
    here = pathlib.Path(__file__).parent.parent
    inside = here / "topologies"  # a wheel has the folder inside the package, a source checkout beside it
    folder = inside if inside.is_dir() else here.parent / "topologies"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in found if path.suffix in READERS}


def bundled_sources() -> dict[str, str]:
    """Name of every bundled graph and the sentence that says where it is from."""
    return {name: str(_read(path).graph.get("source", "")) for name, path in bundled().items()}


def _locate(path: str) -> pathlib.Path:
    place = pathlib.Path(path)
    if place.suffix in READERS and place.is_file():
        return place
    if not place.suffix and place.name == path and not place.is_file():
        files = bundled()
        if path not in files:
            raise unknown("bundled graph", path, files)
        return files[path]
    allowed = ", ".join(READERS)
    if place.suffix not in READERS:
        raise ConfigError(f"'file:{path}' has the suffix '{place.suffix}'. Allowed: {allowed}. Rename or convert it.")
    raise ConfigError(f"'file:{path}' does not exist or is no file. Give the path of a file ending in {allowed}.")


def _read(path: pathlib.Path) -> Any:
    try:
        graph = READERS[path.suffix](path.read_text(encoding="utf-8"))
    except Exception as error:  # six parsers, and each has its own ways to stumble
        raise ConfigError(
            f"'file:{path}' cannot be read as {path.suffix}: {error or type(error).__name__}. Mend or convert the file."
        ) from error
    if not len(graph):
        raise ConfigError(f"'file:{path}' has no nodes. A graph has at least one: mend the file.")
    return graph


def _numbered(raw: Any, path: str) -> nx.Graph | nx.DiGraph:
    """The simple graph on 0 .. n-1, with nothing kept but labels, weights and the source."""
    graph = nx.DiGraph() if raw.is_directed() else nx.Graph()
    graph.graph["source"] = str(raw.graph.get("source", ""))
    labels = _ordered({node: str(data.get("label", node)) for node, data in raw.nodes(data=True)})
    rank = {node: i for i, node in enumerate(labels)}
    graph.add_nodes_from((rank[node], {"label": label}) for node, label in labels.items())
    for u, v, data in raw.edges(data=True):
        if rank[u] != rank[v] and not graph.has_edge(rank[u], rank[v]):
            graph.add_edge(rank[u], rank[v], **_weight(data, f"'file:{path}': the link {u} - {v}"))
    return graph


def _ordered(labels: dict[Any, str]) -> dict[Any, str]:
    whole = all(re.fullmatch(r"-?\d+", label) for label in labels.values())
    return dict(sorted(labels.items(), key=lambda item: int(item[1]))) if whole else labels


def _weight(data: Mapping[str, Any], where: str) -> dict[str, float]:
    if "weight" not in data:
        return {}
    try:
        weight = float(data["weight"])
    except (TypeError, ValueError):
        weight = float("nan")
    if not (isfinite(weight) and weight > 0):
        raise ConfigError(f"{where} has weight {data['weight']!r}. A weight is a finite number above 0: mend the file.")
    return {"weight": weight}


def _lines(text: str) -> list[str]:
    return [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]


def _noted(graph: Any, text: str) -> Any:
    """A list has no attributes, so its source stands in a comment: ``# source: ...``."""
    note = re.search(r"^# source: *(.+)$", text, re.MULTILINE)
    if note:
        graph.graph["source"] = note[1].strip()
    return graph


def _edge_list(text: str) -> Any:
    if "{" in text:  # networkx writes attributes as a dictionary unless told not to
        return _noted(nx.parse_edgelist(_lines(text)), text)
    graph = nx.Graph()
    for line in _lines(text):
        words = line.replace(",", " ").split()
        if len(words) not in (2, 3):
            raise ValueError(f"line {line!r} is not two nodes and perhaps a weight")
        if not graph.has_edge(*words[:2]):
            graph.add_edge(*words[:2], **({"weight": words[2]} if words[2:] else {}))
    return _noted(graph, text)


def _adjacency_list(text: str) -> Any:
    return _noted(nx.parse_adjlist(_lines(text)), text)


def _node_link(text: str) -> Any:
    import msgspec  # here, because few graphs come this way

    data = msgspec.json.decode(text)
    return nx.node_link_graph(data, edges="edges" if "edges" in data else "links")


def _gml(text: str) -> Any:
    return nx.parse_gml(text, label=None)


READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        ".graphml": nx.parse_graphml,
        ".gml": _gml,
        ".edges": _edge_list,
        ".edgelist": _edge_list,
        ".txt": _edge_list,
        ".adj": _adjacency_list,
        ".adjlist": _adjacency_list,
        ".json": _node_link,
    }
)
