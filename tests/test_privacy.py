"""Differential privacy: the sensitivity of clipped gradients, the scale of the noise, and what updates add up to."""

from __future__ import annotations

import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from scipy import stats

from dmtl.algorithms.coordinate_descent import PrivateCoordinateDescent
from dmtl.algorithms.privacy import scale, sensitivity, spent
from dmtl.data.pool import Dataset
from dmtl.node import Node
from dmtl.registry import find
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.topology import Topology, metropolis

CLASSES = {"least-squares": 0, "logistic": 2, "hinge": 2, "softmax": 3}


def task_of(name: str, x: np.ndarray, y: np.ndarray, l2: float = 0.1):
    return find("task", name)(l2=l2).build(Dataset(x, y, x, y, x, y, CLASSES[name]))


def drawn(name: str, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    kinds = CLASSES[name]
    y = rng.integers(kinds, size=rows).astype(float) if kinds else rng.standard_normal(rows)
    return rng.standard_normal((rows, 3)), y


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("order", [1, 2])
def test_no_single_row_moves_the_clipped_gradient_by_more_than_the_sensitivity(name, order):
    """A random search for the worst neighbouring data, which comes near to the bound."""
    rng, worst, m, clip = np.random.default_rng(1), 0.0, 5, 0.7
    for _ in range(400):
        x, y = drawn(name, rng, m)
        size = 10.0 ** rng.uniform(-2, 4)
        x[0] *= size
        others = x.copy(), y.copy()
        others[0][0] = -x[0] if rng.random() < 0.5 else rng.standard_normal(3) * size
        others[1][0] = drawn(name, rng, 1)[1][0]
        one, two = task_of(name, x, y), task_of(name, *others)
        w = rng.standard_normal(one.dim) * 10.0 ** rng.uniform(-2, 1)
        gap = one.clipped_grad(w, clip, order) - two.clipped_grad(w, clip, order)
        worst = max(worst, float(np.linalg.norm(gap, order)))
    assert worst <= sensitivity(clip, m) * (1 + 1e-12)
    assert worst > 0.9 * sensitivity(clip, m)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("order", [1, 2])
def test_a_clip_that_no_row_reaches_changes_nothing_and_a_tight_one_is_kept_row_by_row(name, order):
    rng = np.random.default_rng(2)
    x, y = drawn(name, rng, 6)
    task = task_of(name, x, y)
    w = rng.standard_normal(task.dim)
    assert task.training_rows == 6
    assert np.allclose(task.clipped_grad(w, 1e9, order), task.grad(w), rtol=0, atol=1e-12)
    singles = []
    for k in range(6):
        g = task_of(name, x[k : k + 1], y[k : k + 1], l2=0.0).grad(w) if name != "softmax" else alone(x[k], y[k], w)
        singles.append(g * min(1, 0.3 / max(np.linalg.norm(g, order), 1e-300)))
    assert np.allclose(task.clipped_grad(w, 0.3, order), np.mean(singles, axis=0) + 0.1 * w, rtol=0, atol=1e-12)


def alone(x: np.ndarray, y: float, w: np.ndarray) -> np.ndarray:
    """The gradient of one row of three classes, by its definition."""
    row = np.append(x, 1.0)
    powers = np.exp(row @ w.reshape(4, 3))
    return np.outer(row, powers / powers.sum() - (np.arange(3) == y)).ravel()


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0])
def test_laplace_noise_of_that_scale_is_epsilon_private_and_less_would_not_be(epsilon):
    """The logarithm of the densities' ratio at any point, for a shift as long as the sensitivity in the 1-norm."""
    rng, m, clip = np.random.default_rng(3), 7, 0.4
    b, most = scale(clip, m, epsilon, 0.0), sensitivity(0.4, 7)
    assert b == pytest.approx(2 * 0.4 / (7 * epsilon))
    losses = []
    for _ in range(2000):
        shift = rng.dirichlet(np.ones(3)) * rng.choice([-1, 1], 3) * most
        point = rng.laplace(0, b, 3)
        losses.append(np.sum(stats.laplace.logpdf(point, 0, b) - stats.laplace.logpdf(point, shift, b)))
    assert max(np.abs(losses)) <= epsilon * (1 + 1e-12)
    assert max(np.abs(losses)) > 0.99 * epsilon


@pytest.mark.parametrize("epsilon", [0.01, 0.3, 0.99])
@pytest.mark.parametrize("delta", [1e-8, 1e-5, 1e-2, 0.3])
def test_gaussian_noise_of_that_deviation_is_private(epsilon, delta):
    """Against the exact delta of the Gaussian mechanism (Balle and Wang, ICML 2018)."""
    sigma, most = scale(0.4, 7, epsilon, delta), sensitivity(0.4, 7)
    assert sigma == pytest.approx(most * math.sqrt(2 * math.log(1.25 / delta)) / epsilon)
    exact = stats.norm.cdf(most / (2 * sigma) - epsilon * sigma / most)
    exact -= math.exp(epsilon) * stats.norm.cdf(-most / (2 * sigma) - epsilon * sigma / most)
    assert exact <= delta


@pytest.mark.parametrize("updates", [1, 10, 100])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("slack", [0.0, 1e-6, 0.01])
def test_composition_bounds_the_worst_case_exactly_computed(updates, epsilon, slack):
    """Randomised response is the worst of all epsilon-private mechanisms (Kairouz, Oh and Viswanath, ICML 2015)."""
    total, beyond = spent(epsilon, 0.0, updates, slack)
    heads = np.arange(updates + 1)
    share = math.exp(epsilon) / (1 + math.exp(epsilon))
    one, two = stats.binom.pmf(heads, updates, share), stats.binom.pmf(heads, updates, 1 - share)
    exact = np.maximum(one - math.exp(total) * two, 0).sum()
    assert exact <= beyond + 1e-12
    assert total <= updates * epsilon
    assert spent(epsilon, 1e-7, updates, slack)[1] == pytest.approx(beyond + updates * 1e-7)


def lonely(settings: dict, seeds: int) -> np.ndarray:
    """(seeds, 2, d) the noise of the first two updates of one rank, got back from its models."""
    rng = np.random.default_rng(4)
    x, y = drawn("least-squares", rng, 6)
    task, graph = task_of("least-squares", x, y), nx.empty_graph(1)
    method, topology = PrivateCoordinateDescent(step_size=0.1, **settings), Topology(graph, metropolis(graph))
    found = []
    for seed in range(seeds):
        kept: list = []
        node = Node(topology.view(0, seed), task, method, Average())
        simulate([node], 2, lambda rank, state, inbox, kept=kept: kept.append(state.x.copy()))
        order = 2 if method.delta else 1
        steps = [(a - b) / 0.1 - task.clipped_grad(a, method.clip, order) for a, b in pairwise(kept)]
        found.append(steps)
    return np.array(found)


@pytest.mark.parametrize("settings", [{"epsilon": 0.5, "clip": 0.8}, {"epsilon": 0.5, "delta": 0.01, "clip": 0.8}])
def test_the_noise_in_the_models_is_of_that_scale_and_fresh_in_every_round(settings):
    found = lonely(settings, 400)
    width = scale(0.8, 6, 0.5, settings.get("delta", 0.0))
    law = stats.norm(0, width) if "delta" in settings else stats.laplace(0, width)
    assert stats.kstest(found.ravel(), law.cdf).pvalue > 0.01
    assert abs(np.corrcoef(found[:, 0].ravel(), found[:, 1].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(found[:, 0, 0], found[:, 0, 1])[0, 1]) < 0.15


def test_what_a_rank_says_depends_on_its_rows_through_their_clipped_means_only():
    """Rows and targets ten times as long have gradients a hundred times as long, and so the same once clipped."""
    rng, graph = np.random.default_rng(5), nx.path_graph(3)
    x, y = rng.standard_normal((3, 6, 3)), rng.standard_normal((3, 6))
    topology = Topology(graph, metropolis(graph))
    ends = {}
    for epsilon in (0.5, None):
        method = PrivateCoordinateDescent(epsilon=epsilon, clip=1e-6, step_size=0.1, full_rows=10)
        for size in (1.0, 10.0):
            maker = find("task", "least-squares")(bias=False)
            lengths = [1.0, size, 1.0]
            data = [(a * s, b * s) for a, b, s in zip(x, y, lengths, strict=True)]
            tasks = [maker.build(Dataset(a, b, a, b, a, b)) for a, b in data]
            nodes = [Node(topology.view(k), task, method, Average()) for k, task in enumerate(tasks)]
            ends[epsilon, size] = np.array([state.x for state in simulate(nodes, 6)])
    assert np.allclose(ends[0.5, 1.0], ends[0.5, 10.0], rtol=1e-9, atol=0)
    assert not np.allclose(ends[None, 1.0], ends[None, 10.0], rtol=1e-2)


def test_two_ranks_with_the_same_rows_draw_noise_of_their_own():
    rng, graph = np.random.default_rng(5), nx.path_graph(2)
    task = task_of("logistic", *drawn("logistic", rng, 6))
    topology, method = Topology(graph, metropolis(graph)), PrivateCoordinateDescent(0.0, epsilon=0.5, step_size=0.1)
    one, two = simulate([Node(topology.view(k), task, method, Average()) for k in range(2)], 1)
    assert (np.abs(one.x - two.x) > 1e-6).all()
