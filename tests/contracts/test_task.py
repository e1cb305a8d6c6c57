"""What every registered task promises, on each kind of data that it accepts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmtl.algorithms.reputation import Comparing
from dmtl.capabilities import Batched, Curved, Halving, Judging, Layered, Proximable, Smooth
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.registry import find, names

P = 3
L2 = 0.05
FEATURES = ("x", "held_x", "test_x")
SPECIAL = {"bearing", "gp-features", "torch"}
"""these have tests of their own: without a ridge to set, with one layout of columns, or with a module of the user's"""
few = settings(max_examples=50, deadline=None)


def frozen(array: Any) -> Any:
    array = np.array(array)
    array.setflags(write=False)
    return array


def make(classes: int, dtype: type = np.float64, rows: int = 12) -> Dataset:
    """Read-only data with every class in it, and no separating plane."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((rows + 9, P)) * (1.0, 3.0, 0.2)
    y = np.arange(rows + 9) % classes if classes else x @ (1.0, -2.0, 3.0) + rng.standard_normal(rows + 9)
    cuts = slice(rows), slice(rows, rows + 4), slice(rows + 4, None)
    parts = [frozen(array[cut].astype(dtype)) for cut in cuts for array in (x, y)]
    return Dataset(*parts, classes=classes)


def build(name: str, data: Dataset, **fields: Any) -> Any:
    return find("task", name)(**{"l2": L2, **fields}).build(data)


def kinds(name: str) -> list[int]:
    """Which of regression, two and three classes the task accepts."""
    found = []
    for classes in (0, 2, 3):
        try:
            build(name, make(classes))
        except ConfigError:
            continue
        found.append(classes)
    return found


USUAL = sorted({*names("task")} - SPECIAL)
CASES = [(name, classes) for name in USUAL for classes in kinds(name)]
CONVEX = [case for case in CASES if not isinstance(build(case[0], make(case[1])), Layered)]
SMOOTH = [case for case in CASES if isinstance(build(case[0], make(case[1])), Smooth)]
PROXIMABLE = [case for case in CASES if isinstance(build(case[0], make(case[1])), Proximable)]
CURVED = [case for case in CASES if isinstance(build(case[0], make(case[1])), Curved)]
every = pytest.mark.parametrize(("name", "classes"), CASES)
convex = pytest.mark.parametrize(("name", "classes"), CONVEX)
smooth = pytest.mark.parametrize(("name", "classes"), SMOOTH)
proximable = pytest.mark.parametrize(("name", "classes"), PROXIMABLE)
rhos = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)


def vectors(draw: Any, task: Any, count: int) -> list[Any]:
    """``count`` parameter vectors of one magnitude between 1e-3 and 1e2."""
    size = 10.0 ** draw(st.integers(-3, 2))
    return [size * draw(arrays(np.float64, task.dim, elements=st.floats(-1, 1))) for _ in range(count)]


def some(task: Any, count: int = 3) -> Any:
    return np.random.default_rng(3).standard_normal((count, task.dim))


def slope(task: Any, w: Any, seed: int | None) -> Any:
    """The derivative of the loss by central differences, the same mini-batch on both sides."""

    def loss(point: Any) -> float:
        return float(task.loss(point, None if seed is None else np.random.default_rng(seed)))

    return np.array([(loss(w + e) - loss(w - e)) / 2e-6 for e in 1e-6 * np.eye(task.dim)])


@pytest.mark.parametrize("name", USUAL)
def test_every_task_accepts_some_data_and_refuses_others_in_a_sentence_with_its_name(name: str) -> None:
    accepted = kinds(name)
    assert accepted
    for classes in {0, 2, 3} - set(accepted):
        with pytest.raises(ConfigError, match=rf"^task '{name}' is for .*; the data .*\. Use '.*'\.$"):
            build(name, make(classes))


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize("wrong", [{"l2": -0.1}, {"l2": math.nan}, {"l2": math.inf}, {"batch": -1}])
def test_settings_out_of_range_are_refused_with_name_and_value(name: str, wrong: dict[str, float]) -> None:
    ((field, value),) = wrong.items()
    with pytest.raises(ConfigError, match=rf"^'{name}' has {field}={value}\. {field} is .*\.$"):
        find("task", name)(**wrong)


@every
@pytest.mark.parametrize("seed", [None, 5])
def test_the_gradient_is_the_slope_of_the_loss_on_the_same_rows(name: str, classes: int, seed: int | None) -> None:
    task = build(name, make(classes), batch=4)
    for w in some(task):
        rng = None if seed is None else np.random.default_rng(seed)
        np.testing.assert_allclose(task.grad(w, rng), slope(task, w, seed), rtol=1e-6, atol=1e-7)


@every
def test_a_batch_of_all_rows_or_of_size_0_gives_the_full_gradient_bit_for_bit(name: str, classes: int) -> None:
    data = make(classes)
    (w,) = some(build(name, data), 1)
    full = build(name, data).grad(w)
    for batch in (0, len(data.y), len(data.y) + 5):
        np.testing.assert_array_equal(full, build(name, data, batch=batch).grad(w, np.random.default_rng(0)))


@every
def test_an_epoch_has_as_many_batches_as_cover_the_rows(name: str, classes: int) -> None:
    data = make(classes)
    for batch, count in ((0, 1), (1, len(data.y)), (4, -(-len(data.y) // 4)), (len(data.y) + 5, 1)):
        task = build(name, data, batch=batch)
        assert isinstance(task, Batched)
        assert task.batches == count


@every
def test_single_row_batches_visit_every_row_and_their_gradients_average_to_the_full_one(
    name: str, classes: int
) -> None:
    data = make(classes, rows=6)
    task = build(name, data, batch=1)
    w = 0.01 * some(task, 1)[0]  # near the origin every row has a say, in the hinge too
    rows = [dataclasses.replace(data, x=data.x[i : i + 1], y=data.y[i : i + 1]) for i in range(6)]
    alone = np.array([build(name, row).grad(w) for row in rows])
    drawn = np.array([task.grad(w, np.random.default_rng(seed)) for seed in range(60)])
    hits = np.isclose(drawn[:, None], alone[None], rtol=1e-10, atol=1e-12).all(axis=2)
    assert hits.any(axis=1).all()
    assert hits.any(axis=0).all()
    np.testing.assert_allclose(alone.mean(axis=0), task.grad(w), rtol=1e-10, atol=1e-12)


@every
def test_a_mini_batch_has_distinct_rows_and_follows_its_stream(name: str, classes: int) -> None:
    task = build(name, make(classes), batch=5)
    (w,) = some(task, 1)
    np.testing.assert_array_equal(task.grad(w, np.random.default_rng(1)), task.grad(w, np.random.default_rng(1)))
    assert np.any(task.grad(w, np.random.default_rng(1)) != task.grad(w, np.random.default_rng(2)))
    all_but_one = build(name, make(classes, rows=6), batch=5)
    each = {tuple(all_but_one.grad(0.01 * w, np.random.default_rng(seed)).round(12)) for seed in range(80)}
    assert len(each) == 6


@convex
@given(data=st.data())
@few
def test_the_loss_is_l2_strongly_convex_in_all_parameters(name: str, classes: int, data: Any) -> None:
    task = build(name, make(classes))
    u, v = vectors(data.draw, task, 2)
    share = data.draw(st.floats(0, 1))
    chord = share * task.loss(u) + (1 - share) * task.loss(v)
    dent = L2 / 2 * share * (1 - share) * np.sum((u - v) ** 2)
    assert task.loss(share * u + (1 - share) * v) <= chord - dent + 1e-10 * (1 + chord)


@convex
@given(data=st.data())
@few
def test_the_gradient_supports_the_loss_from_below_with_curvature_l2(name: str, classes: int, data: Any) -> None:
    task = build(name, make(classes))
    u, v = vectors(data.draw, task, 2)
    below = task.loss(u) + task.grad(u) @ (v - u) + task.strong_convexity / 2 * np.sum((u - v) ** 2)
    assert task.strong_convexity >= L2
    assert below <= task.loss(v) + 1e-10 * (1 + task.loss(u) + task.loss(v))


@smooth
@given(data=st.data())
@few
def test_the_gradient_turns_no_faster_than_smoothness_says(name: str, classes: int, data: Any) -> None:
    task = build(name, make(classes))
    u, v = vectors(data.draw, task, 2)
    turn = np.linalg.norm(task.grad(u) - task.grad(v))
    assert turn <= (1 + 1e-9) * task.smoothness * np.linalg.norm(u - v) + 1e-12 * (1 + np.linalg.norm(u))


@pytest.mark.parametrize(("name", "classes"), CURVED)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_curvature_is_the_slope_of_the_gradient(name: str, classes: int, dtype: type) -> None:
    task = build(name, make(classes, dtype))
    wide = build(name, make(classes))
    for w in some(task):
        steps = [(wide.grad(w + e) - wide.grad(w - e)) / 2e-6 for e in 1e-6 * np.eye(task.dim)]
        tight = 1e-7 if dtype is np.float64 else 1e-5
        np.testing.assert_allclose(task.curvature(w), np.array(steps), rtol=tight, atol=tight)
    assert task.curvature(w).dtype == np.float64
    assert task.training_rows == 12


@proximable
@given(data=st.data(), rho=rhos)
@few
def test_the_proximal_point_meets_its_optimality_condition(name: str, classes: int, data: Any, rho: float) -> None:
    task = build(name, make(classes))
    (v,) = vectors(data.draw, task, 1)
    p = task.prox(v, rho)
    scale = 1 + np.linalg.norm(task.grad(v)) + rho * np.linalg.norm(v)
    assert np.linalg.norm(task.grad(p) + rho * (p - v)) <= 1e-10 * scale


@proximable
@given(data=st.data(), rho=rhos)
@few
def test_the_proximal_map_is_firmly_non_expansive(name: str, classes: int, data: Any, rho: float) -> None:
    task = build(name, make(classes))
    u, v = vectors(data.draw, task, 2)
    moved = task.prox(u, rho) - task.prox(v, rho)
    # the modulus l2 makes it more than firm: (1 + l2 / rho) |moved|^2 <= moved'(u - v)
    assert (1 + L2 / rho) * (moved @ moved) <= moved @ (u - v) + 1e-9 * (1 + np.linalg.norm(u - v)) ** 2


@proximable
def test_a_heavy_proximal_term_returns_its_centre_and_a_light_one_the_minimiser(name: str, classes: int) -> None:
    task = build(name, make(classes))
    (v,) = some(task, 1)
    np.testing.assert_allclose(task.prox(v, 1e12), v, rtol=0, atol=1e-10)
    assert np.linalg.norm(task.grad(task.prox(v, 1e-12))) <= 1e-10


@every
def test_nothing_that_comes_in_is_written_to_or_handed_back(name: str, classes: int) -> None:
    task = build(name, make(classes), batch=3)
    w = frozen(some(task, 1)[0])
    for out in (task.grad(w), task.grad(w, np.random.default_rng(0))):
        assert not np.shares_memory(out, w)
    task.loss(w)
    task.evaluate(w)


@proximable
@pytest.mark.parametrize("rho", [1.0, 1e30])
def test_the_proximal_map_neither_writes_to_its_centre_nor_hands_it_back(name: str, classes: int, rho: float) -> None:
    task = build(name, make(classes))
    v = frozen(some(task, 1)[0])
    assert not np.shares_memory(task.prox(v, rho), v)


@every
def test_single_precision_data_keep_everything_in_single_precision(name: str, classes: int) -> None:
    task, wide = build(name, make(classes, np.float32), batch=4), build(name, make(classes), batch=4)
    w = some(task, 1)[0].astype(np.float32)
    for seed in (0, 1):
        narrow = task.grad(w, np.random.default_rng(seed))
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide.grad(w.astype(float), np.random.default_rng(seed)), atol=1e-4)
    assert task.grad(w).dtype == np.float32


@proximable
@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
def test_the_proximal_map_works_in_single_precision(name: str, classes: int, rho: float) -> None:
    task, wide = build(name, make(classes, np.float32)), build(name, make(classes))
    w = some(task, 1)[0].astype(np.float32)
    assert task.prox(w, rho).dtype == np.float32
    np.testing.assert_allclose(task.prox(w, rho), wide.prox(w.astype(float), rho), rtol=1e-3, atol=1e-3)


@every
def test_evaluate_gives_plain_finite_numbers_named_by_the_rows_they_come_from(name: str, classes: int) -> None:
    data = make(classes)
    task = build(name, data)
    (w,) = some(task, 1)
    figures = task.evaluate(w)
    assert figures["train_loss"] == task.loss(w)
    assert all(type(value) is float and math.isfinite(value) for value in figures.values())
    assert {figure.removeprefix("test_").removeprefix("held_out_") for figure in figures} > {"train_loss"}


@every
@pytest.mark.parametrize(("prefix", "fields"), [("held_out_", ("held_x", "held_y")), ("test_", ("test_x", "test_y"))])
def test_rows_that_are_not_there_have_no_figures(name: str, classes: int, prefix: str, fields: tuple[str, str]) -> None:
    data = make(classes)
    (w,) = some(build(name, data), 1)
    empty: dict[str, Any] = {field: getattr(data, field)[:0] for field in fields}
    figures = build(name, data).evaluate(w)
    left = build(name, dataclasses.replace(data, **empty)).evaluate(w)
    assert {figure: value for figure, value in figures.items() if not figure.startswith(prefix)} == left
    assert left.keys() < figures.keys()


@convex
def test_the_bias_is_a_feature_of_ones_put_last(name: str, classes: int) -> None:
    data = make(classes)
    parts = {field: np.column_stack([getattr(data, field), np.ones(len(getattr(data, field)))]) for field in FEATURES}
    task, by_hand = build(name, data), build(name, dataclasses.replace(data, **parts), bias=False)
    (w,) = some(task, 1)
    np.testing.assert_array_equal(task.grad(w), by_hand.grad(w))
    assert task.evaluate(w) == by_hand.evaluate(w)
    assert build(name, data, bias=False).dim < task.dim == by_hand.dim


@every
def test_far_away_parameters_overflow_nowhere(name: str, classes: int) -> None:
    for dtype in (np.float64, np.float32):
        task = build(name, make(classes, dtype))
        for w in 1e4 * some(task).astype(dtype):
            assert np.isfinite(task.grad(w)).all()
            assert all(math.isfinite(value) for value in task.evaluate(w).values())


@every
@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_data_that_are_not_finite_are_refused(name: str, classes: int, spoil: float) -> None:
    data = make(classes)
    x = data.x.copy()
    x[2, 1] = spoil
    with pytest.raises(ConfigError, match=f"^task '{name}' needs finite numbers"):
        build(name, dataclasses.replace(data, x=x))


@every
def test_a_rank_without_training_rows_is_refused(name: str, classes: int) -> None:
    data = make(classes)
    with pytest.raises(ConfigError, match=f"^task '{name}' needs a training row"):
        build(name, dataclasses.replace(data, x=data.x[:0], y=data.y[:0]))


@every
def test_the_losses_on_held_out_rows_are_those_that_are_reported_and_nan_has_an_infinite_one(name, classes):
    data = make(classes)
    task = build(name, data)
    assert isinstance(task, Judging)
    assert task.held_out_rows == 4
    models = np.random.default_rng(3).standard_normal((3, task.dim))
    losses = task.held_out_losses(models)
    assert losses.shape == (3, 4)
    told = task.evaluate(models[1])
    reported = told["held_out_rmse"] ** 2 / 2 if "held_out_rmse" in told else told["held_out_loss"]
    assert abs(losses[1].mean() - reported) <= 1e-12 * max(1.0, reported)
    assert np.isposinf(task.held_out_losses(np.full((1, task.dim), np.nan))).all()


@every
@pytest.mark.parametrize("seed", [None, 4])
def test_losses_of_several_models_are_those_of_each_on_the_same_rows(name, classes, seed):
    task = build(name, make(classes), batch=5)
    models = some(task, 4)
    rngs = (None if seed is None else np.random.default_rng(seed) for _ in range(9))
    if isinstance(task, Comparing):
        each = [task.loss(model, next(rngs)) for model in models]
        np.testing.assert_allclose(task.losses(models, next(rngs)), each, rtol=1e-12)


@every
@pytest.mark.parametrize("grouped", [False, True])
def test_the_halves_are_tasks_of_their_own(name, classes, grouped):
    data = make(classes, rows=13)
    second = np.arange(13) % 2 == 1
    if grouped:
        second = np.arange(13) >= 7
        data = dataclasses.replace(data, half=frozen(second))
    task = build(name, data)
    assert isinstance(task, Halving)
    models = some(task, 2)
    for which, rows in enumerate((~second, second)):
        part = {"x": data.x[rows], "y": data.y[rows]}
        alone = build(name, dataclasses.replace(data, **part, held_x=part["x"], held_y=part["y"], half=None))
        np.testing.assert_allclose(task.half_grads(models)[which], alone.grad(models[which]), rtol=1e-12)
        np.testing.assert_allclose(task.half_losses(models, which), alone.held_out_losses(models), rtol=1e-12)


@every
def test_too_few_rows_make_no_halves(name, classes):
    data = make(classes, rows=3)
    one = dataclasses.replace(make(classes), half=frozen(np.arange(12) == 5))
    for task in (build(name, data), build(name, one)):
        models = some(task, 2)
        np.testing.assert_array_equal(task.half_grads(models), 0)
        assert task.half_losses(models, 0).shape == task.half_losses(models, 1).shape == (2, 0)


@every
def test_the_halves_draw_mini_batches_of_the_same_size(name, classes):
    task = build(name, make(classes, rows=13), batch=2)
    models = some(task, 2)
    drawn = [task.half_grads(models, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
