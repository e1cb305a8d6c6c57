"""Changing graphs: identities with the static graph, exact averages, and what coverage promises."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.changing import Changing, Coverage, coverage
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.graphs.lattices import Exponential, Ring, Star
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.time_varying.activation import Activation
from dmtl.time_varying.matching import Matching
from dmtl.time_varying.one_peer_exponential import OnePeerExponential
from dmtl.topology import Topology, facts, max_degree, metropolis, uniform
from tests.changing_graphs import UNDIRECTED, base, changing
from tests.networks import Quadratic

ALL = {"metropolis": metropolis, "max-degree": max_degree, "uniform": uniform}


@dataclass(frozen=True)
class Turns:
    """Link number t mod m in round t and no other."""

    def active(self, links, ranks, round, seed):
        return np.arange(len(links)) == round % max(len(links), 1)


@dataclass(frozen=True)
class Cut:
    """Every link but those of rank 0."""

    def active(self, links, ranks, round, seed):
        return (links != 0).all(axis=1)


# weights


@pytest.mark.parametrize("weights", ALL)
@pytest.mark.parametrize("graph", [base(), Star().graph(6, 0), nx.empty_graph(1), nx.path_graph(2)])
def test_with_all_links_in_use_the_weights_are_those_of_the_base_graph(graph, weights):
    ways = Changing(graph, weights, Activation(1.0))
    static = ALL[weights](graph)
    topology = Topology(graph, static)
    for round in range(3):
        np.testing.assert_array_equal(ways.matrix(round), static)
        for rank in graph:
            np.testing.assert_array_equal(ways.row(rank, round).weights, topology.view(rank).weights)


def test_a_directed_graph_with_all_links_in_use_has_its_uniform_weights():
    graph = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2), (2, 2)])
    ways = Changing(graph, "uniform", Activation(1.0))
    assert ways.links.tolist() == [[0, 1], [0, 2], [1, 2], [2, 0]]
    np.testing.assert_array_equal(ways.matrix(0), uniform(graph))


@pytest.mark.parametrize("name", UNDIRECTED)
@pytest.mark.parametrize("weights", ["metropolis", "uniform"])
def test_the_weights_of_a_round_are_those_of_the_graph_that_is_left(name, weights, tmp_path):
    ways = changing(name, weights, False, tmp_path)
    for round in range(8):
        left = nx.empty_graph(10)
        left.add_edges_from(ways.links[ways.active(round)].tolist())
        np.testing.assert_array_equal(ways.matrix(round), ALL[weights](left))


def test_maximum_degree_weights_do_not_change_with_the_round():
    ways = Changing(Star().graph(6, 0), "max-degree", Turns())
    for round in range(5):
        row = ways.row(1 + round, round)
        assert row.weights.tolist() == [1 - 1 / 6, 1 / 6]
        assert ways.row(1 + (round + 1) % 5, round).weights.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("order", [[(0, 1), (1, 2), (0, 3), (2, 3)], [(3, 2), (3, 0), (2, 1), (1, 0)]])
def test_neither_the_order_nor_the_direction_in_which_links_were_named_matters(order):
    graph = nx.Graph(order)
    ways = Changing(graph, "metropolis", Matching(), seed=5)
    assert ways.links.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    plain = Changing(Ring().graph(4, 0), "metropolis", Matching(), seed=5)
    np.testing.assert_array_equal(ways.matrix(3), plain.matrix(3))


def test_the_seed_and_the_order_of_questions_are_all_that_could_matter_and_only_the_seed_does():
    one, two = (Changing(base(), "metropolis", Matching(), seed=1) for _ in range(2))
    forth = [[one.row(rank, round) for rank in range(10)] for round in range(6)]
    back = [[two.row(rank, round) for round in reversed(range(6))][::-1] for rank in range(10)]
    for rank in range(10):
        for round in range(6):
            assert all(np.array_equal(a, b) for a, b in zip(forth[round][rank], back[rank][round], strict=True))
    other = Changing(base(), "metropolis", Matching(), seed=2)
    assert any(not np.array_equal(one.active(round), other.active(round)) for round in range(6))


def test_what_does_not_go_together_is_refused():
    with pytest.raises(CompatibilityError, match=r"'laplacian' belong to one fixed graph.*Use 'uniform', or better"):
        Changing(base(), "laplacian", Matching())
    for weights in ("metropolis", "max-degree"):
        with pytest.raises(ConfigError, match=rf"'{weights}' need an undirected graph.*Use 'uniform'"):
            Changing(base(directed=True), weights, OnePeerExponential())
    with pytest.raises(ConfigError, match="exponential:directed=true"):
        Changing(Exponential().graph(8, 0), "uniform", OnePeerExponential())


def test_nobody_can_write_into_a_round():
    ways = Changing(base(), "uniform", Matching())
    for array in (ways.links, ways.active(2)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# averages


def gossip(ways, graph, x, rounds, start=0):
    """Diffusion without steps: real nodes, each with its row of the round; who does not speak is not carried."""
    topology = Topology(graph, uniform(graph))
    for round in range(start, start + rounds):
        nodes = []
        for rank in graph:
            view = topology.view(rank)._replace(weights=ways.row(rank, round).weights)
            nodes.append(Node(view, Quadratic(np.eye(1), np.ones(1)), Diffusion(0.0), Average()))
        states = [node.start(value) for node, value in zip(nodes, x, strict=True)]
        boxes = [node.mailbox() for node in nodes]
        for rank, node in enumerate(nodes):
            boxes[rank].clear()
            boxes[rank].post(node.speak(states[rank], states[rank].inbox)[0])
        for rank, node in enumerate(nodes):
            for place, source in enumerate(node.view.sources):
                if ways.row(rank, round).hears[place]:
                    boxes[rank].heard[place] = boxes[source].said
        x = [node.step(state, box.open()).x for node, state, box in zip(nodes, states, boxes, strict=True)]
    return np.array(x)


@pytest.mark.parametrize("n", [1, 2, 4, 16, 32])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_one_peer_reaches_the_exact_average_after_log2_n_rounds_wherever_they_start(n, start):
    graph = Exponential(directed=True).graph(n, 0)
    ways = Changing(graph, "uniform", OnePeerExponential())
    tau = n.bit_length() - 1
    product = np.eye(n)
    for round in range(start, start + tau):
        matrix = ways.matrix(round)
        assert set(matrix[matrix != 0]) <= {0.5, 1.0}
        product = matrix @ product
    np.testing.assert_array_equal(product, np.full((n, n), 1 / n))
    x = np.arange(n, dtype=np.float64).reshape(n, 1) ** 2
    np.testing.assert_array_equal(gossip(ways, graph, x, tau, start), np.full((n, 1), x.mean()))


def test_one_round_less_is_not_the_average():
    graph = Exponential(directed=True).graph(16, 0)
    left = gossip(Changing(graph, "uniform", OnePeerExponential()), graph, np.eye(16)[:, :1], 3)
    assert np.ptp(left) > 0.1


@pytest.mark.parametrize("name", UNDIRECTED)
def test_lost_links_under_static_maximum_degree_weights_are_the_same_thing(name, tmp_path):
    # A node gives the weight of a message that never came to itself: an independent way to the same matrices.
    graph, ways = base(), changing(name, "max-degree", False, tmp_path)
    topology = Topology(graph, max_degree(graph))
    goals = np.random.default_rng(1).standard_normal((10, 2))
    used = [{frozenset(link) for link in ways.links[ways.active(round)].tolist()} for round in range(30)]

    def ageing(round, source, target):
        return 0 if {source, target} in used[round] else -1

    tasks = [Quadratic(np.eye(2), goal) for goal in goals]
    nodes = [
        Node(topology.view(rank), task, Diffusion(0.25), Average(), ageing=ageing) for rank, task in enumerate(tasks)
    ]
    states = simulate(nodes, 30)
    x = np.zeros((10, 2))
    for round in range(30):
        x = ways.matrix(round) @ (x - 0.25 * (x - goals))
    np.testing.assert_allclose([state.x for state in states], x, rtol=0, atol=1e-13)


# coverage


@pytest.mark.parametrize("m", [1, 5, 9])
def test_links_that_take_turns_connect_a_star_once_the_last_has_had_its_own(m):
    ways = Changing(Star().graph(m + 1, 0), "metropolis", Turns())
    assert coverage(ways, 3 * m).connected_after == m
    assert coverage(ways, m).connected_after == m
    assert coverage(ways, m - 1) == Coverage(m - 1, None, None)


def test_a_ring_is_connected_without_its_last_link_but_not_in_one_direction():
    assert coverage(Changing(Ring().graph(7, 0), "metropolis", Turns())).connected_after == 6
    arcs = nx.DiGraph([(i, (i + 1) % 7) for i in range(7)])
    assert coverage(Changing(arcs, "uniform", Turns())).connected_after == 7


def test_a_rank_that_is_never_heard_is_seen():
    assert coverage(Changing(base(), "metropolis", Cut()), 50) == Coverage(50, None, None)


def test_a_rank_alone_needs_nobody():
    assert coverage(Changing(nx.empty_graph(1), "metropolis", Matching()), 5) == Coverage(5, 0, 1)


@pytest.mark.parametrize("weights", ["metropolis", "max-degree"])
@pytest.mark.parametrize("graph", [base(), Ring().graph(9, 0), Star().graph(6, 0)])
def test_a_graph_that_does_not_change_needs_as_many_rounds_as_its_facts_say_counted_or_extrapolated(graph, weights):
    ways = Changing(graph, weights, Activation(1.0))
    promised = facts(Topology(graph, ALL[weights](graph))).rounds_to_1e6
    for rounds in (promised + 5, promised // 3):
        assert coverage(ways, rounds) == Coverage(rounds, 1, promised)


def test_one_peer_needs_log2_n_rounds():
    ways = Changing(Exponential(directed=True).graph(32, 0), "uniform", OnePeerExponential())
    assert coverage(ways, 9) == Coverage(9, 1, 5)


def test_the_counted_rounds_do_shrink_every_disagreement_a_millionfold_and_one_less_does_not():
    ways = Changing(base(), "metropolis", Matching(), seed=4)
    count = coverage(ways, 500).rounds_to_1e6
    product = np.eye(10)
    for round in range(count):
        second = np.linalg.svd(product, compute_uv=False)[1]
        assert second > 1e-6
        product = ways.matrix(round) @ product
    assert np.linalg.svd(product, compute_uv=False)[1] <= 1e-6


def test_beyond_two_hundred_ranks_contraction_is_not_worked_out():
    found = coverage(Changing(Ring().graph(201, 0), "metropolis", Activation(0.5)), 30)
    assert found.rounds_to_1e6 is None
    assert found.connected_after is not None
