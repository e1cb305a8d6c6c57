"""Dada: the weight step against other solvers, an objective that never rises, groups that are found."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from dmtl.algorithms.coordinate_descent import PrivateCoordinateDescent
from dmtl.algorithms.dada import Dada
from dmtl.algorithms.edge_weights import best_weights
from dmtl.attacks.extreme import Extreme
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from tests.networks import GRAPHS, network, quadratics
from tests.peers import coupled, minimiser, models, sized, trusts


def slope(w, price, here, there, barrier, spread):
    return price + barrier * (spread * w - 1 / (here + w) - 1 / (there + w))


def test_the_best_weight_of_an_edge_is_where_the_slope_is_zero():
    rng = np.random.default_rng(0)
    zeros = 0
    for _ in range(300):
        price, here, there = 10.0 ** rng.uniform(-4, 4), *(10.0 ** rng.uniform(-4, 4, 2) * (rng.random(2) < 0.8))
        barrier, spread = 10.0 ** rng.uniform(-2, 2, 2)
        found = float(best_weights(*np.array([[price], [here], [there]]), barrier, spread)[0])
        if here and there and slope(0.0, price, here, there, barrier, spread) >= 0:
            zeros += 1
            assert found == 0
        else:
            given = (price, here, there, barrier, spread)
            assert found == pytest.approx(brentq(slope, 1e-14, 1e9, args=given, xtol=1e-14), rel=1e-9)
    assert 50 < zeros < 250


def test_both_ends_of_an_edge_find_the_same_number_to_the_last_bit():
    price, here, there = np.random.default_rng(1).lognormal(0, 3, (3, 200))
    assert np.array_equal(best_weights(price, here, there, 0.7, 1.3), best_weights(price, there, here, 0.7, 1.3))
    huge = best_weights(np.array([-1e90, 1e90]), np.zeros(2), np.zeros(2), 1.0, 1.0)
    assert np.isfinite(huge).all()


def weights_of(graph: nx.Graph, states) -> np.ndarray:
    """S (n, n) as the ranks have it."""
    s = np.zeros((len(graph), len(graph)))
    for k, state in enumerate(states):
        s[k, sorted(graph[k])] = state.model.weights
    return s


def value(graph: nx.Graph, tasks, method: Dada, c: np.ndarray, x: np.ndarray, s: np.ndarray) -> float:
    """J, by its definition."""
    total = sum(
        s[k].sum() * c[k] * task.loss(x[k]) - method.barrier * np.log(s[k].sum()) for k, task in enumerate(tasks)
    )
    for u, v in graph.edges:
        total += s[u, v] * method.strength / 2 * np.sum((x[u] - x[v]) ** 2)
        total += method.barrier * method.spread / 2 * s[u, v] ** 2
    return total


def path_of(graph: nx.Graph, method: Dada, tasks, rounds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(X, S) after each round."""
    kept: dict[int, list] = {}
    simulate(
        network(graph, method, tasks),
        rounds,
        lambda r, state, inbox: kept.setdefault(state.view.round, []).append(state),
    )
    return [(models(states), weights_of(graph, states)) for states in kept.values()]


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize(
    "settings", [{"pace": 1}, {"pace": 3, "strength": 8.0}, {"spread": 0.05, "barrier": 0.3}], ids=str
)
def test_the_objective_never_rises_and_weights_stay_symmetric_and_isolate_nobody(graph, settings):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    method, c = Dada(full_rows=10, warm_up=4, **settings), trusts(tasks, 10)
    path = path_of(here, method, tasks, 150)[4:]
    values = [value(here, tasks, method, c, x, s) for x, s in path]
    assert all(late <= early + 1e-12 * abs(early) for early, late in pairwise(values))
    assert values[-1] < values[0] - 1e-3
    for _, s in path:
        assert np.array_equal(s, s.T)
        assert (s >= 0).all()
        assert (s.sum(axis=1) > 0).all()
    moved = [not np.array_equal(early[1], late[1]) for early, late in pairwise(path)]
    assert moved[: 3 * (method.pace + 1)] == ([False] * method.pace + [True]) * 3


@pytest.mark.parametrize("graph", ["star", "random"])
def test_where_it_stops_the_graph_is_the_best_for_the_models_and_they_for_the_graph(graph):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    method, c = Dada(0.6, barrier=0.5, spread=0.4, pace=2, full_rows=10), trusts(tasks, 10)
    x, s = path_of(here, method, tasks, 700)[-1]
    edges = np.array(list(here.edges))
    price = c * np.array([task.loss(w) for task, w in zip(tasks, x, strict=True)])
    price = price[edges].sum(axis=1) + 0.3 * np.sum((x[edges[:, 0]] - x[edges[:, 1]]) ** 2, axis=1)
    ends = np.equal.outer(np.arange(len(tasks)), edges).any(axis=2).astype(float)

    def of_weights(w: np.ndarray) -> tuple[float, np.ndarray]:
        degree = ends @ w
        bent = price @ w + 0.5 * (0.4 * w @ w / 2 - np.log(degree).sum())
        return bent, price + 0.5 * (0.4 * w - ends.T @ (1 / degree))

    start, bounds = np.full(len(edges), 0.5), [(1e-12, None)] * len(edges)
    best = minimize(of_weights, start, jac=True, bounds=bounds, options={"ftol": 1e-16, "gtol": 1e-10, "maxiter": 9999})
    ours = s[edges[:, 0], edges[:, 1]]
    assert of_weights(ours)[0] == pytest.approx(value(here, tasks, method, c, x, s))
    assert np.allclose(ours, best.x, rtol=0, atol=1e-6)
    learnt = nx.Graph()
    learnt.add_nodes_from(range(len(tasks)))
    learnt.add_weighted_edges_from((u, v, s[u, v]) for u, v in here.edges)
    assert np.allclose(x, minimiser(learnt, tasks, 0.6, c), rtol=0, atol=1e-6)


def test_what_was_lost_in_one_direction_is_made_good_once_messages_come_again():
    here, tasks, method = coupled("random"), sized(8), Dada(0.6, 0.5, 0.4, pace=2, full_rows=10)

    def lossy(round: int, source: int, target: int) -> int:
        return -1 if round < 100 and (3 * round * round + 5 * source + 7 * target) % 11 < 3 else 0

    prompt = simulate(network(here, method, tasks), 800)
    apart = weights_of(here, simulate(network(here, method, tasks, ageing=lossy), 100))
    late = simulate(network(here, method, tasks, ageing=lossy), 1100)
    assert np.abs(apart - apart.T).max() > 1e-6
    met = weights_of(here, late)
    assert np.allclose(met, met.T, rtol=0, atol=1e-9)
    assert np.allclose(met, weights_of(here, prompt), rtol=0, atol=1e-9)
    assert np.allclose(models(late), models(prompt), rtol=0, atol=1e-9)


def test_with_no_turn_of_the_graph_the_models_are_those_of_coordinate_descent():
    here, tasks = coupled("random"), sized(8)
    ours = simulate(network(here, Dada(0.7, pace=100, warm_up=0, full_rows=10), tasks), 50)
    theirs = simulate(network(here, PrivateCoordinateDescent(0.7, 10), tasks), 50)
    assert np.allclose(models(ours), models(theirs), rtol=0, atol=1e-13)


def groups(seed: int) -> tuple[list, np.ndarray]:
    """Eight tasks of two groups, each with its own noise, and what each of them would be without it."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((2, 4)) * 2
    truth = centres[np.arange(8) % 2]
    tasks = [type(task)(task.hessian, truth[k] + 0.3 * rng.standard_normal(4)) for k, task in enumerate(quadratics(8))]
    return tasks, truth


@pytest.mark.parametrize("seed", range(3))
def test_two_groups_are_found_and_models_are_better_than_alone_and_than_on_all_edges(seed):
    tasks, truth = groups(seed)
    states = simulate(network(nx.complete_graph(8), Dada(spread=0.1), tasks), 600)
    s = weights_of(nx.complete_graph(8), states)
    together = np.equal.outer(np.arange(8) % 2, np.arange(8) % 2)
    assert s[~together].max() < 1e-3
    assert s[together & ~np.eye(8, dtype=bool)].sum(axis=0).min() > 0.1
    found = nx.connected_components(nx.from_numpy_array(s > 1e-2))
    assert sorted(sorted(group) for group in found) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    error = np.linalg.norm(models(states) - truth)
    assert error < 0.8 * np.linalg.norm(np.array([task.b for task in tasks]) - truth)
    fixed = simulate(network(nx.complete_graph(8), PrivateCoordinateDescent(), tasks), 200)
    assert error < 0.7 * np.linalg.norm(models(fixed) - truth)


def test_wild_words_leave_everything_finite():
    states = simulate(network(GRAPHS["random"], Dada(pace=1, warm_up=0), quadratics(8), liars={2: Extreme()}), 20)
    for state in states:
        assert np.isfinite(state.model.weights).all()
        assert (state.model.weights >= 0).all()


def test_single_precision_stays_so():
    raw = {"data": "synthetic:rows=20,features=4", "topology": "ring", "dtype": "float32"}
    job = plan(load({**raw, "algorithm": "dada:pace=1,warm_up=1,full_rows=20"}), 5)
    for state in simulate([job.node(rank) for rank in range(5)], 6):
        assert {part.dtype for part in state.model} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength=-1.0"),
        ({"barrier": 0.0}, "barrier=0.0"),
        ({"spread": -1.0}, "spread=-1.0"),
        ({"pace": 0}, "pace=0"),
        ({"warm_up": -1}, "warm_up=-1"),
        ({"full_rows": -1}, "full_rows=-1"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'dada'") as caught:
        Dada(**settings)
    assert sentence in str(caught.value)
