"""What the peer-to-peer methods share: last words, and screens that average them."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.model_propagation import ModelPropagation
from dmtl.algorithms.peers import average, confidence, listened, silence
from dmtl.node import Mixer, Node
from dmtl.registry import find, names
from dmtl.screens.average import Average
from dmtl.screens.median import Median
from dmtl.topology import Topology, metropolis
from tests.networks import network, quadratics


def opened(screen, heard: np.ndarray):
    """A mixer of rank 0 of a weighted complete graph whose neighbours said ``heard`` (3, 4), and the rest."""
    graph = nx.complete_graph(4)
    for s, t in graph.edges:
        graph.edges[s, t]["weight"] = 1.0 + s + 2 * t
    node = Node(Topology(graph, metropolis(graph)).view(0), quadratics(1)[0], ModelPropagation(), screen)
    state, box = node.start(), node.mailbox()
    box.clear()
    box.said[:] = 1.0
    box.heard[:, 0] = heard
    inbox = box.open()
    return Mixer(node, state, inbox), inbox, node, state


def test_a_word_stays_until_a_newer_one_comes_and_is_then_forgotten():
    _, inbox, _, state = opened(Average(), np.array([[1.0] * 4, [np.nan] * 4, [3.0] * 4]))
    words = listened(silence((1, 4), np.zeros(4), state.view), inbox)
    assert words.there.tolist() == [True, False, True]
    _, later, _, _ = opened(Average(), np.array([[np.inf] * 4, [5.0] * 4, [7.0] * 4]))
    words = listened(words, later)
    assert words.there.all()
    assert words.said[:, 0, 0].tolist() == [1, 5, 7]


def test_the_average_is_that_of_the_last_words_with_the_edge_weights():
    mixer, inbox, node, state = opened(Average(), np.array([[9.0] * 4, [np.nan] * 4, [np.nan] * 4]))
    plain = mixer()
    words = silence((1, 4), np.zeros(4), state.view)._replace(
        said=np.array([[[2.0] * 4], [[4.0] * 4], [[8.0] * 4]]), there=np.array([True, True, False])
    )
    share = node.view.couplings / node.view.couplings.sum()
    expected = share[0] * 2 + share[1] * 4 + share[2] * 1.0  # of the third nothing is known: the own vector
    assert np.allclose(average(words, mixer, node.view), expected, rtol=0, atol=1e-15)
    assert mixer.trust().tolist() != plain.tolist()
    assert inbox.messages[0, 0, 0] == 9  # the inbox is as it was


def test_another_screen_takes_the_place_of_that_average():
    mixer, _, node, state = opened(Median(), np.zeros((3, 4)))
    words = silence((1, 4), np.zeros(4), state.view)._replace(
        said=np.array([[[2.0] * 4], [[4.0] * 4], [[1e9] * 4]]), there=np.ones(3, bool)
    )
    found = average(words, mixer, node.view)
    assert ((found >= 1) & (found <= 4)).all()


NEEDED = {
    "balance": {"gamma": 2.0},
    "centred-clipping": {"tau": 0.5},
    "huber": {"tau": 0.5},
    "sketch-guard": {"gamma": 0.5, "width": 2},
    "trimmed-mean": {"b": 1},
    "tv": {"lam": 0.1},
}
ELSEWHERE = {"centred-clipping", "gate-cap-anchor"}
"""those that look from a centre of their own, or learn from the task"""


@pytest.mark.parametrize("name", sorted({*names("screen")} - ELSEWHERE))
def test_every_screen_stays_where_the_last_words_are_if_all_say_what_the_rank_says(name):
    """An own vector that has no weight, and messages that never came, are no trouble to any of them."""
    screen = find("screen", name)(**NEEDED.get(name, {}))
    node, *_ = network(nx.complete_graph(6), ModelPropagation(), quadratics(6), screen)
    state, box = node.start(), node.mailbox()
    box.clear()
    box.said[:] = 0.25
    words = silence((1, 4), np.zeros(4), state.view)
    same = words._replace(said=words.said + 0.25, there=~words.there)
    found = average(same, Mixer(node, state, box.open()), node.view)
    assert np.allclose(found, 0.25, rtol=0, atol=1e-12)


def test_confidence_is_the_share_of_the_rows_that_are_full():
    task = replace(quadratics(1)[0], training_rows=1)
    assert [confidence(task, rows) for rows in (0, 1, 4)] == [1.0, 1.0, 0.25]
    assert confidence(object(), 4) == 1.0
