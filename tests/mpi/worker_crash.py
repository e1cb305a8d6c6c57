"""Ranks that kill themselves in a known round, and survivors who compare themselves with the simulator's.

    worker_crash.py D RANK@ROUND ...

A rank dies in the middle of its round, after it has spoken and heard: its neighbours miss it in the next one. Each
survivor prints whether its state is, bit for bit, that of a simulation in which those ranks fell silent.
"""

from __future__ import annotations

import os
import signal
import sys

import networkx as nx
import numpy as np

from dmtl.algorithms.laplacian import Laplacian
from dmtl.results import flatten, portable
from dmtl.runner import run
from dmtl.simulator import simulate
from dmtl.transports.ending import leave_at_once, part
from dmtl.transports.mpi import world
from dmtl.transports.sync import connect
from tests.networks import network

ROUNDS = 40


class Mortal:
    """f(w) = |w - b|^2 / 2, and it kills its process when its gradient is asked for in round ``last``."""

    smoothness = 1.0

    def __init__(self, rank: int, d: int, last: int = -1) -> None:
        self.b = np.random.default_rng(rank).standard_normal(d)
        self.dim = d
        self.last = last
        self.round = 0

    def loss(self, w, rng=None):
        return float((w - self.b) @ (w - self.b)) / 2

    def grad(self, w, rng=None):
        if self.round == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.round += 1
        return w - self.b

    def evaluate(self, w):
        return {}


def main() -> None:
    d, *plan = sys.argv[1:]
    dies = {int(rank): int(round) for rank, round in (text.split("@") for text in plan)}
    comm = world()
    graph = nx.cycle_graph(comm.size)
    tasks = [Mortal(rank, int(d), dies.get(rank, -1)) for rank in range(comm.size)]
    node = network(graph, Laplacian(), tasks)[comm.rank]
    exchange = connect(comm, node)
    ours = run(node, exchange, ROUNDS)
    parting = part(comm, {rank: loss.round for rank, loss in exchange.lost.items()}, 0)

    def ageing(round: int, source: int, target: int) -> int:
        return -1 if round > dies.get(source, ROUNDS) else 0

    alive = [Mortal(rank, int(d)) for rank in range(comm.size)]
    theirs = simulate(network(graph, Laplacian(), alive, ageing=ageing), ROUNDS)[comm.rank]
    pairs = zip(flatten(portable(ours)).items(), flatten(portable(theirs)).items(), strict=True)
    equal = all(one == two and np.array_equal(a, b) for (one, a), (two, b) in pairs)
    print(f"rank {comm.rank}: {'equal' if equal else 'different'}; dead {sorted(parting.dead.items())}", flush=True)
    if parting.dead:
        leave_at_once(0)
    exchange.close()


if __name__ == "__main__":
    main()
