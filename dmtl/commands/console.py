"""Words for people: aligned tables that fold to a terminal's width, and stay one line an entry in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

__all__ = [
    "Line",
    "counted",
    "json_of",
    "print_json",
    "print_sections",
    "print_table",
    "ranks_words",
    "size_words",
    "span_words",
]


class Line(NamedTuple):
    """One finding: ``value`` is for programs, ``text`` for people; without text it is for programs only."""

    key: str
    value: Any
    text: str


def print_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells under a title; the last cell may have several lines."""
    if title:
        click.secho(title, bold=True)
    if not rows:
        return
    if sys.stdout.isatty():
        _print_folded(rows)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        first, *rest = row[-1].splitlines() or [""]
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join(["", *cells, first]).rstrip())
        for line in rest:
            click.echo(" " * (2 + sum(widths) + 2 * len(widths)) + line)


def _print_folded(rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for _ in rows[0][:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout).print(Padding(table, (0, 0, 0, 2), expand=False))


def print_sections(sections: Mapping[str, Sequence[Line]]) -> None:
    """Print lines under the titles of their sections, an empty line between two sections."""
    for number, (title, lines) in enumerate(sections.items()):
        if number:
            click.echo()
        print_table(title, [(line.key.replace("_", " "), line.text) for line in lines if line.text])


def json_of(lines: Sequence[Line]) -> dict[str, Any]:
    """The same lines for programs."""
    return {line.key: line.value for line in lines}


def print_json(value: Any) -> None:
    """Print JSON."""
    click.echo(json.dumps(value, indent=1))


def ranks_words(ranks: Sequence[int], most: int = 8) -> str:
    """Ranks, ascending, as ``0-3, 5, 9``; no more than ``most`` such parts."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and parts[-1][-1] == rank - 1:
            parts[-1].append(rank)
        else:
            parts.append([rank])
    shown = [f"{part[0]}-{part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts[:most]]
    return ", ".join(shown) + (" ..." if len(parts) > most else "")


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_words(count: float) -> str:
    """A number of bytes, in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB" if count < 999.5 else f"{count:.0f} TB"


def span_words(least: str, most: str) -> str:
    """A range, or the one value that is all of it."""
    return least if least == most else f"{least} .. {most}"
