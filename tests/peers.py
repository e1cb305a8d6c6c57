"""Weighted graphs, tasks of unequal sizes, and what the peer-to-peer methods are to find on them."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np

from tests.networks import GRAPHS, Quadratic, quadratics

ROWS = (10, 3, 7, 1, 5, 10, 2, 8)


def coupled(name: str, seed: int = 5) -> nx.Graph:
    """One of ``GRAPHS`` with edge weights between 0.2 and 2."""
    graph, rng = GRAPHS[name].copy(), np.random.default_rng(seed)
    for s, t in sorted(graph.edges):
        graph.edges[s, t]["weight"] = rng.uniform(0.2, 2)
    return graph


def similarity(graph: nx.Graph) -> np.ndarray:
    """S (n, n)."""
    return nx.to_numpy_array(graph, nodelist=range(len(graph)))


def sized(n: int, seed: int = 0) -> list[Quadratic]:
    """Quadratic tasks with the numbers of rows ``ROWS``."""
    return [Quadratic(task.hessian, task.b, ROWS[k]) for k, task in enumerate(quadratics(n, seed=seed))]


def trusts(tasks: Sequence[Quadratic], full_rows: int) -> np.ndarray:
    """c (n,)."""
    return np.array([min(1, task.training_rows / full_rows) if full_rows else 1.0 for task in tasks])


def objective(graph: nx.Graph, tasks, strength: float, c: np.ndarray, x: np.ndarray) -> float:
    """sum_k D_k c_k f_k(x_k) + strength / 2 sum_{k < l} S_kl |x_k - x_l|^2, by its definition."""
    s = similarity(graph)
    value = sum(s[k].sum() * c[k] * task.loss(x[k]) for k, task in enumerate(tasks))
    return value + strength / 2 * sum(s[u, v] * np.sum((x[u] - x[v]) ** 2) for u, v in graph.edges)


def minimiser(graph: nx.Graph, tasks: Sequence[Quadratic], strength: float, c: np.ndarray) -> np.ndarray:
    """Where ``objective`` is least, (n, d), by one linear system."""
    s, d = similarity(graph), tasks[0].dim
    degree = s.sum(axis=1)
    matrix = strength * np.kron(np.diag(degree) - s, np.eye(d))
    right = np.zeros(len(tasks) * d)
    for k, task in enumerate(tasks):
        block = slice(k * d, k * d + d)
        matrix[block, block] += degree[k] * c[k] * task.hessian
        right[block] = degree[k] * c[k] * task.hessian @ task.b
    return np.linalg.solve(matrix, right).reshape(len(tasks), d)


def models(states) -> np.ndarray:
    return np.array([state.x for state in states])


def unreliable(round: int, source: int, target: int) -> int:
    """An age for ``simulate``: messages up to nine rounds late and out of order, a third of them lost."""
    age = (7 * round * round + 5 * source + 3 * target + round * (source + 2 * target)) % 15
    return age if age <= min(9, round) else -1
