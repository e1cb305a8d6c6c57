"""Hard clusters between peers: of ranks ('ifca') and of rows ('fedspd'), against oracles by hand."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.fedspd import FedSPD
from dmtl.algorithms.ifca import IFCA
from dmtl.algorithms.local import Local
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.rng import NETWORK, Purpose, stream
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from dmtl.tasks.softmax import Softmax
from dmtl.topology import metropolis
from tests.networks import GRAPHS, network
from tests.test_fedem import mixed
from tests.test_mlp import data

MODEL, D = Logistic(l2=1e-3, bias=False), 10


def clusters(ranks, rows=40, seed=0):
    """Tasks of two kinds, of which each has too few rows by itself."""
    rng = np.random.default_rng(seed)
    rules, tasks = 3 * rng.standard_normal((2, D)), []
    for rank in range(ranks):
        x = rng.standard_normal((rows + 300, D))
        y = (x @ rules[rank % 2] > 0).astype(float)
        tasks.append(MODEL.build(Dataset(x[:rows], y[:rows], x[:0], y[:0], x[rows:], y[rows:], classes=2)))
    return tasks


def gradient(task, w, weights=1.0):
    x, sign = task.parts.train
    return -x.T @ (weights * sign / (1 + np.exp(sign * (x @ w)))) / len(x) + MODEL.l2 * w


def row_losses(task, thetas):
    x, sign = task.parts.train
    return np.log1p(np.exp(-sign * (thetas @ x.T)))


def wrong(tasks, states):
    return np.mean([task.evaluate(state.x)["test_error"] for task, state in zip(tasks, states, strict=True)])


def test_on_a_complete_graph_ifca_is_that_of_a_server_which_averages_gradients():
    tasks = clusters(6)
    nodes = network(nx.complete_graph(6), IFCA(3, step_size=0.5), tasks)
    states = simulate(nodes, 40)
    first = [0.3 / np.sqrt(D) * stream(0, Purpose.START, NETWORK, m).standard_normal(D) for m in (1, 2)]
    thetas = np.array([np.zeros(D), *first])
    for _ in range(40):
        after = thetas.copy()
        for task in tasks:
            own = row_losses(task, thetas).mean(axis=1).argmin()
            after[own] -= 0.5 / 6 * gradient(task, thetas[own])
        thetas = after
    for task, state in zip(tasks, states, strict=True):
        own = row_losses(task, thetas).mean(axis=1).argmin()
        assert state.model.cluster == own
        assert np.allclose(state.x, thetas[own], atol=1e-12)


def test_ifca_finds_the_clusters_and_is_better_than_alone_and_than_one_model():
    tasks = clusters(12)
    graph = nx.gnp_random_graph(12, 0.5, seed=2)
    states = simulate(network(graph, IFCA(2, step_size=2.0), tasks), 150)
    found = np.array([state.model.cluster for state in states])
    assert np.array_equal(found, found[np.arange(12) % 2])
    assert found[0] != found[1]
    alone, common = (wrong(tasks, simulate(network(graph, method, tasks), 150)) for method in (Local(), Diffusion()))
    assert wrong(tasks, states) < min(alone, common) - 0.05


@pytest.mark.parametrize("method", [IFCA, FedSPD])
def test_one_cluster_is_diffusion_bit_for_bit(method):
    tasks = [Softmax(l2=0.01).build(data(seed=rank)) for rank in range(8)]
    ours, theirs = (
        simulate(network(GRAPHS["random"], each, tasks), 30) for each in (method(1, step_size=0.2), Diffusion(0.2))
    )
    assert all(np.array_equal(one.x, other.x) for one, other in zip(ours, theirs, strict=True))


def test_fedspd_is_what_its_update_says():
    """By hand: one cluster a round, whole rows, shares of rows, a merged model."""
    tasks, *_ = mixed(8, d=D, components=3)
    states = simulate(network(GRAPHS["random"], FedSPD(3, step_size=0.5), tasks), 30)
    weights = metropolis(GRAPHS["random"])
    first = [0.3 / np.sqrt(D) * stream(0, Purpose.START, NETWORK, m).standard_normal(D) for m in (1, 2)]
    thetas = np.repeat(np.array([np.zeros(D), *first])[None], 8, axis=0)
    for round in range(31):
        about = int(stream(0, Purpose.WAKE, NETWORK, round).integers(3))
        shares, merged, psi = [], [], thetas.copy()
        for rank, task in enumerate(tasks):
            nearest = row_losses(task, thetas[rank]).argmin(axis=0)
            shares.append(np.bincount(nearest, minlength=3) / len(nearest))
            merged.append(shares[-1] @ thetas[rank])
            psi[rank, about] -= 0.5 * gradient(task, thetas[rank, about], nearest == about)
        thetas = psi.copy()
        thetas[:, about] = weights @ psi[:, about]
    for rank, state in enumerate(states):
        assert np.allclose(state.model.psi, psi[rank], atol=1e-12)
        assert np.allclose(state.model.share, shares[rank])
        assert np.allclose(state.x, merged[rank], atol=1e-12)
    assert np.ptp(shares, axis=0).max() > 0.2


def test_fedspd_finds_clusters_merges_and_then_learns_alone():
    tasks = clusters(12)
    graph = nx.gnp_random_graph(12, 0.5, seed=2)
    method = FedSPD(2, step_size=2.0, merge_from=100)
    nodes = network(graph, method, tasks)
    before = simulate(nodes, 100)
    after = simulate(nodes, 103, states=before)
    common = wrong(tasks, simulate(network(graph, Diffusion(), tasks), 100))
    assert wrong(tasks, after) < min(wrong(tasks, before), common) - 0.05
    for task, one, other in zip(tasks, before, after, strict=True):
        x = one.x
        for _ in range(3):
            x = x - 2.0 * gradient(task, x)
        assert np.allclose(other.x, x, atol=1e-12)
        assert np.array_equal(other.model.psi, one.model.psi)


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        (IFCA, {"components": 0}, "'ifca' has components=0"),
        (FedSPD, {"components": 0}, "'fedspd' has components=0"),
        (FedSPD, {"merge_from": -1}, "'fedspd' has merge_from=-1"),
        (FedSPD, {"spread": 0.0}, "'fedspd' has spread=0.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(method, settings, said):
    with pytest.raises(ConfigError, match=said):
        method(**settings)
