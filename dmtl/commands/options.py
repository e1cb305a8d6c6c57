"""The options that describe a run, and what they say as a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["experiment", "reader"]

F = TypeVar("F", bound=Callable[..., Any])

_PIECE = "NAME[:KEY=VALUE,...]"


def experiment(function: F) -> F:
    """The options that describe a run; given once for all commands that take them."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = [
    click.option("--config", metavar="FILE", help="Read settings from a TOML file; flags override it."),
    click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override one setting: --set algorithm.step_size=0.1.",
    ),
    click.option("--data", metavar=_PIECE, help="Whose data; a user's own: file:PATH."),
    click.option(
        "--shift", metavar=_PIECE, help="A change of features that differs from rank to rank: rotation, noise."
    ),
    click.option("--features", metavar=_PIECE, help="Features made of the data's, for kernels; left out: as they are."),
    click.option("--task", metavar=_PIECE, help="Loss; left out, it follows from the data."),
    click.option("--tasks", metavar="LIST", help="Which natural tasks to take, such as 0-7 or 0,3,5-9."),
    click.option(
        "--partition",
        metavar=_PIECE,
        multiple=True,
        help="How the data are spread over the ranks; left out: natural tasks, or iid. With an @ it is a --split.",
    ),
    click.option("--test", metavar="SHARE", type=float, help="Share of each rank's data kept for testing."),
    click.option(
        "--held-out",
        metavar="SHARE",
        type=float,
        help="Share of the training data kept for tuning and screens; a screen that needs some takes 0.3 if it is 0.",
    ),
    click.option("--stream", type=int, metavar="ROWS", help="Learn online: so many new rows a round, tested on first."),
    click.option("--private", metavar="LAYERS", help="Layers that stay at home: head, or hidden2,head."),
    click.option("--topology", metavar=_PIECE, help="Graph; a file: file:PATH."),
    click.option("--weights", metavar="NAME", help="Mixing weights."),
    click.option("--time-varying", metavar=_PIECE, help="Which links of the graph are in use in a round."),
    click.option("--algorithm", metavar=_PIECE, help="Method."),
    click.option("--compress", "compressor", metavar=_PIECE, help="Make messages shorter, at the cost of exactness."),
    click.option(
        "--screen", metavar="PIECE[+PIECE]", help="Robust average, or auto; pre-screens in front, joined by +."
    ),
    click.option(
        "--byzantine",
        metavar="COUNT|RANKS",
        help="How many ranks lie (placed by the seed), or which: 3,7 or 3, for one.",
    ),
    click.option("--attack", metavar=_PIECE, help="What Byzantine ranks send."),
    click.option("--poison", metavar=_PIECE, help="What Byzantine ranks do to their own data."),
    click.option("--rounds", type=int, help="Exchanges with the neighbours."),
    click.option(
        "--stop", metavar="gap=VALUE", help="Stop as soon as the objective is proven to be that near to its least."
    ),
    click.option("--eval-every", type=int, metavar="ROUNDS", help="Rounds between evaluations."),
    click.option("--seed", type=int, help="Seed of every random draw."),
    click.option("--dtype", type=click.Choice(["float64", "float32"]), help="Precision of models and messages."),
    click.option("--ranks", type=int, help="Number of ranks in the simulator; under MPI a check."),
    click.option(
        "--transport",
        type=click.Choice(["auto", "sync", "async", "simulated", "simulated-async"]),
        help="auto: sync under mpirun, else simulated.",
    ),
    click.option("--link", metavar="SPEC", help="delay=SECONDS,jitter=SECONDS,drop=PROBABILITY,age=ROUNDS."),
    click.option(
        "--split",
        "splits",
        metavar="GROUPS@FIRST-END",
        multiple=True,
        help="Cut the network for some rounds: 0-4|5-9@100-200.",
    ),
    click.option("--join", metavar="RANK@ROUND", help="Ranks that come later: 3@100."),
    click.option("--slow", metavar="RANK:TIMESx", help="Ranks that take longer for a round: 3:10x."),
    click.option("--pace", type=float, metavar="SECONDS", help="What a round takes at least."),
    click.option("--max-age", type=int, metavar="ROUNDS", help="async: an older word counts as none; 0: never."),
    click.option("--seconds", type=float, metavar="SECONDS", help="async: stop after so long; 0: after the rounds."),
    click.option("--force/--no-force", default=None, help="Run a screen where it cannot hold, and mark the results."),
    click.option("--on-failure", type=click.Choice(["abort", "continue"]), help="What an exception on one rank means."),
    click.option("--patience", type=float, metavar="SECONDS", help="Give up who does not answer; 0: never."),
    click.option("--checkpoint-every", type=int, metavar="ROUNDS", help="Save the state so often, to resume from."),
    click.option("--name", metavar="NAME", help="Results go to runs/NAME-HASH."),
    click.option("--out", metavar="DIR", help="Results go into this folder instead."),
    click.option("--overwrite/--no-overwrite", default=None, help="Replace results that are there."),
    click.option(
        "--stall-warn", type=float, metavar="SECONDS", help="Say for whom a rank waits after so long; 0: never."
    ),
    click.option("--trace/--no-trace", default=None, help="Write every message to rank-NNNN.trace.jsonl."),
]


def reader(flags: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Put file, flags and assignments together when called."""
    from dmtl.config import combine, read_file

    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    path, assignments, resume = given.pop("config", None), given.pop("assignments", ()), given.pop("resume", None)

    def read() -> dict[str, Any]:
        file = read_file(path) if path else {}
        if resume:
            from pathlib import Path

            from dmtl.resume import settings_of

            file = {**settings_of(Path(resume)), **file, "out": resume}
        return combine(file, _with_liars(_with_splits(given)), assignments)

    return read


def _with_splits(given: dict[str, Any]) -> dict[str, Any]:
    """Tell the two meanings of --partition apart: data never have an @ in them."""
    parts, splits = given.get("partition", ()), list(given.get("splits", ()))
    splits += [part for part in parts if "@" in part]
    pieces = [part for part in parts if "@" not in part]
    plain = {key: value for key, value in given.items() if key not in ("partition", "splits")}
    return {**plain, **({"partition": pieces[-1]} if pieces else {}), **({"splits": splits} if splits else {})}


def _with_liars(given: dict[str, Any]) -> dict[str, Any]:
    """Make the three flags about liars one group."""
    from dmtl.errors import ConfigError

    plain = dict(given)
    text, attack, poison = (plain.pop(key, None) for key in ("byzantine", "attack", "poison"))
    if text is None:
        if attack or poison:
            raise ConfigError("--attack and --poison say what liars do; add --byzantine COUNT or --byzantine RANKS.")
        return plain
    group: dict[str, Any] = {"attack": attack, "poison": poison}
    try:
        if "," in text:
            group["ranks"] = [int(part) for part in text.split(",") if part.strip()]
        else:
            group["count"] = int(text)
    except ValueError:
        raise ConfigError(
            f"--byzantine is {text!r}. Give a number of liars, 2, or ranks, 3,7 (one rank: 3,)."
        ) from None
    plain["byzantine"] = [group] if group.get("ranks") or group.get("count") else []
    return plain
