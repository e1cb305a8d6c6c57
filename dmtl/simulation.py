"""All ranks in one process, with the files, checkpoints and signals of a run under MPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import inf
from typing import NamedTuple

from dmtl.build import Plan
from dmtl.checkpoints import Keeper
from dmtl.links import Conditions
from dmtl.node import Node, NodeState
from dmtl.progress import Progress
from dmtl.recorder import Recorder
from dmtl.results import folder
from dmtl.runner import Horizon, over
from dmtl.session import say_how_to_resume, say_the_bound
from dmtl.simulator import Observe, simulate
from dmtl.stopping import Stopping
from dmtl.types import Inbox
from dmtl.virtual import simulate_async, synchronous_times

__all__ = ["run_all"]


def run_all(
    job: Plan, nodes: Sequence[Node], logs: Sequence[Recorder], states: Sequence[NodeState] | None, quiet: bool
) -> int:
    """Run all ranks to the end and return the exit code; ``states`` are those to go on from, None for a new run."""
    config, place = job.config, folder(job.config)
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(config.rounds, not quiet))
        horizon = Horizon(config.rounds)
        stopping = stack.enter_context(Stopping(horizon, lambda: 0))
        for log in logs:
            stack.enter_context(log)

        def record(rank: int, state: NodeState, inbox: Inbox, clock: float | None = None) -> None:
            line = logs[rank](state, inbox, **({} if clock is None else {"clock": clock}))
            if rank == 0:
                bar.show(line["round"], line["loss"])

        if config.asynchronous:
            until = config.seconds or inf
            after = simulate_async(
                nodes, config.rounds, job.conditions, config.max_age, record, config.every, until, horizon
            )
        else:
            after = _in_step(job, nodes, _clocked(job, nodes, record), states, horizon, stopping)
        ended = over(nodes[0], after[0])
        cut = bool(stopping.signal) and after[0].view.round < config.rounds and not ended
        for log, state in zip(logs, after, strict=True):
            if cut:
                log.note("stopped", round=state.view.round, signal=stopping.name)
            else:
                log.finish(state)
    if cut and not config.asynchronous:
        say_how_to_resume(place, after[0].view.round, stopping.name)
    say_the_bound(nodes[0], after[0], quiet or cut)
    return 128 + stopping.signal if cut else 0


def _in_step(
    job: Plan,
    nodes: Sequence[Node],
    record: Observe,
    states: Sequence[NodeState] | None,
    horizon: Horizon,
    stopping: Stopping,
) -> list[NodeState]:
    """Run synchronous ranks, from one checkpoint to the next."""
    config = job.config
    rounds, every = config.rounds, config.checkpoint_every
    keepers = [Keeper(folder(config), rank, lambda round: round) for rank in range(len(nodes))]

    def stretch(states: Sequence[NodeState] | None, end: int) -> list[NodeState]:
        stopping.set(end)
        return simulate(nodes, rounds, record, config.every, states, horizon)

    states = stretch(states, 0)
    while (done := states[0].view.round) < rounds and not stopping.signal and not over(nodes[0], states[0]):
        states = stretch(states, min(rounds, done - done % every + every) if every else rounds)
        if stopping.signal or (every and states[0].view.round % every == 0):
            for keeper, state in zip(keepers, states, strict=True):
                keeper.save(state)
    return states


def _clocked(job: Plan, nodes: Sequence[Node], record: Callable[..., None]) -> Observe:
    """Add the virtual time to what is recorded, where anything is said about seconds.

    Ranks whose method sends nothing wait for nobody.
    """
    if not job.conditions.timed:
        return record
    timing = Waits(job.conditions)
    waiting = [node.view if node.rows else node.view._replace(sources=()) for node in nodes]
    times = synchronous_times(waiting, job.config.rounds, timing)
    return lambda rank, state, inbox: record(rank, state, inbox, float(times[state.view.round, rank]))


class Waits(NamedTuple):
    """What synchronous ranks wait for: a lost message as long as any other, because its sender says so."""

    conditions: Conditions

    def cost(self, rank: int, round: int) -> float:
        """What a round takes."""
        return self.conditions.cost(rank, round)

    def delay(self, round: int, source: int, target: int) -> float:
        """How long a message takes."""
        return self.conditions.wait(round, source, target)
