"""Averages, extremes and votes by words between neighbours: their laws on any graph."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.consensus.chart import chart
from dmtl.consensus.chebyshev import Chebyshev, contraction, needed
from dmtl.consensus.extrema import Largest, Least
from dmtl.consensus.push_sum import PushSum
from dmtl.consensus.tracking import Tracking
from dmtl.consensus.vote import Vote
from dmtl.topology import Topology, metropolis, uniform

seeds = st.integers(0, 2**32 - 1)


def connected(n: int, seed: int) -> nx.Graph:
    """A random tree and some more links."""
    rng = np.random.default_rng(seed)
    graph = nx.empty_graph(n)
    graph.add_edges_from((int(rng.integers(k)), k) for k in range(1, n))
    graph.add_edges_from(tuple(rng.integers(n, size=2).tolist()) for _ in range(rng.integers(n)))
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return graph


def strong(n: int, seed: int) -> nx.DiGraph:
    """A directed ring and some more one-way links."""
    rng = np.random.default_rng(seed)
    graph = nx.cycle_graph(n, nx.DiGraph)
    graph.add_edges_from(tuple(rng.integers(n, size=2).tolist()) for _ in range(n))
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    return graph


def near(graph: nx.Graph, rank: int) -> list[int]:
    return sorted(graph[rank])


def all_there(count: int) -> np.ndarray:
    return np.ones(count, bool)


def spread(values: np.ndarray, mean: np.ndarray) -> float:
    return float(np.linalg.norm(values - mean))


def chebyshev(graph: nx.Graph, values: np.ndarray, rounds: int) -> list[np.ndarray]:
    here = chart(graph)
    lo, hi = min(here.spectrum), max(here.spectrum)
    states, found = [Chebyshev.start(value) for value in values], [values]
    for _ in range(rounds):
        said = [state.x for state in states]
        heard = [np.stack([said[j] for j in near(graph, k)]) for k in range(len(graph))]
        states = [state.heard(rows, all_there(len(rows)), lo, hi) for state, rows in zip(states, heard, strict=True)]
        found.append(np.array([state.x for state in states]))
    return found


@given(n=st.integers(2, 12), seed=seeds)
def test_chebyshev_keeps_to_its_bound_in_every_round_and_keeps_the_sum(n, seed):
    graph = connected(n, seed)
    values = np.random.default_rng(seed).normal(3, 2, (n, 3))
    here, mean = chart(graph), values.mean(axis=0)
    lo, hi = min(here.spectrum), max(here.spectrum)
    s = contraction(lo, hi)
    for rounds, now in enumerate(chebyshev(graph, values, 25)):
        bound = 2 * s**rounds / (1 + s ** (2 * rounds)) if s else float(not rounds)
        assert spread(now, mean) <= bound * spread(values, mean) * (1 + 1e-9) + 1e-11
        assert np.allclose(now.sum(axis=0), n * mean, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("ranks", "rounds"), [(20, 80), (40, 165)])
def test_chebyshev_needs_the_root_of_what_a_plain_average_needs(ranks, rounds):
    graph = nx.cycle_graph(ranks)
    here = chart(graph)
    enough = needed(1e-10, min(here.spectrum), max(here.spectrum))
    assert enough <= rounds
    values = np.random.default_rng(0).normal(3, 2, (ranks, 1))
    mean = values.mean(axis=0)
    assert spread(chebyshev(graph, values, enough)[-1], mean) <= 1e-10 * spread(values, mean)
    weights, plain = metropolis(graph), values
    for _ in range(3 * enough):
        plain = weights @ plain
    assert spread(plain, mean) > 1e-6 * spread(values, mean)


def test_chebyshev_is_exact_at_once_on_the_complete_graph():
    values = np.random.default_rng(0).normal(3, 2, (5, 2))
    assert needed(1e-12, 5.0, 5.0) == 1
    for now in chebyshev(nx.complete_graph(5), values, 3)[1:]:
        assert np.allclose(now, values.mean(axis=0), rtol=0, atol=1e-14)


def test_rounds_for_no_precision_are_none_and_one_less_is_too_few():
    assert needed(1.0, 1.0, 4.0) == 0
    k = needed(1e-6, 1.0, 4.0)
    left = [1 / np.cosh(count * np.arccosh(2.5 / 1.5)) for count in (k - 1, k)]
    assert left[1] <= 1e-6 < left[0]


class Pushing:
    """Push-sum on a directed graph, with links that may fail in one direction."""

    def __init__(self, graph: nx.DiGraph, values: np.ndarray) -> None:
        topology = Topology(graph, uniform(graph))
        self.views = [topology.view(rank) for rank in range(len(graph))]
        self.states = [PushSum.start(value, len(v.sources)) for value, v in zip(values, self.views, strict=True)]

    def round(self, lost) -> None:
        said = [state.said(view.out_weights)[:, 0] for state, view in zip(self.states, self.views, strict=True)]
        after = []
        for state, view in zip(self.states, self.views, strict=True):
            words = np.stack([said[j][self.views[j].targets.index(view.rank)] for j in view.sources])
            valid = np.array([not lost(j, view.rank) for j in view.sources])
            words[~valid] = np.nan
            after.append(state.heard(words, valid, view.out_weights))
        self.states = after

    def mass(self) -> np.ndarray:
        """All there is, in ranks and in links."""
        total = sum(state.mass for state in self.states)
        for state, view in zip(self.states, self.views, strict=True):
            for row, source in enumerate(view.sources):
                giver = self.views[source]
                share = giver.out_weights[1 + giver.targets.index(view.rank)]
                total = total + share * self.states[source].given - state.had[row]
        return total

    def ratios(self) -> np.ndarray:
        return np.array([state.ratio for state in self.states])


@settings(max_examples=30)
@given(n=st.integers(2, 8), seed=seeds, loss=st.floats(0, 0.6))
def test_push_sum_loses_no_mass_and_finds_the_average_whatever_is_lost_on_the_way(n, seed, loss):
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 2, (n, 2))
    net = Pushing(strong(n, seed), values)
    for _ in range(60):
        net.round(lambda source, target: rng.random() < loss)
        assert np.allclose(net.mass(), [*values.sum(axis=0), n], rtol=1e-11)
        assert all(state.mass[-1] > 0 for state in net.states)
    for _ in range(700):
        net.round(lambda source, target: rng.random() < loss)
    assert np.allclose(net.ratios(), values.mean(axis=0), rtol=0, atol=1e-8)


def test_a_dead_link_drains_push_sum_and_gives_all_back_when_it_is_mended():
    values = np.random.default_rng(1).normal(3, 2, (6, 1))
    net = Pushing(strong(6, 4), values)
    ring = {(k, (k + 1) % 6) for k in range(6)}
    dead = next(edge for edge in strong(6, 4).edges if edge not in ring)
    for _ in range(100):
        net.round(lambda source, target: (source, target) == dead)
    apart = net.ratios()
    assert np.ptp(apart) < 1e-6
    assert abs(apart[0] - values.mean()) > 1e-3
    assert sum(state.mass[-1] for state in net.states) < 0.5
    assert np.allclose(net.mass(), [values.sum(), 6], rtol=1e-12)
    for _ in range(600):
        net.round(lambda source, target: False)
    assert np.allclose(net.ratios(), values.mean(), rtol=0, atol=1e-11)


def test_push_sum_on_an_undirected_graph_of_equal_degrees_is_the_plain_average():
    graph = nx.cycle_graph(6)
    values = np.random.default_rng(1).normal(3, 2, (6, 2))
    net, weights = Pushing(graph, values), metropolis(graph)
    for _ in range(7):
        net.round(lambda source, target: False)
        values = weights @ values
        assert np.allclose(net.ratios(), values, rtol=0, atol=1e-13)


@given(n=st.integers(2, 10), seed=seeds)
def test_tracking_keeps_the_sum_and_follows_within_its_bound(n, seed):
    graph = connected(n, seed)
    rng = np.random.default_rng(seed)
    weights = metropolis(graph)
    sigma = max(abs(np.linalg.eigvalsh(weights)[:-1]))
    views = [Topology(graph, weights).view(rank) for rank in range(n)]
    q = rng.normal(3, 2, (n, 2))
    states, bound = [Tracking.start(own) for own in q], spread(q, q.mean(axis=0))
    for k in range(40):
        later = q + rng.normal(0, 1, q.shape) if k < 15 else q
        said = [state.s for state in states]
        states = [
            state.heard(np.stack([said[j] for j in v.sources]), all_there(len(v.sources)), v.weights[1:], later[v.rank])
            for state, v in zip(states, views, strict=True)
        ]
        bound, q = sigma * bound + float(np.linalg.norm(later - q)), later
        s = np.array([state.s for state in states])
        assert np.allclose(s.sum(axis=0), q.sum(axis=0), rtol=0, atol=1e-11)
        assert spread(s, q.mean(axis=0)) <= bound * (1 + 1e-9) + 1e-11


def test_tracking_and_averages_take_no_message_for_the_own_vector():
    rows, gone = np.full((2, 2), np.nan), np.zeros(2, bool)
    own = np.array([1.0, 2.0])
    assert np.array_equal(Tracking.start(own).heard(rows, gone, np.full(2, 0.3), own).s, own)
    assert np.array_equal(Chebyshev.start(own).heard(rows, gone, 1.0, 4.0).x, own)


@given(n=st.integers(1, 10), seed=seeds)
def test_extremes_are_those_of_all_after_as_many_rounds_as_the_diameter(n, seed):
    graph = connected(n, seed)
    rng = np.random.default_rng(seed)
    values = rng.integers(-3, 3, (n, 2)).astype(float)  # with ties
    here = chart(graph)
    most = [Largest(value) for value in values]
    least = [Least.start(values[k, 0], k, values[k]) for k in range(n)]
    while not most[0].complete(here.diameter):
        order = {k: rng.permutation(near(graph, k)) for k in range(n)}
        most_said, least_said = [state.x for state in most], [state.x for state in least]
        there = [all_there(len(order[k])) for k in range(n)]
        most = [most[k].heard(np.array([most_said[j] for j in order[k]]), there[k]) for k in range(n)]
        least = [least[k].heard(np.array([least_said[j] for j in order[k]]), there[k]) for k in range(n)]
    assert most[0].done == here.diameter
    assert least[0].complete(here.diameter)
    winner = int(np.argmin(values[:, 0]))
    for large, small in zip(most, least, strict=True):
        assert np.array_equal(large.x, values.max(axis=0))
        assert small.rank == winner
        assert np.array_equal(small.x, [values[winner, 0], winner, *values[winner]])


def test_an_extreme_does_not_care_about_order_repetition_or_silence():
    rows = np.random.default_rng(0).normal(size=(4, 3))
    own = Largest(np.zeros(3))
    there = all_there(4)
    once = own.heard(rows, there)
    assert np.array_equal(own.heard(rows[::-1], there).x, once.x)
    assert np.array_equal(once.heard(rows, there).x, once.x)
    rows[1] = np.nan
    assert np.array_equal(own.heard(rows, np.arange(4) != 1).x, np.maximum(0, np.delete(rows, 1, axis=0).max(axis=0)))
    assert np.array_equal(own.heard(rows, np.zeros(4, bool)).x, own.x)
    assert np.array_equal(own.heard(rows[:0], all_there(0)).x, own.x)
    assert own.heard(rows.astype(np.float32), ~np.isnan(rows).any(axis=1)).x.dtype == np.float64
    assert Largest(np.zeros(3, np.float32)).heard(rows[:1].astype(np.float32), all_there(1)).x.dtype == np.float32


def voted(graph: nx.Graph, content: np.ndarray) -> list[int]:
    """The round in which each rank stops, -1 if in none of them; ``content`` is (rounds, ranks)."""
    here, ranks = chart(graph), range(len(graph))
    states, ends = [Vote() for _ in ranks], [-1] * len(graph)
    for now, fine in enumerate(content):
        words = np.array([state.word for state in states], float)
        heard = [words[near(graph, k)] for k in ranks]
        states = [states[k].heard(heard[k], all_there(len(heard[k])), bool(fine[k]), here.diameter) for k in ranks]
        ends = [now if end < 0 and state.over else end for end, state in zip(ends, states, strict=True)]
    return ends


@given(n=st.integers(1, 10), seed=seeds, share=st.floats(0.5, 1.0))
def test_all_stop_in_the_same_round_and_none_before_all_were_content_at_once(n, seed, share):
    graph = connected(n, seed)
    rng = np.random.default_rng(seed)
    content = rng.random((60, n)) < share
    content[rng.integers(60) :] = True  # in the end for good, or nearly never
    diameter, all_at_once = chart(graph).diameter, content.all(axis=1)
    ends = voted(graph, content)
    assert len(set(ends)) == 1
    last = 0 if all_at_once.all() else 1 + int(np.flatnonzero(~all_at_once)[-1])
    if ends[0] >= 0:
        raised = ends[0] - diameter
        assert all_at_once[raised - diameter], "nobody may stop before"
        assert ends[0] <= last + 2 * diameter, "nor later than need be"
    else:
        assert last + 2 * diameter >= len(content)


@given(n=st.integers(2, 10), seed=seeds)
def test_one_rank_that_is_never_content_keeps_all_going(n, seed):
    graph = connected(n, seed)
    content = np.ones((8 * n, n), bool)
    content[:, seed % n] = False
    assert voted(graph, content) == [-1] * n


def test_a_neighbour_that_says_nothing_or_nonsense_makes_nobody_stop_alone():
    state = Vote()
    for _ in range(20):
        state = state.heard(np.array([np.nan, 9.0]), np.array([False, True]), True, 3)
        assert not state.over
    assert Vote().heard(np.array([1e30]), all_there(1), True, 3).streak == 1
    assert Vote(left=0).heard(np.array([0.0]), all_there(1), False, 3).over


def test_alone_a_rank_stops_as_soon_as_it_is_content():
    assert not Vote().heard(np.zeros(0), all_there(0), False, 0).over
    assert Vote().heard(np.zeros(0), all_there(0), True, 0).over
