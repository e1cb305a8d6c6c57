"""The report's picture of trust as a matrix over time: clusters of tasks appear, and liars fade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dmtl.report.figures import RED, literal, new_figure
from dmtl.report.reading import Run
from dmtl.report.strips import histories

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["arranged", "matrices", "trust_at"]

MOST = 60
"""ranks up to which there is a matrix"""
NAMED = 16
"""ranks up to which rows and columns have names"""
PANELS = 5


def matrices(run: Run, title: str) -> Figure | None:
    """Some rounds side by side, a row for each honest listener and a column for each speaker.

    None where nothing was judged or the ranks are too many.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    rounds, trust = trust_at(run)
    if not rounds or run.size > MOST:
        return None
    order, cuts = arranged(run)
    listeners = [rank for rank in order if rank not in run.liars]
    figure = new_figure(min(14.0, 2.0 + 2.5 * len(rounds)), 3.3)
    figure.suptitle(literal(title), fontsize=11)
    panels = np.atleast_1d(figure.subplots(1, len(rounds), sharey=True))
    for axes, round, matrix in zip(panels, rounds, trust, strict=True):
        _panel(axes, matrix[np.ix_(listeners, order)], cuts, len(listeners))
        axes.set_title(f"round {round}", fontsize=9)
        _names(axes, run, order, listeners)
    panels[0].set_ylabel("listener")
    figure.supxlabel("speaker (red: Byzantine)" if run.liars else "speaker", fontsize=10)
    figure.colorbar(ScalarMappable(Normalize(0, 1), _colours()), ax=list(panels), label="trust")
    return figure


def trust_at(run: Run) -> tuple[list[int], NDArray[np.float64]]:
    """Up to five of the rounds that were evaluated, the first and the last among them, and the trust in each.

    (rounds, n, n): the listener's trust in the speaker, NaN where there is no link or nothing was judged.
    """
    rounds, *kinds = histories(run)
    judged = [place for place in range(len(rounds)) if any(np.isfinite(kind.trust[:, place]).any() for kind in kinds)]
    chosen = sorted(
        {judged[place] for place in np.linspace(0, len(judged) - 1, PANELS).round().astype(int)} if judged else ()
    )
    trust = np.full((len(chosen), run.size, run.size), np.nan)
    for kind in kinds:
        for (source, target), strip in zip(kind.links, kind.trust, strict=True):
            if 0 <= source < run.size:
                trust[:, target, source] = strip[chosen]
    return [rounds[place] for place in chosen], trust


def arranged(run: Run) -> tuple[list[int], list[int]]:
    """The ranks, those whose tasks are known to be akin side by side and liars last, and where a group begins.

    Akin are ranks with the same label, and those of one cluster of 'synthetic' data.
    """
    labels = {rank.rank: rank.label for rank in run.ranks if rank.rank not in run.liars}
    told = len(set(labels.values())) < len(labels)  # labels that are all different are no groups
    clusters = _clusters(run)

    def key(rank: int) -> tuple[bool, int, str]:
        if rank in run.liars:
            return True, 0, ""
        return False, rank % clusters, labels.get(rank, "") if told else ""

    order = sorted(range(run.size), key=lambda rank: (*key(rank), rank))
    groups = [key(rank) for rank in order]
    return order, [place for place in range(1, len(order)) if groups[place] != groups[place - 1]]


def _clusters(run: Run) -> int:
    """In how many clusters the tasks are dealt out one after the other; 1 where it is not known."""
    data: Any = run.config.get("data")
    partition: Any = run.config.get("partition") or {}
    if not isinstance(data, dict) or not isinstance(partition, dict):
        return 1
    known = data.get("name") == "synthetic" and data.get("shape", "clustered") == "clustered"
    count = data.get("clusters", 3) if known and partition.get("name", "natural") == "natural" else 1
    return count if isinstance(count, int) and count >= 1 else 1


def _panel(axes: Axes, matrix: NDArray[np.float64], cuts: Sequence[int], rows: int) -> None:
    shown = np.ma.masked_invalid(matrix)
    axes.pcolormesh(shown, cmap=_colours(), vmin=0, vmax=1)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=6)
    for cut in cuts:
        liars = cut >= rows
        axes.axvline(cut, color=RED if liars else "white", linewidth=1.6 if liars else 1.0)
        if cut < rows:
            axes.axhline(cut, color="white", linewidth=1.0)


def _names(axes: Axes, run: Run, order: Sequence[int], listeners: Sequence[int]) -> None:
    many = len(order) > NAMED
    axes.set_xticks([] if many else np.arange(len(order)) + 0.5, [] if many else [str(rank) for rank in order])
    axes.set_yticks([] if many else np.arange(len(listeners)) + 0.5, [] if many else [str(rank) for rank in listeners])
    for rank, text in zip(order, axes.get_xticklabels(), strict=False):
        text.set_color(RED if rank in run.liars else "black")


def _colours() -> Any:
    """As in the map of the graph: trust is dark."""
    from matplotlib import colormaps

    return colormaps["viridis_r"].with_extremes(bad="#dddddd")
