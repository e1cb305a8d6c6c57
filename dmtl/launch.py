"""Starting a run: under MPI or in one process, the same configuration, checks, files and exit codes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from dmtl.build import Plan, plan
from dmtl.capabilities import Placeable
from dmtl.checkpoints import common, revive, saved_rounds
from dmtl.config import digest, load
from dmtl.consensus.chart import Gathering
from dmtl.errors import CompatibilityError, DmtlError
from dmtl.memory import keep_pages
from dmtl.node import Node, NodeState
from dmtl.recorder import Recorder
from dmtl.results import check_free, folder, prepare
from dmtl.resume import check_identity, check_same, laggards
from dmtl.transports.agree import unlike
from dmtl.transports.mpi import launch, local_rank

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["start"]


P = ParamSpec("P")
T = TypeVar("T")
Settings = Callable[[], Mapping[str, Any]]
"""Reads the raw settings; called where its mistakes are caught"""


class Opened(NamedTuple):
    """One rank, ready to run."""

    log: Recorder
    state: NodeState | None
    """the one to go on from; None before round 0"""


def start(settings: Settings, quiet: bool = False, resume: str = "") -> int:
    """Run what ``settings`` gives and return the exit code; messages go to standard error.

    ``resume`` is the folder of the run to go on with, empty for a new one. Raises DmtlError where this process runs
    alone; under MPI one rank speaks for all that have the same to say.
    """
    keep_pages()
    place = Path(resume) if resume else None
    if launch().parallel:
        return _parallel(settings, quiet, place)
    raw = settings()
    return _parallel(settings, quiet, place) if raw.get("transport") in ("sync", "async") else _alone(raw, quiet, place)


def _alone(raw: Mapping[str, Any], quiet: bool, resume: Path | None) -> int:
    """All ranks in this process."""
    from dmtl.simulation import run_all

    config = load(raw)
    if config.trace:
        raise CompatibilityError("--trace notes MPI messages and the simulator sends none. Use mpirun.")
    if config.asynchronous and (resume or config.checkpoint_every):
        raise CompatibilityError("simulated-async cannot be resumed: what is on its way is not saved. Run it again.")
    if config.on_failure == "continue":
        raise CompatibilityError("--on-failure continue is for ranks with a process each. Use mpirun.")
    job = plan(config)
    _check_folder(job, resume, range(job.topology.size))
    nodes = [job.node(rank) for rank in range(job.topology.size)]
    if say := unlike([node.message_shape for node in nodes]):
        raise CompatibilityError(say)
    rounds = [saved_rounds(resume, node.view.rank) for node in nodes] if resume else None
    if rounds and _nothing_to_do(job, rounds, quiet):
        return 0
    opened = [_opened(job, node, resume, common(rounds) if rounds else 0) for node in nodes]
    _warn(job, quiet)
    if not quiet:
        print(f"dmtl: {len(nodes)} ranks in this one process; mpirun gives each its own", file=sys.stderr, flush=True)
    states = [one.state for one in opened if one.state is not None]
    code = run_all(job, nodes, [one.log for one in opened], states or None, quiet)
    _done(folder(job.config), quiet or code != 0)
    return code


def _parallel(settings: Settings, quiet: bool, resume: Path | None) -> int:
    """One rank of an MPI job."""
    from dmtl.transports.mpi import world

    comm = world()  # before anything else loads MPI

    from dmtl.session import run_rank
    from dmtl.transports.agree import exchange_rounds
    from dmtl.transports.ending import leave_at_once

    ready = _caught(_ready, settings, comm, resume)
    identity, shape = ("", (0, 0)) if isinstance(ready, DmtlError) else (_identity(*ready), ready[1].message_shape)
    code = _agreed(comm, identity, ready, shape)
    if code or isinstance(ready, DmtlError):
        return code
    job, node = ready
    quiet = quiet or comm.rank > 0
    rounds = exchange_rounds(comm, saved_rounds(resume, comm.rank)) if resume else None
    if rounds and _nothing_to_do(job, rounds, quiet):
        return 0
    first = 0 if not rounds else max(rounds[comm.rank], default=0) if job.config.asynchronous else common(rounds)
    opened = _caught(_opened, job, node, resume, first)
    code = _agreed(comm, "", opened)
    if code or isinstance(opened, DmtlError):
        return code
    _warn(job, quiet)
    code, whole = run_rank(comm, job, node, opened.log, opened.state, quiet)
    _done(folder(job.config), quiet or code != 0)
    if not whole:  # MPI's own end would wait for those who are gone
        leave_at_once(code)
    return code


def _agreed(comm: MPI.Intracomm, identity: str, outcome: object, shape: tuple[int, int] = (0, 0)) -> int:
    """Hear whether all ranks got this far with the same identity and messages; print what this rank is to say."""
    from dmtl.transports.agree import agree

    verdict = agree(comm, identity, outcome if isinstance(outcome, DmtlError) else None, shape)
    if verdict.say:
        print(f"dmtl: {verdict.say}", file=sys.stderr, flush=True)
    return verdict.exit_code


def _caught(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | DmtlError:
    """A function's result, or what kept it from one: the other ranks have to hear of it."""
    try:
        return function(*args, **kwargs)
    except DmtlError as error:
        return error


def _ready(settings: Settings, comm: MPI.Intracomm, resume: Path | None) -> tuple[Plan, Node]:
    """All that can go wrong before round 0."""
    from dmtl.transports.ending import fault_tolerant

    config = load(settings())
    if config.on_failure == "continue" and not fault_tolerant():
        raise CompatibilityError(
            "--on-failure continue needs an MPI that outlives its ranks. Start with Open MPI's mpirun --with-ft ulfm."
        )
    if config.transport.startswith("simulated"):
        raise CompatibilityError("the simulator is one process and MPI started several. Start it without mpirun.")
    if config.ranks not in (0, comm.size):
        raise CompatibilityError(
            f"--ranks is {config.ranks} and MPI started {comm.size}. Start: mpirun -n {config.ranks} dmtl run ..."
        )
    job = plan(config, comm.size)
    if isinstance(job.algorithm, Gathering):
        raise CompatibilityError(
            f"{config.algorithm['name']!r} sees the data of all tasks, for comparison, so all are in one process. "
            f"Start it without mpirun."
        )
    _check_folder(job, resume, (comm.rank,))
    if isinstance(job.task, Placeable):
        keep_pages(sparing=True)
        job = replace(job, task=job.task.on(local_rank()))
    return job, job.node(comm.rank)


def _check_folder(job: Plan, resume: Path | None, ranks: Iterable[int]) -> None:
    """Refuse a folder with other results, or the resume of another run."""
    if resume is None:
        check_free(job.config)
        return
    check_same(resume, job)
    for rank in ranks:
        check_identity(resume, rank, job.data_identity)


def _opened(job: Plan, node: Node, resume: Path | None, round: int) -> Opened:
    """This rank's files and the state to begin with, which is read before anything is written."""
    state = revive(resume, node, round) if resume and round else None
    place = prepare(job)
    return Opened(Recorder(place, job, node, job.data_identity, round if resume else None), state)


def _nothing_to_do(job: Plan, rounds: list[list[int]], quiet: bool) -> bool:
    """Whether a run that is to be taken up has come to its end; say so, or from where it goes on."""
    place = folder(job.config)
    if job.config.asynchronous:
        first, late = min(max(own, default=0) for own in rounds), {}
    else:
        first, late = common(rounds), dict(laggards(rounds))
    finished = first >= job.config.rounds
    if quiet:
        return finished
    if finished:
        lost = f"; {_name(late)} died on the way, start a new run to have all" if late else ""
        say = f"{place} is finished already: all {job.config.rounds} rounds are done{lost}"
    else:
        say = f"{place} goes on from round {first}"
    print(f"dmtl: {say}", file=sys.stderr, flush=True)
    if late and not finished:
        words = ", ".join(f"rank {rank} from its own round {round}" for rank, round in late.items())
        print(f"dmtl: warning: no round was saved by all ranks: {words}", file=sys.stderr, flush=True)
    return finished


def _name(ranks: Iterable[int]) -> str:
    words = [str(rank) for rank in ranks]
    return f"rank {words[0]}" if len(words) == 1 else f"ranks {', '.join(words)}"


def _identity(job: Plan, node: Node) -> str:
    """Hexadecimal digest of everything that all ranks must have in common."""
    from dmtl import __version__

    mixed = hashlib.sha256()
    for part in (digest(job.config), job.data_identity, repr(node.message_shape), __version__):
        mixed.update(part.encode())
    return mixed.hexdigest()


def _warn(job: Plan, quiet: bool) -> None:
    for sentence in () if quiet else job.warnings:
        print(f"dmtl: warning: {sentence}", file=sys.stderr, flush=True)


def _done(place: Path, quiet: bool) -> None:
    if not quiet:
        print(f"dmtl: results are in {place}; see: dmtl report {place}", file=sys.stderr, flush=True)
