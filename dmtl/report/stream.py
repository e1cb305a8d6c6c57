"""Numbers of runs that learnt from a stream: errors on rows before they were learnt from, and regret."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dmtl.report.hindsight import hindsight, rows_of
from dmtl.report.reading import Column, RankRun, Run
from dmtl.report.summary import Online, Spread

__all__ = ["online"]


def online(run: Run) -> Online | None:
    """How the honest ranks did on the rows of their streams; None where there was no stream, or no row yet."""
    ranks = [rank for rank in run.honest if rank.rank in rows_of(run.honest)]
    if not ranks:
        return None
    rows = rows_of(ranks)
    losses = [rank.last("online_loss") for rank in ranks]
    loss = sum(value for value in losses if value is not None) if all(_sound(value) for value in losses) else None
    best = hindsight(run, rows)
    errors = {rank.rank: value for rank in ranks if (value := rank.last("online_error")) is not None}
    worst = max(errors, key=lambda rank: (np.isnan(errors[rank]), errors[rank]), default=None)
    return Online(
        rows=sum(rows.values()),
        error=_mean(list(errors.values())),
        worst=None if worst is None else errors[worst],
        worst_rank=worst,
        recent=_mean([value for rank in ranks if (value := rank.last("recent_error")) is not None]),
        loss=loss,
        regret=_less(loss, best.common),
        regret_own=_less(loss, best.own),
        lack=best.lack or ("" if loss is not None else "a rank's loss is not known"),
        cumulative=_spread(ranks, "online_error"),
        windowed=_spread(ranks, "recent_error"),
    )


def _sound(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _spread(ranks: Sequence[RankRun], key: str) -> Spread:
    """Mean, lowest and highest over the ranks that said something finite, by round."""
    said: dict[int, list[float]] = {}
    for rank in ranks:
        for round, value in zip(_column(rank, "round"), _column(rank, key), strict=False):
            if np.isfinite(round) and np.isfinite(value):
                said.setdefault(int(round), []).append(float(value))
    rounds = sorted(said)

    def each(measure: Callable[[list[float]], float]) -> tuple[float, ...]:
        return tuple(float(measure(said[round])) for round in rounds)

    return Spread(tuple(rounds), each(lambda values: float(np.mean(values))), each(min), each(max))


def _column(rank: RankRun, key: str) -> Column:
    return rank.table.get(key, np.zeros(0))
