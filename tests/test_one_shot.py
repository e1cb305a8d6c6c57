"""Methods of one exact average: a common support, and a common function."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.dinuzzo import Dinuzzo
from dmtl.algorithms.dsml import DSML
from dmtl.algorithms.lasso import inverse, lasso
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic
from tests.networks import network

SHAPES = {"ring": nx.cycle_graph(6), "star": nx.star_graph(5), "path": nx.path_graph(6), "alone": nx.empty_graph(1)}


def bound(kind, x, y, classes=0, l2=0.0):
    none = np.zeros((0, x.shape[1]))
    return kind(l2=l2, bias=False).build(Dataset(x, y, none, np.zeros(0), none, np.zeros(0), classes=classes))


def sparse(tasks: int, n: int, p: int, s: int, seed: int = 0, classes: int = 0):
    """Tasks with a common support, correlations 2^-|a-b| between features and noise of 1; the support; the truth."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p))))
    support, truth, found = rng.choice(p, s, replace=False), np.zeros((tasks, p)), []
    truth[:, support] = rng.uniform(0, 1, (tasks, s)) * (4 if classes else 1)
    for w in truth:
        x = rng.standard_normal((n, p)) @ factor.T
        noise = rng.logistic(size=n) if classes else rng.standard_normal(n)
        kind, y = (Logistic, (x @ w + noise > 0) * 1.0) if classes else (LeastSquares, x @ w + noise)
        found.append(bound(kind, x, y, classes))
    return found, set(support.tolist()), truth.T


def support(w) -> set[int]:
    return set(np.flatnonzero(w).tolist())


def f1(found: set[int], truth: set[int]) -> float:
    return 2 * len(found & truth) / (len(found) + len(truth))


@pytest.mark.parametrize(("n", "classes"), [(30, 0), (80, 2)])
@pytest.mark.parametrize("strength", [0.05, 0.2])
def test_the_lasso_meets_its_conditions_of_optimality(n, classes, strength):
    (task, *_), _, _ = sparse(1, n, 40, 5, classes=classes)
    b = lasso(task, strength, np.zeros(40))
    g, there = task.grad(b), b != 0
    assert 0 < there.sum() < 40
    np.testing.assert_allclose(g[there], -strength * np.sign(b[there]), rtol=0, atol=1e-8)
    assert np.abs(g[~there]).max() <= strength + 1e-8


def test_the_nodewise_lasso_is_an_inverse_up_to_its_slack():
    (task, *_), _, _ = sparse(1, 30, 40, 5)
    h = task.curvature(np.zeros(40))
    m = inverse(h, 0.2, 30)
    assert (np.abs(m @ h - np.eye(40)) <= 0.2 * np.diag(m)[:, None] + 1e-7).all()
    assert np.abs(m @ h - np.eye(40)).max() > 0.01
    whole = h + 0.1 * np.eye(40)
    np.testing.assert_allclose(inverse(whole, 0.2, 41) @ whole, np.eye(40), rtol=0, atol=1e-12)


def test_a_feature_that_is_always_zero_is_never_used():
    (task, *_), _, _ = sparse(1, 30, 40, 5)
    h = task.curvature(np.zeros(40)).copy()
    h[3] = h[:, 3] = 0
    assert not inverse(h, 0.2, 30)[3].any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [0, 2])
def test_the_support_is_that_of_a_server_and_the_models_are_what_the_tasks_found(shape, classes):
    graph = SHAPES[shape]
    tasks, _, _ = sparse(len(graph), 400 if classes else 150, 30, 4, seed=1, classes=classes)
    for settings in ({}, {"threshold": 0.7, "lam": 0.05}):
        nodes = network(graph, DSML(**settings), tasks)
        starts = [node.start() for node in nodes]
        alone = np.array([start.model.u for start in starts])
        variances = [start.model.mean.x[-1] for start in starts]
        states = simulate(nodes, len(chart(graph).spectrum) + 3, states=starts)
        n, features = len(graph), np.log(30)
        default = np.sqrt(np.mean(variances) * (n + 2 * np.sqrt(n * features) + 2 * features))
        kept = np.sqrt((alone**2).sum(axis=0)) > settings.get("threshold", default)
        assert 0 < kept.sum() < 30
        for state, u in zip(states, alone, strict=True):
            assert np.array_equal(state.x, np.where(kept, u, 0))


def test_with_more_rows_than_features_the_lasso_leaves_no_trace():
    tasks, _, _ = sparse(6, 60, 30, 4)
    for lam in (0.0, 0.3):
        for node, task in zip(network(SHAPES["ring"], DSML(lam=lam), tasks), tasks, strict=True):
            least = np.linalg.lstsq(task.parts.train.x, task.parts.train.y)[0]
            np.testing.assert_allclose(node.start().model.u, least, rtol=0, atol=1e-8)


def test_together_tasks_find_features_that_none_finds_alone():
    tasks, truth, w = sparse(10, 100, 200, 10)
    states = simulate(network(nx.cycle_graph(10), DSML(), tasks), 5)
    alone = [lasso(task, np.sqrt(2 * np.log(200) / 100), np.zeros(200)) for task in tasks]
    assert len({frozenset(support(state.x)) for state in states}) == 1
    assert f1(support(states[0].x), truth) > 0.9
    assert np.mean([f1(support(b), truth) for b in alone]) < 0.75
    together = np.linalg.norm(np.array([state.x for state in states]).T - w)
    assert together < 0.6 * np.linalg.norm(np.array(alone).T - w)


def test_logistic_tasks_find_their_features_too():
    tasks, truth, _ = sparse(6, 400, 30, 4, classes=2)
    states = simulate(network(SHAPES["ring"], DSML(), tasks), 4)
    assert f1(support(states[0].x), truth) > 0.85


def rows(count: int, d: int = 5, seed: int = 0):
    """Least-squares tasks with different numbers of rows."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 12, count)
    return [bound(LeastSquares, rng.standard_normal((n, d)), rng.standard_normal(n)) for n in sizes]


def dense(tasks, strength: float, share: float) -> np.ndarray:
    """W (d, T) from (K + strength diag(n_t)) c = y over all rows of all tasks."""
    x = np.concatenate([task.parts.train.x for task in tasks])
    y = np.concatenate([task.parts.train.y for task in tasks])
    sizes = [len(task.parts.train.y) for task in tasks]
    owner = np.repeat(np.arange(len(tasks)), sizes)
    kernel = x @ x.T * (share + (1 - share) * np.equal.outer(owner, owner))
    c = np.linalg.solve(kernel + strength * np.diag(np.repeat(sizes, sizes)), y)
    return np.stack([share * x.T @ c + (1 - share) * x[owner == t].T @ c[owner == t] for t in range(len(tasks))])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_one_average_gives_the_solution_of_the_kernel_equations(shape, share, steps):
    graph, tasks = SHAPES[shape], rows(len(SHAPES[shape]))
    method = Dinuzzo(0.2, share, steps)
    states = simulate(network(graph, method, tasks), steps * len(chart(graph).spectrum) + steps)
    np.testing.assert_allclose([state.x for state in states], dense(tasks, 0.2, share), rtol=0, atol=1e-10)


def test_share_0_learns_each_task_alone_and_share_1_all_as_one():
    tasks = rows(6)
    ends = [simulate(network(SHAPES["ring"], Dinuzzo(0.2, share), tasks), 3) for share in (0.0, 1.0)]
    for task, state in zip(tasks, ends[0], strict=True):
        np.testing.assert_allclose(task.grad(state.x), -0.2 * state.x, rtol=0, atol=1e-12)
    pooled = sum(task.grad(ends[1][0].x) for task in tasks)
    np.testing.assert_allclose(pooled, -0.2 * ends[1][0].x, rtol=0, atol=1e-12)
    assert len({state.x.tobytes() for state in ends[1]}) <= 6
    assert max(np.abs(state.x - ends[1][0].x).max() for state in ends[1]) < 1e-14


def test_for_other_losses_the_steps_are_newtons():
    tasks, _, _ = sparse(6, 40, 5, 3, classes=2)
    a, strength = 0.4, 0.3
    states = simulate(network(SHAPES["ring"], Dinuzzo(strength, a, 8), tasks), 8 * 3)
    slopes = np.array([task.grad(state.x) for task, state in zip(tasks, states, strict=True)])
    common = states[0].model.common
    np.testing.assert_allclose(slopes.sum(axis=0), -strength / a * common, rtol=0, atol=1e-10)
    for state, slope in zip(states, slopes, strict=True):
        np.testing.assert_allclose(slope, -strength / (1 - a) * (state.x - common), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("piece", "wrong"),
    [
        (DSML, {"lam": -1.0}),
        (DSML, {"threshold": np.inf}),
        (DSML, {"noise": 0.0}),
        (Dinuzzo, {"strength": 0.0}),
        (Dinuzzo, {"share": 1.1}),
        (Dinuzzo, {"steps": 0}),
    ],
)
def test_settings_out_of_range_are_refused(piece, wrong):
    with pytest.raises(ConfigError, match=rf"^'\w+' has {next(iter(wrong))}="):
        piece(**wrong)
