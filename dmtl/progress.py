"""How far a run has got: a bar on a terminal, a plain line every few seconds anywhere else, from one rank only."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Any

__all__ = ["Progress"]

SECONDS = 5.0
"""between lines in a batch log"""


class Progress:
    """A context manager; ``wanted`` is False on ranks that keep quiet."""

    def __init__(self, rounds: int, wanted: bool) -> None:
        self._rounds = rounds
        self._wanted = wanted
        self._bar: Any = None
        self._task: Any = None
        self._said = monotonic()

    def __enter__(self) -> Progress:
        if self._wanted and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self._rounds)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: int, loss: float) -> None:
        """Say that so many rounds are done."""
        if self._bar:
            self._bar.update(self._task, completed=done, description=f"loss {loss:.4g}")
        elif self._wanted and monotonic() - self._said > SECONDS:
            self._said = monotonic()
            print(f"dmtl: round {done} of {self._rounds}, loss {loss:.4g}", file=sys.stderr, flush=True)
