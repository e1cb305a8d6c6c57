"""Related linear tasks on a graph, and the minimiser of sum f_t(w_t) + strength/2 tr(W (L + delta I) W'), dense."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import networkx as nx
import numpy as np

from dmtl.data.pool import Dataset
from dmtl.registry import find
from dmtl.simulator import simulate
from tests.networks import network

SHAPES = {
    "ring": nx.cycle_graph(8),
    "star": nx.star_graph(7),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(2, 4)),
    "small world": nx.watts_strogatz_graph(8, 4, 0.3, seed=1),
    "random": nx.gnp_random_graph(8, 0.5, seed=3),
    "weighted": nx.cycle_graph(8),
    "pair": nx.path_graph(2),
    "alone": nx.empty_graph(1),
}
for place, (s, t) in enumerate(SHAPES["weighted"].edges):
    SHAPES["weighted"].edges[s, t]["weight"] = 0.5 + place / 4


class Problem(NamedTuple):
    """What is minimised, with everything in one place."""

    tasks: list
    coupling: np.ndarray
    """(T, T) strength K"""

    def objective(self, w: np.ndarray) -> float:
        """P of W (T, d)."""
        return sum(task.loss(row) for task, row in zip(self.tasks, w, strict=True)) + float(
            np.sum(w * (self.coupling @ w)) / 2
        )


@cache
def tasks(kind: str, count: int, rows: int = 12, p: int = 3, l2: float = 1e-2, dtype=np.float64) -> list:
    """``count`` tasks whose true models are near each other; numbers or two classes; a bias."""
    rng = np.random.default_rng(5)
    common = rng.standard_normal(p)
    made = []
    for _ in range(count):
        x = rng.standard_normal((rows, p)) * (1.0, 2.0, 0.5)
        y = x @ (common + 0.3 * rng.standard_normal(p)) + 0.5 + 0.5 * rng.standard_normal(rows)
        if kind != "least-squares":
            y = (y > 0).astype(float)
            y[:2] = 0, 1
        none = (np.empty((0, p), dtype), np.empty(0, dtype))
        data = Dataset(x.astype(dtype), y.astype(dtype), *none, *none, classes=0 if kind == "least-squares" else 2)
        made.append(find("task", kind)(l2=l2).build(data))
    return made


def problem(kind: str, graph: nx.Graph, strength: float, delta: float, **more) -> Problem:
    count = len(graph)
    laplacian = nx.laplacian_matrix(graph, nodelist=range(count)).toarray() if count > 1 else np.zeros((1, 1))
    return Problem(tasks(kind, count, **more), strength * (laplacian + delta * np.eye(count)))


def best(here: Problem) -> np.ndarray:
    """The minimiser W (T, d)."""
    return _by_duals(here) if "Hinge" in type(here.tasks[0]).__name__ else _by_newton(here)


def _whole(here: Problem) -> np.ndarray:
    """(T d, T d) the Hessian of coupling and ridge."""
    ridge = here.tasks[0].settings.l2
    return np.kron(here.coupling + ridge * np.eye(len(here.tasks)), np.eye(here.tasks[0].dim))


def _by_newton(here: Problem) -> np.ndarray:
    """Newton steps on all variables: one is enough for squares."""
    d, w = here.tasks[0].dim, np.zeros((len(here.tasks), here.tasks[0].dim))
    ridge = here.tasks[0].settings.l2
    for _ in range(30):
        hessian, slope = _whole(here), (here.coupling @ w).ravel()
        for t, task in enumerate(here.tasks):
            x, own = task.parts.train.x, slice(t * d, t * d + d)
            z = x @ w[t]
            bend = 1 / (2 + 2 * np.cosh(z)) if "Logistic" in type(task).__name__ else np.ones(len(z))
            hessian[own, own] += (x.T * bend / len(z)) @ x
            slope[own] += task.grad(w[t])
        w = w - np.linalg.solve(hessian, slope).reshape(w.shape)
    assert np.abs(slope).max() < 1e-12, ridge
    return w


def _by_duals(here: Problem) -> np.ndarray:
    """Accelerated projected gradients on the box-constrained dual of all tasks; ended by its own duality gap."""
    d, inverse = here.tasks[0].dim, np.linalg.inv(_whole(here))
    rows = sum(len(task.parts.train.y) for task in here.tasks)
    spread, start = np.zeros((d * len(here.tasks), rows)), 0
    for t, task in enumerate(here.tasks):
        x, y = task.parts.train
        spread[t * d : t * d + d, start : start + len(y)] = (x.T * y) / len(y)
        start += len(y)
    gains = np.concatenate([np.full(len(task.parts.train.y), 1 / len(task.parts.train.y)) for task in here.tasks])
    curve = spread.T @ inverse @ spread
    p = ahead = np.full(rows, 0.5)
    rate, t = 1 / np.linalg.eigvalsh(curve)[-1], 1.0
    for _ in range(400):
        for _ in range(250):
            last, p = p, np.clip(ahead + rate * (gains - curve @ ahead), 0, 1)
            t = 1.0 if (ahead - p) @ (p - last) > 0 else (1 + (1 + 4 * t * t) ** 0.5) / 2
            ahead = p + (t - 1) / (t + 1) * (p - last)
        w = (inverse @ spread @ p).reshape(-1, d)
        value = here.objective(w)
        gap = value - gains @ p + p @ curve @ p / 2
        if gap <= 1e-13 * abs(value):
            return w
    raise AssertionError(f"the oracle ended with a gap of {gap}")


def models(states) -> np.ndarray:
    return np.stack([state.x for state in states])


def solved(here: Problem, graph: nx.Graph, algorithm, rounds: int) -> np.ndarray:
    """W (T, d) after that many rounds on a network."""
    return models(simulate(network(graph, algorithm, here.tasks), rounds))


def excess(here: Problem, w: np.ndarray) -> float:
    """(P(W) - P*) / P*."""
    least = here.objective(best(here))
    return (here.objective(w) - least) / least
