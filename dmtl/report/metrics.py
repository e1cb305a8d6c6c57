"""What a run was worth: the numbers of the report, from what the ranks wrote down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf, isnan

import numpy as np
from numpy.typing import NDArray

from dmtl.report.reading import Column, RankRun, Run, spec_text
from dmtl.report.stream import online
from dmtl.report.summary import Outcome, Series, Summary
from dmtl.report.verdicts import tally

__all__ = ["HEADLINES", "compare", "metric", "summarise"]

HEADLINES = ("test_error", "test_rmse", "test_loss")
"""the metric that a run is judged by is the first of these that its ranks report"""

DATA = ("data", "tasks", "partition", "shift", "test", "held_out", "standardise", "seed", "ranks")
"""settings that two runs must share before their errors are of the same people, rows and split"""


def compare(runs: Sequence[Run]) -> tuple[list[Summary], list[str]]:
    """A summary of each run, with gains against the run alone that fits it best, and all warnings."""
    warnings = [warning for run in runs for warning in run.warnings]
    titles = _titles(runs)
    alone = [number for number, run in enumerate(runs) if run.algorithm == "local"]
    summaries = []
    for number, run in enumerate(runs):
        same = [other for other in alone if not _differences(runs[other], run)]
        like = [other for other in same if runs[other].config.get("features") == run.config.get("features")]
        chosen = next(iter([*like, *same, *alone]), 0)
        if differ := _differences(runs[chosen], run):
            warnings.append(
                f"{titles[number]} and {titles[chosen]} differ in {', '.join(differ)}: their errors are not of the "
                f"same data, and comparing them says little about the methods."
            )
        reference = runs[chosen] if alone and number not in alone else None
        summary = summarise(run, reference)
        if summary.online and summary.online.lack:
            warnings.append(f"{titles[number]}: no regret, because {summary.online.lack}.")
        against = titles[chosen] if reference else None
        summaries.append(replace(summary, name=titles[number], alone=against))
    return summaries, warnings


def summarise(run: Run, reference: Run | None = None) -> Summary:
    """The numbers of one run; gains are against ``reference``, the run without messages."""
    outcomes = _outcomes(run, reference)
    honest = [outcome for outcome in outcomes if not outcome.byzantine]
    judged = [outcome for outcome in honest if outcome.error is not None]
    worst = max(judged, key=_badness, default=None)
    gains = [outcome.gain for outcome in honest if outcome.gain is not None]
    series = _series(run)
    return Summary(
        name=run.place.name,
        folder=str(run.place),
        algorithm=spec_text(run.config.get("algorithm")),
        features=spec_text(run.config.get("features")),
        screen="+".join(map(spec_text, run.config.get("screen", []))),
        attack=_attack(run),
        liars=len(run.liars),
        ranks=run.size,
        missing=run.size - len(run.ranks),
        rounds=run.config.get("rounds"),
        reached=min(rank.round for rank in run.ranks),
        metric=metric(run),
        error=_mean(outcome.error for outcome in judged),
        worst=worst.error if worst else None,
        worst_rank=worst.rank if worst else None,
        loss=_mean(outcome.loss for outcome in honest),
        alone=reference.place.name if reference else None,
        gain=_mean(gains),
        gained=sum(gain > 0 for gain in gains) if gains else None,
        lost=sum(not gain >= 0 for gain in gains) if gains else None,  # NaN: its model is gone
        disagreement=next((value for value in reversed(series.disagreement) if not isnan(value)), None),
        consensus=_consensus(run),
        trust_honest=_trust(run, byzantine=False),
        trust_liars=_trust(run, byzantine=True),
        verdicts=tally(run),
        refused=int(sum(np.nansum(rank.table.get("refused", ())) for rank in run.honest)),
        bytes_per_rank=_mean(rank.last("bytes") for rank in run.honest),
        bytes_per_link=_bytes_per_link(run),
        seconds=max(rank.seconds for rank in run.ranks),
        outcomes=outcomes,
        series=series,
        online=online(run),
    )


def metric(run: Run) -> str:
    """The first of HEADLINES that an honest rank reports; empty if the run has none."""
    return next((name for name in HEADLINES if any(name in rank.table for rank in run.honest)), "")


def _titles(runs: Sequence[Run]) -> list[str]:
    """The runs' names; where two have the same, their folders'; where these are the same too, their paths."""
    titles = [str(run.config.get("name") or run.place.name) for run in runs]
    for other in (lambda run: run.place.name, lambda run: str(run.place)):
        count = Counter(titles)
        titles = [other(run) if count[title] > 1 else title for run, title in zip(runs, titles, strict=True)]
    return titles


def _differences(one: Run, other: Run) -> list[str]:
    """Settings of the data that are not the same; none where a configuration is lost."""
    both = one.config and other.config
    return [key for key in DATA if one.config.get(key) != other.config.get(key)] if both else []


def _attack(run: Run) -> str:
    lies = [spec_text(group.get(kind)) for group in run.config.get("byzantine", []) for kind in ("attack", "poison")]
    return " ".join(dict.fromkeys(filter(None, lies)))


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of what there is, None if nothing; one NaN makes it NaN."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _badness(outcome: Outcome) -> float:
    """An error that is no number is the worst of all."""
    return inf if outcome.error is None or isnan(outcome.error) else outcome.error


def _outcomes(run: Run, reference: Run | None) -> tuple[Outcome, ...]:
    name = metric(run)
    alone = {rank.rank: rank.last(name) for rank in reference.honest} if reference else {}

    def outcome(rank: RankRun) -> Outcome:
        byzantine = rank.rank in run.liars
        error, before = rank.last(name), alone.get(rank.rank)
        gain = None if byzantine or error is None or before is None else before - error
        return Outcome(rank.rank, rank.label, byzantine, error, rank.last("loss"), gain)

    return tuple(outcome(rank) for rank in run.ranks)


def _links(run: Run, rank: RankRun, byzantine: bool) -> NDArray[np.bool_]:
    """(k,) which of a rank's in-neighbours are liars, or are not."""
    return np.array([(source in run.liars) is byzantine for source in rank.sources], dtype=bool)


def _trust(run: Run, byzantine: bool) -> float | None:
    """Mean trust of honest ranks in one kind of neighbours; None where nothing was said yet."""
    ranks = [rank for rank in run.honest if rank.talks and rank.round > 0]
    given = [value for rank in ranks for value in rank.trust[_links(run, rank, byzantine)] if np.isfinite(value)]
    return _mean(map(float, given))


def _consensus(run: Run) -> float | None:
    """Root mean square distance of the honest models (n, d) to their mean; None where sizes differ or none is saved."""
    models = [rank.model for rank in run.honest if rank.model is not None]
    if not models or len({model.shape for model in models}) > 1:
        return None
    stack = np.stack(models)
    with np.errstate(all="ignore"):  # a model of a run without a screen may be enormous
        return float(np.sqrt(np.mean(np.sum((stack - stack.mean(axis=0)) ** 2, axis=1))))


def _bytes_per_link(run: Run) -> float | None:
    """Bytes of all honest ranks by the messages that they sent."""
    messages = sum(len(rank.targets) * max(rank.round, 0) for rank in run.honest)
    return sum(rank.last("bytes") or 0.0 for rank in run.honest) / messages if messages else None


def _series(run: Run) -> Series:
    name = metric(run)
    rounds = sorted({int(number) for rank in run.honest for number in rank.table.get("round", ())})
    squares = [_squares(run, rank) for rank in run.honest]
    columns = [_by_round(run, rounds, [rank.table.get(key) for rank in run.honest]) for key in ("loss", name)]
    disagreement = np.sqrt(_by_round(run, rounds, squares))
    loss, error, apart = (tuple(column.tolist()) for column in (*columns, disagreement))
    return Series(tuple(rounds), loss, error, apart)


def _squares(run: Run, rank: RankRun) -> Column | None:
    """(e, k') squared distances to the honest neighbours; NaN where nothing was heard."""
    if "distance" not in rank.table:
        return None
    heard = rank.table["age"] >= 0
    with np.errstate(over="ignore"):  # infinity is left out of the means
        squares = np.where(heard, rank.table["distance"] ** 2, np.nan)
    return squares[:, _links(run, rank, byzantine=False)]


def _by_round(run: Run, rounds: Sequence[int], columns: Sequence[Column | None]) -> Column:
    """Mean per round over the entries of all honest ranks that are numbers; NaN where there are none."""
    place = {number: row for row, number in enumerate(rounds)}
    total, count = np.zeros(len(rounds)), np.zeros(len(rounds))
    for rank, column in zip(run.honest, columns, strict=True):
        if column is None:
            continue
        rows = [place[int(number)] for number in rank.table["round"]]
        wide = column.reshape(len(column), -1) if column.size else np.empty((len(column), 0))
        sound = np.isfinite(wide)
        total[rows] += np.where(sound, wide, 0).sum(axis=1)
        count[rows] += sound.sum(axis=1)
    mean: Column = np.divide(total, count, out=np.full(len(rounds), np.nan), where=count > 0)
    return mean
