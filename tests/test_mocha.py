"""MOCHA without a server: the minimiser, monotone whoever works, the certificate, the dead and the late."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.mocha import MOCHA
from dmtl.errors import ConfigError
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.topology import Topology, metropolis
from tests.networks import network, quadratics
from tests.related import SHAPES, Problem, best, excess, models, problem, solved, tasks

ROUNDS = {"hinge": 300, "least-squares": 250, "logistic": 300}
CASES = [(kind, shape) for kind in ("hinge", "least-squares") for shape in SHAPES]
CASES += [("logistic", "random"), ("logistic", "pair")]


def history(here: Problem, graph: nx.Graph, method: MOCHA, rounds: int) -> tuple[list[list], list[Node]]:
    """The states of all ranks after each round."""
    nodes, kept = network(graph, method, here.tasks), {}

    def keep(rank, state, inbox):
        kept.setdefault(state.view.round, []).append(state.model)

    simulate(nodes, rounds, keep)
    return [kept[round] for round in sorted(kept)], nodes


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_it_ends_at_the_minimiser(kind, shape):
    graph = SHAPES[shape]
    here = problem(kind, graph, 1.0, 0.1)
    assert abs(excess(here, solved(here, graph, MOCHA(), ROUNDS[kind]))) < 1e-8


@pytest.mark.parametrize("settings", [{}, {"drop": 0.5}, {"passes": 0.3, "drop": 0.5}, {"passes": 2.0, "least": 0.0}])
@pytest.mark.parametrize("kind", ["hinge", "least-squares"])
def test_the_objective_never_rises_and_duals_are_feasible_whoever_works_how_much(kind, settings):
    graph, method = SHAPES["random"], MOCHA(strength=0.5, delta=0.2, **settings)
    here = problem(kind, graph, 0.5, 0.2)
    states, _ = history(here, graph, method, 120)
    values = np.array([here.objective(models(now)) for now in states])
    assert np.diff(values).max() <= 1e-14 * values[0]
    least = here.objective(best(here))
    assert values[-1] - least < (values[0] - least) / 100
    for now in states:
        assert all(np.isfinite(task.conjugate(state.alpha)) for task, state in zip(here.tasks, now, strict=True))


def test_without_the_test_before_a_step_a_short_sweep_may_raise_the_objective(monkeypatch):
    """So the test is needed, and the one above can fail."""
    monkeypatch.setattr("dmtl.algorithms.mocha._better", lambda *_: True)
    graph = SHAPES["random"]
    here = problem("hinge", graph, 0.5, 0.2)
    states, _ = history(here, graph, MOCHA(0.5, 0.2, passes=0.1), 120)
    assert np.diff([here.objective(models(now)) for now in states]).max() > 1e-3


@pytest.mark.parametrize("kind", ["hinge", "least-squares"])
def test_a_rank_that_never_works_keeps_its_model_and_the_others_solve_what_is_left(kind):
    graph, dead = SHAPES["random"], 3
    here = problem(kind, graph, 1.0, 0.1)
    topology = Topology(graph, metropolis(graph))
    nodes = [Node(topology.view(k), task, MOCHA(drop=float(k == dead)), Average()) for k, task in enumerate(here.tasks)]
    w = models(simulate(nodes, 400))
    assert not w[dead].any()
    rest = [k for k in range(8) if k != dead]
    left = Problem([here.tasks[k] for k in rest], here.coupling[np.ix_(rest, rest)])
    assert abs(excess(left, w[rest])) < 1e-8
    assert np.linalg.norm(best(here)[rest] - best(left)) > 0.1


def test_a_dead_rank_holds_the_others_at_whatever_its_model_is():
    """Squares: with w_s = v fixed the others solve a linear system with v on its right."""
    graph, dead, v = SHAPES["ring"], 3, np.array([1.0, -2.0, 0.5, 3.0])
    here = problem("least-squares", graph, 1.0, 0.1)
    topology = Topology(graph, metropolis(graph))
    nodes = [Node(topology.view(k), task, MOCHA(drop=float(k == dead)), Average()) for k, task in enumerate(here.tasks)]
    states = [node.start(v if k == dead else None) for k, node in enumerate(nodes)]
    w = models(simulate(nodes, 300, states=states))
    assert np.array_equal(w[dead], v)
    for k, task in enumerate(here.tasks):
        if k != dead:
            assert np.allclose(task.grad(w[k]) + here.coupling[k] @ w, 0, atol=1e-9)


@pytest.mark.parametrize(("kind", "passes"), [("hinge", 1.0), ("hinge", 5.0), ("least-squares", 0.5)])
def test_late_and_lost_messages_change_the_way_and_not_the_end(kind, passes):
    graph = SHAPES["random"]
    here = problem(kind, graph, 1.0, 0.1)

    def link(round, source, target):
        return -1 if (round * 7 + source * 5 + target) % 3 == 0 else min(round, (round * 5 + source + target) % 8)

    method = MOCHA(passes=passes)
    states = simulate(network(graph, method, here.tasks, ageing=link, reach=7), 700)
    assert abs(excess(here, models(states))) < 1e-8


def test_with_no_weight_at_all_steps_are_proximal_points():
    task = quadratics(1)[0]
    assert task.ridge > 0
    bare = tasks("least-squares", 1, l2=0.0)
    w = solved(Problem(bare, np.zeros((1, 1))), SHAPES["alone"], MOCHA(strength=0.0), 300)
    assert np.allclose(bare[0].grad(w[0]), 0, atol=1e-9)


def test_float32_stays_and_comes_near():
    graph = SHAPES["ring"]
    here = problem("hinge", graph, 1.0, 0.1)
    single = tasks("hinge", 8, dtype=np.float32)
    states = simulate(network(graph, MOCHA(), single, dtype=np.float32), 300)
    assert all(value.dtype == np.float32 for state in states for value in state.model)
    assert abs(excess(here, models(states).astype(np.float64))) < 1e-5


@pytest.mark.parametrize(
    "bad",
    [
        {"strength": -1.0},
        {"delta": -0.1},
        {"strength": np.inf},
        {"passes": 0.0},
        {"passes": np.inf},
        {"least": 2.0},
        {"least": -0.1},
        {"drop": 1.5},
        {"drop": np.nan},
    ],
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ConfigError, match="'mocha' has"):
        MOCHA(**bad)
