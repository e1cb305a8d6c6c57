"""Relationship networks, held to the Kronecker form of their prior and to flip-flop with all models in one place."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.laplacian import Laplacian
from dmtl.algorithms.local import Local
from dmtl.algorithms.relationship_network import RelationshipNetwork, precision
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from dmtl.tasks.mlp import MLP
from dmtl.topology import metropolis
from tests.networks import Quadratic, network, quadratics
from tests.test_mlp import data, differences

MU, DELTA = 0.1, 0.3
GRAPHS = {"ring": nx.cycle_graph(5), "star": nx.star_graph(4), "complete": nx.complete_graph(5)}


def perceptrons():
    return [MLP(hidden="4x3", activation="tanh", l2=0.01).build(data(seed=seed)) for seed in range(5)]


@pytest.mark.parametrize("settings", [{"period": 1000}, {"period": 7, "eps": 1e13}])
@pytest.mark.parametrize("make", [lambda: quadratics(5), perceptrons])
@pytest.mark.parametrize("graph", GRAPHS)
def test_with_both_covariances_at_the_identity_it_is_laplacian(graph, make, settings):
    tasks = make()
    plain = simulate(network(GRAPHS[graph], Laplacian(0.7, MU), tasks), 50)
    ours = simulate(network(GRAPHS[graph], RelationshipNetwork(0.7, 0.0, step_size=MU, **settings), tasks), 50)
    assert all(np.allclose(one.x, other.x, rtol=0, atol=1e-11) for one, other in zip(ours, plain, strict=True))


def test_without_strength_everybody_learns_alone_bit_for_bit():
    tasks = quadratics(5)
    alone = simulate(network(GRAPHS["ring"], Local(), tasks), 50)
    ours = simulate(network(GRAPHS["ring"], RelationshipNetwork(0.0, period=4), tasks), 50)
    assert all(np.array_equal(one.x, other.x) for one, other in zip(ours, alone, strict=True))


def prior(models, tasks, graph, metrics):
    """vec(W)'(S1 x S2 x S3)^-1 vec(W) over all layers, as it is written."""
    between = np.eye(len(models)) - metropolis(graph) + DELTA * np.eye(len(models))
    total = 0.0
    for layer, left, right in zip(tasks[0].layers.values(), *metrics, strict=True):
        w = np.stack([model[layer.where].reshape(layer.shape) for model in models], axis=2).ravel()
        total += w @ np.kron(np.kron(left, right), between) @ w
    return total


def test_a_step_goes_down_the_loss_and_the_kronecker_form_of_the_prior():
    graph, tasks = GRAPHS["ring"], perceptrons()
    nodes = network(graph, RelationshipNetwork(0.7, DELTA, period=3, step_size=MU), tasks)
    before = simulate(nodes, 26)
    after = simulate(nodes, 27, states=before)
    models = np.array([state.x for state in before])
    metrics = before[0].model.left, before[0].model.right
    assert min(np.linalg.eigvalsh(left)[0] for left in metrics[0]) < 0.3
    assert min(np.linalg.eigvalsh(right)[0] for right in metrics[1]) < 0.3
    for rank, task in enumerate(tasks):

        def objective(w, rank=rank, task=task):
            moved = models.copy()
            moved[rank] = w
            return task.loss(w) + 0.7 / 2 * prior(moved, tasks, graph, metrics)

        slope = differences(objective, models[rank])
        assert np.allclose(after[rank].x, models[rank] - MU * slope, atol=1e-8)


def flip(models, tasks, graph, others, rows, eps):
    """S^-1 of rows or columns of every layer, from all models and all pairs of tasks."""
    between = np.eye(len(models)) - metropolis(graph) + DELTA * np.eye(len(models))
    found = []
    for layer, other in zip(tasks[0].layers.values(), others, strict=True):
        w = [model[layer.where].reshape(layer.shape) for model in models]
        w = w if rows else [part.T for part in w]
        a = sum(between[s, t] * w[s] @ other @ w[t].T for s in range(len(w)) for t in range(len(w)))
        inverse = np.linalg.inv(a * len(a) / np.trace(a) + eps * np.eye(len(a)))
        found.append(inverse / np.linalg.eigvalsh(inverse)[-1])
    return found


@pytest.mark.parametrize("period", [1, 6, 9])
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_metric_is_that_of_flip_flop_in_one_place(graph, period):
    graph, tasks = GRAPHS[graph], perceptrons()
    nodes = network(graph, RelationshipNetwork(0.7, DELTA, 0.2, period, MU), tasks)
    states, snapshot, turns = None, None, -1
    left = [np.eye(layer.shape[0]) for layer in tasks[0].layers.values()]
    right = [np.eye(layer.shape[1]) for layer in tasks[0].layers.values()]
    for round in range(40):
        models = simulate(nodes, 0) if states is None else states
        models = [state.x for state in models]
        states = simulate(nodes, round + 1, states=states)
        if states[0].model.turns == turns:
            continue
        turns = states[0].model.turns
        if turns % 2 == 1:
            left = flip(snapshot, tasks, graph, right, True, 0.2)
        elif turns:
            right = flip(snapshot, tasks, graph, left, False, 0.2)
        snapshot = models
        for state in states:
            for ours, theirs in zip((*state.model.left, *state.model.right), (*left, *right), strict=True):
                assert np.allclose(ours, theirs, atol=1e-9)
    assert turns >= 3


def test_with_its_own_step_the_objective_falls_in_every_round_of_a_fixed_metric():
    graph, tasks = GRAPHS["ring"], quadratics(5)
    nodes = network(graph, RelationshipNetwork(2.0, DELTA, period=10), tasks)
    between, states, last = np.eye(5) - metropolis(graph) + DELTA * np.eye(5), None, (-2, np.inf)
    for round in range(60):
        states = simulate(nodes, round + 1, states=states)
        w, turns = np.array([state.x for state in states]), states[0].model.turns
        value = sum(task.loss(x) for task, x in zip(tasks, w, strict=True))
        value += 2.0 / 2 * np.sum(between * (w @ states[0].model.left[0] @ w.T))
        assert last[0] != turns or value <= last[1] + 1e-12
        last = turns, value
    assert turns > 3


def test_it_gives_way_where_tasks_differ_and_holds_them_together_elsewhere():
    """Minimisers differ along the first axis, by much, and by noise along the others."""
    rng, truth = np.random.default_rng(0), np.zeros((5, 4))
    truth[:, 0] = [-4, -2, 0, 2, 4]
    noise = 0.5 * rng.standard_normal((5, 4))
    tasks = [Quadratic(np.eye(4), b) for b in truth + noise]
    graph = GRAPHS["complete"]
    nodes = network(graph, RelationshipNetwork(3.0, 0.0, period=5), tasks)
    states = simulate(nodes, 800)
    plain = [
        np.array([state.x for state in simulate(network(graph, Laplacian(strength), tasks), 800)])
        for strength in (0.0, 0.3, 1.0, 3.0, 10.0)
    ]
    ours = np.linalg.norm(np.array([state.x for state in states]) - truth)
    left = states[0].model.left[0]
    assert left[0, 0] < 0.1
    assert np.linalg.eigvalsh(left)[-1] == pytest.approx(1)
    assert ours < 0.9 * min(np.linalg.norm(w - truth) for w in plain)


def test_a_precision_of_nothing_or_of_nonsense_is_harmless():
    assert np.array_equal(precision(np.zeros((3, 3)), 0.1), np.eye(3))
    found = np.linalg.eigvalsh(precision(np.diag([-5.0, 1, 4]), 0.1))
    assert found[0] > 0
    assert found[-1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strength": -1.0}, "strength=-1.0"),
        ({"delta": -1.0}, "delta=-1.0"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"period": 0}, "period=0"),
        ({"step_size": -1.0}, "'relationship-network' step_size"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        RelationshipNetwork(**settings)
