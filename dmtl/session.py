"""One rank of an MPI job, from its first round to its last file: checkpoints, signals, neighbours that are lost."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import ExitStack
from math import inf, isfinite
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, cast

from dmtl.attacks.told import parts
from dmtl.build import Plan
from dmtl.capabilities import Unruly
from dmtl.checkpoints import Keeper, settled
from dmtl.errors import DmtlError
from dmtl.node import Node, NodeState
from dmtl.progress import Progress
from dmtl.recorder import Recorder
from dmtl.results import RankLog, folder
from dmtl.runner import Horizon, over, run
from dmtl.stopping import Stopping
from dmtl.transports.late import Paced
from dmtl.transports.loss import DIED, Loss
from dmtl.transports.trace import Spy, Traced
from dmtl.types import Exchange

if TYPE_CHECKING:
    from mpi4py import MPI

    from dmtl.transports.asynchronous import Asynchronous
    from dmtl.transports.edges import Edges
    from dmtl.transports.sync import Prompt, Rushing
    from dmtl.transports.wicked import Wicked

__all__ = ["run_rank", "say_how_to_resume", "say_the_bound"]

STRETCH = 8
"""Waits for a message that the end may take, when the others have to come to theirs."""
SOON = 0.1
"""Seconds after a signal until the state is saved as it is: Open MPI's mpirun kills after a quarter of a second."""


def run_rank(
    comm: MPI.Intracomm, job: Plan, node: Node, log: Recorder, start: NodeState | None, quiet: bool
) -> tuple[int, bool]:
    """Run this rank to its end; return the exit code, and whether MPI can be finalised.

    ``start`` is the state to go on from, None for a new run.
    """
    from dmtl.transports.ending import fault_tolerant, finalize, part

    config = job.config
    with ExitStack() as stack:
        stack.enter_context(log)
        bar = stack.enter_context(Progress(config.rounds, not quiet))
        try:
            session = _Session(comm, job, node, log, bar, stack, start)
            code = session.loop()
            say_the_bound(node, session.state, quiet or code != 0)
        except Exception as error:
            if config.on_failure == "abort":
                raise
            log.note("failed", error=f"{type(error).__name__}: {error}")
            _die(comm.rank, error)
        session.exchange.leave()
        missed = {rank: loss.round for rank, loss in session.exchange.lost.items()}
        # Asynchronous ranks may end long after each other; synchronous ones wait no longer than for a message.
        limit, patient = STRETCH * config.patience, config.asynchronous
        # A liar that broke with its neighbours may be here long before them, and must not end the job.
        longest = 0.0 if session.unruly else limit
        parting = part(comm, missed, longest, patient, session.exchange.drain if missed else None)
        if parting.whole:
            session.talk.close()
            session.vote.close()
    if parting.dead and parting.speaks:
        print(f"dmtl: warning: {_obituary(parting.dead)}", file=sys.stderr, flush=True)
    if parting.complete and not parting.whole and not fault_tolerant():
        finalize(code, limit)
        return code, True
    return code, parting.whole


class _Session:
    """What a rank holds while it runs."""

    def __init__(
        self,
        comm: MPI.Intracomm,
        job: Plan,
        node: Node,
        log: Recorder,
        bar: Progress,
        stack: ExitStack,
        start: NodeState | None,
    ) -> None:
        from dmtl.transports.ending import Vote

        config = self.config = job.config
        self.node, self.log, self.bar, self.state = node, log, bar, start
        self.ranks, self.place = comm.size, folder(config)
        self.keeper = Keeper(self.place, comm.rank, settled(job, node))
        self.horizon = Horizon(config.rounds)
        self.vote = Vote(comm)
        mode: Literal["w", "a"] = "a" if start else "w"
        trace = stack.enter_context(RankLog(self.place, comm.rank, "trace.jsonl", mode)) if config.trace else None
        spied = cast("MPI.Intracomm", Spy(comm, trace.write)) if trace else comm
        self.edges: Edges | None = None
        """where ranks wait for each other"""
        every = () if config.asynchronous else parts(node.attack)
        self.unruly = next((part for part in every if isinstance(part, Unruly)), None)
        """what breaks the rules of messages, on such a liar's rank"""
        self.exchange = self._connected(spied, job, stack)
        self.talk: Exchange = self.exchange
        nearest = lambda: self.edges.round + 1 if self.edges else 0  # noqa: E731
        self.stopping = stack.enter_context(Stopping(self.horizon, nearest, self._told if self.edges else None))
        if trace:
            self.talk = Traced(self.talk, node.view, node.weight, trace.write)
        if job.conditions.timed or config.seconds:
            waiting = node.view if node.rows else node.view._replace(sources=())
            self.talk = Paced(self.talk, waiting, job.conditions, self.horizon, config.seconds)

    def _connected(self, comm: MPI.Intracomm, job: Plan, stack: ExitStack) -> Prompt | Rushing | Wicked | Asynchronous:
        from dmtl.transports.asynchronous import connect_async
        from dmtl.transports.sync import connect
        from dmtl.transports.watchdog import Watchdog
        from dmtl.transports.wicked import Wicked

        config, node, rank = job.config, self.node, comm.rank
        if config.asynchronous:
            link, conditions = job.conditions.link, job.conditions
            late = bool(link.delay or link.jitter or link.drop)
            delay = (lambda source, count: conditions.delay(count, source, rank)) if late else None
            return connect_async(comm, node, config.max_age, False, delay, self._lost, config.patience)
        exchange = connect(comm, node, self.state, config.patience, self._lost)
        stack.enter_context(Watchdog(exchange.edges, node.view, config.stall_warn))
        self.edges = exchange.edges
        self.edges.glance = self._look_for_signals
        return Wicked(exchange.edges, exchange.box, node, self.unruly) if self.unruly else exchange

    def loop(self) -> int:
        """Run to the end or to where a signal stops it; return the exit code."""
        rounds, every = self.config.rounds, self.config.checkpoint_every
        state = self._stretch(self.state, 0)
        while state.view.round < rounds and not self.stopping.signal:
            done = state.view.round
            end = min(rounds, done - done % every + every) if every else rounds
            state = self._stretch(state, end)
            if every and state.view.round % every == 0:
                self.keeper.save(state)
            if state.view.round < end:
                break
        if state.view.round < rounds and self.stopping.signal and self.edges and not over(self.node, state):
            state = self._to_common_round(state, self.edges)
        self.state = state
        # all rounds are done, or the time is over, or the method is
        if state.view.round == rounds or not self.stopping.signal or over(self.node, state):
            self.log.finish(state)
            return 0
        if not self.edges and state.view.rank == 0:
            say_how_to_resume(self.place, state.view.round, self.stopping.name, self.ranks)
        self.keeper.save(state)
        self.log.note("stopped", round=state.view.round, signal=self.stopping.name)
        return 128 + self.stopping.signal

    def _stretch(self, state: NodeState | None, end: int) -> NodeState:
        """Run to the end of round ``end`` - 1, or to where a signal stops it."""
        self.stopping.set(end)
        rounds, every = self.config.rounds, self.config.every
        return run(self.node, self.talk, rounds, self._record, every, state, self.horizon)

    def _to_common_round(self, state: NodeState, edges: Edges) -> NodeState:
        """Run to the round that all have voted for; where there is no vote soon, the own state is saved as it is."""
        edges.alarm = None
        last = self.vote.result(SOON)
        if last is None:
            self.horizon.state = state
            if self._in_haste:
                self._save_as_it_is()
            last = self.vote.result(self.config.patience or inf)
        if last is not None:
            self.horizon.round = min(last, self.config.rounds)
            state = run(self.node, self.talk, self.config.rounds, self._record, self.config.every, state, self.horizon)
            if state.view.rank == 0 and state.view.round < self.config.rounds and _first(self.place):
                say_how_to_resume(self.place, state.view.round, self.stopping.name, self.ranks)
        return state

    def _told(self, round: int) -> None:
        """A signal has come: vote, and do not wait for ever for somebody who may be dead."""
        self.vote.post(round, self.stopping.signal)
        if self.edges and self._in_haste:
            self.edges.alarm, self.edges.alarm_at = self._save_as_it_is, monotonic() + SOON

    def _look_for_signals(self) -> None:
        """A signal that only some ranks were sent is passed on by them."""
        number = self.vote.passed_on()
        if number and not self.stopping.signal:
            signal.raise_signal(number)

    @property
    def _in_haste(self) -> bool:
        """Whether somebody kills soon after the signal."""
        return self.stopping.signal != signal.SIGUSR1

    def _save_as_it_is(self) -> None:
        """Save the state before the round that is going on; one rank says so, the first to come here."""
        state = self.horizon.state
        if state is not None:
            self.keeper.save(state)
            if _first(self.place):
                say_how_to_resume(self.place, state.view.round, self.stopping.name, self.ranks)

    def _record(self, state: NodeState, inbox: Any) -> None:
        line = self.log(state, inbox)
        self.bar.show(line["round"], line["loss"])

    def _lost(self, rank: int, loss: Loss) -> None:
        """Note an edge that was given up; the dead are named once, by one rank, at the end."""
        self.log.note("lost", rank=rank, round=loss.round, why=loss.why)
        if loss.why != DIED:
            mine = self.node.view.rank
            sentence = f"rank {mine} goes on without rank {rank} from round {loss.round} on: it {loss.why}."
            print(f"dmtl: warning: {sentence}", file=sys.stderr, flush=True)


def say_how_to_resume(place: Path, round: int, reason: str, ranks: int = 0) -> None:
    """Print the command by which a run goes on; ``ranks`` is how many MPI has to start, 0 for the simulator."""
    launcher = f"mpirun -n {ranks} " if ranks else ""
    sentence = f"stopped by {reason} after {round} rounds; go on with: {launcher}dmtl run --resume {place}"
    print(f"dmtl: {sentence}", file=sys.stderr, flush=True)


def say_the_bound(node: Node, state: NodeState | None, quiet: bool) -> None:
    """Say how near to its least the objective is proven to be, where the method knows."""
    if quiet or state is None or node.ends is None:
        return
    bound, rounds = node.ends.bound(state.model), state.view.round
    proven = f"at most {bound:.3g} above its least" if isfinite(bound) else "not known to be near its least"
    say = "stopped" if over(node, state) else "not near enough to stop"
    print(f"dmtl: {say} after {rounds} rounds: the objective is {proven}", file=sys.stderr, flush=True)


def _first(place: Path) -> bool:
    """Whether this rank is the first to come here; who finds no common round cannot ask the others who speaks."""
    try:
        os.close(os.open(place / ".stopped", os.O_CREAT | os.O_EXCL))
    except OSError:
        return False
    return True


def _obituary(dead: dict[int, int]) -> str:
    words = [f"rank {rank} died" + (f" in round {round}" if round >= 0 else "") for rank, round in sorted(dead.items())]
    return f"{', '.join(words)}; the others went on without {'it' if len(dead) == 1 else 'them'}."


def _die(rank: int, error: Exception) -> None:
    """Show what happened and be dead for the others, who go on."""
    if isinstance(error, DmtlError):
        print(f"dmtl: rank {rank} gives up: {error}", file=sys.stderr, flush=True)
    else:
        print(f"dmtl: rank {rank} gives up:\n{''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)  # MPI takes an orderly exit for an error of the whole job
