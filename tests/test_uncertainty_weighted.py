"""Weights from uncertainty: against the weighted oracle, invariances, and what the bound bounds."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import minimize

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.uncertainty_weighted import UncertaintyWeighted
from dmtl.attacks.sign_flip import SignFlip
from dmtl.errors import ConfigError
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from tests.networks import GRAPHS, network, quadratics
from tests.peers import models
from tests.test_fed_gossip import data

COMPLETE = nx.complete_graph(8)
MU = 0.1


@dataclass(frozen=True)
class Noisy:
    """scale (q(w) + floor), q a quadratic with the minimum 0: no model has a loss of 0."""

    inner: object
    floor: float
    scale: float = 1.0

    @property
    def dim(self):
        return self.inner.dim

    @property
    def smoothness(self):
        return self.scale * self.inner.smoothness

    def loss(self, w, rng=None):
        return self.scale * (self.inner.loss(w) + self.floor)

    def grad(self, w, rng=None):
        return self.scale * self.inner.grad(w)

    def evaluate(self, w):
        return {}


def noisy(scales=(1.0,) * 8):
    floors = np.linspace(0.5, 4, 8)
    return [Noisy(task, floor, scale) for task, floor, scale in zip(quadratics(8), floors, scales, strict=True)]


def least_logs(tasks) -> np.ndarray:
    """The minimiser of sum log f_k, by BFGS."""
    start = np.mean([task.inner.b for task in tasks], axis=0)
    found = minimize(lambda x: sum(np.log(task.loss(x)) for task in tasks), start, tol=1e-12)
    return found.x


def weighted(tasks, weights) -> np.ndarray:
    """The minimiser of sum weights_k f_k, in closed form."""
    each = [weight * task.scale * task.inner.hessian for task, weight in zip(tasks, weights, strict=True)]
    return np.linalg.solve(sum(each), sum(h @ task.inner.b for h, task in zip(each, tasks, strict=True)))


@pytest.mark.parametrize("learn", ["closed", "gradient"])
def test_at_rest_s_is_the_log_of_the_loss_and_the_model_that_of_the_weights_one_over_the_losses(learn):
    tasks = noisy()
    states = simulate(network(COMPLETE, UncertaintyWeighted(learn, step_size=0.6), tasks), 600)
    losses = np.array([task.loss(state.x) for task, state in zip(tasks, states, strict=True)])
    assert np.allclose([state.model.s for state in states], np.log(losses), rtol=0, atol=1e-9)
    assert np.allclose(models(states), weighted(tasks, 1 / losses), rtol=0, atol=1e-9)
    assert np.allclose(models(states), least_logs(tasks), rtol=0, atol=1e-5)
    assert np.linalg.norm(states[0].x - weighted(tasks, np.ones(8))) > 0.05  # equal weights end elsewhere


def test_on_other_graphs_a_falling_step_ends_there_too():
    tasks, best, error = noisy(), least_logs(noisy()), []
    for step in (0.6, "3/t"):
        found = simulate(network(GRAPHS["random"], UncertaintyWeighted(step_size=step), tasks), 500)
        error.append(np.linalg.norm(models(found) - best))
    assert error[1] < 0.15 * error[0]


def test_a_task_that_scales_its_loss_changes_its_s_and_nothing_else():
    """With 'diffusion' the loudest task decides."""
    plain, loud = noisy(), noisy((1.0,) * 7 + (10.0,))
    made = UncertaintyWeighted(least=-20.0, step_size=MU)
    ours, theirs = (simulate(network(COMPLETE, made, tasks), 100) for tasks in (plain, loud))
    assert np.allclose(models(ours), models(theirs), rtol=0, atol=1e-12)
    assert np.allclose([state.model.s for state in theirs][7] - ours[7].model.s, np.log(10), atol=1e-12)
    common, drawn = (simulate(network(COMPLETE, Diffusion(step_size=0.02), tasks), 100) for tasks in (plain, loud))
    assert np.linalg.norm(common[0].x - drawn[0].x) > 0.3


def test_where_no_loss_is_below_the_bound_it_is_diffusion_with_the_bound_as_weight():
    tasks = quadratics(8)
    made = UncertaintyWeighted(least=5.0, step_size=MU)
    ours = simulate(network(GRAPHS["ring"], made, tasks), 50)
    theirs = simulate(network(GRAPHS["ring"], Diffusion(step_size=MU * np.exp(-5.0)), tasks), 50)
    assert all(state.model.s == 5.0 for state in ours)
    assert np.allclose(models(ours), models(theirs), rtol=0, atol=1e-14)


def test_a_task_that_can_be_fitted_perfectly_takes_all_unless_s_is_bounded():
    tasks = noisy()
    tasks[0] = Noisy(tasks[0].inner, 0.0)
    own = tasks[0].inner.b
    away = {}
    for least in (-4.0, 0.0):
        start = own + 0.01  # near its minimiser the others' pull is 1 / l_k and its own 1 / loss
        nodes = network(COMPLETE, UncertaintyWeighted(least=least, memory=0.0, step_size=0.02), tasks)
        states = [node.start(start.copy()) for node in nodes]
        states = simulate(nodes, 800, states=states)
        away[least] = np.linalg.norm(states[0].x - own)
        weights = [np.exp(-state.model.s) for state in states]
        assert max(weights) <= np.exp(-least) * (1 + 1e-12)
    assert away[-4.0] < 0.05
    assert away[0.0] > 0.3


def test_a_gradient_step_on_s_never_goes_beyond_its_minimum():
    made = UncertaintyWeighted("gradient", rate=0.7)
    for s in (-3.0, 0.0, 5.0):
        for loss in (1e-300, 1e-3, 1.0, 1e6, 1e300):
            moved, best = made._moved(s, loss, 0), np.log(loss)
            assert min(s, best) <= moved <= max(s, best)
            if abs(best - s) < 0.1:
                assert np.isclose(moved, s - 0.7 * (1 - np.exp(-s) * loss))
    assert made._moved(0.0, 1.05, 0) == pytest.approx(0.7 * 0.05)


def test_loss_and_gradient_are_of_the_same_batch_and_the_average_begins_at_the_first_loss():
    every = [LeastSquares(l2=0.1, batch=3).build(data(10, seed=rank)) for rank in range(2)]
    nodes = network(GRAPHS["pair"], UncertaintyWeighted(memory=0.75, step_size=0.1), every, stochastic=True)
    x, mean = np.zeros((2, 5)), np.zeros(2)
    for round in range(5):
        said = []
        for rank, task in enumerate(every):
            view = nodes[rank].view._replace(round=round)
            loss = task.loss(x[rank], view.batch())
            mean[rank] = 0.75 * mean[rank] + 0.25 * loss if round else loss
            weight = 1 / max(mean[rank], np.exp(-2.0))
            said.append(x[rank] - 0.1 * weight * task.grad(x[rank], view.batch()))
        if round < 4:
            x[:] = np.mean(said, axis=0)
    states = simulate(nodes, 4)
    assert np.allclose(models(states), x, rtol=0, atol=1e-13)
    assert np.allclose([state.model.loss for state in states], mean, rtol=0, atol=1e-13)
    told = nodes[0].algorithm.tell(states[0].model, states[0].view)
    assert told["weight"] == pytest.approx(np.exp(-told["log_variance"]))


def test_the_screen_holds_against_a_liar():
    tasks, best = noisy(), least_logs(noisy())
    away = {}
    for name, screen in (("plain", None), ("median", Median())):
        nodes = network(COMPLETE, UncertaintyWeighted(step_size=MU), tasks, screen, {2: SignFlip(30.0)})
        states = simulate(nodes, 100)
        away[name] = max(np.linalg.norm(state.x - best) for rank, state in enumerate(states) if rank != 2)
    assert away["median"] < 0.5
    assert away["plain"] > 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"learn": "slowly"},
        {"least": float("-inf")},
        {"least": -101.0},
        {"memory": 1.0},
        {"memory": -0.1},
        {"rate": "x"},
        {"step_size": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        UncertaintyWeighted(**wrong)
