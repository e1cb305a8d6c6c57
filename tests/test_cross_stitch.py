"""Cross-stitch: its two limits, the slope of its weights, and who loses weight where."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.cross_stitch import CrossStitch, softmax
from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.local import Local
from dmtl.attacks.sign_flip import SignFlip
from dmtl.errors import ConfigError
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.tasks.mlp import MLP
from tests.networks import GRAPHS, network, quadratics
from tests.test_mlp import data, differences

MU = 0.1
SIX = nx.cycle_graph(6)


def perceptrons():
    return [MLP(hidden="4x3", activation="tanh", l2=0.01).build(data(seed=seed)) for seed in range(6)]


@pytest.mark.parametrize("make", [lambda: quadratics(6), perceptrons])
def test_with_all_of_the_own_model_it_is_local_learning_bit_for_bit(make):
    tasks = make()
    alone = simulate(network(SIX, Local(MU), tasks), 30)
    liars = {2: SignFlip()}
    for lies in ({}, liars):
        ours = simulate(network(SIX, CrossStitch(own=1.0, rate=50.0, step_size=MU), tasks, liars=lies), 30)
        assert all(np.array_equal(one.x, other.x) for one, other in zip(ours, alone, strict=True))


@pytest.mark.parametrize("make", [lambda: quadratics(6), perceptrons])
def test_with_the_mixing_weights_for_good_it_is_diffusion(make):
    tasks = make()
    theirs = simulate(network(SIX, Diffusion(step_size=MU), tasks), 40)
    ours = simulate(network(SIX, CrossStitch(own=1 / 3, rate=0.0, step_size=MU), tasks), 40)
    assert all(np.allclose(one.x, other.x, rtol=0, atol=1e-13) for one, other in zip(ours, theirs, strict=True))
    assert not np.allclose(ours[0].x, simulate(network(SIX, Local(MU), tasks), 40)[0].x, atol=1e-3)


def test_logits_move_against_the_slope_of_the_own_loss():
    tasks = perceptrons()
    nodes = network(SIX, CrossStitch(own=0.5, rate=3.0, step_size=MU), tasks)
    before = simulate(nodes, 4)
    after = simulate(nodes, 5, states=before)
    layers = [layer.where for layer in tasks[0].layers.values()]
    for rank, task in enumerate(tasks):
        words = np.array([before[near].model.u for near in (rank, *nodes[rank].view.sources)])
        logits = before[rank].model.logits

        def loss(flat, task=task, words=words, logits=logits):
            weights = softmax(flat.reshape(logits.shape))
            mixed = [share @ words[:, where] for share, where in zip(weights, layers, strict=True)]
            return task.loss(np.concatenate(mixed))

        slope = differences(loss, logits.ravel()).reshape(logits.shape)
        moved = after[rank].model.logits - logits
        assert abs(moved).max() > 1e-5
        assert np.allclose(moved, -3.0 * MU * slope, atol=1e-10)


def test_a_neighbour_loses_weight_in_the_layer_in_which_it_lies():
    """It says the true parameters but for one layer, which is turned round."""
    tasks = [MLP(hidden="4x3", activation="tanh").build(data(seed=0))] * 6
    where = tasks[0].layers["hidden2"].where

    class Turned:
        rushing, knowledge = False, "own"

        def init(self, task, view):
            return ()

        def __call__(self, outbox, inbox, memory, task, view):
            lies = outbox.copy()
            lies[:, :, where] *= -3
            return lies, memory

    nodes = network(SIX, CrossStitch(own=0.6, rate=10.0, step_size=MU), tasks, liars={1: Turned()})
    states = simulate(nodes, 80)
    told = nodes[0].algorithm.tell(states[0].model, states[0].view)
    assert nodes[0].view.sources == (1, 5)
    liar, honest = told["weights"][:, 1], told["weights"][:, 2]
    assert np.allclose(told["weights"].sum(axis=1), 1)
    assert liar[1] < 0.5 * honest[1]
    assert liar[0] > 0.7 * honest[0]
    assert told["trust"][0] < told["trust"][1] <= 1


def test_whom_the_screen_trusts_in_nothing_has_no_say_and_keeps_its_logit():
    nodes = network(nx.complete_graph(6), CrossStitch(own=0.3, step_size=MU), quadratics(6), Median())
    state, box = nodes[0].start(), nodes[0].mailbox()

    class Sceptical:
        def __call__(self, row=0, own=None):
            raise AssertionError

        def trust(self, row=0, own=None):
            return np.array([0.0, 1, 1, 1, 1])

    box.clear()
    box.post(nodes[0].speak(state, state.inbox)[0])
    found = []
    for lie in (5.0, -7.0):
        box.heard[:] = 0.1
        box.heard[0] = lie
        inbox = box.open()
        found.append(nodes[0].algorithm.step(state.model, inbox, Sceptical(), nodes[0].task, state.view))
    assert np.array_equal(found[0].x, found[1].x)
    assert found[0].logits[0, 1] == state.model.logits[0, 1]
    assert found[0].logits[0, 2] != state.model.logits[0, 2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"own": 0.0}, "'cross-stitch' has own=0.0"),
        ({"own": 1.1}, "'cross-stitch' has own=1.1"),
        ({"rate": -1.0}, "'cross-stitch' has rate=-1.0"),
        ({"step_size": -1.0}, "'cross-stitch' step_size"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        CrossStitch(**settings)


def test_alone_there_is_nobody_to_mix_with():
    (node,) = network(GRAPHS["alone"], CrossStitch(), quadratics(1))
    assert node.start().model.logits.tolist() == [[0.0]]
