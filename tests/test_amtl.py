"""AMTL: 'laplacian' when nobody is late, the same limit when somebody is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmtl.algorithms.amtl import AMTL
from dmtl.algorithms.laplacian import Laplacian
from dmtl.errors import ConfigError
from dmtl.screens.average import Average
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from tests.networks import GRAPHS, joint, network, quadratics


def models(states) -> np.ndarray:
    return np.array([state.x for state in states])


@pytest.mark.parametrize(
    "settings", [{"relaxation": 1.0}, {"relaxation": 0.45, "dynamic": True}, {"relaxation": 1.0, "staleness": 3}]
)
def test_with_a_full_step_and_nobody_late_it_is_laplacian_to_the_last_bit(settings):
    tasks = quadratics(8)
    ours = simulate(network(GRAPHS["random"], AMTL(0.7, **settings), tasks, stochastic=True), 50)
    theirs = simulate(network(GRAPHS["random"], Laplacian(0.7), tasks, stochastic=True), 50)
    assert np.array_equal(models(ours), models(theirs))


@pytest.mark.parametrize("graph", ["ring", "star", "random"])
@pytest.mark.parametrize("settings", [{"relaxation": 0.2}, {"relaxation": 0.2, "dynamic": True}, {}])
def test_its_limit_is_the_joint_minimiser_however_late_the_messages_are(graph, settings):
    tasks = quadratics(8)

    def link(round, source, target):
        return -1 if round < 3 * source else (round * 7 + source * 5 + target) % 20

    late = simulate(network(GRAPHS[graph], AMTL(0.5, **settings), tasks, ageing=link, reach=19), 1500)
    assert np.allclose(models(late), joint(GRAPHS[graph], tasks, 0.5)[0], atol=1e-9)


def test_a_step_is_the_share_of_laplacians_step_that_relaxation_and_delay_make_it():
    """c = log(max(mean of the last five delays, 10)): the mean comes to 20 as one after the other is."""
    tasks, graph, eta = quadratics(8), GRAPHS["ring"], 0.3
    shares = []

    def record(rank, state, inbox):
        if rank == 0 and state.view.round > 25:
            before, after = past.pop(), state.model
            mean = inbox.rows[0].T @ state.view.weights
            full = (tasks[0].grad(before.x) + (before.x - mean)) / (tasks[0].smoothness + 2)
            shares.append((before.x - after.x) @ full / (full @ full))
        if rank == 0:
            past.append(state.model)

    past: list = []
    method = AMTL(relaxation=eta, dynamic=True)
    nodes = network(graph, method, tasks, ageing=lambda round, *_: 20 if round >= 30 else 0, reach=20)
    simulate(nodes, 36, record=record)
    means = [0] * 5 + [4, 8, 12, 16, 20, 20]
    assert shares == pytest.approx([eta * math.log(max(mean, 10)) for mean in means], rel=1e-9)


@pytest.mark.parametrize("screen", [Average(), Median()])
def test_a_message_beyond_the_staleness_counts_as_none(screen):
    """The same as if the link had lost it, in every bit, trust included."""
    tasks = quadratics(8)

    def late(round, source, target):
        return 7 if (source, target) in ((1, 0), (3, 0)) and round >= 7 else 0

    def lost(round, source, target):
        return -1 if late(round, source, target) else 0

    runs = [
        simulate(network(GRAPHS["random"], AMTL(staleness=limit), tasks, screen, ageing=link, reach=7), 40)
        for limit, link in ((6, late), (6, lost), (7, late))
    ]
    assert np.array_equal(models(runs[0]), models(runs[1]))
    assert not np.array_equal(models(runs[0]), models(runs[2]))
    for one, two in zip(runs[0], runs[1], strict=True):
        assert np.array_equal(one.view.trust, two.view.trust)
    assert (runs[0][0].view.trust > 0).tolist() == [False, False, True, True]


def test_what_was_left_out_as_too_old_is_no_delay_either():
    method = AMTL(staleness=6, dynamic=True)
    nodes = network(GRAPHS["pair"], method, quadratics(2), ageing=lambda round, source, _: 9 if source else 5, reach=9)
    states = simulate(nodes, 20)
    assert states[0].model.delays.tolist() == [0, 0, 0, 0, 0]
    assert states[1].model.delays.tolist() == [5, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength=-1.0"),
        ({"relaxation": 0.0}, "relaxation=0.0"),
        ({"relaxation": 1.5}, "relaxation=1.5"),
        ({"relaxation": math.nan}, "relaxation=nan"),
        ({"staleness": -1}, "staleness=-1"),
        ({"step_size": "1/n"}, "1/n"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'amtl'") as caught:
        AMTL(**settings)
    assert sentence in str(caught.value)
