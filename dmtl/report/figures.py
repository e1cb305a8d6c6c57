"""The report's pictures of errors and of learning over time; matplotlib is loaded when one is asked for.

Figures are made as such and never through pyplot, so that no global state knows of them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmtl.report.summary import Outcome, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RED", "curves", "errors", "literal", "new_figure", "png", "streams"]

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d1f", "#777777")
"""Okabe and Ito's, which colour-blind readers tell apart; black is for the run alone"""
STYLES = ("-", "--", "-.", ":")
RED = "#c1121f"
CROWD = 24
"""ranks above which the errors are drawn as a distribution and not as bars"""
CEILING = 1e12
"""a run that has come apart is not drawn above this: it would leave nothing to see of the others, and break the axes"""
LIAR = "Byzantine (in no mean)"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def literal(text: str) -> str:
    """The text as it is, which matplotlib would else set as a formula between two dollar signs."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def errors(summaries: Sequence[Summary]) -> Figure:
    """Test error by person: a bar per run and a black line for alone; where there are many people, distributions."""
    people = max(len(summary.outcomes) for summary in summaries)
    many = people > CROWD
    figure = new_figure(8 if many else min(16.0, max(6.5, 2 + 0.2 * people * len(summaries))), 4.2)
    axes = figure.add_subplot()
    _bare(axes)
    (_distribution if many else _bars)(axes, summaries)
    _legend(figure, axes)
    return figure


def curves(summaries: Sequence[Summary]) -> Figure:
    """Training loss, test error and disagreement of the honest ranks by round."""
    figure = new_figure(12, 3.9)
    parts = figure.subplots(1, 3)
    titles = ("training loss", _metric(summaries), "disagreement of linked ranks")
    for axes, key, title in zip(parts, ("loss", "error", "disagreement"), titles, strict=True):
        _bare(axes)
        for number, summary in enumerate(summaries):
            values = np.array(getattr(summary.series, key))
            values[values > CEILING] = np.nan
            style = {"color": _colour(summaries, number), "linestyle": STYLES[number % len(STYLES)]}
            axes.plot(summary.series.rounds, values, label=literal(summary.name), linewidth=1.8, **style)
        _scale(axes)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("round")
    _legend(figure, parts[0])
    return figure


def _colour(summaries: Sequence[Summary], number: int) -> str:
    return "black" if _is_reference(summaries, summaries[number]) else COLOURS[number % len(COLOURS)]


def _is_reference(summaries: Sequence[Summary], one: Summary) -> bool:
    return any(summary.alone == one.name for summary in summaries)


def _metric(summaries: Sequence[Summary]) -> str:
    return ", ".join(dict.fromkeys(summary.metric.replace("_", " ") for summary in summaries)) or "test error"


def _bare(axes: Axes) -> None:
    """Only the lines that carry something."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.7)


def _legend(figure: Figure, axes: Axes) -> None:
    """Above the picture, where it covers nothing; every name once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        columns = min(6, len(handles))
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns, frameon=False)


def _bars(axes: Axes, summaries: Sequence[Summary]) -> None:
    names = {one.rank: literal(one.label.removeprefix("rank ")) for run in reversed(summaries) for one in run.outcomes}
    place = {rank: float(number) for number, rank in enumerate(sorted(names))}
    drawn = [number for number, summary in enumerate(summaries) if not _is_reference(summaries, summary)]
    width = 0.8 / max(1, len(drawn))
    for summary in summaries:
        if _is_reference(summaries, summary):
            _reference_lines(axes, summary, place)
    for position, number in enumerate(drawn):
        shift = (position - (len(drawn) - 1) / 2) * width
        at = {rank: x + shift for rank, x in place.items()}
        _run_bars(axes, summaries[number], _colour(summaries, number), width * 0.92, at)
    axes.set_xticks(list(place.values()), [names[rank] for rank in place])
    axes.set_xlim(-0.6, len(place) - 0.4)
    if max(map(len, names.values())) > 4:
        axes.tick_params(axis="x", rotation=40)
    axes.set_xlabel("task, by the rank that has it")
    axes.set_ylabel(f"{_metric(summaries)}  (lower is better)")
    heights = [value for summary in summaries for value in _known(summary.outcomes).values()]
    if heights and max(heights) > 30 * float(np.median(heights)) > 0:
        axes.set_yscale("log")


def _known(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """The errors that can be drawn, by rank."""
    return {
        outcome.rank: outcome.error for outcome in outcomes if outcome.error is not None and outcome.error <= CEILING
    }


def _reference_lines(axes: Axes, summary: Summary, place: Mapping[int, float]) -> None:
    known = _known(summary.outcomes)
    at = np.array([place[rank] for rank in known])
    label = "alone" if summary.name == "alone" else f"alone: {literal(summary.name)}"
    axes.hlines(list(known.values()), at - 0.44, at + 0.44, color="black", linewidth=2, label=label, zorder=3)


def _run_bars(axes: Axes, summary: Summary, colour: str, width: float, at: Mapping[int, float]) -> None:
    """One run's bars; those of Byzantine ranks are hollow, and a red square is on their heads."""
    honest = _known([outcome for outcome in summary.outcomes if not outcome.byzantine])
    if honest:
        axes.bar([at[rank] for rank in honest], list(honest.values()), width, color=colour, label=literal(summary.name))
    liars = _known([outcome for outcome in summary.outcomes if outcome.byzantine])
    if liars:
        x, heights = [at[rank] for rank in liars], list(liars.values())
        axes.bar(x, heights, width, color="white", edgecolor=colour, hatch="////")
        axes.scatter(x, heights, marker="s", s=26, color=RED, edgecolors="white", zorder=4, label=LIAR)


def _distribution(axes: Axes, summaries: Sequence[Summary]) -> None:
    """For each run the share of honest ranks with an error of at most that."""
    for number, summary in enumerate(summaries):
        found = list(_known([outcome for outcome in summary.outcomes if not outcome.byzantine]).values())
        style = STYLES[number % len(STYLES)]
        if found:
            axes.ecdf(
                found, label=literal(summary.name), color=_colour(summaries, number), linestyle=style, linewidth=1.8
            )
    axes.set_xlabel(f"{_metric(summaries)}  (lower is better)")
    axes.set_ylabel("share of honest ranks at most so bad")


def _scale(axes: Axes) -> None:
    """Logarithmic where all values are above 0 and span more than a factor of ten."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()])
    values = values[np.isfinite(values)]
    if not len(values):
        axes.text(0.5, 0.5, "nothing measured", ha="center", va="center", transform=axes.transAxes, color="#555555")
        axes.set_xticks([])
        axes.set_yticks([])
    elif values.min() > 0 and values.max() > 10 * values.min():
        _logarithmic(axes, decades=float(np.log10(values.max() / values.min())))


def _logarithmic(axes: Axes, decades: float) -> None:
    """Plain numbers at the ticks, and at 2 and 5 times a power of ten where there are few such powers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    if decades > 3:
        return
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}") if decades < 2 else NullFormatter())


def streams(summaries: Sequence[Summary]) -> Figure | None:
    """Error on new rows by round, of all rows so far and of the last rounds; None where no run had a stream."""
    shown = [(number, one.name, one.online) for number, one in enumerate(summaries) if one.online]
    if not shown:
        return None
    figure = new_figure(9, 3.9)
    parts = figure.subplots(1, 2)
    titles = ("error on all rows so far", "error on the rows of the last 50 rounds")
    for axes, key, title in zip(parts, ("cumulative", "windowed"), titles, strict=True):
        _bare(axes)
        for number, name, online in shown:
            spread = getattr(online, key)
            mean, low, high = (_below(values) for values in (spread.mean, spread.low, spread.high))
            colour = _colour(summaries, number)
            style = STYLES[number % len(STYLES)]
            axes.plot(spread.rounds, mean, label=literal(name), color=colour, linestyle=style, linewidth=1.8)
            axes.fill_between(spread.rounds, low, high, color=colour, alpha=0.15, linewidth=0)
        _scale(axes)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("round")
    _legend(figure, parts[0])
    return figure


def _below(values: Sequence[float]) -> NDArray[np.float64]:
    """Without what is too large to be drawn."""
    found = np.array(values, dtype=np.float64)
    found[found > CEILING] = np.nan
    return found
