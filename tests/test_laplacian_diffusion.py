"""Multitask diffusion: its fixed point in closed form, the bias of O(mu), and what the strength does."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.laplacian_diffusion import LaplacianDiffusion
from dmtl.algorithms.local import Local
from dmtl.attacks.sign_flip import SignFlip
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.topology import metropolis
from tests.networks import GRAPHS, joint, network, quadratics
from tests.peers import models


def smoother(graph: nx.Graph, polynomial: str) -> np.ndarray:
    """r(L) (n, n), by powers of the matrix."""
    laplacian = np.eye(len(graph)) - metropolis(graph)
    values = [float(word) for word in polynomial.split()]
    return sum(value * np.linalg.matrix_power(laplacian, power) for power, value in enumerate(values, 1))


def minimiser(graph: nx.Graph, tasks, strength: float, polynomial: str) -> np.ndarray:
    n = len(tasks)
    matrix = strength * np.kron(smoother(graph, polynomial), np.eye(4)) + hessians(tasks)
    return np.linalg.solve(matrix, pulls(tasks)).reshape(n, 4)


def hessians(tasks) -> np.ndarray:
    whole = np.zeros((4 * len(tasks), 4 * len(tasks)))
    for k, task in enumerate(tasks):
        whole[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = task.hessian
    return whole


def pulls(tasks) -> np.ndarray:
    return np.concatenate([task.hessian @ task.b for task in tasks])


def fixed_point(graph: nx.Graph, tasks, strength: float, polynomial: str, mu: float) -> np.ndarray:
    """X = A (X - mu grad f(X)), A = I - mu strength r(L), as one linear system."""
    n = 4 * len(tasks)
    a = np.eye(n) - mu * strength * np.kron(smoother(graph, polynomial), np.eye(4))
    left = np.eye(n) - a @ (np.eye(n) - mu * hessians(tasks))
    return np.linalg.solve(left, mu * a @ pulls(tasks)).reshape(-1, 4)


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize("polynomial", ["1", "0 1", "0.5 0 0.3"])
def test_it_ends_in_its_fixed_point_which_is_near_the_minimiser(graph, polynomial):
    here, tasks = GRAPHS[graph], quadratics(len(GRAPHS[graph]))
    apart = []
    best = minimiser(here, tasks, 1.0, polynomial)
    for mu in (0.08, 0.04):
        rounds = int(25 / mu) * len(polynomial.split())
        found = models(simulate(network(here, LaplacianDiffusion(1.0, polynomial, mu), tasks), rounds))
        assert np.allclose(found, fixed_point(here, tasks, 1.0, polynomial, mu), rtol=0, atol=1e-8)
        apart.append(np.linalg.norm(found - best))
    assert 0.4 < apart[1] / apart[0] < 0.6  # half the step, half the bias
    assert apart[0] < 0.08 * 10


def test_with_the_first_power_the_minimiser_is_that_of_laplacian():
    tasks = quadratics(8)
    best, _ = joint(GRAPHS["random"], tasks, 0.7)
    assert np.allclose(minimiser(GRAPHS["random"], tasks, 0.7, "1"), best, rtol=0, atol=1e-12)


@pytest.mark.parametrize("polynomial", ["1", "0 0 1"])
def test_without_strength_it_learns_alone_and_with_much_of_it_all_agree(polynomial):
    here, tasks, hops = GRAPHS["random"], quadratics(8), len(polynomial.split())
    ours = simulate(network(here, LaplacianDiffusion(0.0, polynomial), tasks), 30 * hops)
    assert np.allclose(models(ours), models(simulate(network(here, Local(), tasks), 30)), rtol=0, atol=1e-14)
    apart = []
    total = np.linalg.solve(sum(task.hessian for task in tasks), sum(task.hessian @ task.b for task in tasks))
    for strength in (1.0, 10.0, 1e3, 1e5):
        mu = 1 / (3 + strength * 2**hops)
        limit = fixed_point(here, tasks, strength, polynomial, mu)
        if strength < 100:
            found = simulate(network(here, LaplacianDiffusion(strength, polynomial, mu), tasks), int(20 / mu) * hops)
            assert np.allclose(models(found), limit, rtol=0, atol=1e-6)
        apart.append(np.abs(limit - total).max())
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 2e-3 * apart[0]


def test_a_higher_power_spares_what_is_smooth_over_the_graph():
    """A model in the direction of an eigenvector of L is shrunk by 1 / (1 + r(lambda)), up to O(mu)."""
    here = GRAPHS["ring"]
    values, vectors = np.linalg.eigh(np.eye(8) - metropolis(here))
    for place in (1, 7):
        tasks = [type(task)(np.eye(4), vectors[k, place] * np.ones(4)) for k, task in enumerate(quadratics(8))]
        for polynomial, power in (("1", 1), ("0 1", 2), ("0 0 1", 3)):
            mu, price = 0.05, values[place] ** power
            share = (1 - mu * price) / (1 + price - mu * price)  # x = (1 - mu r)(x - mu (x - b)), solved for x / b
            found = models(simulate(network(here, LaplacianDiffusion(1.0, polynomial, mu), tasks), 500 * power))
            b = np.array([task.b for task in tasks])
            assert np.allclose(found, share * b, rtol=0, atol=1e-9)


def test_a_step_of_three_hops_is_one_step_of_the_matrix_form():
    here, tasks = GRAPHS["random"], quadratics(8)
    mu, polynomial = 0.05, "0.5 0.2 0.1"
    kept: dict[int, list] = {}

    def keep(rank, state, inbox):
        kept.setdefault(state.view.round, []).append(state.x)

    simulate(network(here, LaplacianDiffusion(0.9, polynomial, mu), tasks), 12, keep)
    a = np.eye(8) - mu * 0.9 * smoother(here, polynomial)
    for round in range(3, 13):
        before, after = np.array(kept[round - 3]), np.array(kept[round])
        if round % 3:
            assert np.array_equal(after, np.array(kept[round - round % 3]))
        else:
            psi = before - mu * np.array([task.grad(x) for task, x in zip(tasks, before, strict=True)])
            assert np.allclose(after, a @ psi, rtol=0, atol=1e-14)


def test_a_screen_takes_the_place_of_the_sums_over_every_hop():
    tasks = [type(task)(task.hessian, 1 + 0.1 * task.b) for task in quadratics(8)]
    for polynomial in ("1", "0 1"):
        ends = []
        for screen in (None, TrimmedMean(1)):
            method = LaplacianDiffusion(1.0, polynomial, 0.1)
            liars = {3: SignFlip(scale=30.0)}
            states = simulate(network(nx.complete_graph(8), method, tasks, screen, liars), 200)
            ends.append(max(np.linalg.norm(states[k].x - tasks[k].b) for k in range(8) if k != 3))
        assert ends[1] < 0.5
        assert ends[0] > 2 * ends[1]


def test_single_precision_stays_so():
    raw = {"data": "synthetic:rows=20,features=4", "topology": "ring", "dtype": "float32"}
    job = plan(load({**raw, "algorithm": "laplacian-diffusion:polynomial=0.2 0.1"}), 5)
    for state in simulate([job.node(rank) for rank in range(5)], 5):
        assert {part.dtype for part in state.model[:4]} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength=-1.0"),
        ({"polynomial": ""}, "polynomial=''"),
        ({"polynomial": "1 0"}, "polynomial='1 0'"),
        ({"polynomial": "-1"}, "polynomial='-1'"),
        ({"polynomial": "a"}, "polynomial='a'"),
        ({"step_size": "1/n"}, "1/n"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'laplacian-diffusion'") as caught:
        LaplacianDiffusion(**settings)
    assert sentence in str(caught.value)
