"""The report's picture of a run's graph: who hears whom, and with how much trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.report.figures import RED, literal, new_figure
from dmtl.report.layouts import layout
from dmtl.report.reading import RankRun, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["given", "trust_map"]

Places = dict[int, NDArray[np.float64]]
"""(2,) where each rank is drawn"""

LABELLED = 60
"""ranks up to which nodes have names"""
SILENT = "#bbbbbb"


def trust_map(run: Run, title: str) -> Figure:
    """Each arrow is coloured by the trust that its head gave its tail at the last evaluation; liars are red squares."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure(6.4, 5.4)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.margins(0.1)
    axes.set_title(literal(title), fontsize=11)
    place = _layout(run)
    size = float(np.clip(4400 / run.size, 25, 420))
    # Reversed, so that trust is dark and stands out on white.
    colours = ScalarMappable(Normalize(0, 1), colormaps["viridis_r"])
    for rank in run.ranks:
        _arrows(axes, run, rank, place, (size, colours))
    for number in range(run.size):
        _node(axes, run, number, place[number], size)
    _key(figure, axes, run, colours)
    return figure


def given(rank: RankRun) -> list[float]:
    """The trust in each in-neighbour when it was last judged; NaN where the method does not talk, or has not yet."""
    return [float(value) for value in rank.trust]


def _layout(run: Run) -> Places:
    """As ``dmtl topology`` draws it; a run whose config.toml is lost is drawn as its links pull it."""
    graph = nx.Graph()
    graph.add_nodes_from(range(run.size))
    graph.add_edges_from((source, rank.rank) for rank in run.ranks for source in rank.sources)
    return dict(enumerate(layout(graph, dict(run.config.get("topology", {"name": "unknown"})))))


def _arrows(axes: Axes, run: Run, rank: RankRun, place: Places, look: tuple[float, ScalarMappable]) -> None:
    """What one rank hears; curved, so that the two directions of a link lie side by side."""
    from matplotlib.patches import FancyArrowPatch

    size, colours = look
    crowded, liar = run.size > LABELLED, rank.rank in run.liars
    for source, trust in zip(rank.sources, given(rank), strict=True):
        silent = np.isnan(trust)
        arrow = FancyArrowPatch(
            (place[source][0], place[source][1]),
            (place[rank.rank][0], place[rank.rank][1]),
            connectionstyle="arc3,rad=0.14",
            arrowstyle="-|>",
            mutation_scale=5 if crowded else 11,
            linewidth=0.5 if crowded or liar else 1.6,
            color=SILENT if silent else colours.to_rgba(np.array([trust]))[0],
            shrinkA=size**0.5 / 2,
            shrinkB=size**0.5 / 2 + 1,
            zorder=1 if silent or liar else 2 - trust / 2,  # distrust is what one looks for: on top
        )
        axes.add_patch(arrow)


def _node(axes: Axes, run: Run, number: int, at: NDArray[np.float64], size: float) -> None:
    known = next((rank for rank in run.ranks if rank.rank == number), None)
    liar = number in run.liars
    label, marker, colour = ("Byzantine", "s", RED) if liar else ("honest", "o", "#1d3557")
    if not known:
        label, colour = "no file", "#999999"
    x, y = float(at[0]), float(at[1])
    axes.scatter([x], [y], s=size, marker=marker, color=colour, edgecolors="white", zorder=3, label=label)
    if run.size > LABELLED:
        return
    name = literal(known.label.removeprefix("rank ")) if known else str(number)
    if len(name) <= 3 and size > 120:
        axes.text(x, y, name, color="white", ha="center", va="center_baseline", fontsize=9, fontweight="bold", zorder=4)
    else:
        below = (0, -(size**0.5) / 2 - 2)
        axes.annotate(name, (x, y), below, textcoords="offset points", ha="center", va="top", fontsize=8, zorder=4)


def _key(figure: Figure, axes: Axes, run: Run, colours: ScalarMappable) -> None:
    """What the colours of arrows and the shapes of nodes mean."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, markerscale=0.6)
    if any(rank.talks for rank in run.ranks):
        figure.colorbar(colours, ax=axes, shrink=0.7, label="trust that the arrow's head gives its tail")
    else:
        axes.annotate("no messages", (0, 0), xycoords="axes fraction", color="#555555")
