"""Model propagation: the closed form of its limit, whatever the links do, and the iterates of the paper."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.local import Local
from dmtl.algorithms.model_propagation import ModelPropagation
from dmtl.attacks.sign_flip import SignFlip
from dmtl.changing import Changing
from dmtl.errors import ConfigError
from dmtl.registry import find
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.time_varying.matching import Matching
from tests.networks import GRAPHS, network, quadratics
from tests.peers import coupled, models, similarity, sized, trusts, unreliable


def closed_form(graph: nx.Graph, tasks, strength: float, full_rows: int) -> np.ndarray:
    """(5.1) of the paper's letters: (1 - a) (I - (1 - a) (I - C) - a P)^-1 C S*."""
    s, c = similarity(graph), np.diag(trusts(tasks, full_rows))
    a = strength / (1 + strength)
    p = s / s.sum(axis=1, keepdims=True)
    left = np.eye(len(s)) - (1 - a) * (np.eye(len(s)) - c) - a * p
    return np.linalg.solve(left, (1 - a) * c @ np.array([task.b for task in tasks]))


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize(("strength", "full_rows"), [(0.5, 0), (0.5, 10), (3.0, 10)])
def test_its_limit_is_the_closed_form(graph, strength, full_rows):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    states = simulate(network(here, ModelPropagation(strength, full_rows), tasks), 500)
    assert np.allclose(models(states), closed_form(here, tasks, strength, full_rows), rtol=0, atol=1e-12)


def test_the_closed_form_is_where_the_objective_is_flat():
    here, tasks, c = coupled("random"), sized(8), trusts(sized(8), 10)
    x, s = closed_form(here, tasks, 0.7, 10), similarity(here)
    pull = 0.7 * (s.sum(axis=1)[:, None] * x - s @ x)
    stay = (s.sum(axis=1) * c)[:, None] * (x - np.array([task.b for task in tasks]))
    assert np.allclose(pull + stay, 0, atol=1e-12)


def test_with_models_learnt_beforehand_it_makes_the_steps_of_the_paper():
    here, c = coupled("random"), trusts(sized(8), 10)
    tasks = [type(task)(np.eye(4), task.b, task.training_rows) for task in sized(8)]  # learnt alone in one step
    s, alone = similarity(here), np.array([task.b for task in tasks])
    a, p = 0.6 / 1.6, s / s.sum(axis=1, keepdims=True)
    kept: list = []
    simulate(
        network(here, ModelPropagation(0.6, 10), tasks), 12, lambda rank, state, inbox: kept.append(state.x.copy())
    )
    rounds = np.reshape(kept, (13, 8, 4))
    for before, after in pairwise(rounds):
        expected = (a * p @ before + (1 - a) * c[:, None] * alone) / (a + (1 - a) * c)[:, None]
        assert np.allclose(after, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["late and lost", "never before round 30", "pairs at random"])
def test_late_and_lost_messages_leave_the_limit_exact(kind):
    here, tasks = coupled("random"), sized(8)
    conditions: dict[str, dict] = {
        "late and lost": {"ageing": unreliable, "reach": 9},
        "never before round 30": {"ageing": lambda round, *edge: -1 if round < 30 else 0, "reach": 0},
        "pairs at random": {"changing": Changing(here, "metropolis", Matching(), 3)},
    }
    states = simulate(network(here, ModelPropagation(0.5, 10), tasks, **conditions[kind]), 700)
    assert np.allclose(models(states), closed_form(here, tasks, 0.5, 10), rtol=0, atol=1e-10)


def test_the_largest_error_shrinks_as_its_docstring_says():
    here, tasks = coupled("star"), [type(task)(np.eye(4), task.b, task.training_rows) for task in sized(8)]
    limit, c = closed_form(here, tasks, 2.0, 10), trusts(tasks, 10)
    errors: list = []
    record = lambda rank, state, inbox: errors.append(np.linalg.norm(state.x - limit[rank]))  # noqa: E731
    simulate(network(here, ModelPropagation(2.0, 10), tasks), 60, record)
    worst = np.reshape(errors, (61, 8)).max(axis=1)
    assert (worst[2:] <= 2 / (2 + c.min()) * worst[1:-1] + 1e-14).all()


def test_a_coupling_of_zero_learns_alone_and_a_great_one_is_the_confident_mean():
    here, tasks = coupled("random"), sized(8)
    alone = simulate(network(here, Local(), tasks), 40)
    ours = simulate(network(here, ModelPropagation(0.0, 10), tasks), 40)
    assert np.allclose(models(ours), models(alone), rtol=0, atol=1e-14)
    weight = similarity(here).sum(axis=1) * trusts(tasks, 10)
    mean = weight @ np.array([task.b for task in tasks]) / weight.sum()
    far = simulate(network(here, ModelPropagation(300.0, 10), tasks), 4000)
    assert np.allclose(models(far), mean, atol=2e-2)


def test_a_median_of_the_last_words_keeps_out_what_an_average_lets_in():
    tasks = quadratics(8)
    tasks = [type(task)(task.hessian, tasks[0].b + 0.1 * task.b) for task in tasks]
    liars = {3: SignFlip(scale=50.0)}
    worst = {}
    for screen in (None, Median()):
        states = simulate(network(nx.complete_graph(8), ModelPropagation(1.0), tasks, screen, liars), 200)
        worst[screen] = max(np.linalg.norm(states[k].x - tasks[k].b) for k in range(8) if k != 3)
    assert worst[None] > 2
    assert worst[next(key for key in worst if key)] < 0.5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"strength": -1.0}, "strength=-1.0"), ({"full_rows": -2}, "full_rows=-2"), ({"step_size": "1/n"}, "1/n")],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'model-propagation'") as caught:
        find("algorithm", "model-propagation")(**settings)
    assert sentence in str(caught.value)
