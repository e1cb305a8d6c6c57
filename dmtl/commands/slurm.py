"""A batch script for Slurm: a job that is queued again when its time is over, and goes on from its last checkpoint."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from dmtl.build import plan
from dmtl.config import Config, digest, load, read_file
from dmtl.errors import CompatibilityError, ConfigError, ResultsError
from dmtl.results import folder, writing

__all__ = ["Job", "print_script", "seconds"]

CHECKPOINTS = 20
"""in a run, unless said otherwise: a lost node costs a twentieth of the rounds at most"""

_WORD = re.compile(r"[\w.+:/@=,-]+")

_BODY = """\
# Ranks are told by USR1: launchers pass it on and wait. At TERM Open MPI's mpirun would kill them at once.
trap 'kill -USR1 "$!"' USR1                # from Slurm, before the time is over
trap 'cancelled=yes; kill -USR1 "$!"' TERM # somebody cancelled the job: it is not to come back
start "$@" &
launcher=$!
while kill -0 "$launcher" 2>/dev/null; do wait "$launcher"; done # a trap ends a wait early
wait "$launcher"
code=$?
trap '' USR1 TERM

# The ranks' own files say whether the run has ended: mpirun may return 0 though it has lost a node.
if [ "$code" -eq 0 ] && grep -qs '"event": "end"' "$out"/rank-*.jsonl; then
    exit 0
fi
# Without a new checkpoint the next start would get no further than this one.
if [ -z "$cancelled" ] && [ "$(checkpoints)" != "$before" ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $((code ? code : 1))
"""


@dataclass(frozen=True)
class Job:
    """What is asked of Slurm; raises ConfigError where it cannot be had."""

    nodes: int
    ranks: int
    time: str | None = None
    """None: what the queue allows"""
    queue: str | None = None
    account: str | None = None
    modules: tuple[str, ...] = ()
    job_name: str = "dmtl"
    warn_before: int = 180
    """seconds before the time is over; Slurm may be a minute early"""
    checkpoint_every: int | None = None
    """rounds; None: CHECKPOINTS in a run"""
    launcher: str | None = None
    """command that starts ranks; None: mpirun, the one beside dmtl if there is one"""
    venv: str | None = None
    """where dmtl is installed; None: where this one is"""

    def __post_init__(self) -> None:
        for key in ("nodes", "ranks", "warn_before", "checkpoint_every"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"--{key.replace('_', '-')} is {value}. It must be at least 1.")
        if self.ranks % self.nodes:
            more = self.ranks + -self.ranks % self.nodes
            raise ConfigError(f"--ranks {self.ranks} cannot be shared evenly by --nodes {self.nodes}. {more} could.")
        words = {"job-name": self.job_name, "queue": self.queue, "account": self.account}
        for key, word in [*words.items(), *(("module", module) for module in self.modules)]:
            if word is not None and not _WORD.fullmatch(word):
                raise ConfigError(f"--{key} is {word!r}. It may have letters, digits and any of . + : / @ = , _ -")
        if self.time is not None and seconds(self.time) <= self.warn_before:
            raise ConfigError(
                f"--time {self.time} is no longer than --warn-before {self.warn_before} seconds: the job would be "
                f"stopped as it starts. Ask for more time, or for a later warning."
            )

    @property
    def program(self) -> Path:
        """The dmtl that the job runs."""
        return Path(self.venv or sys.prefix).absolute() / "bin" / "dmtl"

    @property
    def start(self) -> list[str]:
        """The command that starts the ranks."""
        own = self.program.with_name("mpirun")
        default = str(own) if own.exists() else "mpirun"
        try:
            given = shlex.split(self.launcher or shlex.quote(default))
        except ValueError as error:
            raise ConfigError(
                f"--launcher is {self.launcher!r}: {str(error).lower()}. A shell could not read it."
            ) from None
        return [*given, "-n", str(self.ranks), str(self.program)]


def print_script(job: Job, raw: Mapping[str, Any], arguments: Sequence[str], out: str | None = None) -> None:
    """Print the script, or write it into the file ``out``; ``raw`` are the settings in the ``arguments`` of dmtl run.

    Raises ConfigError or CompatibilityError for what could not run, ResultsError where the file cannot be written.
    """
    config = _config(job, raw)
    if not job.program.exists():
        raise ConfigError(f"there is no {job.program}. Name the virtual environment that dmtl is in: --venv DIR.")
    every = job.checkpoint_every or raw.get("checkpoint_every") or max(1, config.rounds // CHECKPOINTS)
    place = [] if "out" in raw else ["--out", str(folder(config))]
    text = _text(job, folder(config), [*arguments, *place, "--checkpoint-every", str(every)])
    if out is None:
        click.echo(text, nl=False)
        return
    with writing(Path(out)):
        Path(out).write_text(text, "utf-8")


def seconds(time: str) -> int:
    """A time in Slurm's notation: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S; raises ConfigError."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if not found:
        raise ConfigError(f"--time is {time!r}. Write hours:minutes:seconds, 02:00:00, or days-hours, 1-12.")
    days, *parts = found.groups()
    given = [int(part) for part in parts if part]
    units = (3600, 60, 1) if days or len(given) == 3 else (60, 1)
    return int(days or 0) * 86400 + sum(part * unit for part, unit in zip(given, units, strict=False))


def _config(job: Job, raw: Mapping[str, Any]) -> Config:
    """The effective configuration, refused where the job could not run it or could not go on with it."""
    config = load(raw)
    if config.ranks not in (0, job.ranks):
        raise ConfigError(f"--ranks is {job.ranks}, and {config.ranks} in the settings of the run. Leave out that one.")
    if config.transport == "simulated":
        raise CompatibilityError("the simulator is one process, and this job is many. Leave out --transport.")
    if config.overwrite:
        raise CompatibilityError("--overwrite would remove what a requeued job is to go on with. Leave it out.")
    config = plan(config, job.ranks).config
    there = folder(config) / "config.toml"
    if there.exists() and digest(load(read_file(str(there)))) != digest(config):
        raise ResultsError(
            f"{there.parent} has results of another experiment, and the job would go on with that. Give another --out."
        )
    return config


def _text(job: Job, place: Path, arguments: Sequence[str]) -> str:
    each = job.ranks // job.nodes
    limits = {"time": job.time, "partition": job.queue, "account": job.account}
    lines = [
        "#!/bin/bash -l" if job.modules else "#!/bin/bash",  # a login shell knows the function 'module'
        f"# dmtl on {job.ranks} ranks, {each} on each of {job.nodes} nodes. When its time is over or a node is lost,",
        "# it is queued again and goes on from its last checkpoint. Cancelled it stays; submitted again it goes on.",
        f"#SBATCH --job-name={job.job_name}",
        *(f"#SBATCH --{key}={value}" for key, value in limits.items() if value is not None),
        f"#SBATCH --nodes={job.nodes}",
        f"#SBATCH --ntasks={job.ranks}",
        f"#SBATCH --ntasks-per-node={each}",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --output=%x-%j.out",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
        f"#SBATCH --signal=B:USR1@{job.warn_before}",
        "",
        f"cd {shlex.quote(str(Path.cwd()))} || exit",
        *(f"module load {module} || exit" for module in job.modules),
        "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1",
        "",
        f'start() {{ exec {shlex.join(job.start)} run "$@"; }}',
        f"out={shlex.quote(str(place))}",
        'checkpoints() { printf "%s " "$out"/rank-*.ckpt-*; }',
        "before=$(checkpoints)",
        "cancelled=",
        'if [ -e "$out/config.toml" ]; then',
        '    set -- --resume "$out"',
        "else",
        f"    set -- {shlex.join(arguments)}",
        "fi",
    ]
    return "\n".join(lines) + "\n" + _BODY
