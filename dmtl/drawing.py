"""Pictures of graphs: each topology in the shape that shows what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.specs import Spec, make

__all__ = ["SUFFIXES", "layout", "save_picture"]

SUFFIXES = (".png", ".svg", ".pdf")

Points = NDArray[np.float64]
"""(n, 2) where each rank is drawn"""

_NODE, _LINK, _WRAP, _TEXT = "#1f4e79", "#8a94a0", "#c9a227", "#333333"


def save_picture(graph: nx.Graph | nx.DiGraph, spec: Spec, path: Path) -> None:
    """Draw a graph made from ``spec`` into a file whose suffix says the format; raises ConfigError if it cannot."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--draw {path} has the suffix {path.suffix!r}. Allowed: {', '.join(SUFFIXES)}.")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("drawing needs matplotlib: pip install 'dmtl[report]'.") from None
    side = float(np.clip(4 + len(graph) / 12, 5, 12))
    figure = Figure(figsize=(side * 1.15, side), layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, graph, layout(graph, spec), spec)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"--draw {path}: {error.strerror or error}. Give a file that can be written.") from None


def layout(graph: nx.Graph | nx.DiGraph, spec: Spec) -> Points:
    """Where the ranks are drawn, about within the unit circle."""
    n, name = len(graph), spec["name"]
    if name in ("grid", "torus"):
        return _lattice(_sides(spec, n))
    if name in _SHAPES:
        return _SHAPES[name](n)
    if name in ("dumbbell", "two-castles"):
        return _two_circles(n, 0)
    if name == "barbell":
        return _two_circles(n, make("topology", spec).path)
    if name == "octopus":
        return _octopus(n, n // (1 + make("topology", spec).hands))
    return _sprung(graph)


def _circle(n: int) -> Points:
    """Rank 0 on top, then clockwise."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / max(n, 1)
    return np.column_stack((np.cos(angle), np.sin(angle)))


def _star(n: int) -> Points:
    return np.vstack((np.zeros((1, 2)), _circle(n - 1)))


_SHAPES: Mapping[str, Callable[[int], Points]] = {
    "ring": _circle,
    "path": _circle,
    "complete": _circle,
    "exponential": _circle,
    "small-world": _circle,
    "star": _star,
}


def _sides(spec: Spec, n: int) -> list[int]:
    shape = make("topology", spec).shape
    short = next(side for side in range(isqrt(n), 0, -1) if n % side == 0)
    return [int(side) for side in shape.split("x")] if shape else [short, n // short]


def _lattice(sides: list[int]) -> Points:
    """The last side to the right, the one before it downwards, each further one aslant behind."""
    cell = np.indices(sides).reshape(len(sides), -1).T.astype(np.float64)
    steps = np.zeros((len(sides), 2))
    steps[-1] = (1.0, 0.0)
    steps[-2:-1] = (0.0, -1.0)
    for depth, axis in enumerate(range(len(sides) - 3, -1, -1)):
        steps[axis] = np.array([0.38, 0.27]) * (sides[-1] + 1) ** depth
    points = cell @ steps
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    return np.asarray(points / max(float(np.abs(points).max()), 1.0))


def _two_circles(n: int, between: int) -> Points:
    """Two cliques beside each other, and ``between`` ranks on the line from one to the other."""
    h = (n - between) // 2
    angle = 2 * np.pi * (np.arange(h) + 0.5) / h
    left = 0.42 * np.column_stack((np.cos(angle), np.sin(angle)))
    right = left * (-1, 1)
    if between:  # the path starts at the last rank of the left clique and ends at the first of the right one
        left = np.roll(_turned(left), -1, axis=0)
        right = _turned(right)
    left[:, 0] -= 0.62
    right[:, 0] += 0.62
    middle = np.linspace(left[-1], right[0], between + 2)[1:-1] if between else np.zeros((0, 2))
    return np.vstack((left, middle, right))


def _turned(circle: Points) -> Points:
    """The circle turned so that its first rank lies on the axis, on the side of the other circle."""
    h = len(circle)
    angle = -np.arctan2(circle[0, 1], abs(circle[0, 0]))
    angle = angle if circle[0, 0] > 0 else -angle
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(circle @ turn.T).reshape(h, 2)


def _octopus(n: int, head: int) -> Points:
    """The head inside, its hands around it, each beyond the rank that it holds on to."""
    inner = _circle(head)
    rings = (n - head) // head
    angle = np.pi / 2 - 2 * np.pi * np.arange(head) / head
    hands = []
    for hand in range(rings):
        fan = angle + (hand - (rings - 1) / 2) * (2 * np.pi / head) / (rings + 1)
        hands.append(np.column_stack((np.cos(fan), np.sin(fan))))
    return np.vstack((0.5 * inner, *hands))


def _sprung(graph: nx.Graph | nx.DiGraph) -> Points:
    """Springs; for small graphs, started from path lengths, which untangles them."""
    plain = graph.to_undirected()
    nx.set_edge_attributes(plain, 1.0, "weight")  # how much two tasks have in common is no distance
    start = nx.kamada_kawai_layout(plain) if 2 < len(plain) <= 100 and nx.is_connected(plain) else None
    if start is None:
        start = nx.spring_layout(plain, seed=0, iterations=200)
    points = np.array([start[rank] for rank in range(len(plain))])
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    return np.asarray(points / max(float(np.abs(points).max()), 1e-9))


def _draw(axes: Any, graph: nx.Graph | nx.DiGraph, points: Points, spec: Spec) -> None:
    from matplotlib.collections import LineCollection

    n = len(graph)
    links = [(u, v) for u, v in graph.edges if u != v]
    around = [link for link in links if spec["name"] == "torus" and _jumps(link, _sides(spec, n))]
    straight = [link for link in links if link not in set(around)]
    if graph.is_directed():
        _arrows(axes, points, straight, {"arrowstyle": "-|>", "mutation_scale": 9, "color": _LINK})
    else:
        thin = 1.4 if len(links) <= 200 else 0.5
        axes.add_collection(LineCollection(points[np.array(straight, int).reshape(-1, 2)], colors=_LINK, lw=thin))
    _arrows(axes, points, around, {"arrowstyle": "-", "color": _WRAP, "linestyle": (0, (3, 2))})
    size = float(np.clip(9000 / max(n, 1), 40, 420))
    axes.scatter(*points.T, s=size, c=_NODE, edgecolors="white", linewidths=1, zorder=3)
    if n <= 150:
        for rank, (x, y) in enumerate(points):
            small = float(np.clip(np.sqrt(size) * 0.52, 4, 10))
            axes.text(x, y, str(rank), color="white", ha="center", va="center", fontsize=small, zorder=4)
    _name(axes, graph, points, np.sqrt(size))
    axes.set_title(f"{_title(spec)}: {n} ranks, {len(links)} links", color=_TEXT, fontsize=11)
    axes.set_aspect("equal")
    axes.margins(0.14)
    axes.set_axis_off()


def _title(spec: Spec) -> str:
    rest = ", ".join(str(value) if not key else f"{key}={value}" for key, value in spec.items() if key != "name")
    return f"{spec['name']} {rest}".strip()


def _jumps(link: tuple[int, int], sides: list[int]) -> bool:
    """Whether a link of a torus closes a side and would lie over the others."""
    u, v = (np.array(np.unravel_index(rank, sides)) for rank in link)
    return bool(np.abs(u - v).max() > 1)


def _arrows(axes: Any, points: Points, links: list[tuple[int, int]], style: dict[str, Any]) -> None:
    from matplotlib.patches import FancyArrowPatch

    bend = "arc3,rad=0.18"
    for u, v in links:
        axes.add_patch(
            FancyArrowPatch(points[u], points[v], connectionstyle=bend, shrinkA=8, shrinkB=9, lw=1.3, zorder=1, **style)
        )


def _name(axes: Any, graph: nx.Graph | nx.DiGraph, points: Points, away: float) -> None:
    """Write the labels of a real network below its ranks."""
    labels = nx.get_node_attributes(graph, "label")
    for rank, label in labels.items():
        if not str(label).lstrip("-").isdecimal():
            place = {"xytext": (0, -0.62 * away), "textcoords": "offset points", "ha": "center", "va": "top"}
            axes.annotate(label, points[rank], color=_TEXT, fontsize=8, zorder=5, **place)
