"""Pairwise gossip: pairs that both ends agree on, a mean that is kept, and the rate that theory promises."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.pairwise_gossip import PairwiseGossip, proposal
from dmtl.simulator import simulate
from tests.networks import GRAPHS, network, quadratics


def views(graph: nx.Graph, seed: int = 0):
    return [node.view._replace(seed=seed) for node in network(graph, PairwiseGossip(0.0), quadratics(len(graph)))]


def pairs(graph_views, round: int) -> list[tuple[int, int]]:
    wish = [proposal(view._replace(round=round)) for view in graph_views]
    return [(rank, other) for rank, other in enumerate(wish) if rank < other and wish[other] == rank]


def expected(graph: nx.Graph) -> np.ndarray:
    """E[W] from the degrees, as the docstring derives it."""
    mean = np.eye(len(graph))
    for i, j in graph.edges:
        e = np.zeros(len(graph))
        e[i], e[j] = 1, -1
        mean -= np.outer(e, e) / 2 / (graph.degree[i] + graph.degree[j] - 1)
    return mean


def spread_out(graph: nx.Graph, rounds: int, seed: int = 0):
    """Run plain gossip from distinct starts and return the models of every round, (rounds + 1, n, d)."""
    n = len(graph)
    start = np.random.default_rng(5).standard_normal((n, 3))
    nodes = network(graph, PairwiseGossip(0.0), quadratics(n, d=3))
    states, boxes, past = [], [node.mailbox() for node in nodes], [start]
    for node, x in zip(nodes, start, strict=True):
        state = node.start(x)
        states.append(state._replace(view=state.view._replace(seed=seed)))
    for _ in range(rounds):
        said = [node.speak(state, state.inbox)[0] for node, state in zip(nodes, states, strict=True)]
        for node, box, words in zip(nodes, boxes, said, strict=True):
            box.post(words)
            for row, source in enumerate(node.view.sources):
                box.heard[row] = said[source].own
        states = [node.step(state, box.open()) for node, state, box in zip(nodes, states, boxes, strict=True)]
        past.append(np.array([state.x for state in states]))
    return np.array(past)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), p=st.floats(0.1, 1))
def test_pairs_are_a_matching_of_edges_and_there_is_always_one(seed, p):
    graph = nx.gnp_random_graph(9, p, seed=seed)
    for round in range(5):
        found = pairs(views(graph, seed), round)
        ends = [rank for pair in found for rank in pair]
        assert len(ends) == len({*ends})
        assert all(graph.has_edge(*pair) for pair in found)
        assert found or not graph.edges


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), graph=st.sampled_from(["ring", "star", "random"]))
def test_pairs_take_their_mean_and_all_others_stay_so_the_mean_of_all_is_kept(seed, graph):
    past = spread_out(GRAPHS[graph], 30, seed)
    known = views(GRAPHS[graph], seed)
    for round, (before, after) in enumerate(pairwise(past)):
        want = before.copy()
        for i, j in pairs(known, round):
            want[[i, j]] = (before[i] + before[j]) / 2
        assert np.array_equal(after, want)
    assert np.abs(past.mean(axis=1) - past[0].mean(axis=0)).max() <= 1e-14


@pytest.mark.parametrize("graph", ["ring", "star", "random"])
def test_an_edge_pairs_as_often_as_the_degrees_of_its_ends_say(graph):
    """4000 draws: a frequency is then within 0.035 of its probability, four standard deviations at most."""
    links, rounds = GRAPHS[graph], 4000
    known = views(links)
    mean = np.zeros((8, 8))
    for round in range(rounds):
        w = np.eye(8)
        for i, j in pairs(known, round):
            w[np.ix_((i, j), (i, j))] = 0.5
        assert np.array_equal(w @ w, w)
        mean += w / rounds
    assert np.abs(mean - expected(links)).max() < 0.035


@pytest.mark.parametrize("graph", ["ring", "star", "random"])
def test_disagreement_falls_as_the_second_eigenvalue_of_the_mean_matrix_bounds_it(graph):
    """Over 200 runs of 25 rounds; a tenth of slack for the sample, where the bound's own slack is far larger."""
    second = np.linalg.eigvalsh(expected(GRAPHS[graph]))[-2]
    squares = []
    for seed in range(200):
        past = spread_out(GRAPHS[graph], 25, seed)
        squares.append(((past - past.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2)))
    mean = np.mean(squares, axis=0)
    assert second < 1
    assert (mean <= 1.1 * second ** np.arange(26) * mean[0]).all()
    assert mean[-1] < 0.5 * mean[0]


def test_every_round_and_every_edge_has_a_draw_of_its_own():
    known = views(nx.complete_graph(12))
    wishes = [tuple(proposal(view._replace(round=round)) for view in known) for round in range(50)]
    assert len({*wishes}) == 50


@pytest.mark.parametrize("graph", ["ring", "star", "random"])
def test_with_learning_the_models_stay_around_the_limit_of_diffusion_with_the_mean_matrix(graph):
    """E x+ = E[W] (E x - mu grad(E x)) for quadratics, as a round's pairs are independent of the models before it."""
    tasks, mu = quadratics(8), 0.1
    mix = np.kron(expected(GRAPHS[graph]), np.eye(4))
    slope = np.zeros((32, 32))
    for rank, task in enumerate(tasks):
        slope[4 * rank : 4 * rank + 4, 4 * rank : 4 * rank + 4] = task.hessian
    pull = slope @ np.concatenate([task.b for task in tasks])
    limit = np.linalg.solve(np.eye(32) - mix @ (np.eye(32) - mu * slope), mu * mix @ pull)
    tail = np.zeros((8, 4))

    def record(rank, state, inbox):
        if state.view.round > 200:
            tail[rank] += state.x / 1800

    simulate(network(GRAPHS[graph], PairwiseGossip(mu), tasks), 2000, record=record)
    assert np.abs(tail - limit.reshape(8, 4)).max() < 0.05


def test_a_liar_moves_the_sum_and_nothing_holds_it():
    """What the docstring admits, so that nobody takes it for a defence."""
    tasks = quadratics(8)

    class Boast:
        rushing = False
        knowledge = "own"

        def init(self, task, view):
            return ()

        def __call__(self, outbox, inbox, memory, task, view):
            lies = np.full(outbox.shape, 1e6)
            lies[:, 0, -1] = view.targets
            return lies, ()

    states = simulate(network(GRAPHS["ring"], PairwiseGossip(0.0), tasks, liars={3: Boast()}), 60)
    assert min(np.abs(state.x).max() for rank, state in enumerate(states) if rank != 3) > 1e3
