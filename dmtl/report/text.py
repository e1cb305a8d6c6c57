"""Comparing runs: a table in the terminal or batch log, a JSON document for programs, or pictures and a page.

The JSON document has four keys: ``version`` (1; it rises when a key changes its meaning or goes), ``warnings`` (a list
of sentences), ``runs``, a list in the order given, each with the keys of ``dmtl.report.summary.Summary``, and ``grid``,
the runs as a table of screens and attacks with the keys of ``dmtl.report.grid.Grid``, or null where they make none.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmtl.report.grid import Grid, grid
from dmtl.report.metrics import compare
from dmtl.report.page import write_page
from dmtl.report.reading import read_run
from dmtl.report.summary import Outcome, Summary
from dmtl.report.verdicts import Fate, fates
from dmtl.report.words import CROWD, MANY, WIDTH, number, quartiles, short, terminal

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["print_report"]

ABREAST = 7
"""runs side by side in one table of people"""


def print_report(runs: tuple[str, ...], as_json: bool, html: bool, out: str | None) -> None:
    """Read the folders ``runs`` and print what they were worth; ``html`` or a folder ``out`` adds pictures and a page.

    Raises ResultsError for a folder that is no run, and ConfigError where pictures are wanted and cannot be made.
    """
    read = [read_run(folder) for folder in runs]
    summaries, warnings = compare(read)
    table = grid(summaries)
    for sentence in warnings:
        print(f"dmtl: warning: {sentence}", file=sys.stderr, flush=True)
    if as_json:
        document = {
            "version": 1,
            "warnings": warnings,
            "runs": [summary.plain() for summary in summaries],
            "grid": table and table.plain(),
        }
        print(json.dumps(document, indent=1))
    else:
        _print_tables(summaries, table)
    if html or out:
        page = write_page(read, summaries, table, warnings, Path(out) if out else read[0].place)
        print(f"pictures and page: {page}", file=sys.stderr if as_json else sys.stdout)


def _print_tables(summaries: Sequence[Summary], table: Grid | None) -> None:
    console = terminal()
    if len(summaries) > CROWD and table:
        for part in _grid(table):
            console.print(part)
            console.print()
        console.print(
            f"{len(summaries)} runs: too many to show each of them. --json has all, the page a table of them."
        )
        return
    console.print(_overview(summaries, narrow=console.width < WIDTH))
    for sentence in _legend(summaries):
        console.print(textwrap.fill(sentence, min(console.width, WIDTH), subsequent_indent="  "), style="dim")
    for more in (_streams(summaries), _verdicts(fates(summaries)), *_grid(table)):
        if more:
            console.print()
            console.print(more)
    for first in range(0, len(summaries), ABREAST):
        console.print()
        console.print(_people(summaries[first : first + ABREAST]))


def _new_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)


def _overview(summaries: Sequence[Summary], narrow: bool) -> Table:
    """A line per run; where it is narrow, names are broken before any number is cut."""
    table = _new_table()
    rows = [_cells(summary) for summary in summaries]
    for position, head in enumerate(("run", "algorithm", "screen", "liars")):
        widest = max(len(line) for row in rows for line in str(row[position]).split("\n"))
        table.add_column(f"\n{head}", overflow="fold", min_width=4 if narrow else widest)
    heads = ("test\nerror", "\nworst", "\ngain", "won/\nlost", "dis-\nagree", "trust\nhonest", "trust\nliars")
    for head in (*heads, "kB/\nlink", "\ns"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _cells(summary: Summary) -> list[Any]:
    from rich.text import Text

    style = "" if summary.gain is None else "green" if summary.gain > 0 else "red"
    kilobytes = None if summary.bytes_per_link is None else summary.bytes_per_link / 1000
    liars = f"{summary.liars} {short(summary.attack.replace(' ', '+'))}" if summary.liars else "0"
    return [
        textwrap.fill(summary.name, 10),
        textwrap.fill(short(summary.algorithm) + (f" on {short(summary.features)}" if summary.features else ""), 9),
        textwrap.fill(short(summary.screen), 13),
        textwrap.fill(liars.replace("+", " "), 9),
        number(summary.error),
        number(summary.worst),
        Text(number(summary.gain, sign=True), style),
        "-" if summary.gained is None else f"{summary.gained}/{summary.lost}",
        number(summary.disagreement),
        number(summary.trust_honest),
        number(summary.trust_liars),
        number(kilobytes),
        number(summary.seconds),
    ]


def _legend(summaries: Sequence[Summary]) -> list[str]:
    metrics = ", ".join(dict.fromkeys(summary.metric or "not measured" for summary in summaries))
    found = [
        f"error: {metrics}, lower is better, mean and worst of the honest ranks. disagree: rms distance between "
        f"linked honest ranks. trust: share let through of each neighbour. kB/link: sent over a link in a round. "
        f"s: wall seconds."
    ]
    if any(summary.online for summary in summaries):
        found.append(
            "on new rows: before they are learnt from. regret: the sum of losses less that of the best fixed model for "
            "all honest ranks, or for each of them, in hindsight."
        )
    alone = dict.fromkeys(summary.alone for summary in summaries if summary.alone)
    if alone:
        found.append(
            f"gain: mean of error alone ({', '.join(map(str, alone))}) - error. won/lost: ranks better and worse than "
            f"alone; below, ! is worse."
        )
    else:
        found.append("gain: add a run of the algorithm 'local' on the same data to see what talking was worth.")
    return found


def _streams(summaries: Sequence[Summary]) -> Table | None:
    """How the runs did that learnt from a stream."""
    table = _new_table()
    table.add_column("\non new rows", overflow="fold", max_width=24)
    for head in ("rows", "error", "worst", "last 50\nrounds", "regret,\none model", "regret,\none each"):
        table.add_column(head if "\n" in head else f"\n{head}", justify="right", no_wrap=True)
    for summary in summaries:
        if one := summary.online:
            figures = (one.error, one.worst, one.recent, one.regret, one.regret_own)
            table.add_row(summary.name, str(one.rows), *map(number, figures))
    return table if table.row_count else None


def _verdicts(rows: Sequence[Fate]) -> Table | None:
    """What became of messages, where the files say so."""
    table = _new_table()
    table.add_column("messages of")
    table.add_column("in", overflow="fold", max_width=24)
    for head in ("came", "kept", "clipped", "rejected", "wrong"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("reasons", overflow="fold")
    for row in rows:
        shares = map(number, (row.kept, row.clipped, row.rejected, row.wrong))
        table.add_row(row.neighbours, row.run, str(row.messages), *shares, row.reasons)
    return table if rows else None


def _grid(found: Grid | None) -> Iterator[Table]:
    """Screens down and attacks across, as many across as fit."""
    if found:
        for first in range(0, len(found.columns), ABREAST):
            yield _grid_part(found, range(first, min(first + ABREAST, len(found.columns))))


def _grid_part(found: Grid, places: range) -> Table:
    table = _new_table()
    table.add_column("error of", overflow="fold", max_width=24)
    for place in places:
        table.add_column(textwrap.fill(found.columns[place], 10), justify="right", overflow="fold", min_width=8)
    if places[0] == 0:
        table.add_column("price", justify="right", no_wrap=True)
    for name, errors, price in zip(found.rows, found.errors, found.price, strict=True):
        paid = [number(price, sign=True)] * (places[0] == 0)
        table.add_row(name, *(number(errors[place]) for place in places), *paid)
    if any(value is not None for value in found.alone):
        table.add_row("alone", *(number(found.alone[place]) for place in places), *["-"] * (places[0] == 0))
    return table


def _people(summaries: Sequence[Summary]) -> Table:
    """Errors by person, or quartiles where there are many people; a column per run."""
    table = _new_table()
    table.add_column("error of", overflow="fold", max_width=24)
    for summary in summaries:
        table.add_column(textwrap.fill(summary.name, 10), justify="right", overflow="fold", min_width=8)
    if max(summary.ranks for summary in summaries) > MANY:
        names = ("best", "lower quartile", "median", "upper quartile", "worst")
        for name, *row in zip(names, *map(quartiles, summaries), strict=True):
            table.add_row(name, *map(number, row))
        return table
    by_rank = [{outcome.rank: outcome for outcome in summary.outcomes} for summary in summaries]
    for rank in sorted(set().union(*by_rank)):
        people = [outcomes.get(rank) for outcomes in by_rank]
        label = next(person.label for person in people if person)
        table.add_row(label, *map(_cell, people))
    return table


def _cell(person: Outcome | None) -> str:
    if person is None:
        return "-"
    if person.byzantine:
        return "liar"
    worse = person.gain is not None and (person.gain < 0 or isnan(person.gain))
    return number(person.error) + ("!" if worse else " ")
