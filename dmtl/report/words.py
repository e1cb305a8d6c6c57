"""How numbers, pieces and tables are written, in the terminal and on the page alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dmtl.report.summary import Summary

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CROWD", "MANY", "WIDTH", "number", "quartiles", "short", "terminal"]

WIDTH = 100
"""columns where there is no terminal to ask: what a batch log shows without wrapping"""
MANY = 20
"""ranks above which quartiles stand for people"""
CROWD = 24
"""runs above which nothing is shown of each: their table of screens and attacks, and what all have in common"""


def terminal() -> Console:
    """Standard output, plain and as wide as a batch log where it is no terminal."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=WIDTH)


def number(value: float | None, sign: bool = False) -> str:
    """About three digits of a number, at most seven characters wide; '-' for what is not known."""
    if value is None:
        return "-"
    size = abs(value)
    if value == 0:
        form = ".0f"
    elif not 1e-3 <= size < 1e5:
        form = ".0e"
    else:
        form = ".3f" if size < 1 else ".2f" if size < 10 else ".1f" if size < 100 else ".0f"
    return f"{value:+{form}}" if sign else f"{value:{form}}"


def short(spec: str) -> str:
    """The names alone of pieces joined by +, without their settings."""
    return "+".join(part.partition(":")[0] for part in spec.split("+")) or "-"


def quartiles(summary: Summary) -> list[float | None]:
    """Lowest, lower quartile, median, upper quartile and highest error of the honest ranks."""
    errors = [outcome.error for outcome in summary.outcomes if not outcome.byzantine and outcome.error is not None]
    if not errors:
        return [None] * 5
    return [float(value) for value in np.quantile(errors, [0, 0.25, 0.5, 0.75, 1])]
