"""Taking up a run: is it the same one, and from which round can all ranks go on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dmtl.build import Plan
from dmtl.checkpoints import common
from dmtl.config import HOUSEKEEPING, Config, load, read_file
from dmtl.errors import ResultsError
from dmtl.results import read_log

__all__ = ["check_identity", "check_same", "laggards", "settings_of"]


def settings_of(place: Path) -> dict[str, Any]:
    """The settings of the run in a folder; raises ResultsError where there is none."""
    if not (place / "config.toml").is_file():
        raise ResultsError(f"--resume {place}: there is no run in it. Give the folder of a run, with its config.toml.")
    return read_file(str(place / "config.toml"))


def check_same(place: Path, job: Plan) -> None:
    """Raise ResultsError if ``job`` is not the run in that folder, or shorter; more rounds are more of the same."""
    before = load(settings_of(place))
    if job.config.rounds < before.rounds:
        raise ResultsError(
            f"--resume {place}: that run has {before.rounds} rounds, and {job.config.rounds} were given."
        )
    for key, value in _settings(job.config).items():
        was = _settings(before)[key]
        if key != "rounds" and value != was:
            raise ResultsError(
                f"--resume {place}: that run has {key} = {was!r}, not {value!r}. Leave it out, or start a new run."
            )


def check_identity(place: Path, rank: int, identity: str) -> None:
    """Raise ResultsError if the data or the graph are no longer those that this rank began with."""
    lines, _ = read_log(place / f"rank-{rank:04d}.jsonl")
    known = next((line.get("identity") for line in lines if line["event"] == "start"), None)
    if known and identity != known:
        raise ResultsError(f"--resume {place}: data or graph are not those of that run. Bring back the files it read.")


def laggards(rounds: Sequence[Sequence[int]]) -> Mapping[int, int]:
    """rank -> the round of its own last state, of those ranks that lack the one from which all go on.

    ``rounds[r]`` are those that rank r has.
    """
    start = common(rounds)
    own = {rank: max((known for known in mine if known <= start), default=0) for rank, mine in enumerate(rounds)}
    return {rank: round for rank, round in own.items() if round != start}


def _settings(config: Config) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(config)
    return {key: value for key, value in plain.items() if key not in HOUSEKEEPING}
