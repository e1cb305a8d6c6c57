"""Pictures of graphs: each topology in the shape that shows what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.commands.console import counted
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
    points = layout(graph, spec)
    figure = Figure(figsize=_size(graph, points), layout="constrained")
    _draw(figure.add_subplot(), graph, points, spec)
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
        return _two_circles(n // 2)
    if name == "barbell":
        path = make("topology", spec).path
        return _two_circles((n - path) // 2, 0.0, path)
    if name == "hypercube":
        return _cube(n)
    if name == "octopus":
        return _octopus(n, n // (1 + make("topology", spec).hands))
    return _sprung(graph)


def _size(graph: nx.Graph | nx.DiGraph, points: Points) -> tuple[float, float]:
    """Inches across and down: as wide as the layout asks, larger for many ranks and for names."""
    side = np.clip(4 + len(graph) * (3 if _names(graph) else 1) / 12, 5, 12)
    extent = points.max(axis=0) - points.min(axis=0)
    share = np.clip(extent / max(float(extent.max()), 1e-9), 0.4, 1.0)
    return max(float(side * share[0]), 4.0) + 0.6, float(side * share[1]) + 0.9


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


def _two_circles(h: int, shift: float = 0.5, middle: int = 0) -> Points:
    """Two cliques of ``h`` side by side, mirrored; shift 0: the last rank of one faces the first of the other.

    ``middle`` further ranks stand on the line between those two.
    """
    left, right = (2 * np.pi * (np.arange(h) + turn) / h for turn in (1 - shift, shift))
    away = max(0.62, 0.42 + 0.1 * (middle + 1))
    first = 0.42 * np.column_stack((np.cos(left), np.sin(left))) - (away, 0)
    second = 0.42 * np.column_stack((-np.cos(right), np.sin(right))) + (away, 0)
    return np.vstack((first, np.linspace(first[-1], second[0], middle + 2)[1:-1], second))


def _cube(n: int) -> Points:
    """A direction for each binary digit, of unequal lengths lest two corners fall together."""
    digits = max(n.bit_length() - 1, 1)
    angle, length = np.pi * np.arange(digits) / digits, 1.0 + 0.2 * np.arange(digits)
    steps = np.column_stack((length * np.cos(angle), length * np.sin(angle)))
    return np.asarray((np.arange(n)[:, None] >> np.arange(digits) & 1) @ steps)


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
    """Springs; the parts of a graph that falls apart stand beside each other."""
    plain = nx.Graph()  # without weights: how much two tasks have in common is no distance
    plain.add_nodes_from(graph)
    plain.add_edges_from(graph.edges)
    points, right = np.zeros((len(graph), 2)), 0.0
    for part in sorted(nx.connected_components(plain), key=lambda part: (-len(part), min(part))):
        ranks = sorted(part)
        radius = float(np.sqrt(len(part) / len(graph)))
        points[ranks] = radius * _one_part(plain.subgraph(ranks), ranks) + (right + radius, 0.0)
        right += 2 * radius + 0.15
    return points


def _one_part(graph: nx.Graph, ranks: list[int]) -> Points:
    """Springs for a connected graph; for a small one, started from path lengths, which untangles it."""
    small = 2 < len(ranks) <= 100
    start = nx.kamada_kawai_layout(graph) if small else None
    place = nx.spring_layout(graph, pos=start, seed=0, iterations=15 if small else 200)
    points = np.array([place[rank] for rank in ranks])
    points -= points.mean(axis=0)
    points = points @ np.linalg.svd(points)[2].T  # the longest way across
    points = _apart(points / max(float(np.abs(points).max()), 1e-9), 0.8 / np.sqrt(len(ranks) + 9))
    return np.asarray(points - (points.max(axis=0) + points.min(axis=0)) / 2)


def _apart(points: Points, least: float) -> Points:
    """Push ranks from each other that would lie on each other."""
    for _ in range(60):
        gap = points[:, None] - points
        distance = np.linalg.norm(gap, axis=2) + 1e-9
        push = np.clip(least - distance, 0, None) / distance
        np.fill_diagonal(push, 0)
        points = points + 0.3 * np.einsum("ij,ijc->ic", push, gap)
    return points


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
    _name(axes, _names(graph), points, float(np.sqrt(size)))
    title = f"{_title(spec)}: {counted(n, 'rank')}, {counted(len(links), 'link')}"
    axes.set_title(title, color=_TEXT, fontsize=11)
    _frame(axes, points)


def _frame(axes: Any, points: Points) -> None:
    low, high = points.min(axis=0), points.max(axis=0)
    edge = 0.12 * max(float((high - low).max()), 0.5)
    axes.set_xlim(low[0] - edge, high[0] + edge)
    axes.set_ylim(low[1] - edge, high[1] + edge)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _title(spec: Spec) -> str:
    rest = ", ".join(str(value) if not key else f"{key}={value}" for key, value in spec.items() if key != "name")
    return Path(rest.removeprefix("path=")).stem if spec["name"] == "file" else f"{spec['name']} {rest}".strip()


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


def _names(graph: nx.Graph | nx.DiGraph) -> dict[int, str]:
    """What the ranks of a real network are called; empty where they are numbered only."""
    labels = nx.get_node_attributes(graph, "label")
    return {rank: label for rank, label in labels.items() if not str(label).lstrip("-").isdecimal()}


def _name(axes: Any, names: Mapping[int, str], points: Points, away: float) -> None:
    """Write names below the ranks, readable over a link."""
    ground = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
    place = {"xytext": (0, -0.62 * away), "textcoords": "offset points", "ha": "center", "va": "top"}
    for rank, name in names.items():
        axes.annotate(name, points[rank], color=_TEXT, fontsize=8, zorder=5, bbox=ground, **place)
