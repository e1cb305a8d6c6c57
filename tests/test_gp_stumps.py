"""Posterior means by random features, and stumps: against the dense formulas, and what peers learn on them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.dada import Dada
from dmtl.algorithms.gradient_tracking import GradientTracking
from dmtl.build import plan
from dmtl.config import load
from dmtl.data.features import RBF, mapped
from dmtl.data.pool import Dataset
from dmtl.data.stumps import Stumps
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from dmtl.tasks.gp_features import GPFeatures
from dmtl.tasks.logistic import Logistic
from tests.networks import network

SIGNAL, NOISE, WIDTH = 1.5, 0.2, 0.8


def waves(seed=0, rows=60, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (rows + 40, 2))
    y = np.sin(2 * x[:, 0]) + x[:, 1] ** 2 / 2 + NOISE * rng.standard_normal(rows + 40)
    parts = (x[:rows], y[:rows], x[:0], y[:0], x[rows:], y[rows:])
    return Dataset(*(part.astype(dtype) for part in parts))


def build(data, count=600, **more):
    return GPFeatures(count, WIDTH, SIGNAL, NOISE, **more).build(data)


def minimiser(task):
    return task.prox(np.zeros(task.dim), 1e-12)


def kernel(x, z):
    return SIGNAL**2 * np.exp(-((x[:, None] - z[None]) ** 2).sum(axis=2) / (2 * WIDTH**2))


def test_the_minimiser_is_the_posterior_mean():
    """For the features' own kernel to rounding; near that of the exact kernel, nearer with more features."""
    data, off = waves(), []
    for count in (200, 20_000):
        phi = SIGNAL * RBF(count, WIDTH).drawn(2, 0)(np.concatenate([data.x, data.test_x]))
        here, there = phi[:60], phi[60:]
        dense = there @ here.T @ np.linalg.solve(here @ here.T + NOISE**2 * np.eye(60), data.y)
        if count == 200:
            task = build(data, count)
            assert np.allclose(there @ minimiser(task), dense, atol=1e-8)
            assert task.evaluate(minimiser(task))["test_rmse"] < 0.4
        exact = kernel(data.test_x, data.x) @ np.linalg.solve(kernel(data.x, data.x) + NOISE**2 * np.eye(60), data.y)
        off.append(np.abs(dense - exact).mean())
    assert off[1] < off[0] / 3
    assert off[1] < 0.02


def test_all_ranks_and_seeds_have_the_same_features():
    one, other = build(waves(0)), build(waves(1))
    assert np.array_equal(RBF(600, WIDTH).drawn(2, 0)(waves(1).x) * SIGNAL, other.parts.train.x)
    assert one.dim == other.dim == 600
    assert not np.array_equal(build(waves(0), draw=1).parts.train.x, one.parts.train.x)
    assert build(waves(dtype=np.float32)).parts.train.x.dtype == np.float32


def test_ranks_that_agree_have_the_posterior_mean_of_all_rows():
    tasks = [GPFeatures(40, WIDTH, SIGNAL, 1.0).build(waves(seed)) for seed in range(4)]
    states = simulate(network(nx.complete_graph(4), GradientTracking(step_size=0.3), tasks), 1500)
    rows = [waves(seed) for seed in range(4)]
    phi = np.concatenate([task.parts.train.x for task in tasks])
    y = np.concatenate([each.y for each in rows])
    pooled = np.linalg.solve(phi.T @ phi + 4 * np.eye(40), phi.T @ y)  # the prior counts once a rank
    test = tasks[0].parts.test.x
    assert np.abs(test @ np.mean([state.x for state in states], axis=0) - test @ pooled).max() < 1e-3


@pytest.mark.parametrize(
    "settings", [{"count": 3}, {"width": 0.0}, {"signal": 0.0}, {"noise": float("nan")}, {"batch": -1}, {"draw": -1}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        GPFeatures(**settings)


def test_data_of_many_classes_are_refused_in_its_own_name():
    x, y = np.zeros((3, 2)), np.arange(3.0)
    with pytest.raises(ConfigError, match="task 'gp-features' is for numbers or two classes; the data have 3"):
        GPFeatures().build(Dataset(x, y, x, y, x, y, classes=3))


# stumps


def test_stumps_are_signs_on_two_sides_of_thresholds():
    x = np.array([[-3.0, 0.4], [0.0, 3.0], [0.5, -0.1]])
    found = Stumps(per_column=3, reach=2.0).drawn(2, 7)(x) * np.sqrt(6)
    assert np.allclose(found, [[-1, -1, -1, 1, 1, -1], [1, 1, -1, 1, 1, 1], [1, 1, -1, 1, -1, -1]])
    assert np.allclose(np.square(found).sum(axis=1) / 6, 1)


def bands(seed, inside=True, rows=200):
    """Labels that no line parts: the middle of the first column against both ends."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    y = (np.abs(x[:, 0]) < 0.67) == inside
    return Dataset(x[:16], y[:16] * 1.0, x[:0], x[:0, 0], x[16:], y[16:] * 1.0, classes=2)


def test_peers_vote_with_stumps_for_what_no_line_parts_and_find_who_has_their_task():
    rows = Stumps(per_column=8).drawn(3, 0)
    data = [bands(seed, inside=seed < 3) for seed in range(6)]
    tasks = [Logistic(l2=1e-4).build(mapped(each, rows)) for each in data]
    states = simulate(network(nx.complete_graph(6), Dada(strength=0.02, pace=2, warm_up=60), tasks), 600)
    together = np.mean([task.evaluate(state.x)["test_error"] for task, state in zip(tasks, states, strict=True)])
    alone = np.mean([task.evaluate(minimiser(task))["test_error"] for task in tasks])
    lines = [Logistic(l2=1e-4).build(each) for each in data]
    assert np.mean([line.evaluate(minimiser(line))["test_error"] for line in lines]) > 0.35
    assert together < alone < 0.3
    weights = states[0].model.weights
    assert weights[:2].min() > 3 * weights[2:].max()


def test_a_run_takes_them_by_name():
    raw = {"data": "synthetic:rows=30,features=4,classes=2", "features": "stumps:per_column=5", "ranks": 3, "rounds": 3}
    made = plan(load(raw))
    assert made.node(0).task.dim == 4 * 5 + 1
    assert all(np.isfinite(state.x).all() for state in simulate([made.node(rank) for rank in range(3)], 3))


@pytest.mark.parametrize("settings", [{"per_column": 0}, {"reach": 0.0}, {"reach": float("inf")}])
def test_stumps_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError, match=f"'stumps' has {next(iter(settings))}"):
        Stumps(**settings)
