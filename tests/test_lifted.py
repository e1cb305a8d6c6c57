"""Lifted forms on graphs: the central minimiser, found by neighbours alone, and what stays zero on the way."""

from __future__ import annotations

from functools import cache

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import CentralFISTA, Problem, problem
from dmtl.algorithms.dadmm import DADMM, ADMMEngine
from dmtl.algorithms.dirty import DirtyModel
from dmtl.algorithms.engines import lifted
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.mean_regularised import MeanRegularised
from dmtl.algorithms.nids import NIDS
from dmtl.algorithms.proximal_extra import Extra, ProximalExtra
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.lifts.find import lift_of
from dmtl.penalties.norms import Columns, Entries, Peaks, Rows
from dmtl.penalties.penalty import columns
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures
from dmtl.simulator import simulate
from dmtl.specs import describe, make, parse
from dmtl.tasks.logistic import Logistic
from tests.networks import network, quadratics

SHAPES = {
    "ring": nx.cycle_graph,
    "star": lambda n: nx.star_graph(n - 1),
    "grid": lambda n: nx.convert_node_labels_to_integers(nx.grid_2d_graph(2, n // 2)),
    "small world": lambda n: nx.watts_strogatz_graph(n, 4, 0.3, seed=1),
    "random": lambda n: nx.gnp_random_graph(n, 0.5, seed=3),
}
PENALTIES = [
    Mean(0.5),
    Rows(0.4),
    Rows(1.5),
    Peaks(0.5),
    LowRank(1.5),
    SquaredNuclear(0.2),
    Relationship(0.2, 0.1),
    Clustered(2, 0.4, 0.5),
    Dirty(0.9, 0.3),
    Robust(1.0, 1.0),
    RobustFeatures(1.0, 0.8),
]
ENGINES = ["nids", "pg-extra", "dadmm"]
GAP = 1e-8


@cache
def logistics(n: int) -> list:
    """Two classes, 40 rows and 3 features on each rank."""
    rng, tasks = np.random.default_rng(3), []
    for _ in range(n):
        x = rng.standard_normal((40, 3))
        y = (x @ rng.standard_normal(3) + rng.standard_normal(40) > 0).astype(float)
        tasks.append(Logistic(l2=0.1).build(Dataset(x, y, x[:0], y[:0], x[:0], y[:0], classes=2)))
    return tasks


def least(here: Problem) -> np.ndarray:
    """W (D, T) that the proximal gradient map leaves where it is, to 1e-12."""
    step = 1 / here.steepness
    method = CentralFISTA(here.penalty)
    whole = method.begin(here, np.zeros((here.penalty.copies * here.tasks[0].dim, len(here.tasks))))
    for _ in range(20_000):
        whole = method.move(here, whole)
        if np.abs(here.penalty.prox(whole.w - step * here.grad(whole.w), step) - whole.w).max() <= 1e-12:
            return whole.w
    raise AssertionError("the oracle does not come to an end")


def whole(method: Lifted, states) -> np.ndarray:
    """W (D, T)."""
    return np.stack([method.column(state.model) for state in states], axis=1)


def gap(here: Problem, method: Lifted, states, best: float) -> float:
    """How far the objective of the original problem is above its least, relatively."""
    w = whole(method, states)
    models = np.stack([state.x for state in states], axis=1)
    assert np.allclose(columns(w, here.penalty.copies), models, rtol=0, atol=1e-12)
    return (here.objective(w) - best) / abs(best)


def reach(graph: nx.Graph, method: Lifted, tasks, here: Problem, rounds: int = 3000) -> np.ndarray:
    """Go on until the gap is closed; W (D, T)."""
    best = here.objective(least(here))
    nodes, states, done = network(graph, method, tasks), None, 0
    while done < rounds:
        done += 60
        states = simulate(nodes, done, states=states)
        found = gap(here, method, states, best)
        assert found >= -1e-12
        if found <= GAP:
            return whole(method, states)
    raise AssertionError(f"after {rounds} rounds the gap is {found}")


def pairing():
    """Each penalty on each graph with each engine; without the slow ones on one, graphs and engines in turn."""
    for i, penalty in enumerate(PENALTIES):
        for j, shape in enumerate(SHAPES):
            for engine in ENGINES:
                fast = engine == ("dadmm" if i in (0, 3) else ENGINES[i % 2])
                marks = () if fast and (i + j) % 5 == 0 else pytest.mark.slow
                yield pytest.param(penalty, shape, engine, marks=marks, id=f"{penalty}, {shape}, {engine}")


@pytest.mark.parametrize(("penalty", "shape", "engine"), list(pairing()))
def test_eight_tasks_come_to_the_least_objective_of_the_original_problem(penalty, shape, engine):
    graph, tasks = SHAPES[shape](8), quadratics(8)
    here = chart(graph)
    reach(graph, lifted(penalty, engine, here), tasks, problem(tasks, penalty, here))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_so_do_two(penalty, engine):
    graph, tasks = nx.path_graph(2), quadratics(2)
    here = chart(graph)
    reach(graph, lifted(penalty, engine, here), tasks, problem(tasks, penalty, here))


@pytest.mark.parametrize("penalty", [Mean(0.5), Rows(1.5), Peaks(0.5)], ids=str)
@pytest.mark.parametrize("shape", ["small world", "random"])
def test_so_do_twenty(penalty, shape):
    graph, tasks = SHAPES[shape](20), quadratics(20)
    here = chart(graph)
    reach(graph, lifted(penalty, "nids", here), tasks, problem(tasks, penalty, here))


@pytest.mark.parametrize(
    ("penalty", "engine"),
    [
        (Mean(0.1), "extra"),
        (Rows(0.2), "nids"),
        (Peaks(0.2), "dadmm"),
        (LowRank(0.2), "pg-extra"),
        (Clustered(2, 0.1, 0.5), "nids"),
        (Dirty(0.2, 0.05), "nids"),
        (Robust(0.2, 0.3), "nids"),
    ],
    ids=str,
)
def test_so_do_tasks_that_are_not_quadratic(penalty, engine):
    graph, tasks = SHAPES["small world"](8), logistics(8)
    here = chart(graph)
    reach(graph, lifted(penalty, engine, here), tasks, problem(tasks, penalty, here))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("penalty", [Rows(1.5), SquaredNuclear(0.2), Dirty(0.9, 0.3)], ids=str)
def test_the_duals_add_up_to_zero_in_every_round(penalty, engine):
    """Also where tasks are of very different steepness, and with several copies on a rank."""
    graph, tasks = SHAPES["star"](6), [*quadratics(3), *quadratics(3, seed=1)]
    object.__setattr__(tasks[2], "hessian", 5 * tasks[2].hessian)
    object.__setattr__(tasks[2], "values", 5 * tasks[2].values)
    kept: dict[int, list] = {}
    nodes = network(graph, lifted(penalty, engine, chart(graph)), tasks)
    simulate(nodes, 60, lambda rank, state, inbox: kept.setdefault(state.view.round, []).append(state.model.inner.y))
    sizes = [np.abs(duals).max() for duals in kept.values()]
    assert max(sizes) > 0.1
    assert all(np.abs(np.sum(duals, axis=(0, 1))).max() <= 1e-13 * (1 + max(sizes)) for duals in kept.values())


@pytest.mark.parametrize(
    ("engine", "rounds"),
    [("nids", 900), *(pytest.param(engine, 2000, marks=pytest.mark.slow) for engine in ENGINES[1:])],
)
def test_features_that_no_task_needs_are_exactly_zero_on_all_ranks(engine, rounds):
    graph, tasks = SHAPES["random"](8), quadratics(8)
    here = chart(graph)
    central = least(problem(tasks, Rows(6.0), here))
    zero = ~central.any(axis=1)
    assert 0 < zero.sum() < 4
    states = simulate(network(graph, lifted(Rows(6.0), engine, here), tasks), rounds)
    assert np.array_equal(~np.stack([state.x for state in states], axis=1).any(axis=1), zero)


@pytest.mark.parametrize("engine", ["nids", *(pytest.param(engine, marks=pytest.mark.slow) for engine in ENGINES[1:])])
def test_the_same_models_on_every_graph(engine):
    tasks, ends = quadratics(8), []
    for shape in SHAPES.values():
        graph = shape(8)
        method = lifted(Rows(1.5), engine, chart(graph))
        ends.append(whole(method, simulate(network(graph, method, tasks), 400 if engine == "nids" else 1000)))
    assert all(np.allclose(ends[0], end, rtol=0, atol=1e-7) for end in ends[1:])


@pytest.mark.parametrize("method", [NIDS(), Extra(), ProximalExtra(), DADMM()], ids=lambda piece: type(piece).__name__)
def test_without_a_penalty_all_ranks_reach_the_one_minimiser_of_the_sum(method):
    graph, tasks = SHAPES["ring"](8), quadratics(8)
    best = np.linalg.solve(sum(task.hessian for task in tasks), sum(task.hessian @ task.b for task in tasks))
    states = simulate(network(graph, method, tasks), 400)
    assert np.allclose([state.x for state in states], best, rtol=0, atol=1e-9)


@pytest.mark.parametrize("piece", [NIDS, ProximalExtra, DADMM])
@pytest.mark.parametrize("penalty", [Entries(3.0), Columns(2.0)], ids=str)
def test_one_model_for_all_pays_its_penalty_once(piece, penalty):
    """The oracle is a proximal gradient method on the sum of all losses."""
    graph, tasks = SHAPES["random"](8), quadratics(8)
    x, step = np.zeros(4), 1 / sum(task.smoothness for task in tasks)
    for _ in range(2000):
        x = penalty.prox((x - step * sum(task.grad(x) for task in tasks))[:, None], step)[:, 0]
    assert x.any()
    states = simulate(network(graph, piece(penalty, True), tasks), 500)
    assert np.allclose([state.x for state in states], x, rtol=0, atol=1e-9)


def test_nids_makes_the_papers_steps():
    """v+ = v - x + W (2 x - x- - a grad s + a grad s-), all ranks at once, against the primal-dual form."""
    graph, tasks, penalty = SHAPES["random"](8), quadratics(8), Rows(0.4)
    here, lift = chart(graph), lift_of(Rows(0.4), 8)
    nodes = network(graph, NIDS(penalty), tasks)
    mixing = np.zeros((8, 8))
    for rank, node in enumerate(nodes):
        mixing[rank, [rank, *node.view.sources]] = node.view.weights
    mixing, a = (np.eye(8) + mixing) / 2, 1 / max(task.smoothness for task in tasks)

    def gradient(w):
        return np.stack([task.grad(row) for task, row in zip(tasks, w, strict=True)])

    def near(w, v):
        found = [lift.prox(row, shared[None], a) for row, shared in zip(w, v, strict=True)]
        return np.stack([u for u, _ in found]), np.stack([z[0] for _, z in found])

    before = z = v = np.zeros((8, 4))
    w, z = near(-a * gradient(np.zeros((8, 4))), v)
    for _ in range(30):
        v = v - z + mixing @ (2 * z - before)  # the gradient by z is 0
        before = z
        w, z = near(w - a * gradient(w), v)
    states = simulate(nodes, here.diameter + 30)
    assert np.allclose([state.x for state in states], w, rtol=0, atol=1e-12)
    assert np.allclose([state.model.inner.z[0] for state in states], z, rtol=0, atol=1e-12)


def test_extra_makes_the_papers_steps():
    """x++ = (I + W) x+ - (I + W) / 2 x - a (grad f(x+) - grad f(x)), W = (I + M) / 2."""
    graph, tasks = SHAPES["grid"](8), quadratics(8)
    nodes = network(graph, Extra(), tasks)
    mixing = np.zeros((8, 8))
    for rank, node in enumerate(nodes):
        mixing[rank, [rank, *node.view.sources]] = node.view.weights
    mixing, a = (np.eye(8) + mixing) / 2, 1 / max(task.smoothness for task in tasks)

    def gradient(w):
        return np.stack([task.grad(row) for task, row in zip(tasks, w, strict=True)])

    x = np.zeros((8, 4))
    after = mixing @ x - a * gradient(x)
    for _ in range(30):
        both = after + mixing @ after - (x + mixing @ x) / 2 - a * (gradient(after) - gradient(x))
        x, after = after, both
    states = simulate(nodes, chart(graph).diameter + 31)
    assert np.allclose([state.x for state in states], after, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [0.1, 10.0])
def test_admm_converges_for_any_weight_of_its_edges(rho):
    graph, tasks = SHAPES["small world"](8), quadratics(8)
    here = chart(graph)
    method = Lifted(ADMMEngine(rho), lift_of(Mean(0.5), 8), here)
    reach(graph, method, tasks, problem(tasks, Mean(0.5), here))


@pytest.mark.parametrize("engine", ["nids", "pg-extra", "dadmm"])
def test_the_dirty_model_finds_what_is_shared_and_what_is_own(engine):
    graph, tasks = SHAPES["ring"](8), quadratics(8)
    here = chart(graph)
    method = DirtyModel(0.9, 0.3, engine).charted(here)
    found = reach(graph, method, tasks, problem(tasks, Dirty(0.9, 0.3), here))
    central = least(problem(tasks, Dirty(0.9, 0.3), here))
    assert np.allclose(columns(found, 2), columns(central, 2), atol=1e-3)


@pytest.mark.parametrize("engine", ["nids", "pg-extra", "extra", "dadmm"])
def test_mean_regularised_models_solve_their_equations(engine):
    """H_t (w_t - b_t) + strength (w_t - mean) = 0 for all t, as one linear system."""
    graph, tasks = SHAPES["star"](8), quadratics(8)
    near = np.kron(np.eye(8) - np.full((8, 8), 1 / 8), 0.7 * np.eye(4))
    right = np.concatenate([task.hessian @ task.b for task in tasks])
    for rank, task in enumerate(tasks):
        near[4 * rank : 4 * rank + 4, 4 * rank : 4 * rank + 4] += task.hessian
    states = simulate(network(graph, MeanRegularised(0.7, engine), tasks), 500)
    assert np.allclose([state.x for state in states], np.linalg.solve(near, right).reshape(8, 4), rtol=0, atol=1e-9)


def test_engines_and_penalties_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match=r"unknown engine of 'dirty' 'nid'. Did you mean 'nids'\?"):
        DirtyModel(engine="nid")
    with pytest.raises(ConfigError, match=r"'extra' has penalty=Dirty.*not smooth"):
        DirtyModel(engine="extra")
    with pytest.raises(ConfigError, match=r"'extra' has penalty=Rows.*not smooth"):
        Extra(Rows())
    with pytest.raises(ConfigError, match=r"rho=0\.0. rho is a finite number above 0"):
        DADMM(rho=0.0)
    with pytest.raises(ConfigError, match="has no lifted form"):
        ProximalExtra(Entries())


def test_a_penalty_that_may_be_left_out_is_a_piece_in_a_spec():
    piece = make("algorithm", parse("dadmm:penalty=(l21:strength=0.2),rho=2", "--algorithm"))
    assert piece == DADMM(Rows(0.2), rho=2.0)
    assert make("algorithm", describe("algorithm", piece)) == piece
    assert make("algorithm", parse("nids", "--algorithm")) == NIDS()
    assert "penalty" not in describe("algorithm", NIDS())
