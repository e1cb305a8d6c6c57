"""What waiting costs: synchronous rounds against asynchronous ones, where one rank is slow or all are at random.

    python benchmarks/stragglers.py [--tasks 15] [--rounds 10] [--seeds 20]

Three tables in the shape of those of Baytas, Yan, Jain and Zhou, "Asynchronous multi-task learning", ICDM 2016, with
synthetic least squares (50 features, 100 rows a task) on a virtual clock: nothing here depends on the machine, and the
same options print the same digits.

1. One rank is k times slower: seconds until the joint objective is within a thousandth of its start from its least.
2. Every round takes an offset and a random part: seconds until every rank has done so many rounds ('each'), or all
   ranks together as many as synchronous ones would have ('in all', which is how a server counts).
3. The dynamic step of AMTL against the fixed one: what is left of the objective's gap after the same rounds.

``stragglers_mpi.py`` times the first table on MPI ranks.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import cache

import networkx as nx
import numpy as np
from harness import table

from dmtl.algorithms.amtl import AMTL
from dmtl.algorithms.laplacian import Laplacian
from dmtl.data.pool import Dataset
from dmtl.data.synthetic import Synthetic
from dmtl.node import Ageing, Node
from dmtl.rng import Purpose, stream
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares, LeastSquaresTask
from dmtl.topology import Topology, metropolis
from dmtl.types import Mat, Vec
from dmtl.virtual import simulate_async, synchronous_times

FEATURES, ROWS = 50, 100
STRENGTH = 10.0
SPREAD = 4.0
"""longest random part of a round in the second table, in offsets; ours: ten rounds then take 30 offsets on average"""
SLOW = 2
"""the rank that is slow in the first table"""


@dataclass(frozen=True)
class Slow:
    """A second for every round, and ``factor`` seconds for those of one rank; messages take no time."""

    factor: float

    def cost(self, rank: int, round: int) -> float:
        return self.factor if rank == SLOW else 1.0

    def delay(self, round: int, source: int, target: int) -> float:
        return 0.0


@dataclass(frozen=True)
class Offset:
    """Rounds of ``offset`` (1 + spread u) seconds, u uniform in [0, 1), new for every rank and round."""

    offset: float
    spread: float
    seed: int

    def cost(self, rank: int, round: int) -> float:
        return self.offset * (1 + self.spread * stream(self.seed, Purpose.LINK, rank, round).random())

    def delay(self, round: int, source: int, target: int) -> float:
        return 0.0


class Problem:
    """Related least-squares tasks on a graph, and the exact minimiser of their joint objective."""

    def __init__(self, graph: nx.Graph, seed: int = 0) -> None:
        n = len(graph)
        pool = Synthetic(shape="low-rank", features=FEATURES, rows=ROWS).load(n, seed)
        self.topology = Topology(graph, metropolis(graph))
        self.tasks = [_task(pool.x[pool.task == t], pool.y[pool.task == t]) for t in range(n)]
        self.matrix = STRENGTH * np.kron(np.eye(n) - self.topology.matrix, np.eye(FEATURES))
        for t, task in enumerate(self.tasks):
            here = slice(FEATURES * t, FEATURES * (t + 1))
            self.matrix[here, here] += task.vectors @ np.diag(task.values) @ task.vectors.T
        self.least = np.linalg.solve(self.matrix, -np.concatenate([t.grad(np.zeros(FEATURES)) for t in self.tasks]))
        self.start = self._excess(np.zeros(n * FEATURES))

    def nodes(self, algorithm: AMTL | Laplacian, ageing: Ageing | None = None, reach: int = 0) -> list[Node]:
        views = [self.topology.view(t) for t in range(len(self.tasks))]
        return [
            Node(view, task, algorithm, Average(), ageing=ageing, reach=reach)
            for view, task in zip(views, self.tasks, strict=True)
        ]

    def gap(self, x: Mat) -> float:
        """What is left of the objective's excess over its least value, 1 at the start, for the models ``x`` (n, d)."""
        return self._excess(x.ravel()) / self.start

    def _excess(self, x: Vec) -> float:
        off = x - self.least
        return float(off @ self.matrix @ off) / 2


def _task(x: Mat, y: Vec) -> LeastSquaresTask:
    return LeastSquares(bias=False).build(Dataset(x, y, x[:0], y[:0], x[:0], y[:0]))


class Watch:
    """Follows all models through a run and keeps when their gap first was small."""

    def __init__(self, problem: Problem, small: float) -> None:
        self.problem, self.small = problem, small
        self.x = np.zeros((len(problem.tasks), FEATURES))
        self.reached = math.inf

    def __call__(self, rank: int, x: Vec, time: float) -> None:
        self.x[rank] = x
        if self.reached == math.inf and self.problem.gap(self.x) < self.small:
            self.reached = time


def synchronous_rounds(problem: Problem, algorithm: AMTL | Laplacian, small: float) -> int:
    """Rounds until the gap is small; they do not depend on what a round takes."""
    watch = Watch(problem, small)
    simulate(problem.nodes(algorithm), 1000, record=lambda rank, state, _: watch(rank, state.x, state.view.round))
    return int(watch.reached)


def one_slow(tasks: int) -> str:
    """Seconds to the same gap with one rank k times slower."""
    problem, small = Problem(nx.cycle_graph(tasks)), 1e-3
    views = [node.view for node in problem.nodes(Laplacian())]
    methods = (Laplacian(STRENGTH), AMTL(STRENGTH), AMTL(STRENGTH, relaxation=1.0))
    rounds = [synchronous_rounds(problem, method, small) for method in methods]
    rows = []
    for factor in (1.0, 3.0, 10.0, 30.0):
        timing = Slow(factor)
        cells = [synchronous_times(views, count, timing)[-1].max() for count in rounds[:2]]
        for method in methods[1:]:
            watch = Watch(problem, small)
            nodes, most = problem.nodes(method), factor * rounds[1]
            simulate_async(nodes, 10**9, timing, record=lambda r, s, _, time, w=watch: w(r, s.x, time), until=2 * most)
            cells.append(watch.reached)
        mean = (tasks - 1 + factor) / tasks
        rows.append([f"{factor:g}", *(f"{cell:.0f}" for cell in cells), f"{cells[0] / cells[-1]:.1f}", f"{mean:.2f}"])
    head = ["k", "laplacian, sync", "amtl 0.9, sync", "amtl 0.9, async", "amtl 1, async", "gain", "mean cost"]
    return table(head, rows)


def all_random(rounds: int, seeds: int) -> str:
    """Seconds for the same rounds of every rank or of all together, and the gaps then; all ranks hear each other."""
    rows = []
    for offset in (5.0, 10.0, 30.0):
        for tasks in (5, 10, 15):
            problem = Problem(nx.complete_graph(tasks))
            found = [_both(problem, rounds, Offset(offset, SPREAD, seed)) for seed in range(seeds)]
            waiting, each, together, *gaps = np.mean(found, axis=0)
            seconds = [f"{time:.0f}" for time in (waiting, each, together)]
            gains = [f"{waiting / time:.2f}" for time in (each, together)]
            rows.append([f"{offset:g}", str(tasks), *seconds, *gains, *(f"{gap:.2f}" for gap in gaps)])
    head = ["offset", "tasks", "sync, s", "async, s: each", "in all", "gain: each", "in all"]
    return table([*head, "gap: sync", "each", "in all"], rows)


def _both(problem: Problem, rounds: int, timing: Offset) -> tuple[float, ...]:
    """Times and gaps of synchronous ranks, asynchronous ones with so many rounds each, and with as many in all."""
    nodes, n = problem.nodes(AMTL(STRENGTH, relaxation=1.0)), len(problem.tasks)
    waiting = synchronous_times([node.view for node in nodes], rounds, timing)[-1].max()
    prompt = simulate(nodes, rounds)
    ends: list[float] = []
    late = simulate_async(nodes, rounds, timing, record=lambda *moment: ends.append(moment[3]))
    every: list[float] = []
    simulate_async(nodes, 3 * rounds, timing, record=lambda *moment: every.append(moment[3]))
    together = every[n + n * rounds - 1]  # the first n are those of time 0
    mixed = simulate_async(nodes, 3 * rounds, timing, until=together)
    gaps = [problem.gap(np.array([state.x for state in states])) for states in (prompt, late, mixed)]
    return waiting, max(ends), together, *gaps


def dynamic_step(tasks: int, rounds: int) -> str:
    """The gap after the same rounds with a fixed, a dynamic and a full step; messages that many rounds late."""
    problem = Problem(nx.complete_graph(tasks))
    rows = []
    for delay in (0, 5, 10, 20):
        for eta in (0.1, 0.3):
            gaps = []
            for method in (
                AMTL(STRENGTH, relaxation=eta),
                AMTL(STRENGTH, relaxation=eta, dynamic=True),
                AMTL(STRENGTH, relaxation=1.0),
            ):
                states = simulate(problem.nodes(method, _late(delay), 2 * delay), rounds)
                gaps.append(problem.gap(np.array([state.x for state in states])))
            rows.append([str(delay), f"{eta:g}", *(f"{gap:.2e}" for gap in gaps), f"{gaps[0] / gaps[1]:.2f}"])
    return table(["delay", "eta", "fixed", "dynamic", "full step", "fixed/dynamic"], rows)


def _late(delay: int) -> Ageing:
    """How old the newest message is that has come, if each takes ``delay`` rounds and up to as many more at random."""

    @cache
    def taken(round: int, source: int, target: int) -> float:
        return delay * (1 + stream(round, Purpose.LINK, source, target).random())

    def age(round: int, source: int, target: int) -> int:
        return next((a for a in range(round + 1) if taken(round - a, source, target) < a + 1), -1)

    return age


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=15, help="ranks of the first and the third table")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of every rank in the second table")
    parser.add_argument(
        "--seeds", type=int, default=20, help="draws of the delays that the second table is the mean of"
    )
    asked = parser.parse_args()
    print(
        f"Virtual seconds until the gap is 0.001 of the start's, ring of {asked.tasks}, rank {SLOW} k times slower:\n"
    )
    print(one_slow(asked.tasks), flush=True)
    print(f"\nVirtual seconds for {asked.rounds} rounds of every rank, mean of {asked.seeds} draws:\n")
    print(all_random(asked.rounds, asked.seeds), flush=True)
    print(f"\nGap after 40 rounds, messages late by so many rounds and up to as many more, {asked.tasks} tasks:\n")
    print(dynamic_step(asked.tasks, 40), flush=True)


if __name__ == "__main__":
    main()
