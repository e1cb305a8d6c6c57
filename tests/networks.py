"""Small networks with known answers, for tests: quadratic tasks on a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import networkx as nx
import numpy as np

from dmtl.consensus.chart import Charted, Gathering, chart
from dmtl.node import Node
from dmtl.rng import Purpose, stream
from dmtl.screens.average import Average
from dmtl.topology import Topology, metropolis
from dmtl.types import Attack, Screen

GRAPHS = {
    "ring": nx.cycle_graph(8),
    "star": nx.star_graph(7),
    "random": nx.gnp_random_graph(8, 0.5, seed=3),
    "pair": nx.path_graph(2),
    "alone": nx.empty_graph(1),
}


@dataclass(frozen=True)
class Quadratic:
    """loss(w) = (w - b) . H (w - b) / 2; minimiser b."""

    hessian: np.ndarray
    b: np.ndarray
    training_rows: int = 100
    values: np.ndarray = field(init=False)
    rows: np.ndarray = field(init=False)
    """(d, d) X: loss(w) = |X w - y|^2 / (2 d) + ridge / 2 |w|^2 + constant"""
    ridge: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.linalg.eigvalsh(self.hessian))
        object.__setattr__(self, "ridge", float(self.values[0]) / 2)
        bare = self.dim * (self.hessian - self.ridge * np.eye(self.dim))
        object.__setattr__(self, "rows", np.linalg.cholesky(bare).T)

    @property
    def dim(self) -> int:
        return len(self.b)

    @property
    def smoothness(self) -> float:
        return float(self.values[-1])

    def loss(self, w, rng=None):
        return float((w - self.b) @ self.hessian @ (w - self.b)) / 2

    def grad(self, w, rng=None):
        g = self.hessian @ (w - self.b)
        return g if rng is None else g + rng.standard_normal(self.dim)

    def curvature(self, w):
        return self.hessian

    @property
    def held_out_rows(self) -> int:
        return self.dim

    def held_out_losses(self, models):
        return ((models - self.b) @ np.linalg.cholesky(self.hessian)) ** 2 / 2

    def prox(self, v, rho):
        left = self.hessian + rho * np.eye(self.dim)
        return np.linalg.solve(left, self.hessian @ self.b + rho * v)

    @property
    def targets(self):
        """(d,) y."""
        return np.linalg.solve(self.rows.T, self.dim * self.hessian @ self.b)

    def conjugate(self, alpha):
        y = self.targets
        constant = self.b @ self.hessian @ self.b / 2 - y @ y / (2 * self.dim)
        return float(np.mean(alpha * (alpha / 2 - y))) - constant

    def dual_step(self, row, alpha, z, q):
        return alpha + (float(self.targets[row]) - z - alpha) / (1 + q)

    def dual_steps(self, alpha, z, q):
        return alpha + (self.targets - z - alpha) / (1 + q)

    def row_losses(self, models):
        return np.repeat([[self.loss(w)] for w in models], self.training_rows, axis=1)

    def weighted_grad(self, w, weights, rng=None):
        return weights.mean() * self.grad(w, rng)

    def blend(self, models, shares):
        return self.evaluate(shares @ models)

    def evaluate(self, w):
        return {"distance": float(np.linalg.norm(w - self.b))}


def quadratics(n: int, d: int = 4, seed: int = 0) -> list[Quadratic]:
    """n tasks with eigenvalues between 1 and 3."""
    rng = np.random.default_rng(seed)
    tasks = []
    for _ in range(n):
        q, _ = np.linalg.qr(rng.standard_normal((d, d)))
        tasks.append(Quadratic((q * rng.uniform(1, 3, d)) @ q.T, rng.standard_normal(d)))
    return tasks


def network(
    graph: nx.Graph,
    algorithm,
    tasks: Sequence,
    screen: Screen | None = None,
    liars: Mapping[int, Attack] | None = None,
    stochastic: bool = False,
    **conditions,
) -> list[Node]:
    """A node per vertex, Metropolis weights; ``conditions`` are the node's: ageing, reach, changing, joins."""
    lies = dict(liars or {})
    topology = Topology(graph, metropolis(graph))
    rushers = [rank for rank, attack in lies.items() if attack.rushing]
    if isinstance(algorithm, Charted):
        algorithm = algorithm.charted(chart(graph))
    each = algorithm.gathered(tasks, chart(graph)) if isinstance(algorithm, Gathering) else [algorithm] * len(graph)
    return [
        Node(
            topology.view(rank, 0, stochastic, tuple(sorted(lies)) if rank in lies else ()),
            tasks[rank],
            each[rank],
            screen or Average(),
            lies.get(rank),
            rushers=rushers,
            **conditions,
        )
        for rank in range(len(graph))
    ]


def joint(graph: nx.Graph, tasks: Sequence[Quadratic], strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimiser (n, d) and second derivative (n d, n d) of sum f_k(x_k) + strength / 4 sum w_kl |x_k - x_l|^2."""
    n, d = len(tasks), tasks[0].dim
    matrix = strength * np.kron(np.eye(n) - metropolis(graph), np.eye(d))
    for rank, task in enumerate(tasks):
        matrix[d * rank : d * rank + d, d * rank : d * rank + d] += task.hessian
    right = np.concatenate([task.hessian @ task.b for task in tasks])
    return np.linalg.solve(matrix, right).reshape(n, d), matrix


@dataclass(frozen=True)
class Drawn:
    """A timing drawn for each round and each message, the same ones each time it is asked."""

    seed: int = 0
    slow: Mapping[int, float] = field(default_factory=dict)
    longest: float = 20.0
    loss: float = 0.1

    def cost(self, rank: int, round: int) -> float:
        return self.slow.get(rank, 1.0) * stream(self.seed, Purpose.LINK, rank, round).uniform(0.5, 1.5)

    def delay(self, round: int, source: int, target: int) -> float:
        lost, late = stream(self.seed, Purpose.LINK, 1000 * (source + 1) + target, round).random(2)
        return np.inf if lost < self.loss else self.longest * late

    def link(self):
        """The same delays, in rounds, for ``simulate``: how old the newest message is that has arrived."""
        delay = cache(self.delay)

        def age(round: int, source: int, target: int) -> int:
            came = (age for age in range(round + 1) if delay(round - age, source, target) < age + 1)
            return next(came, -1)

        return age
