"""A graph with its mixing weights, what each rank sees of it, and the facts by which one chooses between graphs.

It is global knowledge, used before round 0 only. The entry (i, j) is the weight that rank i gives to rank j,
and a link j -> i of a directed graph means that i hears j. A link's own "weight" never enters the mixing weights:
it says how much two tasks have in common and goes to ``View.couplings``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, fsum, log
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.types import View

__all__ = ["Facts", "Topology", "facts", "hears", "laplacian", "max_degree", "metropolis", "uniform"]

Matrix = NDArray[np.float64]


def hears(graph: nx.Graph | nx.DiGraph) -> NDArray[np.bool_]:
    """(n, n) whether rank i hears rank j; a link to oneself does not count."""
    n = len(graph)
    if n == 0 or set(graph) != set(range(n)):
        raise ConfigError(
            f"the graph's {n} nodes are not called 0 .. {max(n - 1, 0)}. A rank is a number from 0 on: "
            f"use networkx.convert_node_labels_to_integers."
        )
    links = np.zeros((n, n), dtype=np.bool_)
    for u, v in graph.edges:
        links[v, u] = u != v
    return links if graph.is_directed() else links | links.T


def metropolis(graph: nx.Graph) -> Matrix:
    """Metropolis-Hastings weights: W_ij = 1 / (1 + max(deg_i, deg_j)) on links, the rest to oneself.

    Doubly stochastic with positive self weights, from the two degrees of a link alone. Undirected graphs only.
    Reference: Xiao, Boyd and Lall, IPSN, 2005.
    """
    links = _both_ways(graph, "metropolis")
    degree = links.sum(axis=1)
    return _completed(np.where(links, 1.0 / (1.0 + np.maximum.outer(degree, degree)), 0.0))


def uniform(graph: nx.Graph | nx.DiGraph) -> Matrix:
    """Equal weights: W_ij = 1 / (1 + deg_i) for oneself and all that one hears, deg_i being the in-degree.

    Rows sum to one, columns only if all degrees are equal: else the network agrees on a mean in which ranks with
    more neighbours count more. For any graph. Reference: Blondel, Hendrickx, Olshevsky and Tsitsiklis, CDC, 2005.
    """
    links = hears(graph)
    return _completed(np.where(links, 1.0 / (1.0 + links.sum(axis=1, keepdims=True)), 0.0))


def max_degree(graph: nx.Graph) -> Matrix:
    """Maximum-degree weights: W = I - L / (1 + D), D being the largest degree.

    Doubly stochastic with positive self weights. Undirected graphs only.
    Reference: Xiao and Boyd, Systems & Control Letters, 2004.
    """
    links = _both_ways(graph, "max-degree")
    return _completed(np.where(links, 1.0 / (1.0 + links.sum(axis=1).max()), 0.0))


def laplacian(graph: nx.Graph) -> Matrix:
    """Best constant weights: W = I - eps L with eps = 2 / (mu_2 + mu_n), the extreme eigenvalues of L but its 0.

    Doubly stochastic; of all W = I - eps L it shrinks disagreement fastest. Undirected graphs only.
    Ours: eps is at most (1 - 1/n) / D, D being the largest degree, so that every self weight is at least 1/n;
    a star would have a negative one and an even ring none. On complete graphs the cap changes nothing.
    Reference: Xiao and Boyd, Systems & Control Letters, 2004.
    """
    links = _both_ways(graph, "laplacian")
    n, degree = len(links), links.sum(axis=1)
    if not degree.any():
        return np.eye(n)
    mu = np.linalg.eigvalsh(np.diag(degree) - links.astype(np.float64))
    # Rounded, because eigenvalues differ in their last bits from machine to machine and ranks must agree.
    best = round(2.0 / float(mu[1] + mu[-1]), 12)
    return _completed(np.where(links, min(best, (1.0 - 1.0 / n) / float(degree.max())), 0.0))


def _both_ways(graph: nx.Graph | nx.DiGraph, name: str) -> NDArray[np.bool_]:
    if graph.is_directed():
        raise ConfigError(f"the weights '{name}' need an undirected graph, got a directed one. Use 'uniform'.")
    return hears(graph)


def _completed(matrix: Matrix) -> Matrix:
    """Give each rank the rest of its row; the one rounding of fsum leaves a row's exact sum nearest to 1."""
    for i, row in enumerate(matrix):
        matrix[i, i] = fsum([1.0, *-row[row != 0.0]])
    return matrix


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """A graph and its mixing weights."""

    graph: nx.Graph | nx.DiGraph
    """nodes 0 .. n-1"""
    matrix: NDArray[np.float64]
    """(n, n) row i: the weights that rank i gives to itself and to its sources, summing to 1"""

    def __post_init__(self) -> None:
        links = hears(self.graph)
        if self.matrix.shape != links.shape:
            raise ConfigError(f"the weights have shape {self.matrix.shape} for {len(links)} ranks. Make them square.")
        worst = float(np.abs(self.matrix.sum(axis=1) - 1.0).max())
        if not worst < 1e-9:
            raise ConfigError(f"a row of the weights misses 1 by {worst:.3g}. Divide each row by its sum.")
        stray = np.argwhere((self.matrix != 0.0) & ~links & ~np.eye(len(links), dtype=np.bool_))
        if len(stray):
            i, j = stray[0].tolist()
            raise ConfigError(f"rank {i} gives weight to rank {j}, which it does not hear. Add the link or put 0.")

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.graph)

    def sources(self, rank: int) -> tuple[int, ...]:
        """Ranks that ``rank`` hears, ascending, itself left out."""
        near = self.graph.predecessors(rank) if self.graph.is_directed() else self.graph.neighbors(rank)
        return tuple(sorted(j for j in near if j != rank))

    def targets(self, rank: int) -> tuple[int, ...]:
        """Ranks that hear ``rank``, ascending, itself left out."""
        return tuple(sorted(j for j in self.graph.neighbors(rank) if j != rank))

    def view(self, rank: int, seed: int = 0, stochastic: bool = False, colluders: tuple[int, ...] = ()) -> View:
        """What ``rank`` may know in round 0, trusting every neighbour; its arrays are read-only."""
        if not 0 <= rank < self.size:
            raise ConfigError(f"there is no rank {rank} among {self.size}. A rank is 0 .. {self.size - 1}.")
        sources, targets = self.sources(rank), self.targets(rank)
        return View(
            rank=rank,
            sources=sources,
            targets=targets,
            weights=_frozen(self.matrix[rank, [rank, *sources]]),
            out_weights=_frozen(self._shares(rank, targets)),
            couplings=_frozen([self.graph.edges[j, rank].get("weight", 1.0) for j in sources]),
            seed=seed,
            stochastic=stochastic,
            colluders=colluders,
            trust=_frozen(np.ones(len(sources))),
            round=0,
        )

    def _shares(self, rank: int, targets: tuple[int, ...]) -> Matrix:
        """(1 + k_out,) this rank's column where it sums to one, else equal shares; push-sum loses no mass by either."""
        column = self.matrix[[rank, *targets], rank]
        if abs(fsum(column) - 1.0) < 1e-12:
            return column
        return np.full(1 + len(targets), 1.0 / (1 + len(targets)))


def _frozen(values: Any) -> Matrix:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Facts:
    """A topology in numbers. Degrees are in-degrees, and a link to oneself counts nowhere."""

    ranks: int
    edges: int
    """links; in a directed graph each direction is one"""
    least_degree: int
    greatest_degree: int
    mean_degree: float
    diameter: int | None
    """longest shortest path in links; None where some rank cannot be reached from some other"""
    directed: bool
    bipartite_without_self_weight: bool
    """two camps that swap their values for ever: plain averaging does not converge"""
    doubly_stochastic: bool
    """rows and columns of the weights sum to one"""
    second_eigenvalue: float
    """second largest absolute eigenvalue of the weights: what is left of a disagreement after one round"""
    spectral_gap: float
    """1 - second_eigenvalue"""
    rounds_to_1e6: int | None
    """rounds until a disagreement is a millionth of what it was; None: never"""
    algebraic_connectivity: float
    """mu_2, the second smallest eigenvalue of the Laplacian with unit weights, directions forgotten; 0 for one rank"""
    vertex_connectivity: int | None
    """fewest ranks whose loss cuts the rest in two; n - 1 if none can, None above 200 ranks"""


def facts(topology: Topology) -> Facts:
    """Compute all facts; the eigenvalues make it cubic in the number of ranks."""
    links = hears(topology.graph)
    degree = links.sum(axis=1)
    directed = bool(topology.graph.is_directed())
    plain = nx.from_numpy_array(links.T, create_using=nx.DiGraph if directed else nx.Graph)
    second = _second_eigenvalue(topology)
    return Facts(
        ranks=topology.size,
        edges=int(links.sum()) // (1 if directed else 2),
        least_degree=int(degree.min()),
        greatest_degree=int(degree.max()),
        mean_degree=float(degree.mean()),
        diameter=_diameter(links),
        directed=directed,
        bipartite_without_self_weight=not topology.matrix.diagonal().any() and bool(nx.is_bipartite(plain)),
        doubly_stochastic=bool(np.allclose(topology.matrix.sum(axis=0), 1.0, rtol=0.0, atol=1e-12)),
        second_eigenvalue=second,
        spectral_gap=1.0 - second,
        rounds_to_1e6=_rounds(second),
        algebraic_connectivity=_algebraic_connectivity(links),
        vertex_connectivity=int(nx.node_connectivity(plain)) if len(plain) <= 200 else None,
    )


def _diameter(links: NDArray[np.bool_]) -> int | None:
    from scipy.sparse import csr_array  # here, because only the facts need it
    from scipy.sparse.csgraph import shortest_path

    longest = shortest_path(csr_array(links.astype(np.float64)), method="D", unweighted=True).max()
    return int(longest) if np.isfinite(longest) else None


def _second_eigenvalue(topology: Topology) -> float:
    matrix = topology.matrix
    symmetric = np.array_equal(matrix, matrix.T)
    values = np.linalg.eigvalsh(matrix) if symmetric else np.linalg.eigvals(matrix)
    return float(np.sort(np.abs(values))[-2]) if topology.size > 1 else 0.0


def _rounds(second: float) -> int | None:
    if second < 1e-12:
        return 1
    return ceil(log(1e-6) / log(second)) if second < 1.0 - 1e-12 else None


def _algebraic_connectivity(links: NDArray[np.bool_]) -> float:
    either = (links | links.T).astype(np.float64)
    mu = np.linalg.eigvalsh(np.diag(either.sum(axis=1)) - either)
    return float(mu[1]) if len(mu) > 1 else 0.0
