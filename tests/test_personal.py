"""Layers that stay at home: what travels, what moves, who sees what."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.personal import Personal, Shared
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.results import flatten, portable
from dmtl.rng import Purpose, stream
from dmtl.simulator import simulate
from dmtl.tasks.mlp import MLP
from dmtl.topology import metropolis
from tests.networks import network
from tests.test_mlp import data, differences, point

RANKS, MU = 5, 0.3
TASK = MLP(hidden="4x3", activation="tanh", l2=0.01)
BASE = {
    "data": "digits",
    "task": "mlp:hidden=6x5",
    "private": "head",
    "algorithm": "diffusion:step_size=0.2",
    "topology": "complete",
    "ranks": 4,
    "rounds": 6,
}


def tasks():
    return [TASK.build(data(seed=rank)) for rank in range(RANKS)]


@pytest.mark.parametrize("private", [("head",), ("hidden1",), ("hidden2", "head")])
def test_it_is_diffusion_of_the_shared_part_and_descent_of_the_private_one(private):
    """By hand, on a cycle: x = (u, v); everybody averages u; both move against the gradient at (mean u, v)."""
    every, graph = tasks(), nx.cycle_graph(RANKS)
    nodes = network(graph, Personal(Diffusion(step_size=MU), private), every)
    states = simulate(nodes, 20)
    own = np.concatenate([np.arange(every[0].dim)[every[0].layers[name].where] for name in private])
    common = np.setdiff1d(np.arange(every[0].dim), own)
    x = np.tile(every[0].start(stream(0, Purpose.START)), (RANKS, 1))
    weights = metropolis(graph)
    said = x - MU * np.array([task.grad(row) for task, row in zip(every, x, strict=True)])
    for _ in range(20):
        x = said.copy()
        x[:, common] = weights @ said[:, common]
        said = x - MU * np.array([task.grad(row) for task, row in zip(every, x, strict=True)])
    found = np.array([state.x for state in states])
    assert np.allclose(found[:, common], x[:, common], atol=1e-12)
    assert np.allclose(found[:, own], said[:, own], atol=1e-12)
    assert np.ptp(found[:, own], axis=0).max() > 0.1
    assert nodes[0].message_shape == (1, len(common))


def test_what_a_method_sees_is_a_task_of_the_shared_part():
    task = tasks()[0]
    w = point(task)
    part = Shared(task, ("hidden2",), w[task.layers["hidden2"].where])
    kept = np.delete(w, np.r_[task.layers["hidden2"].where])
    assert part.dim == len(kept)
    assert part.loss(kept) == task.loss(w)
    assert np.allclose(part.grad(kept), differences(part.loss, kept), atol=1e-7)
    assert part.evaluate(kept) == task.evaluate(w)
    assert np.array_equal(part.held_out_losses(kept[None]), task.held_out_losses(w[None]))
    assert part.held_out_rows == 10
    assert list(part.layers) == ["hidden1", "head"]
    assert np.array_equal(kept[part.layers["head"].where], w[task.layers["head"].where])
    still = Shared(task, ("hidden2",), part.private, rate=0.5)
    still.grad(kept)
    assert np.array_equal(still.private, part.private - 0.5 * task.grad(w)[task.layers["hidden2"].where])


@pytest.mark.parametrize(
    "screen", ["ubar", "gate-cap-anchor:warm_up=1,step_size=0.1", "loss-weighted", "nnm:f=1+median"]
)
@pytest.mark.parametrize("attack", ["alie", "sign-flip", "drift", "loss-hugging"])
def test_screens_and_attacks_see_the_shared_part_alone(screen, attack):
    raw = {**BASE, "screen": screen, "byzantine": [{"count": 1, "attack": attack}], "held_out": 0.3}
    made = plan(load({**raw, "force": True}))
    nodes = [made.node(rank) for rank in range(4)]
    states = simulate(nodes, 6)
    d = nodes[0].task.dim - nodes[0].task.layers["head"].shape[0] * 10
    assert all(state.inbox.messages.shape[2] == d for state in states)
    assert all(np.isfinite(state.x).all() for state in states)


@pytest.mark.parametrize("method", ["laplacian", "gradient-tracking", "resilient-mtl", "pairwise-gossip", "local"])
def test_other_methods_work_on_the_shared_part_as_well(method):
    made = plan(load({**BASE, "algorithm": f"{method}:step_size=0.2", "rounds": 60, "ranks": 3}))
    nodes = [made.node(rank) for rank in range(3)]
    losses = [
        [node.task.loss(state.x) for node, state in zip(nodes, simulate(nodes, rounds), strict=True)]
        for rounds in (0, 60)
    ]
    assert np.mean(losses[1]) < 0.7 * np.mean(losses[0])


def test_with_a_stream_and_with_batches_a_run_in_two_parts_is_the_whole_run():
    for more in ({"stream": 4}, {"task": "mlp:hidden=6x5,batch=8"}):
        made = plan(load({**BASE, **more}))
        nodes = [made.node(rank) for rank in range(4)]
        whole = simulate(nodes, 6)
        parts = simulate(nodes, 6, states=simulate(nodes, 3))
        for one, other in zip(whole, parts, strict=True):
            ours, theirs = flatten(portable(one)), flatten(portable(other))
            assert all(np.array_equal(ours[key], theirs[key], equal_nan=True) for key in ours)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"private": "tail"}, ConfigError, r"unknown layer 'tail'. Allowed: head, hidden1, hidden2"),
        ({"private": "hidden1, hidden2,head"}, ConfigError, "nothing is left to share"),
        ({"task": "softmax"}, CompatibilityError, "'softmax' of rank 0 has none"),
        ({"algorithm": "trace-norm"}, CompatibilityError, "works on the whole of a task"),
        ({"algorithm": "diffusion"}, CompatibilityError, "'diffusion' was given none"),
        ({"algorithm": "drom", "stream": 2, "topology": "complete"}, CompatibilityError, "and not both"),
    ],
)
def test_what_cannot_be_is_refused_before_round_0(more, error, said):
    with pytest.raises(error, match=said):
        plan(load({**BASE, **more})).node(0)


def test_a_run_without_private_layers_is_the_run_that_it_was():
    plain = {key: value for key, value in BASE.items() if key != "private"}
    assert "private" not in plan(load(plain)).config.private
    from dmtl.config import identity

    assert "private" not in identity(load(plain))
    assert identity(load(BASE))["private"] == "head"
