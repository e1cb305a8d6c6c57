"""Named systems on the replicated master: each is its own problem's minimiser, and knows what it says that it knows."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import CentralFISTA, Problem, problem
from dmtl.algorithms.clustered import ClusteredMTL, Hierarchical
from dmtl.algorithms.joint_sparse import JointSparse
from dmtl.algorithms.relationship import Relationship
from dmtl.algorithms.robust_mtl import RMTFL, RobustMTL
from dmtl.algorithms.smtl import SMTL
from dmtl.algorithms.trace_norm import TraceNorm
from dmtl.build import plan
from dmtl.config import load
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.penalties.network import Fused
from dmtl.penalties.norms import Peaks, Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank
from dmtl.penalties.spectral import Relationship as Relations
from dmtl.penalties.sums import Robust, RobustFeatures
from dmtl.penalties.tree import Tree
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from tests.networks import GRAPHS, network, quadratics

SYSTEMS = [
    (ClusteredMTL(3, 0.4, 0.2), Clustered(3, 0.4, 0.2)),
    (Hierarchical("0-3|4-7/0-1|2-3", 0.5, 0.2, 0.1), Tree("0-3|4-7/0-1|2-3", 0.5, 0.2, 0.1)),
    (JointSparse(0.3), Rows(0.3)),
    (Relationship(0.2, 0.1), Relations(0.2, 0.1)),
    (RMTFL(0.4, 0.3), RobustFeatures(0.4, 0.3)),
    (RobustMTL(0.4, 0.3), Robust(0.4, 0.3)),
    (SMTL(Mean(0.5)), Mean(0.5)),
    (SMTL(LowRank(0.3), accelerate=True), LowRank(0.3)),
    (TraceNorm(0.3), LowRank(0.3)),
]


def logistics(n: int, d: int = 5) -> list:
    tasks = []
    for rank in range(n):
        rng = np.random.default_rng([8, rank])
        x = rng.standard_normal((30, d))
        y = (x @ rng.standard_normal(d) + 0.5 * rng.standard_normal(30) > 0).astype(float)
        none = np.empty((0, d)), np.empty(0)
        tasks.append(Logistic(l2=0.05).build(Dataset(x, y, *none, *none, classes=2)))
    return tasks


def minimiser(here: Problem) -> np.ndarray:
    """A point that the proximal gradient map leaves where it is, which nobody can do better than."""
    step, w = 1 / here.steepness, np.zeros((here.penalty.copies * here.tasks[0].dim, len(here.tasks)))
    method = CentralFISTA(here.penalty)
    whole = method.begin(here, w)
    for _ in range(5000):
        whole = method.move(here, whole)
        if np.abs(here.penalty.prox(whole.w - step * here.grad(whole.w), step) - whole.w).max() < 1e-11:
            return whole.w
    raise AssertionError("the oracle has not come to its end")


@pytest.mark.parametrize("make", [quadratics, logistics], ids=["quadratic", "logistic"])
@pytest.mark.parametrize(("system", "penalty"), SYSTEMS, ids=[type(system).__name__ for system, _ in SYSTEMS])
def test_each_system_ends_within_1e8_of_the_least_objective_of_its_problem(system, penalty, make):
    graph, tasks = GRAPHS["ring"], make(8)
    here = problem(tasks, penalty, chart(graph))
    best = minimiser(here)
    states = simulate(network(graph, system, tasks), 4 * 300 + 4)
    inner = [getattr(state.model, "inner", state.model) for state in states]
    reached, least = here.objective(np.stack([model.w for model in inner], axis=1)), here.objective(best)
    assert -1e-12 <= reached - least <= 1e-8 * least


def row(state) -> np.ndarray:
    """What a rank tells of the relations."""
    return Relationship().charted(chart(GRAPHS["pair"])).tell(state.model, state.view)["relations"]


def test_the_factorised_form_ends_where_the_replicated_one_does():
    graph, tasks = GRAPHS["random"], quadratics(8)
    here = problem(tasks, LowRank(0.6), chart(graph))
    states = simulate(network(graph, TraceNorm(0.6, "factorised", 4), tasks), 3000)
    reached, least = here.objective(np.stack([state.x for state in states], axis=1)), here.objective(minimiser(here))
    assert -1e-12 <= reached - least <= 1e-8 * least


def test_every_rank_learns_the_row_of_the_covariance_that_is_its_neighbourhoods():
    graph, tasks = GRAPHS["random"], quadratics(8)
    here = chart(graph)
    states = simulate(network(graph, Relationship(0.2), tasks), 120 * len(here.spectrum) + here.diameter)
    w = np.stack([state.x for state in states], axis=1)
    values, vectors = np.linalg.eigh(w.T @ w)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    covariance = root / np.trace(root)
    for state in states:
        rank = state.view.rank
        assert np.allclose(row(state), covariance[rank, [rank, *state.view.sources]], atol=1e-7)
    assert sum(row(state)[0] for state in states) == pytest.approx(1)  # the trace


def test_relations_tell_twins_from_opposites():
    tasks = quadratics(4)
    b = np.array([1.0, -2.0, 0.5, 1.0])
    tasks = [type(task)(np.eye(4), sign * b + 0.05 * task.b) for task, sign in zip(tasks, (1, 1, -1, -1), strict=True)]
    states = simulate(network(nx.complete_graph(4), Relationship(0.1), tasks), 200)
    signs = [np.sign(row(state)[1:]) for state in states]
    assert np.array_equal(signs, [[1, -1, -1], [1, -1, -1], [-1, -1, 1], [-1, -1, 1]])


def test_relations_are_in_the_rank_files(tmp_path):
    from click.testing import CliRunner

    from dmtl.cli import cli
    from dmtl.results import read_log

    flags = ["--data", "synthetic:rows=20,features=3", "--ranks", "4", "--topology", "ring", "--rounds", "40", "-q"]
    done = CliRunner().invoke(cli, ["run", *flags, "--algorithm", "relationship", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    last = [line for line in read_log(tmp_path / "run" / "rank-0001.jsonl")[0] if line["event"] == "round"][-1]
    assert len(last["relations"]) == 3
    assert last["relations"][0] > 0


def test_a_task_that_shares_nothing_with_the_others_is_found():
    tasks = quadratics(8)
    direction = np.array([1.0, 1.0, 0.0, 0.0])
    shared = [type(task)(np.eye(4), (rank + 1) * direction) for rank, task in enumerate(tasks)]
    shared[5] = type(tasks[5])(np.eye(4), np.array([0.0, 0.0, 6.0, -6.0]))
    states = simulate(network(GRAPHS["star"], RobustMTL(1.0, 0.8), shared), 600)
    apart = [bool(np.any(state.model.w[4:])) for state in states]
    assert apart == [rank == 5 for rank in range(8)]


def test_limits_of_a_hierarchy():
    """Cheap parts of one's own: alone. Dear ones, and dear groups: one model for all."""
    graph, tasks = GRAPHS["star"], quadratics(8)
    alone = simulate(network(graph, Hierarchical(own=1e-9), tasks), 600)
    assert np.allclose([state.x for state in alone], [task.b for task in tasks], atol=1e-6)
    pooled = simulate(network(graph, Hierarchical(own=1e9, common=1e-9), tasks), 600)
    left = sum(task.hessian for task in tasks)
    best = np.linalg.solve(left, sum(task.hessian @ task.b for task in tasks))
    assert np.allclose([state.x for state in pooled], best, atol=1e-5)


@pytest.mark.parametrize("penalty", [Peaks(0.1), Fused(0.1)])
def test_a_penalty_that_needs_more_than_a_sum_is_refused(penalty):
    with pytest.raises(ConfigError, match=r"'smtl' cannot use the penalty .* needs more of the others than one sum"):
        SMTL(penalty).charted(chart(GRAPHS["ring"]))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"task": "hinge"}, "'trace-norm' needs a task with a smooth gradient and rank 0's Hinge has none"),
        ({"link": "drop=0.1"}, "'trace-norm' counts on every link in every round, and there is link 'drop=0.1'"),
        ({"time_varying": "matching"}, "there is a time-varying graph. Leave it out"),
        ({"splits": ["0-1|2-3@1-2"]}, "there is a split"),
        ({"join": "2@2"}, "there is a late rank"),
        ({"topology": "exponential:directed=true", "weights": "uniform"}, "needs an undirected graph"),
        ({"transport": "simulated-async"}, "needs every message in its own round"),
    ],
)
def test_what_an_exact_average_cannot_be_made_with_is_refused_in_one_sentence(more, said):
    base = {"data": "synthetic:rows=20,features=3,classes=2", "ranks": 4, "algorithm": "trace-norm", "rounds": 5}
    if more.get("task") != "hinge":
        base["data"] = "synthetic:rows=20,features=3"
    with pytest.raises(CompatibilityError, match=said):
        plan(load({**base, **more})).node(0)


def test_a_liar_in_an_exact_average_is_warned_of():
    raw = {"data": "synthetic", "ranks": 4, "algorithm": "trace-norm", "byzantine": [{"count": 1, "attack": "alie"}]}
    assert any("'trace-norm' has no defence: a lie is in every average" in line for line in plan(load(raw)).warnings)
