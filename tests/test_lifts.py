"""Lifts: their proximal maps against conditions that hold at a minimiser alone, and what they say of themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dmtl.errors import ConfigError
from dmtl.lifts.bordered import Fraction, Trace, filled, pack, raised, unpack
from dmtl.lifts.composed import Composed
from dmtl.lifts.find import check_lift, lift_of
from dmtl.lifts.whole import Common, Heights, Lengths, Middle, perspective
from dmtl.penalties.network import Fused
from dmtl.penalties.norms import Columns, Entries, Peaks, Rows
from dmtl.penalties.quadratic import Laplacian, Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures, SparseLowRank

PENALTIES = [
    Mean(0.5),
    Rows(0.4),
    Peaks(0.4),
    LowRank(0.4),
    SquaredNuclear(0.2),
    Relationship(0.2, 0.3),
    Clustered(2, 0.4, 0.5),
    Dirty(0.5, 0.3),
    Robust(0.4, 0.5),
    RobustFeatures(0.4, 0.5),
]
LIFTS = [*(lift_of(penalty, 5) for penalty in PENALTIES), Common(Entries(0.3), 5), Common(None, 5)]


def names(piece: object) -> str:
    return type(piece).__name__


def pairs(lift, count: int, size: float = 2.0):
    """Points (u, z) here and there."""
    rng = np.random.default_rng(0)
    private, shared = lift.sizes(4)
    for _ in range(count):
        yield size * rng.standard_normal(private), size * rng.standard_normal((lift.copies, shared))


@pytest.mark.parametrize("force", [1e-3, 0.3, 1.0, 40.0])
def test_the_perspective_map_is_where_the_gradient_vanishes_or_exactly_zero(force):
    rng = np.random.default_rng(1)
    a, b = 3 * rng.standard_normal((2, 4000))
    a[:50], b[50:100], a[100], b[100] = 0, 0, 0, 0
    w, s = perspective(a, b, force)
    out = b > -a * a / (2 * force)
    assert not w[~out].any()
    assert not s[~out].any()
    assert (s[out] > 0).all()
    scale = 1 + np.abs(a) / force + np.abs(b)
    p = (a - w) / force  # = w / s, without the division of two small numbers
    assert np.allclose(p * s, w, rtol=1e-9, atol=1e-12)
    assert (np.abs(s - b - force * p * p / 2) <= 1e-10 * scale)[out].all()
    assert np.array_equal(np.sign(w), np.where(out, np.sign(a), 0))


@pytest.mark.parametrize("force", [0.1, 2.0])
def test_no_point_of_a_grid_is_below_the_perspective_map(force):
    grid = np.linspace(-4, 4, 161)
    w, s = np.meshgrid(grid, grid[grid > 0])
    for a, b in 2 * np.random.default_rng(2).standard_normal((40, 2)):
        best = min((a * a + b * b) / 2, float((force * w**2 / (2 * s) + (w - a) ** 2 / 2 + (s - b) ** 2 / 2).min()))
        ((x,), (y,)) = perspective(np.array([a]), np.array([b]), force)
        value = (force * x * x / (2 * y) if y > 0 else 0.0) + ((x - a) ** 2 + (y - b) ** 2) / 2
        assert value <= best + 1e-12


def test_packed_matrices_keep_inner_products():
    rng = np.random.default_rng(3)
    one, other = (part + part.T for part in rng.standard_normal((2, 5, 5)))
    assert math.isclose(float(pack(one) @ pack(other)), float(np.sum(one * other)))
    assert np.allclose(unpack(pack(one)), one, rtol=1e-15)


def test_a_raised_matrix_is_the_projection_on_the_cone():
    """v - p is against p, and against all of the cone."""
    rng = np.random.default_rng(4)
    for _ in range(50):
        u, z = rng.standard_normal(5), rng.standard_normal(10)
        w, d = raised(u, z)
        v, p = np.concatenate((u, z)), np.concatenate((w, d))
        assert abs((v - p) @ p) < 1e-12
        for column in rng.standard_normal((20, 5)):
            inside = np.concatenate((column[:4] * column[4] * math.sqrt(2), [column[4] ** 2]))
            assert (v - p) @ np.concatenate((inside, pack(np.outer(column[:4], column[:4])))) <= 1e-12


@pytest.mark.parametrize("high", [0.8, math.inf])
def test_filled_is_the_nearest_point_within_the_bounds(high):
    rng = np.random.default_rng(5)
    for values in [*(2 * rng.standard_normal((60, 6)) + 0.5), np.full(6, 1.0), np.full(6, 0.1), np.full(6, -1.0)]:
        found = filled(values, high, 1.5)
        assert ((found >= 0) & (found <= high)).all()
        assert found.sum() <= 1.5 + 1e-12
        for _ in range(30):  # an obtuse angle at the nearest point of a convex set
            other = rng.uniform(0, min(high, 1.5), 6)
            other *= min(1, 1.5 / other.sum())
            assert (values - found) @ (other - found) <= 1e-12


@pytest.mark.parametrize("lift", LIFTS, ids=names)
def test_proximal_maps_are_firmly_nonexpansive(lift):
    points = [(*lift.prox(u, z, 0.7), u, z) for u, z in pairs(lift, 12)]
    for a, b, u, z in points:
        for c, d, s, y in points:
            near = np.concatenate((a - c, (b - d).ravel()))
            far = np.concatenate((u - s, (z - y).ravel()))
            assert near @ near <= near @ far + 1e-10


@pytest.mark.parametrize("lift", LIFTS, ids=names)
def test_the_gradient_turns_as_fast_as_said_and_not_much_slower(lift):
    """With the loss 3 |w|^2 / 2 the gradient is linear: its matrix is read off."""
    private, shared = lift.sizes(4)
    size = private + lift.copies * shared

    def grad(x: np.ndarray) -> np.ndarray:
        u, z = x[:private], x[private:].reshape(lift.copies, shared)
        gu, gz = lift.grad(u, z, 3 * lift.model(u, z))
        return np.concatenate((gu, gz.ravel()))

    matrix = np.stack([grad(row) for row in np.eye(size)], axis=1)
    assert np.allclose(matrix, matrix.T)
    assert math.isclose(float(np.linalg.eigvalsh(matrix)[-1]), lift.steepness(3.0), rel_tol=1e-9)


@pytest.mark.parametrize("lift", LIFTS, ids=names)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lifts_start_at_the_model_and_keep_its_precision(lift, dtype):
    x0 = np.array([1.0, 0.0, -2.0, 0.5], dtype)
    u, z = lift.start(x0)
    assert ((*u.shape, *z.shape)) == (lift.sizes(4)[0], lift.copies, lift.sizes(4)[1])
    assert np.allclose(lift.model(u, z), x0)
    column = lift.column(u, z)
    assert np.allclose(column if len(column) == 4 else column[:4] + column[4:], x0)
    for pair in ((u, z), lift.grad(u, z, x0), lift.prox(u, z, 0.3)):
        assert all(part.dtype == dtype for part in pair)


@pytest.mark.parametrize("lift", LIFTS, ids=names)
def test_a_lift_that_is_smooth_has_no_proximal_map(lift):
    moved = any(
        not all(np.allclose(one, other) for one, other in zip(lift.prox(u, z, 0.7), (u, z), strict=True))
        for u, z in pairs(lift, 5)
    )
    assert moved != lift.smooth


def test_the_best_shared_variable_gives_the_penalty_back():
    """sum_t phi_t at the best z, written out, against the penalty of the whole matrix."""
    rng = np.random.default_rng(6)
    w, tasks = rng.standard_normal((4, 5)), 5
    z = np.sqrt((w**2).mean(axis=1))
    sums = 0.4 / (2 * math.sqrt(tasks)) * ((w**2 / z[:, None]).sum() + tasks * z.sum())
    assert math.isclose(sums, Rows(0.4).value(w))
    values, vectors = np.linalg.eigh(w @ w.T)
    d = (vectors * np.sqrt(values)) @ vectors.T / math.sqrt(tasks)
    s = [column @ np.linalg.solve(d, column) for column in w.T]
    assert math.isclose(0.4 / (2 * math.sqrt(tasks)) * (sum(s) + tasks * np.trace(d)), LowRank(0.4).value(w))
    lift, relations = lift_of(SquaredNuclear(0.4), tasks), d / np.trace(d)
    s = [column @ np.linalg.solve(relations, column) for column in w.T]
    assert math.isclose(lift.cost * sum(s), SquaredNuclear(0.4).value(w))


def test_each_penalty_has_its_lift_and_its_parts_theirs():
    kinds = [type(lift_of(penalty, 5)) for penalty in PENALTIES]
    assert kinds == [Middle, Lengths, Heights, Trace, Fraction, Fraction, Fraction, Composed, Composed, Composed]
    assert [type(lift_of(penalty, 5).lift) for penalty in PENALTIES[7:]] == [Heights, Trace, Lengths]
    assert isinstance(lift_of(Columns(), 5, True), Common)


@pytest.mark.parametrize("penalty", [Entries(), Columns(), Laplacian(), Fused(), SparseLowRank()], ids=names)
def test_a_penalty_without_a_lift_is_refused_in_a_sentence_that_names_the_others(penalty):
    with pytest.raises(
        ConfigError, match=r"'nids' has penalty=.*no lifted form. .*: clustered, dirty, l1inf, l21, mean"
    ):
        check_lift("nids", penalty)


@pytest.mark.parametrize("penalty", [Dirty(), Laplacian()], ids=names)
def test_one_model_for_all_takes_penalties_of_one_model(penalty):
    check_lift("nids", Entries(), True)
    check_lift("nids", None, True)
    with pytest.raises(ConfigError, match="common=true, which is for penalties of one model"):
        check_lift("nids", penalty, True)
