"""What it costs to do without a master: rounds and bytes over each edge until the objective is near its least.

    python benchmarks/costs.py [--rounds 6000] [--graphs ring torus small-world] [--blocks "joint sparsity" peers]

Least squares with 10 features and 30 rows a task, related by a matrix of rank 3; ring of 20, torus of 4 x 4 and small
world of 32. Every method of a block has the same problem, one of ``exactness.py``, which finds its least; a strength
that is not in the name is a tenth of the least that makes all models 0. A cell has the rounds, and the kilobytes over
each edge and direction, until the objective of all models is within a thousandth and a millionth of its least,
relatively. The objective is looked at in every round; a run ends where it has been that near for 100 rounds. Beside the
network's methods are the central ones: their rounds are iterations, and in brackets is what a server would move for
them, d numbers up and down.
"""

from __future__ import annotations

import argparse
import re
from time import perf_counter
from typing import Any

import numpy as np
from costs_problems import BLOCKS, Block, Builder, central, missing
from harness import say, table

import dmtl
from dmtl.algorithms.central import CentralFISTA, CentralISTA, Problem
from dmtl.runner import Horizon

GRAPHS = {"ring": ("ring", 20), "torus": ("torus:4x4", 16), "small-world": ("small-world:k=4,p=0.3,seed=1", 32)}
NEAR = (1e-3, 1e-6)
HELD = 100
"""rounds for which a run goes on when it is near: three steps of the replicated master on the small world"""


def job(graph: str, algorithm: str) -> Any:
    """The run, planned."""
    topology, ranks = GRAPHS[graph]
    data = "synthetic:shape=low-rank,features=10,rows=30"
    raw = {"data": data, "topology": topology, "ranks": ranks, "algorithm": algorithm, "seed": 1}
    return dmtl.plan(dmtl.load(raw))


class Way:
    """How near the objective is, round by round."""

    def __init__(self, least: float) -> None:
        self.least, self.gaps, self.held = least, [], 0

    def add(self, value: float) -> bool:
        """Whether it has been near for long enough."""
        self.gaps.append((value - self.least) / abs(self.least))
        self.held = self.held + 1 if self.gaps[-1] <= NEAR[-1] else 0
        return self.held > HELD

    def cells(self, numbers: int) -> list[str]:
        """After how many rounds it is near and stays so, and kB over an edge and direction."""
        found = []
        for near in NEAR:
            far = np.flatnonzero(~(np.array(self.gaps) <= near))
            count = int(far[-1]) + 1 if len(far) else 0
            known = count < len(self.gaps)
            found.append(f"{count} ({count * numbers * 8 / 1000:.3g} kB)" if known else "-")
        return found


def walked(here: Problem, method: Any, least: float, most: int = 20_000) -> list[str]:
    """What a central method takes."""
    way, whole = Way(least), method.begin(here, np.zeros((here.penalty.copies * here.tasks[0].dim, len(here.tasks))))
    for _ in range(most):
        if way.add(here.objective(whole.w)):
            break
        whole = method.move(here, whole)
    return way.cells(here.tasks[0].dim)


def line(made: Any, builder: Builder, rounds: int) -> tuple[list[str], float]:
    """What a method takes on the network, and the least."""
    nodes = [made.node(rank) for rank in range(made.topology.size)]
    objective, least = builder(made, nodes)
    way, horizon, states = Way(least), Horizon(rounds), []

    def note(rank: int, state: Any, inbox: Any) -> None:
        states.append(state)
        if len(states) == len(nodes):
            if way.add(objective(states)):
                horizon.round = 0
            states.clear()

    dmtl.simulate(nodes, rounds, note, horizon=horizon)
    f, q = nodes[0].message_shape
    return way.cells(f * q), least


def shown(spec: str) -> str:
    """A method's name, without what is a matter of data or graph."""
    return re.sub(r"[:,](?=\)|$)", "", re.sub(r"\w+=\{\w+\},?", "", spec))


def block_lines(graph: str, block: Block, rounds: int) -> dict[str, list[str]]:
    """The rows of a block, for one graph."""
    start = job(graph, "local")
    tasks = [start.node(rank).task for rank in range(start.topology.size)]
    fill = block.fill(tasks)
    builder = block.problem(fill)
    rows, least = {}, np.nan
    for spec in block.methods:
        begun = perf_counter()
        rows[shown(spec)], least = line(job(graph, spec.format(**fill)), builder, rounds)
        say(f"{graph} {shown(spec)}: {', '.join(rows[shown(spec)])}; {perf_counter() - begun:.1f} s")
    here, ahead = central(builder, start, tasks), {}
    for title, method in (("ISTA", CentralISTA), ("FISTA", CentralFISTA)):
        begun = perf_counter()
        ahead[f"{block.title}: central {title}"] = cells = walked(here, method(here.penalty), least)
        say(f"{graph} {block.title}, central {title}: {', '.join(cells)}; {perf_counter() - begun:.1f} s")
    return {**ahead, **{f"`{name}`": cells for name, cells in rows.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6000)
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=GRAPHS)
    parser.add_argument("--blocks", nargs="+", default=[block.title for block in BLOCKS])
    asked = parser.parse_args()
    if missing():
        say(f"without a problem: {', '.join(missing())}")
    lines: dict[tuple[str, str], list[str]] = {}
    for graph in asked.graphs:
        for block in BLOCKS:
            if block.title in asked.blocks:
                for name, cells in block_lines(graph, block, asked.rounds).items():
                    lines.setdefault((block.title, name), []).extend(cells)
    head = [f"{graph}, {near:g}" for graph in asked.graphs for near in NEAR]
    print(table(["method", *head], [[name, *cells] for (_, name), cells in lines.items()]))


if __name__ == "__main__":
    main()
