"""Reading a run back from the ranks' own files: no rank is a master, and a missing or torn file costs one warning."""

from __future__ import annotations

import re
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ResultsError
from dmtl.results import read_log
from dmtl.types import Vec

__all__ = ["Column", "RankRun", "Run", "list_ranks", "read_config", "read_run", "spec_text"]

Column = NDArray[np.float64]
"""(e,) a number per evaluation, or (e, k) one per evaluation and in-neighbour; NaN where the file has none"""

PER_LINK = ("trust", "distance", "age")
"""columns with an entry per in-neighbour, in the order of ``sources``"""


class Start(msgspec.Struct, frozen=True):
    """What must be in a rank's first line."""

    label: str
    byzantine: bool
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    message: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RankRun:
    """What one rank wrote down."""

    rank: int
    label: str
    byzantine: bool
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    talks: bool
    """whether its method sends messages at all"""
    start: Mapping[str, Any]
    """its first line: host, versions, job .."""
    table: Mapping[str, Column]
    """a column per number that it reported, a row per evaluation"""
    verdicts: tuple[tuple[str, ...], ...]
    """for each evaluation a word or two per in-neighbour, as ``dmtl.verdicts.words``; empty where there are none"""
    ended: bool
    failed: str
    """why it gave up; empty if it did not"""
    seconds: float
    model: Vec | None
    """(d,) its final model, if it was saved"""

    def last(self, key: str) -> float | None:
        """The last value of a number; None if it never reported one."""
        column = self.table.get(key)
        return float(column[-1]) if column is not None and len(column) else None

    @property
    def trust(self) -> Column:
        """(k,) the trust in each in-neighbour when it was last judged; NaN where none ever was."""
        judged = self.talks & (self.table["round"] > 0) if {"trust", "round"} <= set(self.table) else np.zeros(0, bool)
        places = np.flatnonzero(judged)
        rows = self.table["trust"][places] if len(places) else np.zeros((0, len(self.sources)))
        known = np.flatnonzero(np.isfinite(rows).any(axis=1))
        last: Column = rows[known[-1]] if len(known) else np.full(len(self.sources), np.nan)
        return last

    @property
    def round(self) -> int:
        """The last round that it evaluated; -1 if none."""
        last = self.last("round")
        return -1 if last is None else int(last)


@dataclass(frozen=True, slots=True)
class Run:
    """What all ranks of a run wrote down."""

    place: Path
    config: Mapping[str, Any]
    """config.toml as it is"""
    size: int
    """number of ranks that took part"""
    ranks: tuple[RankRun, ...]
    """those whose files could be read, ascending"""
    liars: tuple[int, ...]
    """the Byzantine ranks, whether or not their files could be read"""
    warnings: tuple[str, ...]

    @property
    def honest(self) -> tuple[RankRun, ...]:
        """The ranks that count."""
        return tuple(rank for rank in self.ranks if rank.rank not in self.liars)

    @property
    def algorithm(self) -> str:
        """Name of its method; empty if config.toml is lost."""
        return str(self.config.get("algorithm", {}).get("name", ""))


def list_ranks(place: Path) -> dict[int, Path]:
    """The ranks' files of lines, by rank; raises ResultsError where there is no such folder."""
    if not place.is_dir():
        raise ResultsError(
            f"{place} is not a run folder. Give the folder that 'dmtl run' named, such as runs/NAME-HASH."
        )
    names = ((re.fullmatch(r"rank-(\d+)\.jsonl", path.name), path) for path in place.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in names if match))


def read_config(place: Path) -> dict[str, Any]:
    """config.toml as a plain table; empty where there is none or it is not whole."""
    try:
        return tomllib.loads((place / "config.toml").read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def spec_text(spec: Mapping[str, Any] | None) -> str:
    """A piece as it is written on the command line: ``name:key=value,...``."""
    if not spec:
        return ""
    given = {key: value for key, value in spec.items() if key != "name"}
    words = {key: f"({spec_text(value)})" if isinstance(value, Mapping) else str(value) for key, value in given.items()}
    settings = ",".join(f"{key}={text}" for key, text in words.items())
    return f"{spec['name']}:{settings}" if settings else str(spec["name"])


def read_run(folder: str | Path) -> Run:
    """Read a run's folder; raises ResultsError if there is none, or nothing of any rank in it."""
    place = Path(folder)
    files = list_ranks(place)
    if not files:
        raise ResultsError(f"{place} has no rank files (rank-0000.jsonl ..). Give the folder of a run that has begun.")
    config, warnings = read_config(place), list[str]()
    if not config:
        warnings.append(f"{place}: config.toml is missing or torn; what was run is not known.")
    ranks = tuple(rank for rank in (_read_rank(place, *item, warnings) for item in files.items()) if rank)
    if not ranks:
        raise ResultsError(f"{place}: no rank's file has a first line that can be read. Run the experiment again.")
    liars = {int(rank) for group in config.get("byzantine", []) for rank in group.get("ranks", [])}
    liars |= {rank.rank for rank in ranks if rank.byzantine}
    size = max(int(config.get("ranks", 0)), 1 + max(files))
    warnings += _missing(place, size, files, ranks)
    return Run(place, config, size, ranks, tuple(sorted(liars)), tuple(warnings))


def _missing(place: Path, size: int, files: Iterable[int], ranks: tuple[RankRun, ...]) -> list[str]:
    """A line for each thing that ranks may lack, however many they are."""
    lost = sorted(set(range(size)) - set(files))
    failed = [rank for rank in ranks if rank.failed]
    going = [rank.rank for rank in ranks if not (rank.failed or rank.ended)]
    torn = [rank.rank for rank in ranks if rank.ended and rank.model is None]
    found = [f"{place}: no file of {_name(lost)}; the numbers are without."] if lost else []
    if failed:
        first = failed[0]
        found.append(
            f"{place}: {_name([rank.rank for rank in failed])} failed, rank {first.rank} after the evaluation of "
            f"round {first.round}: {first.failed}"
        )
    if going:
        found.append(f"{place}: {_name(going)} did not end; the numbers are of the last evaluations.")
    if torn:
        found.append(f"{place}: the final model of {_name(torn)} is missing or torn.")
    return found


def _name(ranks: list[int]) -> str:
    """Ranks in words, at most eight of them by number."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    more = f" and {len(ranks) - 8} more" if len(ranks) > 8 else ""
    return f"ranks {', '.join(map(str, ranks[:8]))}{more}"


def _read_rank(place: Path, rank: int, path: Path, warnings: list[str]) -> RankRun | None:
    lines, torn = read_log(path)
    if torn:
        warnings.append(f"{path}: {torn} torn line{'s' if torn > 1 else ''} left out.")
    starts = [number for number, line in enumerate(lines) if line["event"] == "start"]
    head: dict[str, Any] = lines[starts[-1]] if starts else {}
    since = lines[starts[-1] :] if starts else []  # a run that was resumed has begun more than once
    try:
        start = msgspec.convert(head, Start)
    except msgspec.ValidationError:
        warnings.append(f"{path}: its first line cannot be read; rank {rank} is left out.")
        return None
    end: dict[str, Any] = next((line for line in since if line["event"] == "end"), {})
    rows, k = _evaluations(lines), len(start.sources)
    table = _table(rows, k)
    seconds = end.get("seconds") or (float(table["seconds"][-1]) if "seconds" in table else 0.0)
    return RankRun(
        rank=rank,
        label=start.label,
        byzantine=start.byzantine,
        sources=start.sources,
        targets=start.targets,
        talks=start.message[0] > 0,
        start=head,
        table=table,
        verdicts=tuple(_verdicts(row.get("verdicts"), k) for row in rows),
        ended=bool(end),
        failed=next((str(line.get("error")) for line in since if line["event"] == "failed"), ""),
        seconds=float(seconds),
        model=_read_model(place / f"rank-{rank:04d}.npz"),
    )


def _evaluations(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each round, in ascending order."""
    by_round = {
        line["round"]: line for line in lines if line["event"] == "round" and isinstance(line.get("round"), int)
    }
    return [by_round[number] for number in sorted(by_round)]


def _verdicts(words: Any, k: int) -> tuple[str, ...]:
    whole = isinstance(words, list) and len(words) == k
    return tuple(str(word) for word in words) if whole else ()


def _table(rows: list[dict[str, Any]], k: int) -> dict[str, Column]:
    """Lines as columns."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("event", "verdicts"))
    return {key: _links(rows, key, k) if key in PER_LINK else _numbers(rows, key) for key in keys}


def _numbers(rows: list[dict[str, Any]], key: str) -> Column:
    values = [row.get(key) for row in rows]
    return np.array([value if isinstance(value, int | float) else np.nan for value in values], dtype=np.float64)


def _links(rows: list[dict[str, Any]], key: str, k: int) -> Column:
    table = np.full((len(rows), k), np.nan)
    for number, row in enumerate(rows):
        values = row.get(key) or []
        if len(values) == k:
            table[number] = [np.nan if value is None else value for value in values]
    return table


def _read_model(path: Path) -> Vec | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            model: Vec = np.asarray(arrays["model.x"], dtype=np.float64)
            return model
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
