"""Taking up a run: is it the same one, and from which round can all ranks go on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmtl.build import Plan
from dmtl.checkpoints import common
from dmtl.config import identity, load, read_file
from dmtl.errors import ConfigError, ResultsError
from dmtl.results import folder, read_log

__all__ = ["check_identity", "check_same", "laggards", "settings_of"]


def settings_of(place: Path) -> dict[str, Any]:
    """The settings of the run in a folder; raises ResultsError where there is none."""
    file = place / "config.toml"
    if not file.is_file():
        raise ResultsError(f"--resume {place}: there is no run in it. Give the folder of a run, with its config.toml.")
    try:
        settings = read_file(str(file))
    except ConfigError:
        settings = {}
    if "rounds" not in settings:
        raise ResultsError(f"--resume {place}: its config.toml is torn. Start a new run.")
    return settings


def check_same(place: Path, job: Plan) -> None:
    """Raise ResultsError if ``job`` is not the run in that folder, or shorter; more rounds are more of the same."""
    config, before = job.config, load(settings_of(place))
    if folder(config) != place:
        raise ResultsError(
            f"--resume {place}: a run goes on in its own folder, not in {folder(config)}. Leave out --out."
        )
    if config.rounds < before.rounds:
        raise ResultsError(f"--resume {place}: that run has {before.rounds} rounds, and {config.rounds} were given.")
    now, was = ({**identity(each), "ranks": each.ranks, "rounds": 0} for each in (config, before))
    for key in {**was, **now}:
        if now.get(key) != was.get(key):
            raise ResultsError(
                f"--resume {place}: that run has {key} = {getattr(before, key)!r}, not {getattr(config, key)!r}. "
                f"Leave it out, or start a new run."
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
