"""The report's picture of all screens against all attacks."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmtl.report.figures import literal, new_figure
from dmtl.report.grid import Grid
from dmtl.report.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heat_map"]

Errors = NDArray[np.float64]

TIMES = 2.0
"""an error is drawn as at most so many times that of alone above it: how far a run came apart says little"""


def heat_map(grid: Grid) -> Figure:
    """A cell for each screen and attack; where there is a run alone, blue beats it and red is worse."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    rows, values = _lines(grid)
    width, height = 2.2 + 0.075 * max(map(len, rows)) + 0.85 * len(grid.columns), 1.7 + 0.36 * len(rows)
    figure = new_figure(min(36.0, max(5.0, width)), min(24.0, max(3.0, height)))
    axes = figure.add_subplot()
    reference = _reference(grid)
    shown, (low, high) = _shades(values, reference)
    colours = colormaps["viridis" if reference is None else "RdBu_r"].with_extremes(bad="#e4e4e4")
    image = axes.imshow(np.ma.masked_invalid(shown), cmap=colours, vmin=low, vmax=high, aspect="auto")
    _numbers(axes, values, (shown - low) / (high - low), dark_ends=reference is not None)
    axes.set_xticks(range(len(grid.columns)), [literal(name) for name in grid.columns], rotation=35, ha="right")
    axes.set_yticks(range(len(rows)), [literal(name) for name in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if reference is not None:
        axes.axhline(len(grid.rows) - 0.5, color="black", linewidth=1.2)
    name = grid.metric.replace("_", " ") or "test error"
    bar = figure.colorbar(ScalarMappable(image.norm, colours), ax=axes, extend="max")
    bar.set_label(name if reference is None else f"{name} less that of alone")
    return figure


def _lines(grid: Grid) -> tuple[list[str], Errors]:
    """Names and errors (r, c) of all rows, alone the last; NaN without a run, infinity where one came apart."""
    named = list(zip(grid.rows, grid.errors, strict=True))
    if _reference(grid) is not None:
        named.append(("alone", grid.alone))
    values = [
        [np.nan if value is None else value if isfinite(value) else np.inf for value in line] for _, line in named
    ]
    return [name for name, _ in named], np.array(values, dtype=np.float64)


def _reference(grid: Grid) -> Errors | None:
    """(c,) the error alone in each column, the mean of the others where a column has none."""
    known = [value for value in grid.alone if value is not None]
    if not known:
        return None
    return np.array([sum(known) / len(known) if value is None else value for value in grid.alone])


def _shades(values: Errors, reference: Errors | None) -> tuple[Errors, tuple[float, float]]:
    """What is drawn in each cell, and the range of the colours."""
    known = values[np.isfinite(values)]
    if reference is None:
        low = float(known.min(initial=np.inf)) if len(known) else 0.0
        high = max(min(float(known.max()), (1 + TIMES) * float(np.median(known))), low + 1e-9) if len(known) else 1.0
        return np.minimum(values, high), (low, high)
    apart = np.minimum(values - reference, TIMES * np.abs(reference))
    span = max(float(np.nanmax(np.abs(apart), initial=0.0)), 1e-9)
    return apart, (-span, span)


def _numbers(axes: Axes, values: Errors, shade: Errors, dark_ends: bool) -> None:
    """Each error in its cell, in the ink that can be read there; ``shade`` is 0 .. 1."""
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        place = float(shade[row, column])
        dark = abs(place - 0.5) > 0.33 if dark_ends else place < 0.5
        text = number(value) if np.isfinite(value) else "apart"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "#1b1b1f")
