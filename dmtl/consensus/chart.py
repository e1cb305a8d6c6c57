"""What an algorithm may know of the graph before round 0: numbers that every rank finds by itself, all the same."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, NamedTuple, Protocol, runtime_checkable

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.types import Mat, Task, Vec

__all__ = ["Chart", "Charted", "Gathering", "chart", "laplacian", "spectrum"]

_SAME = 1e-9
"""eigenvalues nearer to each other, relatively to the largest, are one"""
_DIGITS = 9
"""eigenvalues differ in their last bits from machine to machine, and all ranks must take them in one order"""


class Chart(NamedTuple):
    """A connected, undirected graph in numbers."""

    ranks: int
    diameter: int
    """rounds in which a word goes everywhere"""
    spectrum: tuple[float, ...]
    """distinct eigenvalues of the Laplacian with unit weights but its 0, in Leja order"""
    edges: NDArray[np.int64]
    """(m, 2) links (s, t), s < t"""
    couplings: Vec
    """(m,) the graph's own edge weights, 1 where it has none"""


@runtime_checkable
class Charted(Protocol):
    """An algorithm that asks for the chart."""

    def charted(self, chart: Chart) -> Any:
        """The algorithm that has it."""


@runtime_checkable
class Gathering(Protocol):
    """A central method, for comparison: it is told all tasks, so all of them are in one process."""

    def gathered(self, tasks: Sequence[Task], chart: Chart) -> Sequence[Any]:
        """The algorithm of each rank, which has them."""


def chart(graph: nx.Graph) -> Chart:
    """Draw the chart of a connected, undirected graph with the nodes 0 .. n-1."""
    n = len(graph)
    links = [tuple(sorted(edge)) for edge in graph.edges if edge[0] != edge[1]]
    edges = np.array(sorted(links), np.int64).reshape(-1, 2)
    couplings = np.array([graph.edges[s, t].get("weight", 1.0) for s, t in edges], np.float64)
    values = spectrum(n, edges, np.ones(len(edges)))
    return Chart(n, nx.diameter(graph) if n > 1 else 0, values, edges, couplings)


def spectrum(ranks: int, edges: NDArray[np.int64], weights: Vec) -> tuple[float, ...]:
    """Distinct eigenvalues but 0 of the Laplacian of a connected graph with these ``weights`` (m,), in Leja order."""
    return _leja(_distinct(np.linalg.eigvalsh(laplacian(ranks, edges, weights))[1:]))


def laplacian(ranks: int, edges: NDArray[np.int64], weights: Vec) -> Mat:
    """(ranks, ranks) the matrix of sum_{edges st} a_st (x_s - x_t)^2, a the ``weights`` (m,) of the edges (m, 2)."""
    matrix = np.zeros((ranks, ranks))
    for (s, t), a in zip(edges, weights, strict=True):
        matrix[[s, t], [s, t]] += a
        matrix[[s, t], [t, s]] -= a
    return matrix


def _distinct(values: Vec) -> list[float]:
    """One of each group of ``values`` (m,), ascending, that differ by rounding only: their mean."""
    if not len(values):
        return []
    cuts = np.flatnonzero(np.diff(values) > _SAME * values[-1]) + 1
    return [float(group.mean()) for group in np.split(values, cuts)]


def _leja(values: list[float]) -> tuple[float, ...]:
    """The order in which each value is as far from all before it as can be, as a product: it keeps rounding small.

    Reichel, "Newton interpolation at Leja points", BIT 30, 1990.
    """
    rest, order = sorted(values), list[float]()
    while rest:
        order.append(rest.pop(max(range(len(rest)), key=lambda place: _apart(rest[place], order))))
    return tuple(order)


def _apart(value: float, others: list[float]) -> float:
    """The logarithm of the product of the distances; the value itself where there are no others."""
    far = sum(log(abs(value - other)) for other in others) if others else value
    return round(far, _DIGITS)
