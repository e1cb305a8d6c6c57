"""The linear tasks one by one: against oracles, by hand, and at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy.special import log_expit, logsumexp

from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.tasks.hinge import Hinge
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic
from dmtl.tasks.newton import conjugate_gradients
from dmtl.tasks.softmax import Softmax

L2 = 0.03


def dataset(x: Any, y: Any, classes: int = 0) -> Dataset:
    """The same rows for training, holding out and testing."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    return Dataset(x, y, x, y, x, y, classes)


def noisy(classes: int, rows: int = 30, p: int = 4, scale: float = 1.0) -> Dataset:
    rng = np.random.default_rng(11)
    x = scale * rng.standard_normal((rows, p))
    return dataset(x, rng.integers(0, classes, rows) if classes else rng.standard_normal(rows), classes)


def settle(task: Any) -> Any:
    """The minimiser by proximal-point iterations."""
    w = np.zeros(task.dim)
    for _ in range(60):
        w = task.prox(w, 0.01)
    return w


def test_the_ridge_minimiser_is_that_of_lstsq_on_the_augmented_system() -> None:
    data = noisy(0)
    m, d = len(data.y), 5
    system = np.vstack([np.column_stack([data.x, np.ones(m)]), np.sqrt(m * L2) * np.eye(d)])
    expected, *_ = np.linalg.lstsq(system, np.concatenate([data.y, np.zeros(d)]))
    task = LeastSquares(l2=L2).build(data)
    np.testing.assert_allclose(expected, settle(task), rtol=0, atol=1e-12)
    descent = np.zeros(d)
    for _ in range(500):
        descent = descent - task.grad(descent) / task.smoothness
    np.testing.assert_allclose(expected, descent, rtol=0, atol=1e-12)


def test_the_logistic_minimiser_is_scipys() -> None:
    data = noisy(2)
    x, sign = np.column_stack([data.x, np.ones(30)]), 2 * data.y - 1
    found = optimize.minimize(lambda w: -log_expit(sign * (x @ w)).mean() + L2 / 2 * w @ w, np.zeros(5), tol=1e-8)
    task = Logistic(l2=L2).build(data)
    w = settle(task)
    np.testing.assert_allclose(found.x, w, rtol=0, atol=1e-5)
    assert found.fun == pytest.approx(task.loss(w), abs=1e-10)


def test_the_softmax_minimiser_is_scipys_in_the_documented_layout() -> None:
    data = noisy(3)
    x = np.column_stack([data.x, np.ones(30)])

    def objective(w: Any) -> Any:
        z = x @ w.reshape(5, 3)
        return (logsumexp(z, axis=1) - z[np.arange(30), data.y.astype(int)]).mean() + L2 / 2 * w @ w

    found = optimize.minimize(objective, np.zeros(15), tol=1e-8)
    task = Softmax(l2=L2).build(data)
    w = settle(task)
    np.testing.assert_allclose(found.x, w, rtol=0, atol=1e-5)
    assert found.fun == pytest.approx(task.loss(w), abs=1e-10)


def test_the_hinge_minimiser_is_that_of_the_dual_quadratic_programme() -> None:
    data = noisy(2)
    x, sign = np.column_stack([data.x, np.ones(30)]), 2 * data.y - 1
    signed = sign[:, None] * x / len(x)

    def dual(a: Any) -> Any:
        w = signed.T @ a / L2
        return L2 / 2 * w @ w - a.mean(), signed @ w - 1 / len(x)

    found = optimize.minimize(
        dual, np.zeros(30), jac=True, bounds=[(0, 1)] * 30, options={"ftol": 1e-15, "gtol": 1e-10}
    )
    w = signed.T @ found.x / L2
    # no duality gap: the primal loss at the dual's solution is the dual's value
    assert -found.fun == pytest.approx(Hinge(l2=L2).build(data).loss(w), abs=1e-7)


@pytest.mark.parametrize(("piece", "classes"), [(LeastSquares, 0), (Logistic, 2), (Softmax, 2)])
def test_smoothness_is_attained_at_the_origin(piece: Any, classes: int) -> None:
    task = piece(l2=L2).build(noisy(classes))
    steps = 1e-5 * np.eye(task.dim)
    hessian = np.array([(task.grad(step) - task.grad(-step)) / 2e-5 for step in steps])
    assert task.smoothness == pytest.approx(np.linalg.norm(hessian, 2), rel=1e-6)


@pytest.mark.parametrize("rows", [3, 30])
def test_smoothness_is_the_same_by_rows_and_by_columns(rows: int) -> None:
    data = noisy(2, rows=rows, p=8)
    top = np.linalg.norm(np.column_stack([data.x, np.ones(rows)]), 2) ** 2
    assert Logistic(l2=L2).build(data).smoothness == pytest.approx(top / (4 * rows) + L2)
    assert Softmax(l2=L2).build(data).smoothness == pytest.approx(top / (2 * rows) + L2)
    assert LeastSquares(l2=L2).build(data).smoothness == pytest.approx(top / rows + L2)


def test_least_squares_knows_its_own_curvature_from_below() -> None:
    data = noisy(0)
    singular = np.linalg.svd(np.column_stack([data.x, np.ones(30)]), compute_uv=False)
    assert LeastSquares(l2=L2).build(data).strong_convexity == pytest.approx(singular[-1] ** 2 / 30 + L2)
    assert LeastSquares(l2=L2).build(noisy(0, rows=2)).strong_convexity == pytest.approx(L2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_hessian_of_least_squares_is_made_once_to_the_last_bit(dtype: type) -> None:
    task = LeastSquares(l2=L2).build(noisy(0))
    x = task.parts.train.x
    assert (task.curvature(np.zeros(5, dtype)) == x.T @ x / 30 + L2 * np.eye(5)).all()
    assert task.curvature(np.zeros(5, dtype)) is task.curvature(np.ones(5, dtype))
    with pytest.raises(ValueError, match="read-only"):
        task.curvature(np.zeros(5, dtype))[0, 0] = 1.0


def test_a_bounded_pull_moves_the_minimiser_no_further_than_pull_over_l2() -> None:
    rng = np.random.default_rng(0)
    task = Logistic(l2=L2).build(noisy(2))
    home = settle(task)
    for pull in rng.standard_normal((5, task.dim)):
        moved = home
        for _ in range(60):  # the proximal map of f + pull'w is that of f with its centre shifted
            moved = task.prox(moved - pull / 0.1, 0.1)
        assert 0 < np.linalg.norm(moved - home) <= np.linalg.norm(pull) / L2


def test_two_class_softmax_is_logistic_regression_in_the_difference_of_its_columns() -> None:
    data = noisy(2)
    w = np.random.default_rng(1).standard_normal((5, 2))
    soft, logistic = Softmax().build(data).evaluate(w.ravel()), Logistic().build(data).evaluate(w[:, 1] - w[:, 0])
    assert logistic["test_loss"] == pytest.approx(soft["test_loss"], rel=1e-13)
    assert logistic["test_error"] == soft["test_error"]


LINE = dataset([[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1], 2)


@pytest.mark.parametrize("piece", [LeastSquares, Logistic, Hinge])
def test_a_perfect_two_class_model_has_error_0_and_its_opposite_error_1(piece: Any) -> None:
    task = piece().build(LINE)
    assert task.evaluate(np.array([3.0, 0.0]))["test_error"] == 0.0
    assert task.evaluate(np.array([-3.0, 0.0]))["held_out_error"] == 1.0
    assert task.evaluate(np.array([1.0, 1.5]))["test_error"] == 0.25


def test_a_perfect_softmax_model_has_error_0() -> None:
    task = Softmax().build(dataset(np.eye(3), [0, 1, 2], 3))
    assert task.evaluate(np.vstack([np.eye(3), np.zeros((1, 3))]).ravel())["test_error"] == 0.0
    shifted = np.vstack([np.roll(np.eye(3), 1, axis=1), np.zeros((1, 3))]).ravel()
    assert task.evaluate(shifted)["held_out_error"] == 1.0


@pytest.mark.parametrize(("piece", "d"), [(LeastSquares, 2), (Logistic, 2), (Hinge, 2), (Softmax, 4)])
def test_a_model_of_zeros_stands_for_label_0(piece: Any, d: int) -> None:
    data = dataset([[1.0], [2.0], [3.0], [4.0]], [0, 0, 0, 1], 2)
    assert piece().build(data).evaluate(np.zeros(d))["test_error"] == 0.25


def test_the_reported_loss_leaves_out_the_ridge() -> None:
    w = np.array([2.0, 1.0])
    for piece in (LeastSquares, Logistic, Hinge):
        figures = piece(l2=0.5).build(LINE).evaluate(w)
        assert figures["train_loss"] == pytest.approx(figures["test_loss"] + 0.25 * 5)
    assert Hinge().build(LINE).evaluate(np.array([1.0, 0.5]))["test_loss"] == 0.125  # margins 1.5, 0.5, 1.5, 2.5


def test_rmse_and_r2_by_hand() -> None:
    task = LeastSquares().build(dataset([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]))
    exact = task.evaluate(np.array([2.0, 1.0]))
    assert (exact["test_rmse"], exact["test_r2"], exact["held_out_rmse"]) == (0.0, 1.0, 0.0)
    flat = task.evaluate(np.array([0.0, 3.0]))
    assert flat["test_r2"] == pytest.approx(0.0)
    assert flat["test_rmse"] == pytest.approx(np.sqrt(8 / 3))
    assert task.evaluate(np.array([2.0, 4.0]))["test_r2"] == pytest.approx(1 - 27 / 8)


def test_r2_is_left_out_where_the_targets_do_not_vary() -> None:
    figures = LeastSquares().build(dataset([[0.0], [1.0]], [2.0, 2.0])).evaluate(np.zeros(2))
    assert figures.keys() == {"train_loss", "held_out_rmse", "test_rmse"}


def test_a_row_at_the_kink_adds_nothing_to_the_hinge_gradient() -> None:
    task = Hinge(l2=0.0, bias=False).build(dataset([[1.0], [2.0]], [1, 1], 2))
    assert task.grad(np.array([1.0])).tolist() == [0.0]  # margins 1, at the kink, and 2
    assert task.grad(np.array([0.5])).tolist() == [-0.5]  # margins 0.5 and 1
    assert task.grad(np.array([0.25])).tolist() == [-1.5]


def test_the_hinge_has_neither_smoothness_nor_a_proximal_map() -> None:
    task = Hinge().build(LINE)
    assert not {"smoothness", "prox"} & set(dir(task))


@pytest.mark.parametrize(
    ("piece", "classes", "sentence"),
    [
        (Logistic, 7, "task 'logistic' is for two classes; the data have 7. Use 'softmax'."),
        (Hinge, 3, "task 'hinge' is for two classes; the data have 3. Use 'softmax'."),
        (Logistic, 0, "task 'logistic' is for two classes; the data are for regression. Use 'least-squares'."),
        (LeastSquares, 4, "task 'least-squares' is for numbers or two classes; the data have 4. Use 'softmax'."),
        (Softmax, 1, "task 'softmax' is for two or more classes; the data have 1. Add rows of another class."),
    ],
)
def test_a_misfit_is_told_what_the_task_is_for_and_what_to_use(piece: Any, classes: int, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        piece().build(dataset([[1.0], [2.0]], [0, 0], classes))
    assert str(raised.value) == sentence


@pytest.mark.parametrize("y", [[1, 2], [-1, 1], [0, 0.5]])
@pytest.mark.parametrize("piece", [LeastSquares, Logistic, Softmax, Hinge])
def test_labels_that_are_not_numbered_from_0_are_refused(piece: Any, y: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"^the data have a label that is none of 0 \.\. 1\."):
        piece().build(dataset([[1.0], [2.0]], y, 2))


def test_softmax_takes_a_rank_that_lacks_a_class() -> None:
    task = Softmax(l2=L2).build(dataset(np.eye(3), [0, 1, 0], 3))
    w = settle(task)
    assert task.dim == 12
    assert task.evaluate(w)["test_error"] == 0.0


@pytest.mark.parametrize(("piece", "classes"), [(LeastSquares, 0), (Logistic, 2), (Softmax, 5)])
@pytest.mark.parametrize("far", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
def test_the_proximal_point_is_found_from_far_away_and_on_unscaled_data(
    piece: Any, classes: int, far: float, rho: float
) -> None:
    for rows, p in ((60, 8), (5, 12)):
        task = piece(l2=0.0).build(noisy(classes, rows=rows, p=p, scale=5.0))
        v = far * np.random.default_rng(2).standard_normal(task.dim)
        q = task.prox(v, rho)
        scale = np.linalg.norm(task.grad(v)) + (task.smoothness + rho) * (np.linalg.norm(v) + np.linalg.norm(q))
        assert np.linalg.norm(task.grad(q) + rho * (q - v)) <= 1e-12 * scale


def test_conjugate_gradients_solve_to_the_tolerance_asked_for() -> None:
    rng = np.random.default_rng(4)
    root = rng.standard_normal((20, 20))
    a, b = root @ root.T + 0.1 * np.eye(20), rng.standard_normal(20)
    rough, fine = (conjugate_gradients(lambda s: a @ s, b, tolerance) for tolerance in (1e-2, 1e-11))
    assert 1e-11 < np.linalg.norm(a @ rough - b) / np.linalg.norm(b) <= 1e-2
    np.testing.assert_allclose(np.linalg.solve(a, b), fine, rtol=1e-7)
