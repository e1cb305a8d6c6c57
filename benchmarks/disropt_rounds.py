"""One MPI job of round_cost.py: DISROPT and dmtl in turn, in one process of DISROPT's own environment.

Same graph, same Metropolis weights, same start; consensus averaging must give the same iterates, and both forms of
gradient tracking must reach the same minimiser. The gradient is numpy's own difference for both: DISROPT's function
classes differentiate automatically and cannot do large d at all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
from disropt.agents import Agent
from disropt.algorithms import Consensus as TheirConsensus
from disropt.algorithms import GradientTracking as TheirTracking
from disropt.functions import AbstractFunction
from disropt.problems import Problem
from harness import Quadratic, alternated, label, line, rounds_for, start_of, timed, topology
from mpi4py import MPI

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.gradient_tracking import GradientTracking
from dmtl.memory import keep_pages
from dmtl.node import Node
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.transports.sync import connect
from dmtl.types import Algorithm, Vec

STEP = 0.1
Run = Callable[[int], Vec]
"""Does so many rounds from the start and returns the model."""


class Distance(AbstractFunction):
    """f(x) = |x - b|^2 / 2 for DISROPT, its gradient given."""

    differentiable = True

    def __init__(self, b: Vec) -> None:
        self.b = b.reshape(-1, 1)
        self.input_shape = self.b.shape
        self.output_shape = (1, 1)

    def eval(self, x: Vec) -> Vec:
        return 0.5 * np.sum((x - self.b) ** 2).reshape(1, 1)

    def subgradient(self, x: Vec) -> Vec:
        return x - self.b


def agent(graph: str, b: Vec) -> Agent:
    """DISROPT's agent with the weights that dmtl has."""
    comm = MPI.COMM_WORLD
    net = topology(graph, comm.size)
    near = list(net.sources(comm.rank))
    made = Agent(near, list(near), in_weights=net.matrix[comm.rank].tolist(), auto_local=False)
    made.set_problem(Problem(Distance(b), force_general_problem=True))
    return made


def pair(method: str, graph: str, d: int) -> tuple[Run, Run, Callable[[], None]]:
    """The method as DISROPT and as dmtl run it, and what closes the latter."""
    comm = MPI.COMM_WORLD
    b = start_of(comm.rank, d)
    x0 = b if method == "consensus" else np.zeros(d)
    local = agent(graph, b)
    ours: Algorithm[Any] = Diffusion(step_size=0.0) if method == "consensus" else GradientTracking(step_size=STEP)
    node = Node(topology(graph, comm.size).view(comm.rank), Quadratic(b), ours, Average())
    exchange = connect(comm, node)

    def by_disropt(rounds: int) -> Vec:
        if method == "consensus":
            algorithm = TheirConsensus(local, x0.reshape(-1, 1))
            algorithm.run(iterations=rounds)
        else:
            algorithm = TheirTracking(local, x0.reshape(-1, 1))
            algorithm.run(iterations=rounds, stepsize=STEP)
        return algorithm.get_result().ravel()

    def by_dmtl(rounds: int) -> Vec:
        return run(node, exchange, rounds, None, 1, node.start(x0)).x

    return by_disropt, by_dmtl, exchange.close


def prove(method: str, d: int, theirs: Run, ours: Run) -> float:
    """Show that both compute the same, and return by how much they differ at most."""
    comm = MPI.COMM_WORLD
    if method == "consensus":
        gap = float(np.abs(theirs(7) - ours(7)).max())
        harness.require(comm, gap < 1e-12, f"after 7 rounds with d={d} dmtl and DISROPT differ by {gap:.2g}")
        return gap
    goal = np.mean([start_of(rank, d) for rank in range(comm.size)], axis=0)
    gap = max(float(np.abs(solve(200) - goal).max()) for solve in (theirs, ours))
    harness.require(comm, gap < 1e-4, f"after 200 rounds with d={d} one of both is {gap:.2g} from the minimiser")
    return gap


def measure(method: str, graph: str, d: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    comm = MPI.COMM_WORLD
    theirs, ours, close = pair(method, graph, d)
    gap = prove(method, d, theirs, ours)
    rounds = [rounds_for(comm, piece, options.seconds) for piece in (theirs, ours)]
    pieces = [lambda: timed(comm, lambda: theirs(rounds[0])), lambda: timed(comm, lambda: ours(rounds[1]))]
    seconds = alternated(options.repeats, *pieces)
    close()
    cell = {"method": method, "graph": label(graph, comm.size), "ranks": comm.size, "d": d}
    return {**cell, "rounds": rounds, "seconds": seconds, "gap": gap}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--graphs", nargs="+")
    parser.add_argument("--dims", type=int, nargs="+")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    keep_pages()  # for both: without it DISROPT would be slower still at large d
    for graph in options.graphs:
        for method in ("consensus", "gradient-tracking"):
            for d in options.dims:
                line(MPI.COMM_WORLD, measure(method, graph, d, options))


if __name__ == "__main__":
    main()
