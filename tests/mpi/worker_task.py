"""A plain quadratic task whose gradient can be made to fail or to wait on one rank: argv is MODE RANK [FIFO]."""

from __future__ import annotations

import sys
from pathlib import Path

import networkx as nx
import numpy as np

from dmtl.algorithms.diffusion import Diffusion
from dmtl.node import Node
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.topology import Topology, metropolis
from dmtl.transports.mpi import world
from dmtl.transports.sync import connect
from dmtl.transports.watchdog import Watchdog


class Quadratic:
    dim = 3
    smoothness = 1.0

    def __init__(self, mode: str, fifo: str) -> None:
        self.mode, self.fifo, self.calls = mode, fifo, 0

    def loss(self, w, rng=None):
        return float(w @ w) / 2

    def grad(self, w, rng=None):
        self.calls += 1
        if self.calls == 4 and self.mode == "raise":
            raise RuntimeError("the sensor is on fire")
        if self.calls == 4 and self.mode == "wait":
            Path(self.fifo).read_text()
        return w - 1.0

    def evaluate(self, w):
        return {}


def main() -> None:
    mode, chosen, *fifo = sys.argv[1:]
    comm = world()
    graph = nx.cycle_graph(comm.size)
    task = Quadratic(mode if comm.rank == int(chosen) else "", fifo[0] if fifo else "")
    node = Node(Topology(graph, metropolis(graph)).view(comm.rank), task, Diffusion(0.5), Average())
    exchange = connect(comm, node)
    with Watchdog(exchange.edges, node.view, 0.2):
        state = run(node, exchange, 8)
    exchange.close()
    assert np.allclose(state.x, 1.0, atol=0.01)
    print(f"rank {comm.rank} finished", flush=True)


if __name__ == "__main__":
    main()
