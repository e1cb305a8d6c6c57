"""Relations by duals at home ('dmtrl') and by FISTA on the dual of all tasks ('pmtl'): minimisers, iterates, limits."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.dmtrl import DMTRL
from dmtl.algorithms.pmtl import PMTL
from dmtl.algorithms.replicated import Replicated
from dmtl.consensus.chart import chart
from dmtl.errors import ConfigError
from dmtl.penalties.spectral import Relationship
from dmtl.simulator import simulate
from tests.networks import network
from tests.related import SHAPES, Problem, excess, models, problem, solved, tasks

STEPS = {"hinge": 500, "least-squares": 120, "logistic": 150}
CASES = [(kind, shape) for kind in ("hinge", "least-squares") for shape in SHAPES] + [("logistic", "random")]


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_dmtrl_ends_at_the_minimiser(kind, shape):
    graph = SHAPES[shape]
    here = problem(kind, graph, 1.0, 0.1)
    assert abs(excess(here, solved(here, graph, DMTRL(), 2 * STEPS[kind]))) < 1e-8


@pytest.mark.parametrize(("kind", "rounds"), [("hinge", 1000), ("least-squares", 600)])
@pytest.mark.parametrize("trouble", ["late", "lost"])
def test_late_and_lost_messages_change_the_way_of_dmtrl_and_not_the_end(kind, rounds, trouble):
    graph = SHAPES["random"]
    here = problem(kind, graph, 1.0, 0.1)

    def late(round, source, target):
        return min(round, (round * 5 + source * 3 + target) % 8)

    def lost(round, source, target):
        return -1 if (round * 7 + source * 5 + target) % 10 < 3 else 0

    link = late if trouble == "late" else lost
    states = simulate(network(graph, DMTRL(), here.tasks, ageing=link, reach=7), rounds)
    assert abs(excess(here, models(states))) < 1e-8


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_pmtl_ends_at_the_minimiser(kind, shape):
    graph = SHAPES[shape]
    here = problem(kind, graph, 1.0, 0.1)
    each = max(1, len(PMTL().charted(chart(graph)).values))
    assert abs(excess(here, solved(here, graph, PMTL(), each * STEPS[kind]))) < 1e-8


@pytest.mark.parametrize("method", [DMTRL(), PMTL()], ids=["dmtrl", "pmtl"])
@pytest.mark.parametrize("kind", ["hinge", "logistic"])
def test_duals_are_feasible_in_every_round(method, kind):
    graph = SHAPES["random"]
    here = problem(kind, graph, 1.0, 0.1)

    def look(rank, state, inbox):
        seen.append(here.tasks[rank].conjugate(state.model.alpha))

    seen: list[float] = []
    simulate(network(graph, method, here.tasks), 60, look)
    assert np.isfinite(seen).all()
    assert len(seen) == 8 * 61
    assert min(seen) < -0.01


@pytest.mark.parametrize("sigma", [0.03, 3.0])
def test_any_dual_step_ends_there(sigma):
    graph = SHAPES["grid"]
    here = problem("least-squares", graph, 0.3, 0.2)
    assert abs(excess(here, solved(here, graph, DMTRL(0.3, 0.2, sigma), 1000))) < 1e-8


def test_dmtrl_needs_no_floor():
    """With delta = 0 and l2 = 0 nothing but the data holds the models."""
    bare = tasks("least-squares", 8, l2=0.0)
    graph = SHAPES["ring"]
    here = Problem(bare, problem("least-squares", graph, 1.0, 0.0).coupling)
    assert abs(excess(here, solved(here, graph, DMTRL(delta=0.0), 700))) < 1e-8


@pytest.mark.parametrize("shape", ["ring", "star", "grid", "small world", "random", "weighted", "pair", "alone"])
@pytest.mark.parametrize("kind", ["hinge", "least-squares"])
def test_every_iterate_of_pmtl_is_that_of_fista_on_the_whole_dual(kind, shape):
    graph = SHAPES[shape]
    here = problem(kind, graph, 0.7, 0.2)
    method = PMTL(0.7, 0.2).charted(chart(graph))
    each = max(1, len(method.values))
    kept: dict[int, list] = {}

    def keep(rank, state, inbox):
        kept.setdefault(state.view.round, []).append(state.model)

    simulate(network(graph, method, here.tasks), 40 * each, keep)
    central = fista(here, 0.7 * 0.2, 40)
    for step, (w, alphas) in enumerate(central, start=1):
        found = kept[step * each]
        assert np.allclose([state.x for state in found], w, rtol=0, atol=1e-11)
        for state, alpha in zip(found, alphas, strict=True):
            assert np.allclose(state.alpha, alpha, rtol=0, atol=1e-11)


def test_the_solve_of_pmtl_keeps_rounding_small_on_a_large_graph_with_a_bad_condition():
    """20 eigenvalues, the largest 3600 times the smallest."""
    graph = nx.cycle_graph(40)
    here, method = problem("least-squares", graph, 100.0, 1e-3), PMTL(100.0, 1e-3).charted(chart(graph))
    assert len(method.values) == 20
    w = solved(here, graph, method, 10 * 20)
    assert np.allclose(w, fista(here, 100.0 * 1e-3, 10)[-1][0], rtol=0, atol=1e-12)


def fista(here: Problem, floor: float, steps: int):
    """W(alpha_k) and alpha_(k + 1) of each step, all tasks in one place, by a dense inverse."""
    ridge = here.tasks[0].settings.l2
    inverse = np.linalg.inv(here.coupling + ridge * np.eye(len(here.tasks)))
    rows = [task.parts.train.x for task in here.tasks]
    curves = [np.linalg.eigvalsh(x.T @ x)[-1] / len(x) / (floor + ridge) for x in rows]

    def solve(alphas):
        return inverse @ np.stack([x.T @ alpha / len(x) for x, alpha in zip(rows, alphas, strict=True)])

    alphas = ahead = [np.zeros(len(x)) for x in rows]
    t, turn, found = 1.0, 0.0, []
    for _ in range(steps):
        w, past = solve(ahead), alphas
        model = solve(past)
        alphas = [
            task.dual_steps(a, x @ own, q)
            for task, a, x, own, q in zip(here.tasks, ahead, rows, w, curves, strict=True)
        ]
        t = 1.0 if turn > 1e-15 else t
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        turn = sum(q / len(a) * (b - a) @ (a - c) for q, b, a, c in zip(curves, ahead, alphas, past, strict=True))
        ahead = [a + (t - 1) / later * (a - c) for a, c in zip(alphas, past, strict=True)]
        t = later
        found.append((model, alphas))
    return found


def test_learned_relations_are_the_replicated_master_of_the_joint_problem():
    here = chart(SHAPES["ring"])
    made = DMTRL(0.3, 0.2, relations="learned").charted(here)
    assert made == Replicated(Relationship(0.3, 0.3 * 0.2), here)
    one = DMTRL()
    assert one.charted(here) is one


def test_learned_relations_are_the_best_for_the_models_and_the_models_for_them():
    graph, strength, delta = nx.path_graph(3), 0.01, 0.3  # weak: W keeps its rank, and Omega an inverse
    many = tasks("least-squares", 3)
    w = solved(Problem(many, np.zeros((3, 3))), graph, DMTRL(strength, delta, relations="learned"), 900)
    values, vectors = np.linalg.eigh(w @ w.T)
    root = (vectors * np.sqrt(values)) @ vectors.T
    omega = root / np.trace(root)
    for t, task in enumerate(many):
        force = strength * np.linalg.solve(omega, w)[t] + strength * delta * w[t]
        assert np.allclose(task.grad(w[t]) + force, 0, atol=1e-8)
    least = np.trace(np.linalg.solve(omega, w @ w.T))
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = rng.standard_normal((3, 3))
        other = other @ other.T
        assert np.trace(np.linalg.solve(other / np.trace(other), w @ w.T)) >= least - 1e-12


@pytest.mark.parametrize("method", [DMTRL(), PMTL()], ids=["dmtrl", "pmtl"])
def test_float32_stays_and_comes_near(method):
    graph = SHAPES["ring"]
    here = problem("hinge", graph, 1.0, 0.1)
    single = tasks("hinge", 8, dtype=np.float32)
    states = simulate(network(graph, method, single, dtype=np.float32), 1500)
    arrays = [value for state in states for value in state.model if isinstance(value, np.ndarray)]
    assert {value.dtype for value in arrays} == {np.dtype(np.float32)}
    assert abs(excess(here, models(states).astype(np.float64))) < 1e-5


def test_pmtl_asks_for_a_floor_and_for_links():
    graph = nx.path_graph(2)
    with pytest.raises(ConfigError, match="strength delta \\+ l2 above 0"):
        simulate(network(graph, PMTL(delta=0.0), tasks("least-squares", 2, l2=0.0)), 1)
    graph.edges[0, 1]["weight"] = 0.0
    with pytest.raises(ConfigError, match="edge weights above 0"):
        PMTL().charted(chart(graph))


@pytest.mark.parametrize(
    ("piece", "bad"),
    [
        (DMTRL, {"strength": -1.0}),
        (DMTRL, {"sigma": 0.0}),
        (DMTRL, {"sigma": np.inf}),
        (DMTRL, {"relations": "other"}),
        (PMTL, {"delta": np.nan}),
        (PMTL, {"strength": -1.0}),
    ],
)
def test_settings_that_mean_nothing_are_refused(piece, bad):
    with pytest.raises(ConfigError, match=f"'{piece.__name__.lower()}' has"):
        piece(**bad)
