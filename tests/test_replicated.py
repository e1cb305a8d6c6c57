"""Exact averages on a graph, and the replicated master: the iterates of the central method, on every rank."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import CentralFISTA, CentralISTA, Problem, problem
from dmtl.algorithms.replicated import Replicated
from dmtl.consensus.chart import chart
from dmtl.consensus.exact import Averaging
from dmtl.node import Node
from dmtl.penalties.norms import Columns, Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Robust, RobustFeatures, SparseLowRank
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.topology import Topology, metropolis
from tests.networks import quadratics

SHAPES = {
    "ring": nx.cycle_graph(8),
    "path": nx.path_graph(8),
    "star": nx.star_graph(7),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(2, 4)),
    "small world": nx.watts_strogatz_graph(8, 4, 0.3, seed=1),
    "random": nx.gnp_random_graph(8, 0.5, seed=3),
    "complete": nx.complete_graph(8),
}
PENALTIES = [
    Rows(0.3),
    LowRank(0.3),
    SquaredNuclear(0.2),
    Relationship(0.2, 0.1),
    Clustered(2, 0.4, 0.5),
    Mean(0.5),
    Columns(0.2),
    Robust(0.3, 0.4),
    RobustFeatures(0.3, 0.4),
    SparseLowRank(0.1, 2.0),
]


def nodes(graph: nx.Graph, algorithms, tasks) -> list[Node]:
    topology = Topology(graph, metropolis(graph))
    each = algorithms if isinstance(algorithms, (list, tuple)) else [algorithms] * len(tasks)
    return [Node(topology.view(k), task, each[k], Average()) for k, task in enumerate(tasks)]


def averaged(graph: nx.Graph, values: np.ndarray) -> np.ndarray:
    here = chart(graph)
    states = [Averaging(value) for value in values]
    while not states[0].complete(here.spectrum):
        said = [state.x for state in states]
        heard = [np.stack([said[j] for j in sorted(graph[k])]) for k in range(len(graph))]
        valid = [np.ones(len(rows), bool) for rows in heard]
        states = [state.heard(rows, ok, here.spectrum) for state, rows, ok in zip(states, heard, valid, strict=True)]
    return np.array([state.x for state in states])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_average_is_exact_after_as_many_rounds_as_the_laplacian_has_eigenvalues(shape):
    graph = SHAPES[shape]
    values = np.random.default_rng(0).normal(3, 2, (len(graph), 4))
    found = averaged(graph, values)
    assert np.allclose(found, values.mean(axis=0), rtol=0, atol=1e-13)
    rounds = {"ring": 4, "star": 2, "complete": 1, "path": 7}
    assert len(chart(graph).spectrum) == rounds.get(shape, len(chart(graph).spectrum))


@pytest.mark.parametrize(("graph", "rounds"), [(nx.cycle_graph(100), 50), (nx.hypercube_graph(5), 5)])
def test_the_order_of_the_eigenvalues_keeps_rounding_small(graph, rounds):
    graph = nx.convert_node_labels_to_integers(graph)
    values = np.random.default_rng(0).normal(3, 2, (len(graph), 2))
    assert len(chart(graph).spectrum) == rounds
    assert np.allclose(averaged(graph, values), values.mean(axis=0), rtol=0, atol=1e-12)


def test_a_neighbour_that_says_nothing_counts_as_oneself():
    here = Averaging(np.array([1.0, 2.0]))
    assert np.array_equal(here.heard(np.full((2, 2), np.nan), np.zeros(2, bool), (3.0,)).x, here.x)
    one = here.heard(np.array([[4.0, 2.0], [np.nan, 0.0]]), np.array([True, False]), (3.0,))
    assert np.allclose(one.x, [2.0, 2.0])


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda piece: type(piece).__name__)
@pytest.mark.parametrize("shape", ["ring", "star", "grid", "random", "complete"])
@pytest.mark.parametrize("fast", [True, False])
def test_every_iterate_is_that_of_the_central_method(shape, penalty, fast):
    graph, tasks = SHAPES[shape], quadratics(8)
    here = chart(graph)
    method = CentralFISTA(penalty) if fast else CentralISTA(penalty)
    central = steps(nodes(graph, method.gathered(tasks, here), tasks), 0, 1, 40)
    found = replicas(graph, Replicated(penalty, here, fast), tasks, 40)
    for mine, theirs in zip(found, central, strict=True):
        assert np.allclose(mine, theirs[0].whole.w, rtol=0, atol=1e-12)
    parts = np.split(found[-1], penalty.copies)
    assert np.allclose([model.x for model in central[-1]], np.add.reduce(parts).T, rtol=0, atol=1e-12)


def steps(network: list[Node], start: int, every: int, count: int) -> list[list]:
    """The models of all ranks after each step of a method that takes ``every`` rounds, from round ``start`` on."""
    kept: dict[int, list] = {}

    def keep(rank, now, inbox):
        kept.setdefault(now.view.round, []).append(now.model)

    simulate(network, start + every * count, keep)
    return [kept[start + every * (step + 1)] for step in range(count)]


def replicas(graph: nx.Graph, method: Replicated, tasks, count: int) -> list[np.ndarray]:
    """W (D, T) after each step."""
    here = method.chart
    found = steps(nodes(graph, method, tasks), here.diameter, len(here.spectrum), count)
    return [np.stack([model.w for model in models], axis=1) for models in found]


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda piece: type(piece).__name__)
@pytest.mark.parametrize("tasks", [2, 8])
def test_the_same_minimiser_on_every_graph_and_none_is_below_it(penalty, tasks):
    many = quadratics(tasks)
    graphs = [nx.path_graph(tasks), nx.star_graph(tasks - 1), nx.complete_graph(tasks)]
    ends = []
    for graph in graphs:
        here = chart(graph)
        states = simulate(nodes(graph, Replicated(penalty, here), many), 200 * len(here.spectrum) + here.diameter)
        ends.append(np.stack([state.model.w for state in states], axis=1))
    assert np.allclose(ends[0], ends[1], atol=1e-9)
    assert np.allclose(ends[0], ends[2], atol=1e-9)
    below(problem(many, penalty, chart(graphs[0])), ends[0])


def below(here: Problem, w: np.ndarray) -> None:
    """A point that the proximal gradient map leaves where it is, is a minimiser."""
    step = 1 / here.steepness
    assert np.allclose(here.penalty.prox(w - step * here.grad(w), step), w, atol=1e-9)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1.0):
        assert here.objective(w + size * rng.standard_normal(w.shape)) >= here.objective(w)


def test_one_rank_alone_needs_nobody():
    here, tasks = chart(nx.empty_graph(1)), quadratics(1)
    state = simulate(nodes(nx.empty_graph(1), Replicated(Rows(0.3), here), tasks), 200)[0]
    below(problem(tasks, Rows(0.3), here), state.model.w[:, None])


def test_ista_never_rises():
    graph, tasks = SHAPES["ring"], quadratics(8)
    here = chart(graph)
    whole = problem(tasks, LowRank(0.3), here)
    values = [whole.objective(w) for w in replicas(graph, Replicated(LowRank(0.3), here, False), tasks, 60)]
    assert all(late <= early + 1e-12 for early, late in pairwise(values))
    assert values[-1] < values[0]


def test_from_the_largest_strength_on_the_answer_is_exactly_zero():
    graph, tasks = SHAPES["random"], quadratics(8)
    here = chart(graph)
    for piece in (Rows, LowRank):
        least = piece(1.0).dual(problem(tasks, piece(1.0), here).grad(np.zeros((4, 8))))
        rounds = 100 * len(here.spectrum)
        ends = [
            simulate(nodes(graph, Replicated(piece(least * share), here), tasks), rounds) for share in (1.0001, 0.99)
        ]
        assert not any(state.x.any() for state in ends[0])
        assert any(state.x.any() for state in ends[1])
