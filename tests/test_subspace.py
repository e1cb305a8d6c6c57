"""A common subspace without a master: pursuit, and Frank-Wolfe on the ball of the trace norm."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.frank_wolfe import FrankWolfe
from dmtl.algorithms.power import common_direction
from dmtl.algorithms.pursuit import DGSP, DNSP
from dmtl.algorithms.refit import refit
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from tests.networks import network, quadratics

SHAPES = {"ring": nx.cycle_graph(8), "star": nx.star_graph(7), "complete": nx.complete_graph(8)}
D, RANK = 6, 3


def logistics(count: int = 8, seed: int = 0):
    rng, none = np.random.default_rng(seed), np.zeros((0, D))
    made = []
    for _ in range(count):
        x = rng.standard_normal((40, D))
        y = (x @ rng.standard_normal(D) + rng.logistic(size=40) > 0) * 1.0
        data = Dataset(x, y, none, np.zeros(0), none, np.zeros(0), classes=2)
        made.append(Logistic(l2=0.01, bias=False).build(data))
    return made


def loss(tasks, w) -> float:
    return sum(task.loss(column) for task, column in zip(tasks, w.T, strict=True))


def grads(tasks, w) -> np.ndarray:
    return np.stack([task.grad(column) for task, column in zip(tasks, w.T, strict=True)], axis=1)


def least(task, basis) -> np.ndarray:
    """The minimiser of a task on a subspace, by Newton's method without any care."""
    v = np.zeros(basis.shape[1])
    for _ in range(30):
        hessian = basis.T @ task.curvature(basis @ v) @ basis
        v = v - np.linalg.solve(hessian, basis.T @ task.grad(basis @ v))
    return basis @ v


def central(tasks, rank: int, damping: float | None):
    """Basis, models and spectral norm of the gradients of the central pursuit, by singular value decompositions."""
    basis, w = np.zeros((D, 0)), np.zeros((D, len(tasks)))
    for _ in range(rank):
        g = grads(tasks, w)
        if damping is not None:
            for t, task in enumerate(tasks):
                hessian = task.curvature(w[:, t])
                g[:, t] = np.linalg.solve(hessian + damping * np.linalg.norm(hessian, 2) * np.eye(D), g[:, t])
        u = np.linalg.svd(g)[0][:, :1]
        basis = np.linalg.qr(np.concatenate([basis, u], axis=1))[0]
        w = np.stack([least(task, basis) for task in tasks], axis=1)
    return basis, w, np.linalg.norm(grads(tasks, w), 2)


def pursued(graph, tasks, method):
    """The states of all ranks at the end of a pursuit."""
    return simulate(network(graph, method, tasks), len(chart(graph).spectrum) * method.power_steps * (method.rank + 1))


@pytest.mark.parametrize("make", [quadratics, logistics])
@pytest.mark.parametrize(("kind", "damping"), [(DGSP, None), (DNSP, 1e-3)])
@pytest.mark.parametrize("shape", ["ring", "complete"])
def test_the_subspace_is_that_of_a_server_which_sees_all_gradients(shape, kind, damping, make):
    tasks = make(8, D) if make is quadratics else make()
    basis, w, norm = central(tasks, RANK, damping)
    steps = 500 if shape == "complete" else 300
    states = pursued(SHAPES[shape], tasks, kind(RANK, steps))
    close = 1e-8 if shape == "complete" or kind is DGSP else 1e-4
    for t, state in enumerate(states):
        found = state.model.basis
        np.testing.assert_allclose(found.T @ found, np.eye(RANK), rtol=0, atol=1e-12)
        assert np.linalg.norm(found - basis @ (basis.T @ found), 2) < close
        np.testing.assert_allclose(state.x, w[:, t], rtol=0, atol=10 * close)
        assert np.isclose(state.model.norm, norm, rtol=close)
    ours = np.stack([state.x for state in states], axis=1)
    assert np.isclose(loss(tasks, ours), loss(tasks, w), rtol=close)


@pytest.mark.parametrize("kind", [DGSP, DNSP])
def test_each_column_lowers_the_objective_and_all_of_them_leave_each_task_its_own(kind):
    tasks = quadratics(8, D)
    ends = [pursued(SHAPES["star"], tasks, kind(rank, 30)) for rank in range(1, D + 2)]
    values = [loss(tasks, np.stack([state.x for state in states], axis=1)) for states in ends]
    assert all(late < early for early, late in pairwise(values[:D]))
    assert values[D] < 1e-20
    assert values[D - 1] < 1e-20
    assert not ends[-1][0].model.basis[:, -1].any() or kind is DNSP


def test_the_norm_bounds_how_much_lower_any_matrix_can_be():
    tasks, rng = quadratics(8, D), np.random.default_rng(0)
    states = pursued(SHAPES["complete"], tasks, DGSP(2, 500))
    here, norm = loss(tasks, np.stack([state.x for state in states], axis=1)), states[0].model.norm
    best = np.stack([task.b for task in tasks], axis=1)
    for _ in range(50):
        other = best * rng.uniform(0, 1.2) + rng.uniform(0, 0.3) * rng.standard_normal(best.shape)
        assert loss(tasks, other) >= here - norm * np.linalg.norm(other, "nuc") - 1e-12


def test_nothing_changes_after_the_last_column():
    tasks, method = quadratics(8, D), DGSP(2, 3)
    nodes = network(SHAPES["ring"], method, tasks)
    end = simulate(nodes, 4 * 3 * 3)
    later = simulate(nodes, 4 * 3 * 3 + 5)
    assert all(
        np.array_equal(one.x, other.x) and one.model.norm == other.model.norm
        for one, other in zip(end, later, strict=True)
    )


def test_a_network_that_has_nothing_to_learn_stays_at_zero():
    tasks = [type(task)(task.hessian, np.zeros(D)) for task in quadratics(8, D)]
    for method in (DGSP(2, 3), DNSP(2, 3)):
        assert not any(state.x.any() or state.model.basis.any() for state in pursued(SHAPES["ring"], tasks, method))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_a_refit_is_stationary_on_the_subspace_even_where_columns_are_zero(ridge):
    rng = np.random.default_rng(1)
    for task in (*quadratics(2, D), *logistics(2)):
        basis = np.linalg.qr(rng.standard_normal((D, RANK)))[0]
        basis[:, -1] = 0
        v = refit(task, basis, rng.standard_normal(RANK) * [30, 30, 0], ridge)
        np.testing.assert_allclose(basis.T @ task.grad(basis @ v), -ridge * v, rtol=0, atol=1e-12)


def stepped(tasks, radius: float, steps: int, direction=None) -> list[tuple[np.ndarray, float]]:
    """The iterates of the central Frank-Wolfe and the gap before each; ``direction`` finds u, else it is exact."""
    w, found = np.zeros((D, len(tasks))), []
    for k in range(steps):
        g = grads(tasks, w)
        u = np.linalg.svd(g)[0][:, 0] if direction is None else direction(g)
        c = g.T @ u
        gap = float(np.sum(g * w)) + radius * np.linalg.norm(g @ c) / np.linalg.norm(c)
        w = (1 - 2 / (k + 2)) * w - 2 / (k + 2) * radius * np.outer(u, c) / np.linalg.norm(c)
        found.append((w, gap))
    return found


def iterates(graph, tasks, method, steps: int) -> list[tuple[np.ndarray, float]]:
    """Those of the network."""
    every = len(chart(graph).spectrum) * method.power_steps
    kept: dict[int, list] = {}

    def keep(rank, now, inbox):
        if now.view.round % every == 0 and now.view.round:
            kept.setdefault(now.view.round, []).append(now.model)

    simulate(network(graph, method, tasks), every * steps, keep)
    return [(np.stack([model.x for model in models], axis=1), models[0].gap) for models in kept.values()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [quadratics, logistics])
def test_every_iterate_is_that_of_the_central_method_with_the_same_power_steps(shape, make):
    tasks, method = make(8, D) if make is quadratics else make(), FrankWolfe(4.0, 4)
    warm = common_direction(np.zeros(D), network(SHAPES[shape], method, tasks)[0].view, 0)

    def direction(g):
        nonlocal warm
        for _ in range(3):
            warm = g @ (g.T @ warm)
            warm /= np.linalg.norm(warm)
        u, warm = warm, g @ (g.T @ warm)
        warm /= np.linalg.norm(warm)
        return u

    wanted, found = stepped(tasks, 4.0, 20, direction), iterates(SHAPES[shape], tasks, method, 20)
    for (w, gap), (ours, bound) in zip(wanted, found, strict=True):
        np.testing.assert_allclose(ours, w, rtol=0, atol=1e-9)
        assert np.isclose(bound, gap, rtol=0, atol=1e-9)


def best(tasks, radius: float) -> float:
    """The least value on the ball, by projected gradients with momentum."""
    w = z = np.zeros((D, len(tasks)))
    step = 1 / max(task.smoothness for task in tasks)
    for k in range(3000):
        u, s, vt = np.linalg.svd(z - step * grads(tasks, z), full_matrices=False)
        if s.sum() > radius:
            levels = (np.cumsum(s) - radius) / np.arange(1, len(s) + 1)
            s = np.maximum(s - levels[np.flatnonzero(s > levels)[-1]], 0)
        after = (u * s) @ vt
        z = after + k / (k + 3) * (after - w)
        w = after
    return loss(tasks, w)


@pytest.mark.parametrize("make", [quadratics, logistics])
def test_with_exact_directions_the_gap_holds_and_the_objective_comes_as_near_as_promised(make):
    tasks = make(8, D) if make is quadratics else make()
    graph, radius, steps = SHAPES["complete"], 4.0, 12
    wanted, found = stepped(tasks, radius, steps), iterates(graph, tasks, FrankWolfe(radius, 400), steps)
    least_value, steepest = best(tasks, radius), max(task.smoothness for task in tasks)
    before = loss(tasks, np.zeros((D, 8)))
    for k, ((w, gap), (ours, bound)) in enumerate(zip(wanted, found, strict=True)):
        np.testing.assert_allclose(ours, w, rtol=0, atol=1e-9)
        assert np.isclose(bound, gap, rtol=1e-9)
        assert bound >= before - least_value - 1e-12
        before = loss(tasks, ours)
        assert -1e-12 <= before - least_value <= 8 * steepest * radius**2 / (k + 3)
        assert np.linalg.norm(ours, "nuc") <= radius + 1e-12
        assert np.linalg.matrix_rank(ours) <= k + 1


@pytest.mark.parametrize(
    ("piece", "wrong"),
    [
        (DGSP, {"rank": 0}),
        (DGSP, {"power_steps": 0}),
        (DNSP, {"rank": 0}),
        (DNSP, {"damping": 0.0}),
        (FrankWolfe, {"radius": 0.0}),
        (FrankWolfe, {"power_steps": 0}),
    ],
)
def test_settings_out_of_range_are_refused(piece, wrong):
    with pytest.raises(ConfigError, match=rf"^'[a-z-]+' has {next(iter(wrong))}="):
        piece(**wrong)
