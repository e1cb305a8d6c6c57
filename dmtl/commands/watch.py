"""Watching a run in the terminal, from the ranks' own files: only what was appended since the last look is read."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dmtl.report.metrics import HEADLINES
from dmtl.report.reading import list_ranks, read_config
from dmtl.report.words import number, terminal

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["RankState", "Watcher", "latest", "watch_run"]

MANY = 40
"""ranks above which only those are shown that somebody should look at"""
FEW = 8
"""how many of the slowest, the worst, the failed"""
SECONDS = 1.0
"""between looks"""


class RankState(NamedTuple):
    """How one rank is doing."""

    rank: int
    label: str
    byzantine: bool
    round: int
    """of its last evaluation; -1 before the first"""
    loss: float
    error: float
    """the first of HEADLINES that it reports; NaN if none"""
    least: tuple[int, float] | None
    """the neighbour that it trusts least, and how much; None where it trusts all of them wholly"""
    refused: int
    """messages refused in the rounds that were evaluated"""
    silence: float
    """seconds since its last line"""
    state: str
    """not begun, running, late, ended or failed"""


_ENDS = {"end": "ended", "failed": "failed", "stopped": "stopped"}


@dataclass(slots=True)
class Tail:
    """The end of one rank's file, and what was in it so far."""

    path: Path
    offset: int = 0
    rest: bytes = b""
    """a line that is not whole yet"""
    start: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)
    state: str = "running"
    refused: int = 0
    changed: float = 0.0

    def look(self) -> None:
        """Read what was appended; from the beginning if the file was replaced by a shorter one."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self.offset:
                    self._forget()
                file.seek(self.offset)
                new = file.read()
            self.changed = self.path.stat().st_mtime
        except OSError:  # a file server hiccups: look again next time
            return
        self.offset += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        for line in lines:
            self._take(line)

    def _forget(self) -> None:
        self.offset, self.rest, self.refused, self.state = 0, b"", 0, "running"
        self.start, self.last = {}, {}

    def _take(self, line: bytes) -> None:
        try:
            value = json.loads(line)
            event = value["event"]
        except (ValueError, TypeError, KeyError):  # torn: the next one may be whole
            return
        if event == "start":
            self.start, self.state = value, "running"
        elif event == "round":
            self.last = value
            self.refused += value.get("refused") or 0
        elif event in _ENDS:
            self.state = _ENDS[event]


class Watcher:
    """A run's ranks; ``look`` as often as wanted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.config: dict[str, Any] = {}
        self._tails: dict[int, Tail] = {}

    def look(self) -> list[RankState]:
        """How all ranks are doing now, ascending; none if nothing was written yet.

        Raises ResultsError where there is no such folder.
        """
        for rank, path in list_ranks(self.place).items():
            self._tails.setdefault(rank, Tail(path)).look()
        if not self._tails:
            return []
        self.config = self.config or read_config(self.place)
        furthest = max(tail.last.get("round", -1) for tail in self._tails.values())
        size = max(int(self.config.get("ranks", 0)), 1 + max(self._tails))
        return [self._state(rank, furthest) for rank in range(size)]

    def _state(self, rank: int, furthest: int) -> RankState:
        tail = self._tails.get(rank)
        if tail is None or not tail.start:
            return RankState(rank, f"rank {rank}", False, -1, nan, nan, None, 0, nan, "not begun")
        last = tail.last
        reached = last.get("round", -1)
        late = tail.state == "running" and furthest - reached > int(self.config.get("eval_every", 1))
        return RankState(
            rank=rank,
            label=str(tail.start.get("label", rank)),
            byzantine=bool(tail.start.get("byzantine")),
            round=reached,
            loss=_number(last.get("loss")),
            error=_number(next((last[name] for name in HEADLINES if name in last), None)),
            least=_least(tail.start.get("sources", []), last.get("trust", []), reached),
            refused=tail.refused,
            silence=max(0.0, time.time() - tail.changed),
            state="late" if late else tail.state,
        )


def latest(place: str | Path) -> list[RankState]:
    """How the ranks of a run are doing now; none if nothing was written yet."""
    return Watcher(Path(place)).look()


def watch_run(run_folder: str, once: bool) -> None:
    """Show a table, renewed every second until all ranks have ended or failed, or Ctrl-C; or show it ``once``.

    Where there is no terminal, the table comes at the end only.
    """
    console = terminal()
    watcher = Watcher(Path(run_folder))
    if once or not console.is_terminal:
        if not once:
            _follow(watcher, lambda _: None)
        console.print(_render(watcher, watcher.look()))
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        _follow(watcher, lambda states: live.update(_render(watcher, states), refresh=True))


def _follow(watcher: Watcher, show: Callable[[list[RankState]], None]) -> None:
    """Look and show until nothing more can come."""
    try:
        while True:
            states = watcher.look()
            show(states)
            if states and all(state.state in ("ended", "failed") for state in states):
                return
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        return


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else nan


def _least(sources: Sequence[int], trust: Sequence[float | None], reached: int) -> tuple[int, float] | None:
    """The source with the least trust; None before the first round and where all are trusted wholly."""
    if reached <= 0 or len(trust) != len(sources):
        return None
    known = [(float(value), source) for source, value in zip(sources, trust, strict=True) if value is not None]
    value, source = min(known, default=(1.0, -1))
    return (source, value) if value < 1 else None


def _chosen(states: Sequence[RankState]) -> list[RankState]:
    """All ranks, or of many the slowest, the honest ones with the highest error, and those that failed."""
    if len(states) <= MANY:
        return list(states)
    going = sorted((one for one in states if one.state not in ("ended", "failed")), key=lambda one: one.round)
    judged = sorted((one for one in states if not one.byzantine and not isnan(one.error)), key=lambda one: -one.error)
    failed = [one for one in states if one.state == "failed"]
    return sorted({*going[:FEW], *judged[:FEW], *failed[:FEW]}, key=lambda one: one.rank)


def _summary(watcher: Watcher, states: Sequence[RankState], shown: int) -> str:
    count = Counter(state.state for state in states)
    words = ", ".join(f"{count[name]} {name}" for name in sorted(count))
    errors = [state.error for state in states if not state.byzantine and not isnan(state.error)]
    mean = f"; mean error of honest ranks {number(sum(errors) / len(errors))}" if errors else ""
    chosen = "" if shown == len(states) else f"; shown are {shown}: the slowest, the worst and the failed"
    return f"{watcher.place}: {len(states)} ranks, {words}{mean}{chosen}"


def _render(watcher: Watcher, states: Sequence[RankState]) -> Table | str:
    from rich import box
    from rich.table import Table

    if not states:
        return f"{watcher.place}: no rank has written anything yet"
    chosen = _chosen(states)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0, caption_justify="left")
    table.caption = _summary(watcher, states, len(chosen))
    table.add_column("task", overflow="fold", min_width=8, max_width=24)
    for head in ("rank", "round", "loss", "error", "distrusts", "refused", "silent"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    liars = {state.rank for state in states if state.byzantine}
    for one in chosen:
        style = {"failed": "red", "late": "yellow", "ended": "green"}.get(one.state, "")
        table.add_row(*_cells(watcher, one, liars), style=style)
    return table


def _cells(watcher: Watcher, one: RankState, liars: set[int]) -> list[str]:
    mark = ""
    if one.least:
        mark = f"{one.least[0]}{' liar' if one.least[0] in liars else ''} {one.least[1]:.2f}"
    return [
        one.label + (" (liar)" if one.byzantine else ""),
        str(one.rank),
        f"{max(one.round, 0)}/{watcher.config.get('rounds', '?')}",
        *("" if isnan(value) else number(value) for value in (one.loss, one.error)),
        mark,
        str(one.refused),
        f"{one.silence:.0f} s" if one.state in ("running", "late") else "",
        one.state,
    ]
