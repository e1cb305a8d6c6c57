"""Robustness and connectivity against brute force from the definitions, closed forms and laws."""

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dmtl.robustness import (
    EXACT,
    Bounds,
    algebraic_connectivity,
    connectivity,
    joint_robustness,
    margin,
    robustness,
)
from dmtl.topology import hears


def exact(graph):
    found = robustness(hears(graph))
    assert found.exact
    return found.least


def subsets(ranks):
    return (set(some) for size in range(1, len(ranks) + 1) for some in combinations(ranks, size))


def pairs(n):
    for one in subsets(range(n)):
        for other in subsets([rank for rank in range(n) if rank not in one]):
            yield one, other


def outsiders(links, rank, group):
    return sum(bool(links[rank, other]) for other in range(len(links)) if other not in group)


def by_definition(links):
    """The largest r for which every two disjoint sets have an r-reachable one among them."""

    def robust(r):
        return all(
            any(outsiders(links, rank, one) >= r for rank in one)
            or any(outsiders(links, rank, other) >= r for rank in other)
            for one, other in pairs(len(links))
        )

    return max(r for r in range(len(links)) if robust(r))


def jointly_by_definition(links, r):
    """The largest s for which the graph is (r, s)-robust."""

    def robust(s):
        for one, other in pairs(len(links)):
            x, y = (sum(outsiders(links, rank, group) >= r for rank in group) for group in (one, other))
            if not (x == len(one) or y == len(other) or x + y >= s):
                return False
        return True

    return max(s for s in range(len(links) + 1) if robust(s))


@st.composite
def graphs(draw, least=2, most=6, directed=None):
    n = draw(st.integers(least, most))
    kind = draw(st.booleans()) if directed is None else directed
    links = np.array(draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))).reshape(n, n)
    np.fill_diagonal(links, False)
    return links if kind else links | links.T


@settings(max_examples=60, deadline=None)
@given(graphs(most=5))
def test_the_robustness_is_that_of_the_definition(links):
    assert robustness(links) == Bounds(by_definition(links), by_definition(links))


@settings(max_examples=40, deadline=None)
@given(graphs(most=5), st.integers(1, 3))
def test_the_joint_robustness_is_that_of_the_definition(links, r):
    assert joint_robustness(links, r) == jointly_by_definition(links, r)


@settings(max_examples=40, deadline=None)
@given(graphs(most=5), st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_the_margin_is_that_of_trying_all_pairs_with_each_rank_s_own_need(links, needs):
    need = np.array(needs[: len(links)])
    worst = min(
        max(outsiders(links, rank, group) - need[rank] for group in pair for rank in group)
        for pair in pairs(len(links))
    )
    assert margin(links, need) == Bounds(worst, worst)


@pytest.mark.parametrize("n", range(2, 13))
def test_a_complete_graph_has_the_most_that_there_is(n):
    assert exact(nx.complete_graph(n)) == -(-n // 2)


@pytest.mark.parametrize(
    ("graph", "r"),
    [
        *((nx.cycle_graph(n), 1) for n in (4, 5, 9, 14)),
        *((nx.star_graph(n), 1) for n in (1, 3, 8)),
        (nx.path_graph(7), 1),
        (nx.empty_graph(1), 1),
        (nx.empty_graph(3), 0),
        (nx.cycle_graph(3), 2),
        (nx.petersen_graph(), 1),  # two cycles of five
        (nx.hypercube_graph(3), 1),  # two opposite faces
        (nx.complete_bipartite_graph(4, 4), 2),  # each half of either side with half of the other
        (nx.wheel_graph(7), 2),
        (nx.disjoint_union(nx.complete_graph(4), nx.complete_graph(4)), 0),
        (nx.DiGraph([(0, 1), (1, 2), (2, 3)]), 1),  # rooted
        (nx.DiGraph([(0, 1), (2, 1)]), 0),  # two that hear nobody
    ],
    ids=str,
)
def test_small_graphs_have_the_known_robustness(graph, r):
    assert exact(nx.convert_node_labels_to_integers(graph)) == r


@pytest.mark.parametrize("r", [1, 2, 3])
def test_growing_by_r_links_a_rank_keeps_a_robust_core_robust(r):
    """Preferential attachment keeps r-robustness: LeBlanc et al., theorem 5."""
    graph, rng = nx.complete_graph(2 * r - 1), np.random.default_rng(r)
    assert exact(graph) == r
    while len(graph) < 14:
        new = len(graph)
        graph.add_edges_from((new, int(old)) for old in rng.choice(new, r, replace=False))
    assert exact(graph) >= r


def test_two_cliques_with_q_links_across_have_robustness_q():
    for n, q in ((6, 1), (6, 2), (7, 3)):
        graph = nx.disjoint_union(nx.complete_graph(n), nx.complete_graph(n))
        graph.add_edges_from((i, n + (i + shift) % n) for i in range(n) for shift in range(q))
        assert exact(graph) == q
        assert algebraic_connectivity(hears(graph)) == pytest.approx(2 * q)


@settings(max_examples=60, deadline=None)
@given(graphs(least=3, most=9), st.data())
def test_a_link_more_never_makes_a_graph_less_robust(links, data):
    i, j = data.draw(st.sampled_from([(i, j) for i in range(len(links)) for j in range(len(links)) if i != j]))
    more = links.copy()
    more[i, j] = True
    assert robustness(more).least >= robustness(links).least
    assert joint_robustness(more, 2) >= joint_robustness(links, 2)


@settings(max_examples=60, deadline=None)
@given(graphs(least=2, most=9))
def test_joint_robustness_with_one_member_is_robustness(links):
    r = robustness(links).least
    assert joint_robustness(links, max(r, 1)) >= min(r, 1)
    assert joint_robustness(links, r + 1) == 0


@settings(max_examples=60, deadline=None)
@given(graphs(least=4, most=9), st.data())
def test_a_rank_that_loses_b_links_costs_b_of_robustness_at_most(links, data):
    b, fewer = data.draw(st.integers(1, 2)), links.copy()
    for row in fewer:
        heard = np.flatnonzero(row)
        row[data.draw(st.permutations(list(heard)))[:b] if len(heard) else heard] = False
    assert robustness(fewer).least >= robustness(links).least - b


@settings(max_examples=80, deadline=None)
@given(graphs(least=2, most=9), st.data())
def test_the_bounds_of_large_graphs_hold_for_small_ones(links, data):
    from dmtl import robustness as module

    n = len(links)
    need = np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    true = margin(links, need).least
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXACT", 1)
        bounds = margin(links, need)
        plain = robustness(links)
    assert bounds.least <= true <= bounds.most
    assert plain.least <= robustness(links).least <= plain.most
    if np.array_equal(links, links.T):
        assert plain.least >= min(plain.most, int(np.ceil(algebraic_connectivity(links) / 2 - 1e-9)))


def test_the_bounds_of_larger_graphs_meet_where_the_graph_is_regular_enough():
    assert robustness(hears(nx.complete_graph(40))) == Bounds(20, 20)
    assert robustness(hears(nx.cycle_graph(100))) == Bounds(1, 1)
    worlds = nx.disjoint_union(nx.complete_graph(13), nx.complete_graph(13))
    worlds.add_edges_from((i, 13 + (i + shift) % 13) for i in range(13) for shift in range(8))
    assert robustness(hears(worlds)) == Bounds(8, 8)
    assert joint_robustness(hears(worlds), 2) is None
    directed = nx.DiGraph(nx.path_graph(30, create_using=nx.DiGraph))
    assert robustness(hears(directed)) == Bounds(1, 1)
    assert robustness(hears(nx.compose(directed, nx.DiGraph([(31, 30), (29, 30)])))).least == 0


def test_all_sets_of_the_largest_graph_that_is_tried_are_tried():
    graph = nx.random_regular_graph(5, EXACT, seed=1)
    links = hears(graph)
    found = robustness(links)
    assert found.exact
    half = nx.algorithms.community.kernighan_lin_bisection(graph, seed=0)
    assert found.least <= max(outsiders(links, rank, group) for group in half for rank in group)
    assert found.least >= algebraic_connectivity(links) / 2 - 1e-9


ROWS = ("010100", "001110", "100001", "010000", "001000", "100000")
ONE_WAY_OUT = np.array([[letter == "1" for letter in row] for row in ROWS])
"""a directed graph with parts that one cut rank parts; looking from one rank to the others alone does not see it"""


@example(ONE_WAY_OUT, 1)
@settings(max_examples=40, deadline=None)
@given(graphs(least=2, most=7), st.integers(0, 3))
def test_the_worst_loss_costs_one_of_connectivity_for_each_rank(links, lost):
    n = len(links)
    lost = min(lost, n - 1)
    kept = ([rank for rank in range(n) if rank not in gone] for gone in combinations(range(n), lost))
    assert connectivity(links, lost) == min(connectivity(links[np.ix_(rest, rest)]) for rest in kept)


def test_connectivity_is_that_of_the_closed_forms():
    assert [connectivity(hears(graph)) for graph in (nx.complete_graph(5), nx.cycle_graph(6), nx.star_graph(4))] == [
        *(4, 2, 1)
    ]
    assert connectivity(hears(nx.petersen_graph()), 1) == 2
    assert connectivity(hears(nx.empty_graph(1))) == 0
    assert connectivity(np.zeros((201, 201), bool)) is None


@settings(max_examples=40, deadline=None)
@given(graphs(least=2, most=8, directed=False))
def test_robustness_connectivity_and_mu_2_are_in_order(links):
    """mu_2 / 2 <= r, and an r-robust graph loses r - 1 ranks and stays connected."""
    r = robustness(links).least
    assert algebraic_connectivity(links) / 2 <= r + 1e-9
    assert connectivity(links) >= r
