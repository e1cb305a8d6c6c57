"""Local epochs between two averages: against diffusion, a server, closed-form fixed points and batches by hand."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.fedavg_gossip import FedAvgGossip
from dmtl.algorithms.fedprox_gossip import FedProxGossip
from dmtl.algorithms.local import Local
from dmtl.algorithms.local_steps import steps_of
from dmtl.algorithms.personal import Shared
from dmtl.attacks.sign_flip import SignFlip
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.registry import find
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.mlp import MLP
from dmtl.topology import metropolis
from tests.networks import GRAPHS, Quadratic, network, quadratics
from tests.peers import models

COMPLETE = nx.complete_graph(8)
EYE = np.eye(4)


def data(rows: int, classes: int = 0, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 4)) + 0.5
    y = np.arange(rows) % classes + 0.0 if classes else x @ rng.standard_normal(4)
    return Dataset(x, y, x[:0], y[:0], x[:0], y[:0], classes=classes)


def pooled(tasks) -> np.ndarray:
    """The minimiser of sum f_k."""
    return np.linalg.solve(sum(task.hessian for task in tasks), sum(task.hessian @ task.b for task in tasks))


def affine(task: Quadratic, mu: float, steps: int, strength: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(A, c): local training takes x to A x + c."""
    curved = task.hessian + strength * EYE
    shrink = np.linalg.matrix_power(EYE - mu * curved, steps)
    toward = np.linalg.inv(curved)  # w* = toward (H b + strength x), and what is left of x - w* is shrink (x - w*)
    return shrink + (EYE - shrink) @ toward * strength, (EYE - shrink) @ toward @ task.hessian @ task.b


def fixed_point(graph: nx.Graph, tasks, mu: float, steps: int, strength: float = 0.0) -> np.ndarray:
    """X = W train(X), as one linear system."""
    n, maps = len(tasks), [affine(task, mu, steps, strength) for task in tasks]
    train, push = np.zeros((4 * n, 4 * n)), np.concatenate([c for _, c in maps])
    for k, (a, _) in enumerate(maps):
        train[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = a
    mix = np.kron(metropolis(graph), EYE)
    return np.linalg.solve(np.eye(4 * n) - mix @ train, mix @ push).reshape(n, 4)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("step", [None, 0.2, "0.3/sqrt(t)"])
@pytest.mark.parametrize(
    "made", [FedAvgGossip, lambda **more: FedProxGossip(strength=3.0 if more["step_size"] else 0.0, **more)]
)
def test_with_one_step_it_is_diffusion_bit_for_bit(made, step, stochastic):
    tasks, graph = quadratics(8), GRAPHS["random"]
    ours = simulate(network(graph, made(step_size=step, steps=1), tasks, stochastic=stochastic), 25)
    theirs = simulate(network(graph, Diffusion(step_size=step), tasks, stochastic=stochastic), 25)
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.model.psi, other.model.psi)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_strength_fedprox_is_fedavg_bit_for_bit(dtype):
    settings = {"steps": 4, "momentum": 0.5, "weight_decay": 0.1, "step_size": 0.05}
    tasks, graph = quadratics(8), GRAPHS["ring"]
    ours, theirs = (
        simulate(network(graph, made, tasks, stochastic=True, dtype=dtype), 20)
        for made in (FedProxGossip(0.0, **settings), FedAvgGossip(**settings))
    )
    assert np.array_equal(models(ours), models(theirs))
    drawn = simulate(network(graph, FedProxGossip(1.0, **settings), tasks, stochastic=True, dtype=dtype), 20)
    assert not np.allclose(models(drawn), models(theirs), atol=1e-3)


def test_among_equal_tasks_a_round_is_as_many_steps_alone():
    (task,) = quadratics(1)
    task = replace(task, hessian=task.hessian / 20)
    made = FedAvgGossip(step_size=0.3, steps=5)
    ours = simulate(network(GRAPHS["ring"], made, [task] * 8), 7)
    (alone,) = simulate(network(GRAPHS["alone"], Local(step_size=0.3), [task]), 35)
    assert np.allclose(models(ours), alone.x, rtol=0, atol=1e-13)
    assert np.linalg.norm(alone.x - task.b) > 0.01  # and it is still on its way


def test_on_a_complete_graph_it_is_federated_averaging_with_a_server():
    """The server's loop by hand: send x, E steps of heavy ball on f_k + decay / 2 |w|^2 from rest, average, repeat."""
    tasks, mu, beta, decay = quadratics(8), 0.1, 0.6, 0.2
    x = np.zeros(4)
    for _ in range(12):
        ends = []
        for task in tasks:
            w, v = x, np.zeros(4)
            for _ in range(5):
                v = beta * v + task.hessian @ (w - task.b) + decay * w
                w = w - mu * v
            ends.append(w)
        x = np.mean(ends, axis=0)
    made = FedAvgGossip(steps=5, momentum=beta, weight_decay=decay, step_size=mu)
    found = models(simulate(network(COMPLETE, made, tasks), 12))
    assert np.allclose(found, x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_it_ends_in_its_fixed_point(graph, strength):
    here, tasks = GRAPHS[graph], quadratics(len(GRAPHS[graph]))
    made = FedProxGossip(strength, steps=4, step_size=0.1)
    found = models(simulate(network(here, made, tasks), 300))
    assert np.allclose(found, fixed_point(here, tasks, 0.1, 4, strength), rtol=0, atol=1e-10)


def test_many_steps_drift_to_the_mean_of_the_own_minimisers_and_the_proximal_term_holds_them():
    tasks = quadratics(8)
    best, mean = pooled(tasks), np.mean([task.b for task in tasks], axis=0)
    assert np.linalg.norm(best - mean) > 0.1
    drift = []
    for steps in (1, 4, 16, 150):
        found = models(simulate(network(COMPLETE, FedAvgGossip(step_size=0.1, steps=steps), tasks), 250 // steps + 9))
        left = [EYE - np.linalg.matrix_power(EYE - 0.1 * task.hessian, steps) for task in tasks]
        limit = np.linalg.solve(sum(left), sum(a @ task.b for a, task in zip(left, tasks, strict=True)))
        assert np.allclose(found, limit, rtol=0, atol=1e-9)
        drift.append(np.linalg.norm(limit - best))
    assert drift[0] < 1e-12
    assert drift == sorted(drift)
    assert np.allclose(found, mean, rtol=0, atol=1e-6)
    held = []
    for strength in (0.5, 3.0, 18.0):
        made = FedProxGossip(strength, steps=40, step_size=1 / (3 + strength))
        found = models(simulate(network(COMPLETE, made, tasks), int(16 * (1 + strength))))
        residual = sum(task.prox(found[0], strength) - found[0] for task in tasks)
        assert np.linalg.norm(residual) * strength < 1e-6
        held.append(np.linalg.norm(found[0] - best))
    assert held[0] < drift[-1]
    assert held[1] < 0.5 * held[0]
    assert held[2] < 0.27 * held[1]


def test_a_falling_step_removes_the_drift():
    tasks = quadratics(8)
    error = {}
    for step in (0.1, "0.5/t"):
        found = models(simulate(network(COMPLETE, FedAvgGossip(step_size=step, steps=4), tasks), 500))
        error[step] = np.linalg.norm(found - pooled(tasks))
    assert error["0.5/t"] < 0.02 * error[0.1]


def test_an_epoch_is_so_many_batches_of_one_stream():
    """Ten rows in batches of three are four steps an epoch; by hand from the rows that the stream draws."""
    every = [LeastSquares(l2=0.1, batch=3).build(data(rows=10, seed=rank)) for rank in range(3)]
    made = FedAvgGossip(epochs=2, step_size=0.05)
    nodes = network(nx.cycle_graph(3), made, every, stochastic=True)
    state = nodes[1].start()
    rng, w, seen = state.view.batch(), np.zeros(every[1].dim), []
    for _ in range(8):
        rows = np.sort(rng.choice(10, 3, replace=False, shuffle=False))
        x, y = every[1].parts.train.x[rows], every[1].parts.train.y[rows]
        w = w - 0.05 * (x.T @ (x @ w - y) / 3 + 0.1 * w)
        seen.append(tuple(rows))
    assert np.array_equal(state.model.psi, w)
    assert len(set(seen)) > 4
    assert steps_of(every[1], state.view, 2, None) == 8
    assert steps_of(every[1], state.view, 2, 3) == 3
    assert steps_of(every[1], state.view._replace(stochastic=False), 2, None) == 2  # all rows in one step


@pytest.mark.parametrize("name", ["bearing", "hinge", "least-squares", "logistic", "mlp", "softmax"])
def test_tasks_count_the_batches_of_an_epoch(name):
    classes = {"bearing": 0, "least-squares": 0, "hinge": 2, "logistic": 2}.get(name, 3)
    rows = data(rows=10, classes=classes)
    for size, count in ((0, 1), (1, 10), (3, 4), (5, 2), (10, 1), (99, 1)):
        assert find("task", name)(batch=size).build(rows).batches == count


def test_what_stays_at_home_does_not_change_the_number_of_batches():
    task = MLP(hidden="3", batch=7).build(data(rows=20, classes=2))
    assert Shared(task, ("head",), np.zeros(8)).batches == task.batches == 3


@pytest.mark.parametrize("made", [FedAvgGossip(steps=4, step_size=0.1), FedProxGossip(1.0, steps=4, step_size=0.1)])
def test_a_screen_takes_the_place_of_the_average(made):
    """A trimmed coordinate is between honest ones, whatever one liar says; a plain one is not."""
    tasks, liars = quadratics(8), {3: SignFlip(1e4)}
    inside = {}
    for name, screen in (("plain", None), ("trimmed", TrimmedMean(b=1))):
        nodes = network(COMPLETE, made, tasks, screen, liars)
        before = np.array([state.model.psi for rank, state in enumerate(simulate(nodes, 5)) if rank != 3])
        after = np.array([state.x for rank, state in enumerate(simulate(nodes, 6)) if rank != 3])
        inside[name] = ((before.min(axis=0) <= after) & (after <= before.max(axis=0))).all()
    assert inside == {"plain": False, "trimmed": True}


@pytest.mark.parametrize("made", [FedAvgGossip, FedProxGossip])
@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"steps": 0}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"step_size": "fast"}]
)
def test_settings_out_of_range_are_refused(made, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        made(**wrong)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ConfigError, match="strength"):
        FedProxGossip(strength)
