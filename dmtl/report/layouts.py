"""Where the ranks of a graph are drawn: each topology in the shape that shows what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.specs import Spec, make

__all__ = ["Points", "layout", "sides"]

Points = NDArray[np.float64]
"""(n, 2) where each rank is drawn"""


def layout(graph: nx.Graph | nx.DiGraph, spec: Spec) -> Points:
    """Where the ranks are drawn, about within the unit circle."""
    n, name = len(graph), spec["name"]
    if name in ("grid", "torus"):
        return _lattice(sides(spec, n))
    if name in _SHAPES:
        return _SHAPES[name](n)
    if name in ("dumbbell", "two-castles"):
        return _two_circles(n // 2)
    if name == "barbell":
        path = make("topology", spec).path
        return _two_circles((n - path) // 2, 0.0, path)
    if name == "hypercube":
        return _cube(n)
    if name == "octopus":
        return _octopus(n, n // (1 + make("topology", spec).hands))
    return _sprung(graph)


def _circle(n: int) -> Points:
    """Rank 0 on top, then clockwise."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(n) / max(n, 1)
    return np.column_stack((np.cos(angle), np.sin(angle)))


def _star(n: int) -> Points:
    return np.vstack((np.zeros((1, 2)), _circle(n - 1)))


_SHAPES: Mapping[str, Callable[[int], Points]] = {
    "ring": _circle,
    "path": _circle,
    "complete": _circle,
    "exponential": _circle,
    "small-world": _circle,
    "star": _star,
}


def sides(spec: Spec, n: int) -> list[int]:
    """The sides of a grid or torus, as given or the most square ones."""
    shape = make("topology", spec).shape
    short = next(side for side in range(isqrt(n), 0, -1) if n % side == 0)
    return [int(side) for side in shape.split("x")] if shape else [short, n // short]


def _lattice(sides: list[int]) -> Points:
    """The last side to the right, the one before it downwards, each further one aslant behind."""
    cell = np.indices(sides).reshape(len(sides), -1).T.astype(np.float64)
    steps = np.zeros((len(sides), 2))
    steps[-1] = (1.0, 0.0)
    steps[-2:-1] = (0.0, -1.0)
    for depth, axis in enumerate(range(len(sides) - 3, -1, -1)):
        steps[axis] = np.array([0.38, 0.27]) * (sides[-1] + 1) ** depth
    points = cell @ steps
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    return np.asarray(points / max(float(np.abs(points).max()), 1.0))


def _two_circles(h: int, shift: float = 0.5, middle: int = 0) -> Points:
    """Two cliques of ``h`` side by side, mirrored; shift 0: the last rank of one faces the first of the other.

    ``middle`` further ranks stand on the line between those two.
    """
    left, right = (2 * np.pi * (np.arange(h) + turn) / h for turn in (1 - shift, shift))
    away = max(0.62, 0.42 + 0.1 * (middle + 1))
    first = 0.42 * np.column_stack((np.cos(left), np.sin(left))) - (away, 0)
    second = 0.42 * np.column_stack((-np.cos(right), np.sin(right))) + (away, 0)
    return np.vstack((first, np.linspace(first[-1], second[0], middle + 2)[1:-1], second))


def _cube(n: int) -> Points:
    """A direction for each binary digit, of unequal lengths lest two corners fall together."""
    digits = max(n.bit_length() - 1, 1)
    angle, length = np.pi * np.arange(digits) / digits, 1.0 + 0.2 * np.arange(digits)
    steps = np.column_stack((length * np.cos(angle), length * np.sin(angle)))
    return np.asarray((np.arange(n)[:, None] >> np.arange(digits) & 1) @ steps)


def _octopus(n: int, head: int) -> Points:
    """The head inside, its hands around it, each beyond the rank that it holds on to."""
    inner = _circle(head)
    rings = (n - head) // head
    angle = np.pi / 2 - 2 * np.pi * np.arange(head) / head
    hands = []
    for hand in range(rings):
        fan = angle + (hand - (rings - 1) / 2) * (2 * np.pi / head) / (rings + 1)
        hands.append(np.column_stack((np.cos(fan), np.sin(fan))))
    return np.vstack((0.5 * inner, *hands))


def _sprung(graph: nx.Graph | nx.DiGraph) -> Points:
    """Springs; the parts of a graph that falls apart stand beside each other."""
    plain = nx.Graph()  # without weights: how much two tasks have in common is no distance
    plain.add_nodes_from(graph)
    plain.add_edges_from(graph.edges)
    points, right = np.zeros((len(graph), 2)), 0.0
    for part in sorted(nx.connected_components(plain), key=lambda part: (-len(part), min(part))):
        ranks = sorted(part)
        radius = float(np.sqrt(len(part) / len(graph)))
        points[ranks] = radius * _one_part(plain.subgraph(ranks), ranks) + (right + radius, 0.0)
        right += 2 * radius + 0.15
    return points


def _one_part(graph: nx.Graph, ranks: list[int]) -> Points:
    """Springs for a connected graph; for a small one, started from path lengths, which untangles it."""
    small = 2 < len(ranks) <= 100
    start = nx.kamada_kawai_layout(graph) if small else None
    place = nx.spring_layout(graph, pos=start, seed=0, iterations=15 if small else 200)
    points = np.array([place[rank] for rank in ranks])
    points -= points.mean(axis=0)
    points = points @ np.linalg.svd(points)[2].T  # the longest way across
    points = _apart(points / max(float(np.abs(points).max()), 1e-9), 0.8 / np.sqrt(len(ranks) + 9))
    return np.asarray(points - (points.max(axis=0) + points.min(axis=0)) / 2)


def _apart(points: Points, least: float) -> Points:
    """Push ranks from each other that would lie on each other."""
    for _ in range(60):
        gap = points[:, None] - points
        distance = np.linalg.norm(gap, axis=2) + 1e-9
        push = np.clip(least - distance, 0, None) / distance
        np.fill_diagonal(push, 0)
        points = points + 0.3 * np.einsum("ij,ijc->ic", push, gap)
    return points
