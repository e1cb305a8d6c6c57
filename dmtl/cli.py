"""The commands. Each imports what it needs when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["cli"]

F = TypeVar("F", bound=Callable[..., Any])

_PIECE = "NAME[:KEY=VALUE,...]"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="dmtl")
def cli() -> None:
    """Multi-task learning without a master: each MPI rank is one task on a graph and screens what it hears.

    Start one rank per task with mpirun or srun, or try it in one process without. A piece is written NAME or
    NAME:VALUE,KEY=VALUE, such as torus:2x4 or trimmed-mean:b=1; 'dmtl list' names them all.
    """


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
    click.option("--topology", metavar=_PIECE, help="Graph; a file: file:PATH."),
    click.option("--weights", metavar="NAME", help="Mixing weights."),
    click.option("--time-varying", metavar=_PIECE, help="Which links of the graph are in use in a round."),
    click.option("--algorithm", metavar=_PIECE, help="Method."),
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


def _reader(flags: dict[str, Any]) -> Callable[[], dict[str, Any]]:
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


@cli.command()
@experiment
@click.option("--print-config", is_flag=True, help="Print the effective configuration and stop.")
@click.option("--resume", metavar="RUN", help="Go on with the run in that folder, from its last checkpoint.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings.")
def run(print_config: bool, quiet: bool, **flags: Any) -> int:
    """Run an experiment: under mpirun one rank per process, otherwise all ranks in this one."""
    from dmtl.launch import start

    settings = _reader(flags)
    if print_config:
        from dmtl.build import plan
        from dmtl.config import load, to_toml

        click.echo(to_toml(plan(load(settings())).config), nl=False)
        return 0
    return start(settings, quiet, flags.get("resume") or "")


@cli.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_pieces(kind: str | None, as_json: bool) -> None:
    """List all pieces, or those of one KIND, with a line about each."""
    from dmtl.commands.manual import print_list

    print_list(kind, as_json)


@cli.command()
@click.argument("name")
@click.option("--kind", help="Where a name means two things.")
def show(name: str, kind: str | None) -> None:
    """Show the manual page of a piece: what it computes, its settings, where it is from."""
    from dmtl.commands.manual import print_page

    print_page(name, kind)


@cli.command()
@experiment
@click.option(
    "--b",
    type=click.IntRange(min=0),
    help="Liars next to each rank to ask what is proven for; left out: those of --byzantine, or 1.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(as_json: bool, b: int | None, **flags: Any) -> None:
    """Check an experiment before any node hour is spent: graph, screens against liars, traffic, memory."""
    from dmtl.commands.check import print_check

    print_check(_reader(flags)(), as_json, b)


@cli.command()
@click.argument("spec")
@click.option("--ranks", type=int, help="Number of ranks, where SPEC does not fix it.")
@click.option("--weights", default="metropolis", show_default=True, help="Mixing weights.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of a random graph.")
@click.option("--draw", metavar="FILE", help="Draw it into a PNG, SVG or PDF file.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def topology(spec: str, ranks: int | None, weights: str, seed: int, draw: str | None, as_json: bool) -> None:
    """Show the facts of a topology, and draw it."""
    from dmtl.commands.check import print_topology

    print_topology(spec, ranks, weights, seed, draw, as_json)


@cli.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for programs.")
@click.option("--html", is_flag=True, help="Write report.html and PNG pictures into the first run's folder.")
@click.option("--out", metavar="DIR", help="Write pictures and page there instead.")
def report(runs: tuple[str, ...], as_json: bool, html: bool, out: str | None) -> None:
    """Compare one or more RUNS folders: table, and with --html pictures and a page."""
    from dmtl.report.text import print_report

    print_report(runs, as_json, html, out)


@cli.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--once", is_flag=True, help="Print the state once and stop.")
def watch(run_folder: str, once: bool) -> None:
    """Watch a run in the terminal, from the ranks' own files."""
    from dmtl.commands.watch import watch_run

    watch_run(run_folder, once)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(as_json: bool) -> int:
    """Find out what is wrong with MPI, the launcher or the installation."""
    from dmtl.commands.doctor import print_doctor

    return int(print_doctor(as_json))


@cli.command()
@click.option("--nodes", type=int, required=True, help="Nodes.")
@click.option("--ranks", type=int, required=True, help="Ranks in all, equally many on each node.")
@click.option("--time", metavar="[D-]H:M:S", help="Time limit; left out, the queue's own.")
@click.option("--queue", metavar="NAME", help="What Slurm calls a partition.")
@click.option("--account", metavar="NAME", help="Whose hours these are.")
@click.option("--module", "modules", metavar="NAME", multiple=True, help="Environment module to load; may be repeated.")
@click.option("--job-name", default="dmtl", show_default=True, help="Name in the queue.")
@click.option(
    "--warn-before", metavar="SECONDS", type=int, default=180, show_default=True, help="Stop so long before the limit."
)
@click.option("--checkpoint-every", metavar="ROUNDS", type=int, help="Left out: twenty checkpoints in a run.")
@click.option("--launcher", metavar="COMMAND", help="What starts ranks, such as 'srun --mpi=pmix'; left out: mpirun.")
@click.option("--venv", metavar="DIR", help="Where dmtl is installed; left out, where this one is.")
@click.option("--out", metavar="FILE", help="Write the script there; left out, to standard output.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def slurm(arguments: tuple[str, ...], **options: Any) -> None:
    """Write a Slurm batch script for 'dmtl run ARGUMENTS'; give the arguments after --.

    A job whose time is over writes a checkpoint, is queued again and goes on from there.
    """
    from dmtl.commands.slurm import Job, print_script
    from dmtl.errors import ConfigError

    given = run.make_context("dmtl run", list(arguments)).params
    if given.pop("resume", None):
        raise ConfigError("the job resumes by itself where its results folder has a run. Leave out --resume.")
    flags = {key: value for key, value in given.items() if key not in ("quiet", "print_config")}
    out = options.pop("out")
    print_script(Job(**options), _reader(flags)(), arguments, out)
