"""The task 'mlp': its gradient against differences, its start, its layers, and what weights do."""

from __future__ import annotations

import numpy as np
import pytest

from dmtl.algorithms.local import Local
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic
from dmtl.tasks.mlp import MLP
from dmtl.tasks.softmax import Softmax
from tests.networks import GRAPHS, network

ROWS, P = 30, 4


def data(classes=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS + 20, P)).astype(dtype)
    y = np.arange(ROWS + 20) % classes if classes else x @ rng.standard_normal(P) + 0.1 * rng.standard_normal(ROWS + 20)
    y = y.astype(np.float64)
    parts = (slice(0, ROWS), slice(ROWS, ROWS + 10), slice(ROWS + 10, None))
    return Dataset(*(array for part in parts for array in (x[part], y[part])), classes=classes)


TASKS = {
    "classes": MLP(hidden="5", l2=0.01).build(data()),
    "deep": MLP(hidden="6x5x4", activation="tanh", l2=0.01).build(data()),
    "numbers": MLP(hidden="5x3", activation="tanh").build(data(0)),
    "rectified numbers": MLP(hidden="7").build(data(0)),
    "softmax": Softmax(l2=0.02).build(data()),
    "logistic": Logistic(l2=0.02).build(data(2)),
    "least-squares": LeastSquares(l2=0.02).build(data(0)),
}


def differences(value, w, step=1e-6):
    """Central differences of a function of (d,), of many numbers at once."""
    return np.array([(value(w + e) - value(w - e)) / (2 * step) for e in step * np.eye(len(w))])


def point(task, seed=1):
    return np.random.default_rng(seed).standard_normal(task.dim) / 2


@pytest.mark.parametrize("name", TASKS)
def test_the_gradient_is_that_of_the_loss(name):
    task = TASKS[name]
    w = point(task)
    assert np.allclose(task.grad(w), differences(task.loss, w), atol=1e-7)


@pytest.mark.parametrize("name", TASKS)
def test_a_weighted_gradient_is_that_of_the_weighted_losses(name):
    task = TASKS[name]
    w, weights = point(task), np.random.default_rng(2).random(ROWS)
    slopes = differences(lambda v: task.row_losses(v[None])[0], w) @ weights / ROWS + task.settings.l2 * w
    assert np.allclose(task.weighted_grad(w, weights), slopes, atol=1e-7)
    weights[np.random.default_rng(3).random(ROWS) < 0.5] = 0
    slopes = differences(lambda v: task.row_losses(v[None])[0], w) @ weights / ROWS + task.settings.l2 * w
    assert np.allclose(task.weighted_grad(w, weights), slopes, atol=1e-7)
    assert np.allclose(task.weighted_grad(w, np.ones(ROWS)), task.grad(w), atol=1e-14)
    assert task.loss(w) == pytest.approx(task.row_losses(w[None])[0].mean() + task.settings.l2 / 2 * w @ w)


@pytest.mark.parametrize("make", [MLP, Softmax])
def test_a_weighted_gradient_on_a_batch_takes_the_weights_of_its_rows(make):
    task, ones = make(batch=7).build(data()), np.ones(ROWS)
    w = point(task)
    for seed in range(5):
        whole = task.grad(w, np.random.default_rng(seed))
        assert np.array_equal(whole, task.weighted_grad(w, ones, np.random.default_rng(seed)))
        rows = np.sort(np.random.default_rng(seed).choice(ROWS, 7, replace=False, shuffle=False))
        none = np.where(np.isin(np.arange(ROWS), rows), 0.0, 1.0)
        assert np.allclose(task.weighted_grad(w, none, np.random.default_rng(seed)), task.settings.l2 * w, atol=1e-15)


@pytest.mark.parametrize("name", TASKS)
def test_a_blend_of_one_model_is_that_model_and_of_several_the_mean_of_what_they_predict(name):
    task = TASKS[name]
    w = point(task)
    one, plain = task.blend(w[None], np.ones(1)), task.evaluate(w)
    assert {key: one[key] for key in plain if key != "train_loss"} == pytest.approx(
        {key: value for key, value in plain.items() if key != "train_loss"}
    )
    models = np.array([point(task, seed) for seed in range(3)])
    alike = task.blend(np.repeat(w[None], 3, axis=0), np.array([0.2, 0.3, 0.5]))
    assert alike == pytest.approx(one)
    if "test_loss" in one:  # of the mean of probabilities, by the convexity of -log
        each = [task.blend(model[None], np.ones(1))["test_loss"] for model in models]
        assert task.blend(models, np.full(3, 1 / 3))["test_loss"] <= np.mean(each) + 1e-12


def test_the_layers_are_the_whole_vector_one_after_the_other():
    task = MLP(hidden="6x5").build(data())
    assert list(task.layers) == ["hidden1", "hidden2", "head"]
    at = 0
    for layer in task.layers.values():
        assert layer.where == slice(at, at + layer.shape[0] * layer.shape[1])
        at = layer.where.stop
    assert at == task.dim == 5 * 6 + 7 * 5 + 6 * 3
    w = np.zeros(task.dim)
    w[task.layers["head"].where].reshape(6, 3)[-1] = [0, 5, 0]  # the biases are the last row
    assert task.evaluate(w)["test_error"] == pytest.approx(np.mean(data().test_y != 1))


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2), ("tanh", 1)])
def test_it_starts_at_random_and_the_same_on_all_ranks(activation, gain):
    task = MLP(hidden="400x300", activation=activation).build(data())
    w = task.start(np.random.default_rng(0))
    assert np.array_equal(w, task.start(np.random.default_rng(0)))
    middle = task.layers["hidden2"]
    matrix = w[middle.where].reshape(middle.shape)
    assert not matrix[-1].any()
    assert matrix[:-1].var() == pytest.approx(gain / 400, rel=0.02)
    small = MLP(hidden="5")
    nodes = network(GRAPHS["ring"], Local(step_size=0.1), [small.build(data(seed=k)) for k in range(8)])
    starts = [node.start().x for node in nodes]
    assert starts[0].any()
    assert all(np.array_equal(starts[0], other) for other in starts)


def test_in_single_precision_all_of_it_is_single():
    task = MLP(hidden="5x4").build(data(dtype=np.float32))
    w = task.start(np.random.default_rng(0))
    assert w.dtype == task.grad(w).dtype == task.weighted_grad(w, np.ones(ROWS, np.float32)).dtype == np.float32


def test_alone_it_learns_what_no_linear_model_can():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(float)
    rows = Dataset(x[:200], y[:200], x[:0], y[:0], x[200:], y[200:], classes=2)
    task = MLP(hidden="16", l2=0).build(rows)
    view = network(GRAPHS["ring"], Local(), [task] * 8)[0].view._replace(sources=(), targets=())
    node = Node(
        view._replace(weights=np.ones(1), out_weights=np.ones(1), couplings=np.ones(0)),
        task,
        Local(step_size=0.5),
        Average(),
    )
    assert task.evaluate(simulate([node], 800)[0].x)["test_error"] < 0.06
    linear = Logistic().build(rows)
    assert linear.evaluate(linear.prox(np.zeros(3), 1e-9))["test_error"] > 0.3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hidden": "0"}, "hidden='0'"),
        ({"hidden": "8x"}, "hidden='8x'"),
        ({"hidden": ""}, "hidden=''"),
        ({"activation": "gelu"}, "activation='gelu'"),
        ({"l2": -1.0}, "l2=-1"),
        ({"batch": -1}, "batch=-1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ConfigError, match=f"'mlp' has {said}"):
        MLP(**settings)


def test_labels_outside_the_head_are_refused():
    rows = data()
    rows.y[3] = 7
    with pytest.raises(ConfigError, match=r"none of 0 \.\. 2"):
        MLP().build(rows)
