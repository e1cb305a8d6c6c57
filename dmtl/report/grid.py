"""Several runs as one table: screens down, attacks across, the mean error of the honest ranks in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from dmtl.report.summary import Summary
from dmtl.report.words import short

__all__ = ["CLEAN", "Grid", "grid"]

CLEAN = "none"
"""the column of runs without liars"""


@dataclass(frozen=True, slots=True)
class Grid:
    """Errors by screen and attack; a key each in the JSON."""

    metric: str
    """what the errors are"""
    rows: tuple[str, ...]
    """screens; with their settings or the method in front where that tells them apart"""
    columns: tuple[str, ...]
    """attacks, the runs without liars first"""
    errors: tuple[tuple[float | None, ...], ...]
    """mean error of the honest ranks, a row per screen; None without a run, not finite where one came apart"""
    runs: tuple[tuple[int, ...], ...]
    """how many runs are behind each error: their mean is shown"""
    alone: tuple[float | None, ...]
    """mean error without messages of the ranks that are honest in a column; None without such a run"""
    price: tuple[float | None, ...]
    """what each screen costs where nobody lies: its error less that of the plain average with the same method"""

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def grid(summaries: Sequence[Summary]) -> Grid | None:
    """All runs but those without messages; None where no two of them share a screen or an attack."""
    runs = [summary for summary in summaries if short(summary.algorithm) != "local"]
    methods, screens = _methods(runs), _shortest([run.screen for run in runs])
    rows, columns = list(zip(methods, screens, strict=True)), _attacks(runs)
    places: dict[tuple[tuple[str, str], str], list[Summary]] = {}
    for run, row, column in zip(runs, rows, columns, strict=True):
        places.setdefault((row, column), []).append(run)
    if (
        not places
        or max(*Counter(row for row, _ in places).values(), *Counter(name for _, name in places).values()) < 2
    ):
        return None
    down = list(dict.fromkeys(rows))
    across = sorted(dict.fromkeys(columns), key=lambda name: name != CLEAN)
    errors = [[_mean(run.error for run in places.get((row, column), ())) for column in across] for row in down]
    clean = {row: _mean(run.error for run in places.get((row, CLEAN), ())) for row in down}
    return Grid(
        metric=", ".join(dict.fromkeys(run.metric for run in runs if run.metric)),
        rows=tuple(screen if len(set(methods)) == 1 else f"{method}, {screen}" for method, screen in down),
        columns=tuple(across),
        errors=tuple(map(tuple, errors)),
        runs=tuple(tuple(len(places.get((row, column), ())) for column in across) for row in down),
        alone=tuple(
            _alone([run for run, name in zip(runs, columns, strict=True) if name == column]) for column in across
        ),
        price=tuple(_less(clean[row], clean.get((row[0], "average"))) for row in down),
    )


def _methods(runs: Sequence[Summary]) -> list[str]:
    """The algorithms, with the features that they are on."""
    maps = _shortest([run.features or "" for run in runs])
    named = zip(_shortest([run.algorithm for run in runs]), runs, maps, strict=True)
    return [f"{algorithm} on {features}" if run.features else algorithm for algorithm, run, features in named]


def _attacks(runs: Sequence[Summary]) -> list[str]:
    """What the liars do, with their number where that differs from run to run."""
    lies = _shortest([run.attack.replace(" ", "+") for run in runs])
    several = len({run.liars for run in runs if run.liars}) > 1
    named = [f"{run.liars} {lie}" if several else lie for run, lie in zip(runs, lies, strict=True)]
    return [name if run.liars else CLEAN for run, name in zip(runs, named, strict=True)]


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _shortest(specs: Sequence[str]) -> list[str]:
    """Names alone where they tell the pieces apart, else whole specs."""
    meant: dict[str, set[str]] = {}
    for spec in specs:
        meant.setdefault(short(spec), set()).add(spec)
    return [short(spec) if len(meant[short(spec)]) == 1 else spec for spec in specs]


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _alone(runs: Sequence[Summary]) -> float | None:
    """Error alone is error and gain, each a mean over the honest ranks."""
    found = [run.error + run.gain for run in runs if run.error is not None and run.gain is not None]
    return _mean(value for value in found if isfinite(value))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
