"""The commands. Each imports what it needs when it runs, so that ``--help`` is there at once."""

from __future__ import annotations

from typing import Any

import click

from dmtl.commands.options import experiment, reader

__all__ = ["cli"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="dmtl")
def cli() -> None:
    """Multi-task learning without a master: each MPI rank is one task on a graph and screens what it hears.

    Start one rank per task with mpirun or srun, or try it in one process without. A piece is written NAME or
    NAME:VALUE,KEY=VALUE, such as torus:2x4 or trimmed-mean:b=1; 'dmtl list' names them all.
    """


@cli.command()
@experiment
@click.option("--print-config", is_flag=True, help="Print the effective configuration and stop.")
@click.option("--resume", metavar="RUN", help="Go on with the run in that folder, from its last checkpoint.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings.")
def run(print_config: bool, quiet: bool, **flags: Any) -> int:
    """Run an experiment: under mpirun one rank per process, otherwise all ranks in this one."""
    from dmtl.launch import start

    settings = reader(flags)
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

    print_check(reader(flags)(), as_json, b)


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
    print_script(Job(**options), reader(flags)(), arguments, out)
