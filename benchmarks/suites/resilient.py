"""What the suites of Li, Abbas and Koutsoukos (NeurIPS 2020) share: idle learners, runs in one process and on MPI."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))

from harness import digest, line, say, table
from harness import job as mpi

from dmtl.build import Plan, plan
from dmtl.config import load
from dmtl.node import Node, NodeState
from dmtl.runner import run
from dmtl.simulator import simulate

__all__ = ["Idle", "accuracies", "liars", "method", "nodes", "on_mpi", "say", "simulated", "started", "table", "worker"]

Raw = Mapping[str, Any]


class Idle:
    """A task that learns from a share of its mini-batches only, and evaluates losses on all of them.

    So do the data-poor agents of the paper's code: their step is left out, and their scores are not.
    """

    def __init__(self, task: Any, share: float) -> None:
        self.task, self.share = task, share

    def grad(self, w: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        # a child's draw: what follows from the batch's own stream stays as it is
        if rng is not None and rng.spawn(1)[0].random() >= self.share:
            return np.zeros_like(w)
        return self.task.grad(w, rng)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)


def method(rule: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The algorithm with one of its rules."""
    return {"name": "resilient-mtl", "rule": rule, **settings}


def liars(who: Sequence[int], attack: str) -> list[dict[str, Any]]:
    """A group of Byzantine ranks; none where there are none."""
    return [{"ranks": list(who), "attack": attack}] if who else []


def started(raw: Raw, shares: Sequence[float] = ()) -> Plan:
    """The plan of a run."""
    return plan(load(raw), raw["ranks"])


def nodes(job: Plan, shares: Sequence[float] = ()) -> list[Node]:
    """The nodes of a run; rank r learns from a share ``shares[r]`` of its batches."""
    found = [job.node(rank) for rank in range(job.topology.size)]
    for node, share in zip(found, shares, strict=False):
        _hold(node, share)
    return found


def _hold(node: Node, share: float) -> None:
    if share < 1:
        node.task = Idle(node.task, share)  # type: ignore[assignment]


def simulated(
    job: Plan, shares: Sequence[float] = (), record: Callable[..., None] | None = None
) -> tuple[list[NodeState], list[Node]]:
    """All ranks in one process; ``record`` is called after every round."""
    everyone = nodes(job, shares)
    return simulate(everyone, job.config.rounds, record, 1), everyone


def accuracies(job: Plan, states: Sequence[NodeState], everyone: Sequence[Node]) -> np.ndarray:
    """Test accuracy of the honest ranks in percent, of the model that they combined last, as the paper has it."""
    honest = [rank for rank in range(len(everyone)) if rank not in job.lies]
    return np.array([100 * (1 - everyone[rank].task.evaluate(states[rank].model.w)["test_error"]) for rank in honest])


def on_mpi(script: str, raw: Raw, shares: Sequence[float], timeout: float) -> dict[str, Any]:
    """The same run on so many MPI ranks: seconds, and the digest of all models."""
    told = json.dumps({"raw": dict(raw), "shares": list(shares)})
    return mpi(raw["ranks"], sys.executable, [script, "--worker", told], timeout)[0]


def worker(told: str) -> None:
    """One rank of ``on_mpi``."""
    from dmtl.transports.mpi import world
    from dmtl.transports.sync import connect

    comm, asked = world(), json.loads(told)
    job = started(asked["raw"])
    node = job.node(comm.rank)
    if asked["shares"]:
        _hold(node, asked["shares"][comm.rank])
    exchange = connect(comm, node)
    comm.Barrier()
    begin = perf_counter()
    state = run(node, exchange, job.config.rounds)
    comm.Barrier()
    seconds = perf_counter() - begin
    exchange.close()
    figure = node.task.evaluate(state.x)
    every = comm.gather((state.x, figure), root=0)
    if comm.rank == 0:
        honest = [found for rank, (_, found) in enumerate(every) if rank not in job.lies]
        mean = {name: float(np.mean([found[name] for found in honest])) for name in honest[0]}
        line(comm, {"seconds": seconds, "digest": digest([x for x, _ in every]), **mean})
