"""The numbers of the report: what is in ``dmtl report --json``, key by key.

Byzantine ranks are in no mean: their files say what their honest code would have done. All errors are test errors at
the last evaluation, and lower is better. None is not known, NaN is not finite; JSON has null for both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

__all__ = ["Online", "Outcome", "Series", "Spread", "Summary", "Verdicts"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rank's end; a key each in the JSON."""

    rank: int
    label: str
    """what its task is called in the data"""
    byzantine: bool
    error: float | None
    """the run's ``metric`` at the last evaluation; on a Byzantine rank that of its own honest model"""
    loss: float | None
    """training loss at the last evaluation"""
    gain: float | None
    """error alone - error, above 0 where talking helped; None without a run alone or on a Byzantine rank"""


@dataclass(frozen=True, slots=True)
class Series:
    """By round, over the honest ranks that wrote of that round; equally long."""

    rounds: tuple[int, ...]
    loss: tuple[float, ...]
    """mean training loss"""
    error: tuple[float, ...]
    """mean ``metric``"""
    disagreement: tuple[float, ...]
    """root mean square distance between the vectors that linked honest ranks had before they mixed them"""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the messages to honest ranks in the rounds that were evaluated; a key each in the JSON."""

    honest: dict[str, int]
    """number of messages of honest neighbours by verdict: 'kept', 'clipped: far', 'rejected: absent' .."""
    liars: dict[str, int]
    """the same of Byzantine neighbours"""
    false_rejects: float | None
    """share that was rejected of the honest messages that came; None if none came"""
    false_accepts: float | None
    """share that was used, whole or in part, of the liars' messages that came; None if none came"""


@dataclass(frozen=True, slots=True)
class Spread:
    """By round, over the honest ranks that wrote of that round; equally long."""

    rounds: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Online:
    """What became of a stream: rows are predicted before they are learnt from; a key each in the JSON."""

    rows: int
    """how many rows the honest ranks were tested on, all together"""
    error: float | None
    """share of rows taken for another class, or mean squared error, up to the last evaluation; mean of the ranks"""
    worst: float | None
    """that of the worst rank"""
    worst_rank: int | None
    recent: float | None
    """the same over the rows of the last 50 rounds; mean of the ranks"""
    loss: float | None
    """sum of the losses of all these rows, without a ridge"""
    regret: float | None
    """``loss`` less the least that one model for all ranks would have had that never changes; below 0 where tasks
    differ and each rank learns its own"""
    regret_own: float | None
    """``loss`` less the least with a model for each rank that never changes"""
    lack: str
    """why there is no regret; empty where there is"""
    cumulative: Spread
    """``error`` by round"""
    windowed: Spread
    """``recent`` by round"""


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers; a key each in the JSON. Means are over honest ranks only;"""

    name: str
    """the run's name, or its folder's where two runs share the name"""
    folder: str
    algorithm: str
    features: str
    """the map that makes features of the data's; empty: as they are"""
    screen: str
    """pre-screens in front, joined by +"""
    attack: str
    """what the liars do: attacks and poisons; empty without liars"""
    liars: int
    """number of Byzantine ranks"""
    ranks: int
    missing: int
    """ranks of which no file could be read"""
    rounds: int | None
    """rounds that were asked for"""
    reached: int
    """the earliest last evaluation of any rank: below ``rounds`` in a run that has not ended"""
    metric: str
    """what ``error`` is: test_error, test_rmse .."""
    error: float | None
    """mean"""
    worst: float | None
    """highest error of an honest rank"""
    worst_rank: int | None
    loss: float | None
    """mean training loss at the last evaluation"""
    alone: str | None
    """name of the run without messages that gains are against"""
    gain: float | None
    """mean of error alone - error over the ranks that are honest in both runs"""
    gained: int | None
    """ranks that are better than alone"""
    lost: int | None
    """ranks that are worse than alone: negative transfer"""
    disagreement: float | None
    """``disagreement`` of the series at the last round"""
    consensus: float | None
    """root mean square distance of the honest ranks' final models to their mean"""
    trust_honest: float | None
    """mean share that honest ranks let through of honest neighbours at the last evaluation"""
    trust_liars: float | None
    """the same of Byzantine neighbours"""
    verdicts: Verdicts | None
    """None where the files have none: a method that does not talk, or results of an earlier version"""
    refused: int
    """messages that honest ranks refused in the rounds that were evaluated; those in between are not on file"""
    bytes_per_rank: float | None
    """bytes that an honest rank sent in the whole run"""
    bytes_per_link: float | None
    """bytes of one message: over one link in one round"""
    seconds: float
    """wall time of the slowest rank"""
    outcomes: tuple[Outcome, ...]
    series: Series
    online: Online | None = None
    """None for a run that did not learn from a stream"""

    def plain(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
