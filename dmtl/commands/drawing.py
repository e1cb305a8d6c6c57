"""The picture of a topology."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from dmtl.commands.console import counted
from dmtl.errors import ConfigError
from dmtl.report.layouts import Points, layout, sides
from dmtl.specs import Spec

__all__ = ["SUFFIXES", "save_picture"]

SUFFIXES = (".png", ".svg", ".pdf")

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


def _size(graph: nx.Graph | nx.DiGraph, points: Points) -> tuple[float, float]:
    """Inches across and down: as wide as the layout asks, larger for many ranks and for names."""
    side = np.clip(4 + len(graph) * (3 if _names(graph) else 1) / 12, 5, 12)
    extent = points.max(axis=0) - points.min(axis=0)
    share = np.clip(extent / max(float(extent.max()), 1e-9), 0.4, 1.0)
    return max(float(side * share[0]), 4.0) + 0.6, float(side * share[1]) + 0.9


def _draw(axes: Any, graph: nx.Graph | nx.DiGraph, points: Points, spec: Spec) -> None:
    from matplotlib.collections import LineCollection

    n = len(graph)
    links = [(u, v) for u, v in graph.edges if u != v]
    around = [link for link in links if spec["name"] == "torus" and _jumps(link, sides(spec, n))]
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
