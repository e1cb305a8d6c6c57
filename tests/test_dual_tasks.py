"""Tasks with a dual: conjugates, dual steps, and coordinate ascent on a rank's own problem."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmtl.algorithms.coordinate_ascent import ascend, order
from dmtl.capabilities import Dual
from dmtl.registry import find, names
from tests.contracts.test_task import make
from tests.networks import quadratics

KINDS = ["hinge", "least-squares", "logistic"]
RNG = np.random.default_rng


def task(kind: str, **settings):
    if kind == "quadratic":
        return quadratics(1)[0]
    return find("task", kind)(l2=0.05, **settings).build(make(0 if kind == "least-squares" else 2))


def feasible(kind: str, task) -> np.ndarray:
    """Duals of all rows somewhere inside."""
    if kind in ("least-squares", "quadratic"):
        return RNG(1).standard_normal(len(task.rows))
    return task.parts.train.y * RNG(1).uniform(0.1, 0.9, len(task.rows))


def bare(task, w) -> float:
    """1/m sum phi_i(x_i'w)."""
    return task.loss(w) - task.ridge / 2 * w @ w


def test_linear_tasks_have_a_dual_and_softmax_has_none():
    found = {
        name
        for name in {*names("task")} - {"bearing", "torch"}
        if isinstance(find("task", name)().build(make(2)), Dual)
    }
    assert found == {*KINDS, "gp-features", "many"}  # which have what their inner task has


@pytest.mark.parametrize("kind", [*KINDS, "quadratic"])
def test_conjugate_and_loss_meet_where_the_dual_is_a_slope_and_nowhere_else(kind):
    """Fenchel and Young: phi(z) + phi*(-alpha) + alpha z >= 0, with 0 for -alpha = phi'(z)."""
    one, rng = task(kind), RNG(0)
    for _ in range(20):
        w = rng.standard_normal(one.dim)
        slope = one.grad(w) - one.ridge * w
        alpha = np.linalg.lstsq(one.rows.T / len(one.rows), -slope, rcond=None)[0]
        if kind in ("hinge", "logistic"):  # lstsq has no sense of the rows; these say it themselves
            y, z = one.parts.train.y, one.rows @ w
            alpha = y * (y * z < 1) if kind == "hinge" else y / (1 + np.exp(y * z))
            assert np.allclose(one.rows.T @ alpha / len(y), -slope, atol=1e-12)
        elif kind == "least-squares":
            alpha = one.parts.train.y - one.rows @ w
        pull = one.rows.T @ alpha / len(alpha)
        assert bare(one, w) + one.conjugate(alpha) + pull @ w == pytest.approx(0, abs=1e-11)
        other = feasible(kind, one)
        assert bare(one, w) + one.conjugate(other) + (one.rows.T @ other / len(other)) @ w > 1e-6


@pytest.mark.parametrize("kind", ["hinge", "logistic"])
def test_outside_the_box_the_conjugate_is_infinite(kind):
    one = task(kind)
    for share in (-0.01, 1.01):
        alpha = feasible(kind, one)
        alpha[3] = share * one.parts.train.y[3]
        assert one.conjugate(alpha) == math.inf
    assert np.isfinite(one.conjugate(np.zeros(len(one.rows))))
    assert np.isfinite(one.conjugate(one.parts.train.y))


@pytest.mark.parametrize("q", [1e-3, 0.3, 1.0, 40.0, 1e6])
@pytest.mark.parametrize("kind", [*KINDS, "quadratic"])
def test_a_dual_step_is_the_best_one(kind, q):
    """The sum over rows is concave in each alpha, so no change of one row may raise it."""
    one, alpha = task(kind), feasible(kind, task(kind))
    z = 3 * RNG(2).standard_normal(len(alpha))
    new = one.dual_steps(alpha, z, q)
    assert np.isfinite(one.conjugate(new))

    def value(b):
        return -one.conjugate(b) - np.mean(z * (b - alpha) + q / 2 * (b - alpha) ** 2)

    for row in range(len(alpha)):
        assert one.dual_step(row, float(alpha[row]), float(z[row]), q) == pytest.approx(new[row], abs=1e-14)
        for size in (1e-4, 1e-2, 0.3):
            for sign in (-1, 1):
                moved = new.copy()
                moved[row] += sign * size
                assert value(moved) <= value(new) + 1e-13 * (1 + q)
    assert value(new) > value(alpha)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_zeros_moves_to_its_own_best(kind):
    one = task(kind)
    new = one.dual_step(0, 0.0, 0.0, 0.0)
    y = one.parts.train.y[0]
    assert new == pytest.approx({"hinge": y, "least-squares": y, "logistic": y / 2}[kind])


@pytest.mark.parametrize("kind", ["least-squares", "logistic", "quadratic"])
@pytest.mark.parametrize("mu", [0.2, 3.0])
def test_ascent_ends_at_the_proximal_map(kind, mu):
    one, c = task(kind), RNG(4).standard_normal(task(kind).dim)
    alpha, w = ascend(one, np.zeros(len(one.rows)), c, mu, order(RNG(0), len(one.rows), 4000 * len(one.rows) // 10))
    assert np.allclose(w, one.prox(c, mu), atol=1e-9)
    assert np.isfinite(one.conjugate(alpha))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_an_ascent_raises_the_dual_and_stays_feasible(kind):
    one, c, mu = task(kind), RNG(4).standard_normal(task(kind).dim), 0.7
    nu, alpha = mu + one.ridge, np.zeros(len(one.rows))

    def dual(alpha):
        w = (mu * c + one.rows.T @ alpha / len(alpha)) / nu
        return -one.conjugate(alpha) - nu / 2 * w @ w + mu / 2 * c @ c

    def primal(w):
        return one.loss(w) + mu / 2 * (w - c) @ (w - c)

    values = [dual(alpha)]
    for row in order(RNG(0), len(alpha), 5000):
        alpha, w = ascend(one, alpha, c, mu, np.array([row]))
        values.append(dual(alpha))
        assert values[-1] <= primal(w) + 1e-12
    assert np.diff(values).min() >= -1e-14
    assert primal(w) - values[-1] < 1e-9


def test_an_order_is_permutations_the_last_cut_short():
    for steps in (0, 3, 7, 24):
        found = order(RNG(0), 7, steps)
        assert len(found) == steps
        assert all(len(set(found[cut : cut + 7])) == len(found[cut : cut + 7]) for cut in range(0, steps, 7))


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_stays_single(kind):
    data = make(0 if kind == "least-squares" else 2, np.float32)
    one = find("task", kind)(l2=0.05).build(data)
    alpha = np.zeros(len(one.rows), np.float32)
    moved = one.dual_steps(alpha, one.rows @ np.ones(one.dim, np.float32), 0.3)
    after, w = ascend(one, alpha, np.ones(one.dim, np.float32), 0.7, order(RNG(0), len(alpha), 30))
    assert moved.dtype == after.dtype == w.dtype == np.float32
    assert np.isfinite(one.conjugate(after))
