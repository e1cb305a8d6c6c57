"""Private coordinate descent without noise: monotone, and exact however late the messages are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dmtl.algorithms.coordinate_descent import PrivateCoordinateDescent
from dmtl.algorithms.local import Local
from dmtl.build import plan
from dmtl.changing import Changing
from dmtl.compat import check_node
from dmtl.config import load
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.time_varying.matching import Matching
from tests.networks import GRAPHS, network
from tests.peers import coupled, minimiser, models, objective, similarity, sized, trusts, unreliable


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize("settings", [{"strength": 0.5}, {"strength": 4.0, "full_rows": 10}, {"wake": 0.5}], ids=str)
def test_its_limit_is_the_joint_minimiser(graph, settings):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    method = PrivateCoordinateDescent(**settings)
    best = minimiser(here, tasks, method.strength, trusts(tasks, method.full_rows))
    states = simulate(network(here, method, tasks), 1200 if method.full_rows else 300)
    assert np.allclose(models(states), best, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["late and lost", "half asleep and late", "never before round 30", "pairs at random"])
def test_late_and_lost_messages_leave_the_limit_exact(kind):
    here, tasks = coupled("random"), sized(8)
    conditions: dict[str, dict] = {
        "late and lost": {"ageing": unreliable, "reach": 9},
        "half asleep and late": {"ageing": unreliable, "reach": 9},
        "never before round 30": {"ageing": lambda round, *edge: -1 if round < 30 else 0},
        "pairs at random": {"changing": Changing(here, "metropolis", Matching(), 3)},
    }
    method = PrivateCoordinateDescent(0.8, wake=0.5 if "asleep" in kind else 1.0)
    states = simulate(network(here, method, tasks, **conditions[kind]), 900)
    assert np.allclose(models(states), minimiser(here, tasks, 0.8, np.ones(8)), rtol=0, atol=1e-10)


def rounds_of(here, method, tasks, count: int) -> np.ndarray:
    """(count + 1, n, d) the models after each round."""
    kept: list = []
    simulate(network(here, method, tasks), count, lambda rank, state, inbox: kept.append(state.x.copy()))
    return np.reshape(kept, (count + 1, len(tasks), -1))


@pytest.mark.parametrize("wake", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("graph", ["star", "random", "pair"])
@pytest.mark.parametrize("strength", [0.1, 20.0])
def test_the_objective_never_rises_whoever_is_awake(graph, wake, strength):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    c = trusts(tasks, 10)
    path = rounds_of(here, PrivateCoordinateDescent(strength, 10, wake), tasks, 80)
    values = [objective(here, tasks, strength, c, x) for x in path]
    assert all(late <= early * (1 + 1e-13) for early, late in pairwise(values))
    assert values[-1] < values[0]
    moved = (path[1:10] != path[:9]).any(axis=2).mean()
    assert abs(moved - wake) < 0.25


def test_a_step_is_that_of_the_paper():
    here, tasks, c = coupled("random"), sized(8), trusts(sized(8), 10)
    strength = 0.4
    mu, s = 1 / strength, similarity(here)
    path = rounds_of(here, PrivateCoordinateDescent(strength, 10), tasks, 10)
    for before, after in pairwise(path):
        for k, task in enumerate(tasks):
            a = 1 / (1 + mu * c[k] * task.smoothness)
            pull = s[k] @ before / s[k].sum() - mu * c[k] * task.grad(before[k])
            assert np.allclose(after[k], (1 - a) * before[k] + a * pull, rtol=0, atol=1e-14)


def test_the_largest_error_shrinks_as_its_docstring_says():
    here, tasks, strength = coupled("random"), sized(8), 1.0
    best, c = minimiser(here, tasks, strength, trusts(tasks, 10)), trusts(tasks, 10)
    least = min(
        c[k] * task.values[0] / (strength + c[k] * task.smoothness) for k, task in enumerate(tasks)
    )  # a c m of the slowest rank
    errors = np.linalg.norm(rounds_of(here, PrivateCoordinateDescent(strength, 10), tasks, 60) - best, axis=2)
    worst = errors.max(axis=1)
    assert (worst[2:] <= (1 - least) * worst[1:-1] + 1e-14).all()


def test_a_coupling_of_zero_learns_alone():
    here, tasks = coupled("random"), sized(8)
    ours = simulate(network(here, PrivateCoordinateDescent(0.0), tasks), 30)
    assert np.allclose(models(ours), models(simulate(network(here, Local(), tasks), 30)), rtol=0, atol=1e-13)


def test_after_its_last_update_a_rank_stays_as_it_is():
    here, tasks = coupled("random"), sized(8)
    path = rounds_of(here, PrivateCoordinateDescent(updates=5, wake=0.5), tasks, 40)
    moves = (path[1:] != path[:-1]).any(axis=2).sum(axis=0)
    assert (moves == 5).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("more", ["", ",epsilon=0.5,step_size=0.1", ",epsilon=0.5,delta=0.01,step_size=0.1"])
def test_the_precision_stays_what_it_was(dtype, more):
    raw = {"data": "synthetic:rows=20,features=4", "topology": "ring", "dtype": dtype}
    job = plan(load({**raw, "algorithm": f"private-coordinate-descent:full_rows=20{more}"}), 5)
    states = simulate([job.node(rank) for rank in range(5)], 5)
    assert all(state.x.dtype == state.model.words.said.dtype == np.dtype(dtype) for state in states)


def test_a_task_that_cannot_clip_is_refused_where_there_is_an_epsilon():
    config = load({"algorithm": "private-coordinate-descent", "data": "synthetic:rows=20,features=4"})
    private = PrivateCoordinateDescent(epsilon=1.0, step_size=0.1)
    check_node(PrivateCoordinateDescent(), Average(), sized(1)[0], 0, config)
    with pytest.raises(CompatibilityError, match="clips each row's gradient"):
        check_node(private, Average(), sized(1)[0], 0, config)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength=-1.0"),
        ({"full_rows": -2}, "full_rows=-2"),
        ({"wake": 0.0}, "wake=0.0"),
        ({"wake": 1.5}, "wake=1.5"),
        ({"updates": -1}, "updates=-1"),
        ({"epsilon": 0.0, "step_size": 0.1}, "epsilon=0.0"),
        ({"epsilon": 1.0}, "no step_size"),
        ({"epsilon": 1.0, "clip": 0.0, "step_size": 0.1}, "clip=0.0"),
        ({"epsilon": 0.5, "delta": 1.0, "step_size": 0.1}, "delta=1.0"),
        ({"epsilon": 1.0, "delta": 0.1, "step_size": 0.1}, "below 1 only"),
        ({"step_size": "1/n"}, "1/n"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'private-coordinate-descent'") as caught:
        PrivateCoordinateDescent(**settings)
    assert sentence in str(caught.value)
