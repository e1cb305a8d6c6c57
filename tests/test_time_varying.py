"""The time-varying graphs one by one: laws of chance with a bound, oracles, and the sentences of every refusal."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtl.errors import ConfigError
from dmtl.graphs.lattices import Complete, Exponential, Path, Ring
from dmtl.rng import NETWORK, Purpose, stream
from dmtl.time_varying.activation import Activation
from dmtl.time_varying.file import File
from dmtl.time_varying.matching import Matching
from dmtl.time_varying.one_peer_exponential import OnePeerExponential
from tests.changing_graphs import links_of


def hoeffding(draws, doubt=1e-9):
    """How far the mean of so many independent draws from [0, 1] is off, but for a probability of ``doubt``."""
    return math.sqrt(math.log(2 / doubt) / (2 * draws))


# activation


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_links_are_in_use_as_often_as_p_says_and_know_nothing_of_each_other(p):
    links = links_of(Ring().graph(20, 0))
    masks = np.array([Activation(p).active(links, 20, round, 1) for round in range(4000)])
    np.testing.assert_allclose(masks.mean(axis=0), p, rtol=0, atol=hoeffding(4000))
    assert abs(masks.mean() - p) < hoeffding(masks.size)
    both = masks & np.roll(masks, 1, axis=1)
    np.testing.assert_allclose(both.mean(axis=0), p * p, rtol=0, atol=hoeffding(4000))
    in_a_row = masks[::2] & masks[1::2]
    np.testing.assert_allclose(in_a_row.mean(axis=0), p * p, rtol=0, atol=hoeffding(2000))


def test_with_certainty_every_link_is_in_use():
    links = links_of(Ring().graph(9, 0))
    assert all(Activation(1.0).active(links, 9, round, 1).all() for round in range(50))


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ConfigError, match=r"'activation' has p=.*above 0 and up to 1"):
        Activation(p)


# matching


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 12))
    ends = st.integers(0, n - 1)
    graph = nx.empty_graph(n, nx.DiGraph if draw(st.booleans()) else nx.Graph)
    graph.add_edges_from((u, v) for u, v in draw(st.lists(st.tuples(ends, ends), max_size=40)) if u != v)
    return graph


def check_matching(graph, round, seed):
    links = links_of(graph)
    taken = Matching().active(links, len(graph), round, seed)
    busy = set()
    one_by_one = np.zeros(len(links), bool)
    for number in np.argsort(stream(seed, Purpose.GRAPH, NETWORK, round).permutation(len(links))):
        if busy.isdisjoint(links[number].tolist()):
            busy.update(links[number].tolist())
            one_by_one[number] = True
    np.testing.assert_array_equal(taken, one_by_one)
    assert np.bincount(links[taken].ravel(), minlength=len(graph)).max() <= 1
    assert all(busy & {u, v} for u, v in links.tolist())


@given(graphs(), st.integers(0, 5), st.integers(0, 100))
def test_a_matching_is_one_it_is_maximal_and_that_of_the_links_one_by_one(graph, round, seed):
    check_matching(graph, round, seed)


def test_so_is_a_large_one():
    check_matching(nx.gnm_random_graph(300, 1500, seed=0), 4, 1)


def test_on_a_line_of_four_the_middle_link_is_alone_in_a_third_of_the_rounds():
    links = links_of(Path().graph(4, 0))
    masks = [tuple(Matching().active(links, 4, round, 3).tolist()) for round in range(6000)]
    assert set(masks) == {(True, False, True), (False, True, False)}
    assert masks.count((False, True, False)) / 6000 == pytest.approx(1 / 3, abs=hoeffding(6000))


# one-peer exponential


@pytest.mark.parametrize("n", [2, 3, 6, 8, 13])
@pytest.mark.parametrize("whole", [False, True])
def test_every_rank_speaks_once_and_is_heard_once(n, whole):
    graph = Complete().graph(n, 0).to_directed() if whole else Exponential(directed=True).graph(n, 0)
    links = links_of(graph)
    tau = math.ceil(math.log2(n))
    for round in range(2 * tau + 1):
        used = links[OnePeerExponential().active(links, n, round, 0)]
        assert used.tolist() == [[i, (i + 2 ** (round % tau)) % n] for i in range(n)]


@pytest.mark.parametrize("graph", [Exponential().graph(8, 0), Complete().graph(2, 0)])
def test_an_undirected_base_graph_is_refused_and_the_right_one_is_named(graph):
    with pytest.raises(ConfigError, match=r"i to i \+ 1 mod \d.*Use the topology exponential:directed=true"):
        OnePeerExponential().active(links_of(graph), len(graph), 0, 0)


def test_a_link_that_is_missing_is_found_in_round_0_already():
    graph = Exponential(directed=True).graph(8, 0)
    graph.remove_edge(5, 1)
    with pytest.raises(ConfigError, match=r"every rank i to i \+ 4 mod 8"):
        OnePeerExponential().active(links_of(graph), 8, 0, 0)


# file

SQUARE = links_of(Ring().graph(4, 0))
"""0-1, 0-3, 1-2, 2-3"""


def written(folder, text, name="schedule.txt", **settings):
    (folder / name).write_text(text, "utf-8")
    return File(str(folder / name), **settings)


def used(piece, round, links=SQUARE, ranks=4):
    return [tuple(link) for link in links[piece.active(links, ranks, round, 0)].tolist()]


def test_a_schedule_is_followed_in_any_order_of_lines_and_ends(tmp_path):
    piece = written(tmp_path, "# contacts\n3: 3-0\n\n0: 1-0 2-3 0-1  # twice is once\n 1 :\n")
    assert [used(piece, round) for round in range(4)] == [[(0, 1), (2, 3)], [], [], [(0, 3)]]
    assert [used(piece, round) for round in range(4, 8)] == [used(piece, round) for round in range(4)]


def test_a_schedule_that_does_not_repeat_ends_in_silence(tmp_path):
    piece = written(tmp_path, "0: 0-1\n1: 1-2", repeat=False)
    assert [used(piece, round) for round in range(4)] == [[(0, 1)], [(1, 2)], [], []]


def test_the_same_schedule_in_json(tmp_path):
    text = written(tmp_path, "0: 0-1 2-3\n2: 3-0")
    json = written(tmp_path, "[[[0, 1], [2, 3]], [], [[3, 0]]]", "schedule.json")
    for round in range(7):
        assert used(json, round) == used(text, round)


def test_on_a_directed_graph_a_link_has_its_direction(tmp_path):
    links = links_of(nx.DiGraph([(0, 1), (1, 0), (1, 2), (2, 0)]))
    piece = written(tmp_path, "0: 1-0\n1: 0-1 2-0")
    assert used(piece, 0, links, 3) == [(1, 0)]
    assert used(piece, 1, links, 3) == [(0, 1), (2, 0)]
    with pytest.raises(ConfigError, match=r"lines 1 \(0-2\)"):
        used(written(tmp_path, "0: 0-2"), 0, links, 3)


def test_every_line_that_is_not_understood_is_named_with_its_number(tmp_path):
    text = "0: 0-1\n0 0-1\n1: 0-1-2\n2: 0-1 a-b\n-1: 0-1\n0: 1-2\n3: 0 - 1\n4: 1-2\n: 0-1\n5: 0-1,1-2\n6: 9999999999-1"
    with pytest.raises(ConfigError) as caught:
        used(written(tmp_path, text), 0)
    lines = ["2", "3", "4", "5"]
    assert ", ".join(f"{line} (not understood)" for line in lines) + ", 6 (round 0 again)" in str(caught.value)
    assert "7 (not understood), 9 (not understood), 10 (not understood) and 1 more" in str(caught.value)


def test_links_that_the_base_graph_lacks_are_found_in_round_0_with_their_lines(tmp_path):
    # 0-6 has the number of 1-2 where ranks are not looked at: 0 * 4 + 6 = 1 * 4 + 2.
    piece = written(tmp_path, "0: 0-1\n1: 0-2\n\n2: 1-1 1-2\n3: 0-6\n4: 2-3")
    with pytest.raises(ConfigError, match=r"lacks, in lines 2 \(0-2\), 4 \(1-1\), 5 \(0-6\)\. Add them"):
        used(piece, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[[0, 1]], [[1]]]", r"length 2.*\$\[1\]\[0\]"),
        ('[[[0, "1"]]]', r"Expected int, got str.*\$\[0\]\[0\]\[1\]"),
        ("[[[0, -1]]]", r">= 0.*\$\[0\]\[0\]\[1\]"),
        ("[[[0, 1]]", "truncated"),
        ("[]", "has no rounds"),
        ("[[[0, 1]], [[0, 2]]]", r"lacks, in rounds 1 \(0-2\)"),
    ],
)
def test_what_is_wrong_with_a_list_is_said_with_its_place(tmp_path, text, reason):
    with pytest.raises(ConfigError, match=reason):
        used(written(tmp_path, text, "schedule.json"), 0)


def test_a_schedule_that_is_not_there_or_says_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        used(File(str(tmp_path / "none.txt")), 0)
    with pytest.raises(ConfigError, match="cannot be read"):
        used(File(str(tmp_path)), 0)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        used(File(str(tmp_path / "bytes.txt")), 0)
    with pytest.raises(ConfigError, match="has no rounds"):
        used(written(tmp_path, "# nothing\n\n"), 0)


def test_a_schedule_of_empty_rounds_is_one(tmp_path):
    assert used(written(tmp_path, "0:\n1:"), 1) == []
