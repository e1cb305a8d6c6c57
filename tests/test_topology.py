"""Mixing weights, views and facts: closed forms where there are any, laws on random connected graphs elsewhere."""

import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.errors import ConfigError
from dmtl.graphs.lattices import Complete, Exponential, Hypercube, Path, Ring, Star, Torus
from dmtl.rng import Purpose
from dmtl.topology import Topology, facts, hears, laplacian, max_degree, metropolis, uniform

SYMMETRIC = [metropolis, max_degree, laplacian]
ALL = [*SYMMETRIC, uniform]
ARC = nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)])


def by_name(function):
    return function.__name__


@st.composite
def connected(draw):
    """A random tree and some further links, a few of them to oneself."""
    n = draw(st.integers(1, 12))
    graph = nx.empty_graph(n)
    graph.add_edges_from((i, draw(st.integers(0, i - 1))) for i in range(1, n))
    ends = st.integers(0, n - 1)
    graph.add_edges_from(draw(st.lists(st.tuples(ends, ends), max_size=20)))
    return graph


@st.composite
def directed(draw):
    n = draw(st.integers(1, 8))
    ends = st.integers(0, n - 1)
    graph = nx.DiGraph([(i, (i + 1) % n) for i in range(n)])
    graph.add_edges_from(draw(st.lists(st.tuples(ends, ends), max_size=20)))
    return graph


# weights


@settings(max_examples=60, deadline=None)
@given(connected())
def test_every_row_sums_to_one_exactly_and_every_self_weight_is_positive(graph):
    for weights in ALL:
        matrix = weights(graph)
        assert [math.fsum(row) for row in matrix] == [1.0] * len(graph)
        assert (matrix.diagonal() > 0).all()
        assert (matrix >= 0).all()


@settings(max_examples=60, deadline=None)
@given(connected())
def test_symmetric_weights_are_symmetric_to_the_bit_and_keep_the_mean(graph):
    for weights in SYMMETRIC:
        matrix = weights(graph)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert [math.fsum(column) for column in matrix.T] == [1.0] * len(graph)


@settings(max_examples=60, deadline=None)
@given(connected())
def test_weights_lie_on_links_only_and_contract_on_a_connected_graph(graph):
    links = hears(graph) | np.eye(len(graph), dtype=bool)
    for weights in ALL:
        matrix = weights(graph)
        np.testing.assert_array_equal(matrix != 0, links)
        assert facts(Topology(graph, matrix)).second_eigenvalue < 1 - 1e-6


@settings(max_examples=60, deadline=None)
@given(connected())
def test_the_weights_are_those_of_their_formulas(graph):
    degree = {i: len(set(graph[i]) - {i}) for i in graph}
    for u, v in graph.edges:
        if u != v:
            assert metropolis(graph)[u, v] == 1 / (1 + max(degree[u], degree[v]))
            assert uniform(graph)[u, v] == 1 / (1 + degree[u])
            assert max_degree(graph)[u, v] == 1 / (1 + max(degree.values()))


@settings(max_examples=60, deadline=None)
@given(connected())
def test_the_cap_on_laplacian_weights_leaves_at_least_one_nth_to_oneself(graph):
    assert (laplacian(graph).diagonal() >= 1 / len(graph) - 1e-15).all()


@settings(max_examples=60, deadline=None)
@given(connected(), st.sampled_from([0.5, 0.8, 1.25, 2.0]))
def test_no_other_constant_mixes_faster_than_the_laplacian_weights_where_they_are_not_capped(graph, factor):
    plain = nx.Graph(graph)
    plain.remove_edges_from([(i, i) for i in plain])
    if len(plain) < 2:
        return
    mu = nx.laplacian_spectrum(plain)
    best = 2 / (mu[1] + mu[-1])
    if best < (1 - 1 / len(plain)) / max(d for _, d in plain.degree):
        ours = facts(Topology(graph, laplacian(graph))).second_eigenvalue
        assert ours <= np.abs(1 - factor * best * mu[1:]).max() + 1e-9


def test_an_uncapped_best_constant_gives_the_known_rate():
    petersen = nx.petersen_graph()  # mu: 0, 2 five times, 5 four times; eps = 2/7, rate = 3/7
    matrix = laplacian(petersen)
    assert matrix[0, 1] == pytest.approx(2 / 7, abs=1e-11)
    assert facts(Topology(petersen, matrix)).second_eigenvalue == pytest.approx(3 / 7, abs=1e-11)


def test_the_hub_of_a_star_keeps_one_nth_under_laplacian_weights():
    matrix = laplacian(Star().graph(8, 0))
    np.testing.assert_allclose(matrix[0], np.full(8, 1 / 8), rtol=0, atol=1e-15)


@pytest.mark.parametrize("weights", ALL, ids=by_name)
def test_one_rank_keeps_its_value_and_two_ranks_meet_in_the_middle(weights):
    np.testing.assert_array_equal(weights(nx.empty_graph(1)), [[1.0]])
    np.testing.assert_array_equal(weights(nx.path_graph(2)), [[0.5, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize("weights", ALL, ids=by_name)
def test_a_complete_graph_averages_in_one_round(weights):
    matrix = weights(Complete().graph(9, 0))
    np.testing.assert_allclose(matrix, np.full((9, 9), 1 / 9), rtol=0, atol=1e-11)


@pytest.mark.parametrize("weights", ALL, ids=by_name)
def test_links_to_oneself_count_by_value_and_not_by_identity(weights):
    names = [int(str(i)) for i in range(300)]  # beyond the small integers that Python keeps one copy of
    graph = nx.cycle_graph(300)
    looped = nx.Graph([*graph.edges, *((i, int(str(i))) for i in names)])
    np.testing.assert_array_equal(weights(looped), weights(graph))
    view = Topology(looped, weights(looped)).view(299)
    assert view.sources == view.targets == (0, 298)


@pytest.mark.parametrize("weights", ALL, ids=by_name)
def test_mixing_weights_do_not_look_at_the_weights_of_links(weights):
    graph = nx.cycle_graph(6)
    heavy = graph.copy()
    nx.set_edge_attributes(heavy, 7.0, "weight")
    np.testing.assert_array_equal(weights(heavy), weights(graph))


@pytest.mark.parametrize("weights", SYMMETRIC, ids=by_name)
def test_symmetric_weights_refuse_a_directed_graph_and_name_the_ones_that_do_not(weights):
    name = weights.__name__.replace("_", "-")
    with pytest.raises(ConfigError, match=rf"'{name}' need an undirected graph.*Use 'uniform'"):
        weights(ARC)


def test_uniform_weights_go_by_the_in_degree_of_a_directed_graph():
    third, half = 1 / 3, 1 / 2
    np.testing.assert_allclose(uniform(ARC), [[half, 0, half], [half, half, 0], [third, third, third]], rtol=1e-15)


@pytest.mark.parametrize("graph", [nx.path_graph(3, nx.Graph()), nx.DiGraph()], ids=["gap", "empty"])
def test_nodes_that_are_no_ranks_are_refused(graph):
    graph.remove_nodes_from([1])
    with pytest.raises(ConfigError, match=r"nodes are not called 0 .*convert_node_labels_to_integers"):
        uniform(graph)


# topology and views


def test_weights_that_do_not_belong_to_the_graph_are_refused():
    graph = Path().graph(3, 0)
    with pytest.raises(ConfigError, match=r"shape \(2, 2\) for 3 ranks"):
        Topology(graph, np.eye(2))
    with pytest.raises(ConfigError, match=r"misses 1 by 0\.5"):
        Topology(graph, np.diag([1.0, 1.0, 0.5]))
    with pytest.raises(ConfigError, match="misses 1 by nan"):
        Topology(graph, np.diag([1.0, 1.0, np.nan]))
    with pytest.raises(ConfigError, match="rank 0 gives weight to rank 2"):
        Topology(graph, np.full((3, 3), 1 / 3))
    with pytest.raises(ConfigError, match="no rank 3 among 3"):
        Topology(graph, np.eye(3)).view(3)


@settings(max_examples=60, deadline=None)
@given(connected(), st.sampled_from(ALL))
def test_a_view_is_the_row_of_its_rank_with_neighbours_ascending(graph, weights):
    topology = Topology(graph, weights(graph))
    for rank in range(topology.size):
        view = topology.view(rank)
        assert view.sources == view.targets == tuple(sorted(set(graph[rank]) - {rank}))
        np.testing.assert_array_equal(view.weights, topology.matrix[rank, [rank, *view.sources]])
        assert math.fsum(view.weights) == 1.0
        np.testing.assert_array_equal(view.trust, np.ones(len(view.sources)))
        np.testing.assert_array_equal(view.couplings, np.ones(len(view.sources)))


@settings(max_examples=60, deadline=None)
@given(directed())
def test_sources_and_targets_of_a_directed_graph_mirror_each_other(graph):
    topology = Topology(graph, uniform(graph))
    views = [topology.view(rank) for rank in range(topology.size)]
    heard = {(j, view.rank) for view in views for j in view.sources}
    assert heard == {(view.rank, j) for view in views for j in view.targets}
    assert heard == {(u, v) for u, v in graph.edges if u != v}


@settings(max_examples=60, deadline=None)
@given(st.one_of(connected(), directed()), st.booleans())
def test_push_sum_with_the_out_weights_loses_no_mass(graph, symmetric):
    weights = metropolis if symmetric and not graph.is_directed() else uniform
    topology = Topology(graph, weights(graph))
    mass = np.zeros(topology.size)
    for view in map(topology.view, range(topology.size)):
        assert (view.out_weights > 0).all()
        mass[[view.rank, *view.targets]] += (1.0 + view.rank) * view.out_weights
    assert mass.sum() == pytest.approx(sum(range(1, topology.size + 1)), rel=1e-13)


def test_out_weights_are_the_own_row_where_weights_are_symmetric_and_equal_shares_where_not():
    graph = nx.lollipop_graph(4, 2)
    topology = Topology(graph, metropolis(graph))
    for rank in range(6):
        np.testing.assert_array_equal(topology.view(rank).out_weights, topology.view(rank).weights)
    np.testing.assert_array_equal(Topology(ARC, uniform(ARC)).view(0).out_weights, [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(Topology(ARC, uniform(ARC)).view(1).out_weights, [1 / 2, 1 / 2])


def test_couplings_are_the_weights_of_the_links_in_the_order_of_the_sources():
    graph = nx.Graph()
    graph.add_nodes_from(range(4))
    graph.add_weighted_edges_from([(3, 0, 3.0), (1, 0, 1.5)])
    graph.add_edge(0, 2)
    np.testing.assert_array_equal(Topology(graph, uniform(graph)).view(0).couplings, [1.5, 1.0, 3.0])
    arcs = nx.DiGraph()
    arcs.add_weighted_edges_from([(0, 1, 2.0), (1, 0, 5.0)])
    assert Topology(arcs, uniform(arcs)).view(0).couplings.tolist() == [5.0]


def test_a_view_carries_what_it_is_told_and_cannot_be_written_to():
    topology = Topology(Ring().graph(5, 0), metropolis(Ring().graph(5, 0)))
    view = topology.view(2, seed=9, stochastic=True, colluders=(1, 4))
    assert (view.rank, view.round, view.seed, view.stochastic, view.colluders) == (2, 0, 9, True, (1, 4))
    assert view.rng(Purpose.INIT).random() == topology.view(2, seed=9).rng(Purpose.INIT).random()
    for array in (view.weights, view.out_weights, view.couplings, view.trust):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2.0
    assert topology.matrix.flags.writeable


def test_a_rank_alone_sees_nobody():
    view = Topology(nx.empty_graph(1), np.eye(1)).view(0)
    assert (view.sources, view.targets) == ((), ())
    assert view.weights.tolist() == view.out_weights.tolist() == [1.0]
    assert view.couplings.shape == view.trust.shape == (0,)


# facts


@pytest.mark.parametrize("n", [3, 5, 8, 21])
def test_the_facts_of_a_ring_are_its_closed_forms(n):
    graph = Ring().graph(n, 0)
    found = facts(Topology(graph, metropolis(graph)))
    spectrum = np.sort(np.abs((1 + 2 * np.cos(2 * np.pi * np.arange(1, n) / n)) / 3))
    assert (found.ranks, found.edges, found.least_degree, found.greatest_degree, found.mean_degree) == (n, n, 2, 2, 2.0)
    assert (found.diameter, found.vertex_connectivity, found.directed) == (n // 2, 2, False)
    assert found.doubly_stochastic
    assert found.second_eigenvalue == pytest.approx(spectrum[-1], abs=1e-12)
    assert found.spectral_gap == 1 - found.second_eigenvalue
    assert found.algebraic_connectivity == pytest.approx(2 - 2 * math.cos(2 * math.pi / n), abs=1e-12)


@pytest.mark.parametrize("n", [2, 6, 30])
def test_a_complete_graph_needs_one_round(n):
    graph = Complete().graph(n, 0)
    found = facts(Topology(graph, metropolis(graph)))
    assert found.rounds_to_1e6 == 1
    assert found.second_eigenvalue < 1e-12
    assert (found.diameter, found.vertex_connectivity) == (1, n - 1)
    assert found.algebraic_connectivity == pytest.approx(n, abs=1e-10)


@pytest.mark.parametrize("j", [1, 2, 3, 5])
def test_a_hypercube_has_mu_2_of_two_and_its_dimension_everywhere_else(j):
    graph = Hypercube().graph(2**j, 0)
    found = facts(Topology(graph, max_degree(graph)))
    assert found.algebraic_connectivity == pytest.approx(2.0, abs=1e-12)
    assert found.second_eigenvalue == pytest.approx(max(1 - 2 / (1 + j), 2 * j / (1 + j) - 1), abs=1e-12)
    assert (found.diameter, found.vertex_connectivity, found.least_degree) == (j, j, j)


def test_two_worlds_have_mu_2_of_sixteen():
    worlds = nx.disjoint_union(nx.complete_graph(13), nx.complete_graph(13))
    worlds.add_edges_from((i, 13 + (i + j) % 13) for i in range(13) for j in range(8))
    assert facts(Topology(worlds, metropolis(worlds))).algebraic_connectivity == pytest.approx(16.0, abs=1e-12)


@pytest.mark.parametrize("graph", [Path().graph(9, 0), Torus("3x5").graph(15, 0), Star().graph(6, 0)])
def test_the_promised_rounds_do_shrink_any_disagreement_a_millionfold_and_one_less_need_not(graph):
    topology = Topology(graph, metropolis(graph))
    rounds = facts(topology).rounds_to_1e6
    centred = np.eye(topology.size) - 1 / topology.size
    for count, enough in ((rounds, True), (rounds - 1, False)):
        left = np.linalg.norm(np.linalg.matrix_power(topology.matrix, count) @ centred, 2)
        assert (left <= 1e-6 * (1 + 1e-9)) == enough


def test_rows_of_a_star_under_uniform_weights_do_not_keep_the_mean():
    graph = Star().graph(6, 0)
    found = facts(Topology(graph, uniform(graph)))
    assert not found.doubly_stochastic
    assert (found.least_degree, found.greatest_degree, found.vertex_connectivity) == (1, 5, 1)
    assert found.mean_degree == pytest.approx(10 / 6)


def test_swapping_for_ever_is_seen():
    graph = nx.cycle_graph(4)
    swap = facts(Topology(graph, nx.to_numpy_array(graph) / 2))
    assert swap.bipartite_without_self_weight
    assert swap.rounds_to_1e6 is None
    assert not facts(Topology(graph, metropolis(graph))).bipartite_without_self_weight
    odd = nx.cycle_graph(5)
    assert not facts(Topology(odd, nx.to_numpy_array(odd) / 2)).bipartite_without_self_weight


def test_facts_of_directed_broken_and_tiny_networks():
    ring = nx.DiGraph([(i, (i + 1) % 5) for i in range(5)])
    one_way = facts(Topology(ring, uniform(ring)))
    assert (one_way.edges, one_way.diameter, one_way.vertex_connectivity) == (5, 4, 1)
    assert one_way.directed
    assert one_way.doubly_stochastic
    assert one_way.second_eigenvalue == pytest.approx(math.cos(math.pi / 5), abs=1e-12)
    assert one_way.algebraic_connectivity == pytest.approx(2 - 2 * math.cos(2 * math.pi / 5), abs=1e-12)
    apart = nx.empty_graph(3)
    broken = facts(Topology(apart, metropolis(apart)))
    assert (broken.diameter, broken.rounds_to_1e6, broken.vertex_connectivity) == (None, None, 0)
    for kind in (nx.Graph, nx.DiGraph):
        alone = facts(Topology(nx.empty_graph(1, kind), np.eye(1)))
        assert (alone.edges, alone.diameter, alone.rounds_to_1e6, alone.second_eigenvalue) == (0, 0, 1, 0.0)
        assert (alone.algebraic_connectivity, alone.vertex_connectivity) == (0.0, 0)


def test_links_to_oneself_change_no_fact():
    graph = nx.cycle_graph(4)
    looped = nx.Graph([*graph.edges, (0, 0), (2, 2)])
    assert facts(Topology(looped, graph_swap := nx.to_numpy_array(graph) / 2)) == facts(Topology(graph, graph_swap))


def test_a_vertex_connectivity_that_takes_too_long_is_left_out():
    graph = Exponential().graph(201, 0)
    assert facts(Topology(graph, metropolis(graph))).vertex_connectivity is None
