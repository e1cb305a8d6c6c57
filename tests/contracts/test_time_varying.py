"""What every time-varying graph promises, over every registered name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmtl.changing import coverage
from tests.changing_graphs import DIRECTED, NAMES, UNDIRECTED, base, changing, links_of, made

ROUNDS = 12

CASES = [*((name, False) for name in UNDIRECTED), *((name, True) for name in DIRECTED)]

every = pytest.mark.parametrize(("name", "directed"), CASES)
every_undirected = pytest.mark.parametrize("name", UNDIRECTED)


@every
def test_a_mask_says_for_every_link_whether_it_is_in_use(name, directed, tmp_path):
    links = links_of(base(directed))
    piece = made(name, links, tmp_path)
    for round in range(ROUNDS):
        mask = piece.active(links, 10, round, 7)
        assert mask.shape == (len(links),)
        assert mask.dtype == np.bool_


@every
def test_the_same_arguments_give_the_same_links_whatever_was_asked_before(name, directed, tmp_path):
    links = links_of(base(directed))
    piece = made(name, links, tmp_path)
    before = links.tobytes()
    forth = [piece.active(links, 10, round, 7) for round in range(ROUNDS)]
    again = made(name, links, tmp_path)
    back = [again.active(links, 10, round, 7) for round in reversed(range(ROUNDS))][::-1]
    np.testing.assert_array_equal(forth, back)
    assert links.tobytes() == before


@every
def test_every_link_has_its_turn_and_rounds_differ(name, directed, tmp_path):
    links = links_of(base(directed))
    piece = made(name, links, tmp_path)
    masks = np.array([piece.active(links, 10, round, 7) for round in range(60)])
    assert masks.any(axis=0).all()
    assert not masks.all(axis=0).any()
    assert len({mask.tobytes() for mask in masks}) > 2


@pytest.mark.parametrize("name", NAMES)
def test_two_seeds_agree_if_and_only_if_nothing_is_drawn(name, tmp_path):
    links = links_of(base(directed=True))
    piece = made(name, links, tmp_path)
    masks = {seed: [piece.active(links, 10, round, seed).tolist() for round in range(ROUNDS)] for seed in (0, 1)}
    assert (masks[0] != masks[1]) == (name in {"activation", "matching"})


@every
def test_a_rank_has_no_part_but_its_number(name, directed, tmp_path):
    links = links_of(base(directed))
    # Ranks turned on by three: the one change of names that the exponential graph allows.
    names = (np.arange(10) + 3) % 10 if name == "one-peer-exponential" else np.random.default_rng(2).permutation(10)
    renamed = names[links] if directed else np.sort(names[links], axis=1)
    one, two = made(name, links, tmp_path), made(name, renamed, tmp_path)
    for round in range(ROUNDS):
        np.testing.assert_array_equal(one.active(links, 10, round, 7), two.active(renamed, 10, round, 7))


@pytest.mark.parametrize("name", NAMES)
def test_a_rank_alone_has_no_links_to_use(name, tmp_path):
    nothing = np.zeros((0, 2), np.int64)
    for round in range(3):
        assert made(name, nothing, tmp_path).active(nothing, 1, round, 7).shape == (0,)


@every
def test_both_ends_of_a_link_know_whether_it_is_in_use(name, directed, tmp_path):
    graph, ways = base(directed), changing(name, "uniform", directed, tmp_path)
    for round in range(ROUNDS):
        used = {(u, v) for u, v in ways.links[ways.active(round)].tolist()}
        used |= set() if directed else {(v, u) for u, v in used}
        for rank in graph:
            row = ways.row(rank, round)
            sources = sorted(graph.predecessors(rank) if directed else graph[rank])
            targets = sorted(graph[rank])
            assert row.hears.tolist() == [(source, rank) in used for source in sources]
            assert row.speaks.tolist() == [(rank, target) in used for target in targets]


@every
def test_a_row_sums_to_one_exactly_and_weighs_those_who_speak(name, directed, tmp_path):
    for weights in ["uniform"] if directed else ["uniform", "metropolis", "max-degree"]:
        ways = changing(name, weights, directed, tmp_path)
        for round in range(ROUNDS):
            for rank in range(10):
                row = ways.row(rank, round)
                assert math.fsum(row.weights) == 1.0
                assert row.weights[0] > 0
                assert (row.weights >= 0).all()
                np.testing.assert_array_equal(row.weights[1:] != 0, row.hears)


@every_undirected
@pytest.mark.parametrize("weights", ["metropolis", "max-degree"])
def test_symmetric_weights_are_the_same_bits_at_both_ends_and_keep_the_mean(name, weights, tmp_path):
    ways = changing(name, weights, False, tmp_path)
    for round in range(ROUNDS):
        matrix = ways.matrix(round)
        np.testing.assert_array_equal(matrix, matrix.T)
        assert [math.fsum(column) for column in matrix.T] == [1.0] * 10


@every
def test_gossip_agrees_and_on_the_mean_where_weights_are_symmetric(name, directed, tmp_path):
    ways = changing(name, "uniform" if directed else "metropolis", directed, tmp_path)
    found = coverage(ways, 400)
    assert found.connected_after is not None
    assert found.rounds_to_1e6 is not None
    assert found.rounds_to_1e6 < 400
    x = np.random.default_rng(0).standard_normal(10)
    start = x
    for round in range(found.rounds_to_1e6):
        x = ways.matrix(round) @ x
    assert np.linalg.norm(x - x.mean()) <= 1.001e-6 * np.linalg.norm(start - start.mean())
    if not directed:
        assert x.mean() == pytest.approx(start.mean(), abs=1e-13)
