"""What it costs to do without a master: rounds and bytes over each edge until the objective is near its least.

    python benchmarks/costs.py [--rounds 6000] [--graphs ring torus small-world]

Least squares with 10 features and 30 rows a task, related by a matrix of rank 3; ring of 20, torus of 4 x 4 and small
world of 32. Every method of a block has the same problem; strengths are a tenth of the least that makes all models 0,
or 1. A cell has the rounds, and the kilobytes over each edge and direction, until the objective of all models is within
a thousandth and a millionth of its least, relatively. Beside the network's methods is the central method: its rounds
are iterations, and in brackets what a server would move for them, d numbers up and down.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from harness import say, table

import dmtl
from dmtl.algorithms.central import CentralFISTA, CentralISTA, Problem
from dmtl.penalties.norms import Rows
from dmtl.penalties.penalty import Gauge
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import LowRank

GRAPHS = {"ring": ("ring", 20), "torus": ("torus:4x4", 16), "small-world": ("small-world:k=4,p=0.3,seed=1", 32)}
NEAR = (1e-3, 1e-6)
SHARE = 0.1


class Block(NamedTuple):
    """Methods with one problem."""

    title: str
    penalty: Callable[[float], Any] | None
    """None: strength / 2 tr(W K W') on the graph"""
    methods: Sequence[str]
    """{} is the strength"""


BLOCKS = (
    Block(
        "joint sparsity",
        Rows,
        (
            "joint-sparse:strength={}",
            "smtl:penalty=(l21:strength={})",
            "nids:penalty=(l21:strength={})",
            "pg-extra:penalty=(l21:strength={})",
            "dadmm:penalty=(l21:strength={})",
        ),
    ),
    Block(
        "trace norm",
        LowRank,
        (
            "trace-norm:strength={}",
            "smtl:penalty=(nuclear:strength={})",
            "trace-norm:strength={},form=factorised,rank=8",
            "nids:penalty=(nuclear:strength={})",
            "pg-extra:penalty=(nuclear:strength={})",
            "dadmm:penalty=(nuclear:strength={})",
        ),
    ),
    Block(
        "near the mean",
        Mean,
        (
            "smtl:penalty=(mean:strength={}),accelerate=true",
            "mean-regularised:strength={},engine=nids",
            "mean-regularised:strength={},engine=pg-extra",
            "mean-regularised:strength={},engine=extra",
            "mean-regularised:strength={},engine=dadmm",
        ),
    ),
    Block(
        "relations on the graph",
        None,
        ("dmtrl:strength={},delta=0.1", "mocha:strength={},delta=0.1", "pmtl:strength={},delta=0.1"),
    ),
)


def job(graph: str, algorithm: str) -> Any:
    """The run, planned."""
    topology, ranks = GRAPHS[graph]
    data = "synthetic:shape=low-rank,features=10,rows=30"
    raw = {"data": data, "topology": topology, "ranks": ranks, "algorithm": algorithm, "seed": 1}
    return dmtl.plan(dmtl.load(raw))


class Quadratic(NamedTuple):
    """sum f_t(w_t) + strength / 2 tr(W K W'), K the graph's Laplacian and delta on the diagonal."""

    tasks: list[Any]
    coupling: np.ndarray
    strength: float

    def objective(self, w: np.ndarray) -> float:
        fit = sum(task.loss(column) for task, column in zip(self.tasks, w.T, strict=True))
        return fit + self.strength / 2 * float(np.sum((w @ self.coupling) * w))

    def least(self) -> float:
        n, d = len(self.tasks), self.tasks[0].dim
        matrix = self.strength * np.kron(self.coupling, np.eye(d))
        for rank, task in enumerate(self.tasks):
            matrix[rank * d : rank * d + d, rank * d : rank * d + d] += task.curvature(np.zeros(d))
        right = np.concatenate([-task.grad(np.zeros(d)) for task in self.tasks])
        return self.objective(np.linalg.solve(matrix, right).reshape(n, d).T)


def composite(tasks: list[Any], penalty: Callable[[float], Any]) -> tuple[Any, float, float]:
    """The problem, its strength and its least value."""
    zero = np.zeros((tasks[0].dim, len(tasks)))
    slope = Problem(tasks, penalty(1.0)).grad(zero)
    unit = penalty(1.0)
    strength = SHARE * unit.dual(slope) if isinstance(unit, Gauge) else 1.0
    here = Problem(tasks, penalty(strength))
    return here, strength, here.objective(walk(here, CentralFISTA(here.penalty), 20_000)[-1])


def walk(here: Problem, method: Any, most: int) -> list[np.ndarray]:
    """W after each central step, until it rests."""
    whole = method.begin(here, np.zeros((here.tasks[0].dim, len(here.tasks))))
    found = [whole.w]
    for _ in range(most):
        whole = method.move(here, whole)
        found.append(whole.w)
        if np.abs(found[-1] - found[-2]).max() <= 1e-14 * np.abs(whole.w).max():
            break
    return found


def reached(values: Sequence[float], least: float) -> list[int | None]:
    """After how many rounds the objective is that near and stays so."""
    gaps = (np.array(values) - least) / abs(least)
    found: list[int | None] = []
    for near in NEAR:
        far = np.flatnonzero(~(gaps <= near))
        last = int(far[-1]) + 1 if len(far) else 0
        found.append(last if last < len(gaps) else None)
    return found


def cells(rounds: Sequence[int | None], numbers: int) -> list[str]:
    """Rounds, and kB over an edge and direction."""
    return ["-" if count is None else f"{count} ({count * numbers * 8 / 1000:.3g} kB)" for count in rounds]


def line(graph: str, spec: str, here: Any, least: float, rounds: int) -> list[str]:
    """What a method takes on the network."""
    made = job(graph, spec)
    nodes = [made.node(rank) for rank in range(made.topology.size)]
    values, round_, models = [], [0], np.zeros((nodes[0].task.dim, len(nodes)))

    def note(rank: int, state: Any, inbox: Any) -> None:
        models[:, rank] = state.x
        if rank == len(nodes) - 1:
            round_[0] += 1
            values.append(here.objective(models))

    dmtl.simulate(nodes, rounds, note)
    f, q = nodes[0].message_shape
    return cells(reached(values, least), f * q)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6000)
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=GRAPHS)
    asked = parser.parse_args()
    lines: dict[str, list[str]] = {}
    for graph in asked.graphs:
        start = job(graph, "local")
        tasks = [start.node(rank).task for rank in range(start.topology.size)]
        for block in BLOCKS:
            if block.penalty:
                here, strength, least = composite(tasks, block.penalty)
                for title, method in (("ISTA", CentralISTA), ("FISTA", CentralFISTA)):
                    steps = [here.objective(w) for w in walk(here, method(here.penalty), 20_000)]
                    lines.setdefault(f"{block.title}: central {title}", []).extend(
                        cells(reached(steps, least), tasks[0].dim)
                    )
            else:
                laplacian = np.asarray(
                    dmtl.topology.nx.laplacian_matrix(start.topology.graph, weight=None).todense(), float
                )
                here, strength = Quadratic(tasks, laplacian + 0.1 * np.eye(len(tasks)), 1.0), 1.0
                least = here.least()
            for spec in block.methods:
                name = spec.replace("strength={},", "").replace(":strength={}", "")
                lines.setdefault(name, []).extend(
                    line(graph, spec.format(repr(float(strength))), here, least, asked.rounds)
                )
                say(f"{graph} {name}: {', '.join(lines[name][-2:])}")
    head = [f"{graph}, {near:g}" for graph in asked.graphs for near in NEAR]
    print(table(["method", *head], [[f"`{name}`", *row] for name, row in lines.items()]))


if __name__ == "__main__":
    main()
