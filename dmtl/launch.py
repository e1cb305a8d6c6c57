"""Starting a run: under MPI or in one process, the same configuration, checks, files and exit codes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dmtl.build import Plan, plan
from dmtl.config import digest, load
from dmtl.errors import CompatibilityError, DmtlError
from dmtl.memory import keep_pages
from dmtl.node import Node
from dmtl.progress import Progress
from dmtl.recorder import Recorder
from dmtl.results import RankLog, check_free, folder, prepare
from dmtl.transports.mpi import launch
from dmtl.types import Exchange

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["start"]


Settings = Callable[[], Mapping[str, Any]]
"""Reads the raw settings; called where its mistakes are caught"""


def start(settings: Settings, quiet: bool = False) -> int:
    """Run what ``settings`` gives and return the exit code; messages go to standard error.

    Raises DmtlError where this process runs alone; under MPI one rank speaks for all that have the same to say.
    """
    keep_pages()
    if launch().parallel:
        return _parallel(settings, quiet)
    raw = settings()
    return _parallel(settings, quiet) if raw.get("transport") == "sync" else _simulated(raw, quiet)


def _simulated(raw: Mapping[str, Any], quiet: bool) -> int:
    from dmtl.simulator import simulate

    config = load(raw)
    if config.trace:
        raise CompatibilityError("--trace notes MPI messages and the simulator sends none. Use mpirun.")
    job = plan(config)
    check_free(job.config)
    nodes = [job.node(rank) for rank in range(job.topology.size)]
    _warn(job, quiet)
    place = prepare(job)
    if not quiet:
        print(f"dmtl: {len(nodes)} ranks in this one process; mpirun gives each its own", file=sys.stderr, flush=True)
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(config.rounds, not quiet))
        logs = [stack.enter_context(Recorder(place, job, node)) for node in nodes]

        def record(rank: int, state: Any, inbox: Any) -> None:
            line = logs[rank](state, inbox)
            if rank == 0:
                bar.show(line["round"], line["loss"])

        states = simulate(nodes, config.rounds, record=record, every=job.config.every)
        for log, state in zip(logs, states, strict=True):
            log.finish(state)
    _done(place, quiet)
    return 0


def _parallel(settings: Settings, quiet: bool) -> int:
    """One rank of an MPI job."""
    from dmtl.transports.mpi import world

    comm = world()
    ready = _ready(settings, comm)
    code = _agreed(comm, "" if isinstance(ready, DmtlError) else _identity(*ready), ready)
    if code or isinstance(ready, DmtlError):
        return code
    job, node = ready
    opened = _opened(job, node)
    code = _agreed(comm, "", opened)
    if code or isinstance(opened, DmtlError):
        return code
    quiet = quiet or comm.rank > 0
    _warn(job, quiet)
    _run_rank(comm, job, node, opened, quiet)
    _done(folder(job.config), quiet)
    return 0


def _agreed(comm: MPI.Intracomm, identity: str, outcome: object) -> int:
    """Hear whether all ranks got this far with the same identity; print what this rank is to say."""
    from dmtl.transports.agree import agree

    verdict = agree(comm, identity, outcome if isinstance(outcome, DmtlError) else None)
    if verdict.say:
        print(f"dmtl: {verdict.say}", file=sys.stderr, flush=True)
    return verdict.exit_code


def _opened(job: Plan, node: Node) -> Recorder | DmtlError:
    """This rank's files, or what kept it from opening them."""
    try:
        return Recorder(prepare(job), job, node)
    except DmtlError as error:
        return error


def _ready(settings: Settings, comm: MPI.Intracomm) -> tuple[Plan, Node] | DmtlError:
    """All that can go wrong before round 0, caught: the other ranks have to hear of it."""
    try:
        config = load(settings())
        if config.transport == "simulated":
            raise CompatibilityError("the simulator is one process and MPI started several. Start it without mpirun.")
        if config.ranks not in (0, comm.size):
            raise CompatibilityError(
                f"--ranks is {config.ranks} and MPI started {comm.size}. Start: mpirun -n {config.ranks} dmtl run ..."
            )
        job = plan(config, comm.size)
        check_free(job.config)
        return job, job.node(comm.rank)
    except DmtlError as error:
        return error


def _run_rank(comm: MPI.Intracomm, job: Plan, node: Node, log: Recorder, quiet: bool) -> None:
    from dmtl.runner import run
    from dmtl.transports.sync import connect
    from dmtl.transports.trace import Spy, Traced
    from dmtl.transports.watchdog import Watchdog

    config = job.config
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(config.rounds, not quiet))
        stack.enter_context(log)
        trace = stack.enter_context(RankLog(folder(config), comm.rank, "trace.jsonl")) if config.trace else None
        inner = connect(cast("MPI.Intracomm", Spy(comm, trace.write)) if trace else comm, node)
        exchange: Exchange = inner
        stack.enter_context(Watchdog(inner.edges, node.view, config.stall_warn))
        if trace:
            f, d = node.message_shape
            exchange = Traced(inner, node.view, f * d * node.dtype.itemsize, trace.write)

        def record(state: Any, inbox: Any) -> None:
            line = log(state, inbox)
            bar.show(line["round"], line["loss"])

        state = run(node, exchange, config.rounds, record, config.every)
        log.finish(state)  # before the buffers that the state looks at are closed
        exchange.close()


def _identity(job: Plan, node: Node) -> str:
    """Hexadecimal digest of everything that all ranks must have in common."""
    from dmtl import __version__

    mixed = hashlib.sha256()
    for part in (
        digest(job.config),
        repr(sorted(map(repr, job.topology.graph.edges(data=True)))),
        repr(node.message_shape),
        __version__,
    ):
        mixed.update(part.encode())
    for array in (job.pool.x, job.pool.y, job.pool.task):
        mixed.update(np.ascontiguousarray(array).data)
    return mixed.hexdigest()


def _warn(job: Plan, quiet: bool) -> None:
    for sentence in () if quiet else job.warnings:
        print(f"dmtl: warning: {sentence}", file=sys.stderr, flush=True)


def _done(place: Path, quiet: bool) -> None:
    if not quiet:
        print(f"dmtl: results are in {place}; see: dmtl report {place}", file=sys.stderr, flush=True)
