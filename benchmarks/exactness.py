"""Is every convex method exact? The objective's gap to its least on five graphs, with 2, 8 and 20 tasks, three losses.

    python benchmarks/exactness.py [--tasks 2 8 20] [--methods joint-sparse mocha] [--rounds 20000] [--jobs 2]

Synthetic tasks with 4 features and a bias: least squares, logistic, and hinge where a method takes it. The least is
found by a central method that shares no code with the network's: proximal Newton for penalties, Newton's method on all
variables for what is smooth; for the hinge loss it is the best bound that the duals of 'dmtrl' give. A run ends, looked
at every 50 rounds, where the objective of all models is within 1e-8 of the least, relatively. A cell has on how many
graphs and losses that was so, and the most rounds that it took; of what was not so it has the gap.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from harness import say, table

import dmtl
from dmtl.algorithms.central import problem
from dmtl.algorithms.central_pnopt import CentralPNOPT
from dmtl.consensus.chart import chart
from dmtl.penalties.network import Fused
from dmtl.penalties.norms import Peaks, Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures
from dmtl.penalties.tree import Tree

NEAR, EVERY = 1e-8, 50
LOSSES = {
    "least-squares": ("least-squares:l2=0.05", 0),
    "logistic": ("logistic:l2=0.05", 2),
    "hinge": ("hinge:l2=0.05", 2),
}
SMOOTH, ALL = ("least-squares", "logistic"), tuple(LOSSES)
Objective = Callable[[Sequence[Any]], float]
"""of all ranks' nodes' states"""


def graphs(tasks: int) -> list[str]:
    """Five graphs; of two tasks there is one."""
    if tasks == 2:
        return ["ring"]
    return ["ring", "star", f"grid:{tasks // 4}x4", "small-world:k=4,p=0.3,seed=1", "erdos-renyi:p=0.5,seed=3"]


class Coupled(NamedTuple):
    """sum_t c_t f_t(w_t) + 1/2 tr(W Q W')."""

    tasks: Sequence[Any]
    shares: np.ndarray
    """(T,) c"""
    coupling: np.ndarray
    """(T, T) Q"""

    def objective(self, w: np.ndarray) -> float:
        """Of W (T, d)."""
        fit = sum(c * task.loss(row) for c, task, row in zip(self.shares, self.tasks, w, strict=True))
        return fit + float(np.sum(w * (self.coupling @ w))) / 2

    def least(self) -> float:
        """By Newton's method on everything."""
        n, d = len(self.tasks), self.tasks[0].dim
        w = np.zeros((n, d))
        for _ in range(50):
            slope, hessian = self.coupling @ w, np.kron(self.coupling, np.eye(d))
            for t, task in enumerate(self.tasks):
                slope[t] += self.shares[t] * task.grad(w[t])
                hessian[t * d : t * d + d, t * d : t * d + d] += self.shares[t] * task.curvature(w[t])
            w = w - np.linalg.solve(hessian, slope.ravel()).reshape(n, d)
        return self.objective(w)


def penalised(penalty: Any, made: Any, nodes: Sequence[Any]) -> tuple[Objective, float]:
    """A penalty on the matrix of all models, or of their parts."""
    here = problem([node.task for node in nodes], penalty, chart(made.topology.graph))
    method = CentralPNOPT(here.penalty)
    whole = method.begin(here, np.zeros((here.penalty.copies * nodes[0].task.dim, len(nodes))))
    values = [np.inf]
    for _ in range(200):
        whole = method.move(here, whole)
        values.append(here.objective(whole.w))
        if values[-2] - values[-1] <= 1e-15 * abs(values[-1]):
            break
    return lambda states: here.objective(variables(nodes, states)), min(values)


def variables(nodes: Sequence[Any], states: Sequence[Any]) -> np.ndarray:
    """W (D, T), with both parts where a model has two."""
    columns = []
    for node, state in zip(nodes, states, strict=True):
        if hasattr(node.algorithm, "column"):
            columns.append(node.algorithm.column(state.model))
        else:
            inner = getattr(state.model, "inner", state.model)
            columns.append(getattr(inner, "w", state.x))
    return np.stack(columns, axis=1)


def coupled(form: Callable[[Any], tuple[Any, Any]], made: Any, nodes: Sequence[Any]) -> tuple[Objective, float]:
    """Models coupled by a matrix."""
    shares, coupling = form(made.topology)
    here = Coupled([node.task for node in nodes], np.broadcast_to(shares, len(nodes)), coupling)
    smooth = hasattr(nodes[0].task, "curvature")
    return lambda states: here.objective(np.stack([state.x for state in states])), (
        here.least() if smooth else bounded(made, here)
    )


def bounded(made: Any, here: Coupled) -> float:
    """The best lower bound of the duals of 'dmtrl' with the same coupling, to a hundredth of what is asked."""
    strength, delta = 1.0, float(here.coupling.sum() / len(here.coupling))
    spec = f"dmtrl:strength={strength},delta={delta!r}"
    config = {"seed": 1, "algorithm": spec, "topology": made.config.topology, "task": made.config.task}
    twin = dmtl.plan(dmtl.load({**config, "data": made.config.data, "ranks": made.topology.size}))
    nodes, states, best = [twin.node(rank) for rank in range(twin.topology.size)], None, -np.inf
    for rounds in range(500, 60_001, 500):
        states = dmtl.simulate(nodes, rounds, states=states)
        told = np.stack([state.model.said for state in states])
        pairs = zip(nodes, states, strict=True)
        gap = sum(node.algorithm.certificate(state.model, node.task, node.view) for node, state in pairs)
        value = here.objective(told)
        best = max(best, value - gap)
        if gap <= NEAR / 100 * value:
            break
    return best


def common(penalty: Any, made: Any, nodes: Sequence[Any]) -> tuple[Objective, float]:
    """One model for all: what the worst of them has."""
    here = Coupled([node.task for node in nodes], np.ones(len(nodes)), np.zeros((len(nodes), len(nodes))))
    x = np.zeros(nodes[0].task.dim)
    for _ in range(50):
        slope = np.sum([task.grad(x) for task in here.tasks], axis=0)
        x = x - np.linalg.solve(np.sum([task.curvature(x) for task in here.tasks], axis=0), slope)

    def worst(states: Sequence[Any]) -> float:
        return max(here.objective(np.tile(state.x, (len(nodes), 1))) for state in states)

    return worst, here.objective(np.tile(x, (len(nodes), 1)))


def laplacian(topology: Any) -> np.ndarray:
    """(T, T) with unit weights."""
    return np.asarray(dmtl.topology.nx.laplacian_matrix(topology.graph, weight=None).todense(), float)


def degrees(topology: Any) -> np.ndarray:
    return np.diag(laplacian(topology))


def mixed(topology: Any) -> tuple[Any, Any]:
    """0.5 (I - M), M the mixing weights."""
    return 1.0, 0.5 * (np.eye(topology.size) - topology.matrix)


def related(topology: Any) -> tuple[Any, Any]:
    return 1.0, laplacian(topology) + 0.1 * np.eye(topology.size)


def kernel(topology: Any) -> tuple[Any, Any]:
    """Half common, half own."""
    n = topology.size
    return 1.0, 0.1 * np.linalg.inv(0.5 * np.ones((n, n)) + 0.5 * np.eye(n))


def peers(topology: Any) -> tuple[Any, Any]:
    return degrees(topology), 0.5 * laplacian(topology)


_PENALTIES = {
    "l21:strength=0.05": Rows(0.05),
    "l1inf:strength=0.05": Peaks(0.05),
    "nuclear:strength=0.05": LowRank(0.05),
    "squared-nuclear:strength=0.01": SquaredNuclear(0.01),
    "mtrl:strength=0.01,ridge=0.1": Relationship(0.01, 0.1),
    "clustered:k=2,strength=0.1,eta=0.5": Clustered(2, 0.1, 0.5),
    "mean:strength=0.5": Mean(0.5),
    "dirty:shared=0.1,own=0.03": Dirty(0.1, 0.03),
    "robust:low_rank=0.05,outliers=0.05": Robust(0.05, 0.05),
    "robust-features:features=0.05,outliers=0.05": RobustFeatures(0.05, 0.05),
}
METHODS: dict[str, tuple[Callable[..., tuple[Objective, float]], tuple[str, ...]]] = {
    "joint-sparse:strength=0.05": (partial(penalised, Rows(0.05)), SMOOTH),
    "trace-norm:strength=0.05": (partial(penalised, LowRank(0.05)), SMOOTH),
    "robust-mtl:low_rank=0.05,outliers=0.05": (partial(penalised, Robust(0.05, 0.05)), SMOOTH),
    "rmtfl:features=0.05,outliers=0.05": (partial(penalised, RobustFeatures(0.05, 0.05)), SMOOTH),
    "clustered:k=2,strength=0.1,eta=0.5": (partial(penalised, Clustered(2, 0.1, 0.5)), SMOOTH),
    "relationship:strength=0.01,ridge=0.1": (partial(penalised, Relationship(0.01, 0.1)), SMOOTH),
    "hierarchical:groups=0|1": (partial(penalised, Tree("0|1")), SMOOTH),
    "smtl:penalty=(nuclear:strength=0.05),accelerate=true": (partial(penalised, LowRank(0.05)), SMOOTH),
    "mean-regularised:strength=0.5": (partial(penalised, Mean(0.5)), SMOOTH),
    "dirty:shared=0.1,own=0.03": (partial(penalised, Dirty(0.1, 0.03)), SMOOTH),
    "network-lasso:strength=0.05": (partial(penalised, Fused(0.05)), SMOOTH),
    "pdmm:cap=0.05": (partial(penalised, Fused(0.05)), SMOOTH),
    "laplacian:strength=0.5": (partial(coupled, mixed), SMOOTH),
    "amtl:strength=0.5": (partial(coupled, mixed), SMOOTH),
    "dinuzzo:strength=0.1,share=0.5,steps=12": (partial(coupled, kernel), SMOOTH),
    "mocha:strength=1.0,delta=0.1": (partial(coupled, related), ALL),
    "dmtrl:strength=1.0,delta=0.1": (partial(coupled, related), ALL),
    "pmtl:strength=1.0,delta=0.1": (partial(coupled, related), ALL),
    "private-coordinate-descent:strength=0.5": (partial(coupled, peers), SMOOTH),
    "collaborative:strength=0.5": (partial(coupled, peers), SMOOTH),
    "pdmm": (partial(common, None), SMOOTH),
    "gradient-tracking": (partial(common, None), SMOOTH),
    **{engine: (partial(common, None), SMOOTH) for engine in ("nids", "extra", "pg-extra", "dadmm")},
    **{
        f"{engine}:penalty=({spec})": (partial(penalised, penalty), SMOOTH)
        for spec, penalty in _PENALTIES.items()
        for engine in ("nids", "pg-extra", "dadmm")
    },
}


def run(rounds: int, spec: str, tasks: int, loss: str, graph: str) -> tuple[int, float]:
    """Rounds until the objective is near enough, and how near it is."""
    task, classes = LOSSES[loss]
    data = f"synthetic:shape=clustered,clusters=2,features=4,rows=40,classes={classes}"
    made = dmtl.plan(
        dmtl.load({"seed": 1, "data": data, "task": task, "topology": graph, "ranks": tasks, "algorithm": spec})
    )
    nodes, states = [made.node(rank) for rank in range(tasks)], None
    objective, least = METHODS[spec][0](made, nodes)
    for done in range(EVERY, rounds + 1, EVERY):
        states = dmtl.simulate(nodes, done, states=states)
        gap = (objective(states) - least) / abs(least)
        if gap <= NEAR:
            break
    return done, gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 8, 20])
    parser.add_argument("--methods", nargs="+", default=[], help="beginnings of their names; left out: all")
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    specs = [spec for spec in METHODS if not asked.methods or spec.startswith(tuple(asked.methods))]
    lines = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for spec in specs:
            cells = []
            for tasks in asked.tasks:
                cases = [(loss, graph) for loss in METHODS[spec][1] for graph in graphs(tasks)]
                found = list(pool.map(partial(run, asked.rounds, spec, tasks), *zip(*cases, strict=True)))
                missed = [
                    f"; {loss}, {graph}: {gap:.0e}"
                    for (loss, graph), (_, gap) in zip(cases, found, strict=True)
                    if not abs(gap) <= NEAR
                ]
                most = max(done for done, _ in found)
                cells.append(f"{len(found) - len(missed)} of {len(found)}, {most}" + "".join(missed))
                say(f"{spec}, {tasks} tasks: {cells[-1]}")
            lines.append([f"`{spec}`", *cells])
    print(table(["method", *(f"{tasks} tasks" for tasks in asked.tasks)], lines))


if __name__ == "__main__":
    main()
