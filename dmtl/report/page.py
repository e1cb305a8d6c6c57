"""The report as a page: one HTML file with its pictures inside, and the same pictures as PNG files beside it."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dmtl.errors import ConfigError
from dmtl.report.grid import Grid
from dmtl.report.reading import Run
from dmtl.report.summary import Summary
from dmtl.report.verdicts import fates
from dmtl.report.words import CROWD, MANY, number, quartiles
from dmtl.results import writing

__all__ = ["write_page"]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what is said about it."""

    kind: str
    """where it goes: wide, trust, strips or matrix"""
    file: str
    """name of its PNG file"""
    content: bytes
    title: str
    alt: str
    """what it shows, for those who cannot see it"""
    caption: str
    """how to read it, or what is special in it"""

    @property
    def embedded(self) -> str:
        """The picture as an address that needs no other file."""
        return "data:image/png;base64," + base64.b64encode(self.content).decode("ascii")


def write_page(
    runs: Sequence[Run], summaries: Sequence[Summary], table: Grid | None, warnings: Sequence[str], place: Path
) -> Path:
    """Write report.html and its pictures into the folder ``place`` and return the page's path.

    ``table`` is what ``grid`` makes of the summaries.
    """
    if not (find_spec("matplotlib") and find_spec("jinja2")):
        raise ConfigError("report pictures need matplotlib and jinja2: pip install 'dmtl[report]'.")
    pictures = _pictures(runs, summaries, table)
    html = _render(runs, summaries, table, warnings, pictures)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            (place / picture.file).write_bytes(picture.content)
        (place / "report.html").write_text(html, "utf-8")
    return place / "report.html"


def _render(
    runs: Sequence[Run],
    summaries: Sequence[Summary],
    table: Grid | None,
    warnings: Sequence[str],
    pictures: Sequence[Picture],
) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    template = environment.from_string(files("dmtl.report").joinpath("page.html.j2").read_text("utf-8"))
    crowd = _crowded(summaries, table)
    shown = [] if crowd else list(zip(runs, summaries, strict=True))
    return template.render(
        summaries=summaries,
        pictures=pictures,
        grid=table,
        fates=fates(summaries),
        warnings=warnings,
        crowd=crowd,
        people=_people([summary for _, summary in shown]),
        many=max(summary.ranks for summary in summaries) > MANY,
        quartiles=[quartiles(summary) for _, summary in shown],
        metrics=", ".join(dict.fromkeys(summary.metric or "nothing" for summary in summaries)),
        again=_command(runs[0]),
        setups=[_setup(run, summary) for run, summary in shown],
    )


def _crowded(summaries: Sequence[Summary], table: Grid | None) -> bool:
    """Whether the table of screens and attacks stands for all runs."""
    return len(summaries) > CROWD and table is not None


def _people(summaries: Sequence[Summary]) -> list[tuple[str, list[Any]]]:
    """Label and outcome per run, None where a run has no such rank."""
    by_rank = [{outcome.rank: outcome for outcome in summary.outcomes} for summary in summaries]
    rows = []
    for rank in sorted(set().union(*by_rank)):
        row = [outcomes.get(rank) for outcomes in by_rank]
        rows.append((next(outcome.label for outcome in row if outcome), row))
    return rows


def _setup(run: Run, summary: Summary) -> dict[str, Any]:
    """What one needs to know, besides the numbers, to make them again."""
    try:
        toml = (run.place / "config.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        toml = ""
    facts = {"features": summary.features or "those of the data", **_facts(run)}
    return {"name": summary.name, "toml": toml, "command": _command(run), "facts": facts}


def _command(run: Run) -> str:
    """What makes a run again."""
    launcher = f"mpirun -n {run.size} " if any(rank.start.get("mpi") for rank in run.ranks) else ""
    return f"{launcher}dmtl run --config {shlex.quote(str(run.place / 'config.toml'))} --out again"


def _facts(run: Run) -> Mapping[str, str]:
    """The ranks' surroundings, each value once."""
    starts = [rank.start for rank in run.ranks]

    def once(values: Sequence[str]) -> str:
        return ", ".join(dict.fromkeys(filter(None, values)))

    def pairs(key: str) -> str:
        return once([f"{name} {value}" for start in starts for name, value in start.get(key, {}).items() if value])

    return {
        "hosts": once([str(start.get("host", "")) for start in starts]),
        "MPI library": once([str(start.get("mpi", "")) for start in starts]) or "none: simulated in one process",
        "job": pairs("job") or "none",
        "versions": pairs("versions"),
        "Python": once([str(start.get("python", "")) for start in starts]),
        "platform": once([str(start.get("platform", "")) for start in starts]),
        "threads": pairs("threads") or "not set",
    }


def _pictures(runs: Sequence[Run], summaries: Sequence[Summary], table: Grid | None) -> list[Picture]:
    from dmtl.report.figures import curves, errors, png, streams
    from dmtl.report.heat import heat_map

    heat = []
    if table:
        alt = f"Errors of {len(table.rows)} screens under {len(table.columns)} attacks. The numbers are in the table."
        heat.append(Picture("wide", "heat.png", png(heat_map(table)), "Which screen holds?", alt, _HEAT))
    if _crowded(summaries, table):
        return heat
    alts = _errors_alt(summaries), _curves_alt(summaries)
    flow = streams(summaries)
    alt = "Errors on new rows by round, mean and range over honest ranks. The last numbers are in the table of streams."
    return [
        Picture("wide", "errors.png", png(errors(summaries)), "Who gained by talking?", alts[0], _ERRORS),
        Picture("wide", "curves.png", png(curves(summaries)), "How did they learn?", alts[1], _CURVES),
        *([Picture("wide", "stream.png", png(flow), "How did they do on new rows?", alt, _STREAM)] if flow else []),
        *heat,
        *_of_each_run(runs, summaries),
    ]


def _of_each_run(runs: Sequence[Run], summaries: Sequence[Summary]) -> Iterator[Picture]:
    """The graphs of all runs, then their trust over time, link by link and as matrices."""
    from dmtl.report.figures import png
    from dmtl.report.matrices import matrices
    from dmtl.report.strips import strips
    from dmtl.report.trust_map import trust_map

    slugs = (re.sub(r"[^\w-]+", "-", summary.name).strip("-") for summary in summaries)
    files = [f"{place}-{slug}.png" for place, slug in enumerate(slugs, 1)]
    each = list(zip(runs, summaries, files, strict=True))
    for run, summary, file in each:
        alt = f"Graph of {summary.name}: who hears whom, with how much trust."
        content = png(trust_map(run, summary.name))
        yield Picture("trust", f"trust-{file}", content, summary.name, alt, _trust_caption(summary))
    for run, summary, file in each:
        if figure := strips(run, summary.name):
            alt = f"Trust over time in {summary.name}: a strip for each link, honest and lying neighbours apart."
            yield Picture("strips", f"strips-{file}", png(figure), summary.name, alt, _strips_caption(summary))
    for run, summary, file in each:
        if figure := matrices(run, summary.name):
            alt = f"Matrices of trust in {summary.name} at some rounds: who listened to whom."
            yield Picture("matrix", f"matrix-{file}", png(figure), summary.name, alt, _trust_caption(summary))


_ERRORS = (
    "Each group of bars is one task, each bar a run, and the height the error on data that were never learned from; "
    "lower is better. The black line is what the rank reached alone: a bar below it gained by talking, a bar above it "
    "was harmed (negative transfer). Hollow bars under a red square are Byzantine ranks, of whom no mean knows. Where "
    "there are more than 24 ranks, each line is a run instead and tells which share of the ranks is at most so bad: "
    "further left is better."
)
_CURVES = (
    "Means over honest ranks by round: the loss on the training data, the error on the test data, and how far apart "
    "the vectors of linked honest ranks were before they were mixed (root mean square). A training loss that falls "
    "while the test error rises is overfitting; disagreement that stays up is tasks that differ, or liars that "
    "divide. An axis is logarithmic where the values span more than a factor of ten; a run that came apart is not "
    "drawn above 1e12."
)


_STREAM = (
    "Each row is predicted before it is learnt from. On the left the error on all rows that had come by a round, on "
    "the right that on the rows of the last 50 rounds, which forgets: the mean of the honest ranks, and around it the "
    "range from the best to the worst. Where tasks drift the left one rises slowly and the right one at once."
)


_HEAT = (
    "Mean error of the honest ranks, a row for each screen and a column for what the liars do; lower is better. Where "
    "there is a run alone it is the last row and white: blue is better than learning alone, and red is worse, so that "
    "it would have been better not to talk. Grey was not run; a cell of several runs has their mean. All that is more "
    "than three times as bad as alone has one colour, and 'apart' is no number any more."
)


def _errors_alt(summaries: Sequence[Summary]) -> str:

    parts = [f"{one.name} {number(one.error)} (worst {number(one.worst)})" for one in summaries]
    return f"Errors of each rank by run. Means: {', '.join(parts)}. The numbers are in the table by task."


def _curves_alt(summaries: Sequence[Summary]) -> str:

    parts = [f"{one.name}: loss {number(one.loss)}, disagreement {number(one.disagreement)}" for one in summaries]
    return f"Loss, test error and disagreement by round. At the end, {'; '.join(parts)}."


def _trust_caption(summary: Summary) -> str:

    liars = f"{summary.liars} of {summary.ranks} ranks lie" if summary.liars else f"{summary.ranks} ranks, no liar"
    if summary.trust_honest is None:
        return f"{summary.name}: {liars}, and no message was judged."
    against = f" and {number(summary.trust_liars)} in liars" if summary.trust_liars is not None else ""
    return (
        f"{summary.name}: {liars}. Mean trust of honest ranks: {number(summary.trust_honest)} in honest ones{against}."
    )


def _strips_caption(summary: Summary) -> str:
    told = summary.verdicts
    if told is None:
        return f"{summary.name}: the share let through, by round."
    parts = [
        f"{100 * share:.3g} % of {what}"
        for share, what in ((told.false_rejects, "honest messages rejected"), (told.false_accepts, "lies used"))
        if share is not None
    ]
    return f"{summary.name}: {', '.join(parts) or 'no message came'}."
