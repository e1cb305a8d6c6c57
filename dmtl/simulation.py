"""All ranks in one process, with the files, checkpoints and signals of a run under MPI."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from dmtl.build import Plan
from dmtl.checkpoints import Keeper
from dmtl.node import Node, NodeState
from dmtl.progress import Progress
from dmtl.recorder import Recorder
from dmtl.results import folder
from dmtl.runner import Horizon
from dmtl.session import say_how_to_resume
from dmtl.simulator import simulate
from dmtl.stopping import Stopping

__all__ = ["run_all"]


def run_all(
    job: Plan, nodes: Sequence[Node], logs: Sequence[Recorder], states: Sequence[NodeState] | None, quiet: bool
) -> int:
    """Run all ranks to the end and return the exit code; ``states`` are those to go on from, None for a new run."""
    config, place = job.config, folder(job.config)
    rounds, every = config.rounds, config.checkpoint_every
    keepers = [Keeper(place, rank, 2) for rank in range(len(nodes))]
    horizon = Horizon(rounds)
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(rounds, not quiet))
        stopping = stack.enter_context(Stopping(horizon, lambda: 0))
        for log in logs:
            stack.enter_context(log)

        def record(rank: int, state: NodeState, inbox: Any) -> None:
            line = logs[rank](state, inbox)
            if rank == 0:
                bar.show(line["round"], line["loss"])

        def stretch(states: Sequence[NodeState] | None, end: int) -> list[NodeState]:
            stopping.set(end)
            return simulate(nodes, rounds, record, config.every, states, horizon)

        states = stretch(states, 0)
        while (done := states[0].view.round) < rounds and not stopping.signal:
            states = stretch(states, min(rounds, done - done % every + every) if every else rounds)
            if stopping.signal or (every and states[0].view.round % every == 0):
                for keeper, state in zip(keepers, states, strict=True):
                    keeper.save(state)
        for log, state in zip(logs, states, strict=True):
            if done < rounds and state.view.round < rounds:
                log.note("stopped", round=state.view.round, signal=stopping.name)
            else:
                log.finish(state)
    if states[0].view.round < rounds:
        say_how_to_resume(place, states[0].view.round, stopping.name)
        return 128 + stopping.signal
    return 0
