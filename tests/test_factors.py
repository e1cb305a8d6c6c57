"""Methods with a common factor: the trace norm in factorised form, and a shared subspace by diffusion."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import problem
from dmtl.algorithms.factorised import Factorised
from dmtl.algorithms.replicated import Replicated
from dmtl.algorithms.shared_subspace import SharedSubspace
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.penalties.spectral import LowRank
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from tests.networks import network, quadratics

D = 6
SHAPES = {"ring": nx.cycle_graph(8), "star": nx.star_graph(7), "complete": nx.complete_graph(8)}


def stacked(states) -> np.ndarray:
    return np.stack([state.x for state in states], axis=1)


def optimum(tasks, strength: float) -> np.ndarray:
    """The convex problem's minimiser, by the replicated master on the complete graph."""
    here = chart(SHAPES["complete"])
    return stacked(simulate(network(SHAPES["complete"], Replicated(LowRank(strength), here), tasks), 600))


@pytest.mark.parametrize(("shape", "strength", "rank"), [("ring", 2.0, 5), ("complete", 1.0, 6)])
def test_where_the_certificate_holds_the_factorised_form_has_the_convex_optimum(shape, strength, rank):
    tasks = quadratics(8, D)
    w = optimum(tasks, strength)
    assert np.linalg.matrix_rank(w, 1e-8) <= rank
    states = simulate(network(SHAPES[shape], Factorised(8, strength, rank, 0.2), tasks), 600)
    ours, whole = stacked(states), problem(tasks, LowRank(strength), chart(SHAPES[shape]))
    assert np.linalg.norm(whole.grad(ours), 2) <= strength * (1 + 1e-6)
    assert -1e-10 <= whole.objective(ours) - whole.objective(w) <= 1e-8
    np.testing.assert_allclose(ours, w, rtol=0, atol=1e-3)


def test_where_the_rank_is_too_small_the_certificate_says_so():
    tasks, strength = quadratics(8, D), 1.0
    w = optimum(tasks, strength)
    assert np.linalg.matrix_rank(w, 1e-8) == 6
    ours = stacked(simulate(network(SHAPES["star"], Factorised(8, strength, 4, 0.1), tasks), 400))
    whole = problem(tasks, LowRank(strength), chart(SHAPES["star"]))
    assert np.linalg.norm(whole.grad(ours), 2) > 1.05 * strength
    assert whole.objective(ours) > whole.objective(w) + 1e-4


def test_a_rank_may_take_its_own_step_and_the_trackers_sum_to_the_gradients():
    tasks = quadratics(8, D)
    states = simulate(network(SHAPES["ring"], Factorised(8, 2.0, 5), tasks), 60)
    trackers, gradients = (sum(getattr(state.model, name) for state in states) for name in "yg")
    np.testing.assert_allclose(trackers, gradients, rtol=0, atol=1e-12)
    assert np.linalg.norm(gradients) > 1e-6
    end = stacked(simulate(network(SHAPES["ring"], Factorised(8, 2.0, 5), tasks), 900))
    assert np.linalg.norm(np.stack([task.grad(x) for task, x in zip(tasks, end.T, strict=True)]), 2) <= 2 * (1 + 1e-6)


def low_rank(tasks: int, n: int, noise: float = 0.0, seed: int = 0, d: int = 12, rank: int = 2):
    """Least-squares tasks whose models are in one subspace; the subspace."""
    rng, none = np.random.default_rng(seed), np.zeros((0, d))
    basis, made = np.linalg.qr(rng.standard_normal((d, rank)))[0], []
    for _ in range(tasks):
        x, w = rng.standard_normal((n, d)), basis @ rng.standard_normal(rank)
        data = Dataset(x, x @ w + noise * rng.standard_normal(n), none, np.zeros(0), none, np.zeros(0), classes=0)
        made.append(LeastSquares(l2=0.0, bias=False).build(data))
    return made, basis


def distance(states, basis) -> float:
    """The largest sine of an angle between a rank's subspace and the true one."""
    found = [state.model.basis for state in states]
    return max(float(np.linalg.norm(own - basis @ (basis.T @ own), 2)) for own in found)


@pytest.mark.parametrize(("graph", "n", "rounds"), [(nx.complete_graph(12), 10, 600), (nx.cycle_graph(8), 20, 500)])
def test_a_noiseless_subspace_is_found_exactly(graph, n, rounds):
    tasks, basis = low_rank(len(graph), n)
    states = simulate(network(graph, SharedSubspace(2), tasks), rounds)
    assert distance(states, basis) < 1e-6
    for state, task in zip(states, tasks, strict=True):
        assert task.loss(state.x) < 1e-12
        np.testing.assert_allclose(state.model.basis.T @ state.model.basis, np.eye(2), rtol=0, atol=1e-12)


def test_with_fewer_rows_than_features_noise_does_less_harm_together():
    tasks, basis = low_rank(12, 9, 0.1)
    states = simulate(network(nx.complete_graph(12), SharedSubspace(2, step_size=0.05), tasks), 400)
    alone = np.stack([np.linalg.lstsq(task.parts.train.x, task.parts.train.y)[0] for task in tasks], axis=1)
    span = np.linalg.svd(alone)[0][:, :2]
    assert distance(states, basis) < 0.25
    assert distance(states, basis) < 0.5 * np.linalg.norm(span - basis @ (basis.T @ span), 2)


def test_the_warm_up_finds_the_span_of_the_first_gradients():
    tasks, _ = low_rank(12, 20)
    states = simulate(network(nx.complete_graph(12), SharedSubspace(2, warm_up=400), tasks), 400)
    top = np.linalg.svd(np.stack([task.grad(np.zeros(12)) for task in tasks], axis=1))[0][:, :2]
    assert distance(states, top) < 1e-8


class Counting:
    """A task that counts how often it is asked for its gradient at 0."""

    def __init__(self, task):
        self.task, self.asked = task, 0

    def __getattr__(self, what):
        return getattr(self.task, what)

    def grad(self, w, rng=None):
        self.asked += not w.any()
        return self.task.grad(w, rng)


@pytest.mark.parametrize("warm_up", [0, 5, 50])
def test_longer_runs_do_not_ask_more_often_for_the_gradient_at_zero(warm_up):
    asked = []
    for rounds in (0, 12):
        tasks = [Counting(task) for task in low_rank(6, 20)[0]]
        states = simulate(network(nx.cycle_graph(6), SharedSubspace(2, warm_up=warm_up), tasks), rounds)
        asked.append([task.asked for task in tasks])
        for state, task in zip(states, tasks, strict=True):
            np.testing.assert_array_equal(state.model.c, task.task.grad(np.zeros(12)))
    assert asked[0] == asked[1]


def test_a_screen_takes_the_place_of_the_sums():
    tasks, basis = low_rank(12, 20)
    states = simulate(network(nx.complete_graph(12), SharedSubspace(2), tasks, TrimmedMean(1)), 350)
    assert distance(states, basis) < 1e-6


@pytest.mark.parametrize(
    ("piece", "wrong"),
    [
        (SharedSubspace, {"rank": 0}),
        (SharedSubspace, {"warm_up": -1}),
        (SharedSubspace, {"step_size": -1.0}),
        (Factorised, {"rank": 0}),
        (Factorised, {"strength": -1.0}),
        (Factorised, {"step_size": "fast"}),
    ],
)
def test_settings_out_of_range_are_refused(piece, wrong):
    ranks = {"ranks": 3} if piece is Factorised else {}
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        piece(**ranks, **wrong)
