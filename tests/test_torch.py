"""The task 'torch': against numpy's perceptron, against differences, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.capabilities import Batched, Halving, Judging, Layered, Placeable, Starting, Weighted, Windowed
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.simulator import simulate
from dmtl.tasks.mlp import MLP
from dmtl.tasks.torch import Torch
from tests.test_mlp import ROWS, data, differences

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dmtl[torch]'")
nn = torch.nn

HERE = Path(__file__).parent
NETS = """
import torch
from torch import nn

def perceptron(features, classes):
    return nn.Sequential(nn.Linear(features, 6), nn.Tanh(), nn.Linear(6, classes or 1))

def dropping(features, classes):
    return nn.Sequential(nn.Linear(features, 6), nn.Dropout(0.5), nn.Linear(6, classes))

def lazy(classes):
    return nn.Sequential(nn.LazyLinear(5), nn.LazyLinear(classes))

class Named(nn.Module):
    def __init__(self, features, classes, width=4):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.first = nn.Linear(features, width)
        self.tied = nn.Linear(width, width, bias=False)
        self.frozen = nn.Linear(width, width)
        self.frozen.requires_grad_(False)
        self.again = nn.Linear(width, width)
        self.again.weight = self.tied.weight
        self.head = nn.Linear(width, classes)
        self.register_buffer("mask", torch.ones(width))
    def forward(self, rows):
        h = self.first(rows * self.scale).tanh()
        return self.head(self.again(self.frozen(self.tied(h)) * self.mask))

class Counting(nn.Linear):
    def __init__(self, features, classes):
        super().__init__(features, classes)
        self.register_buffer("seen", torch.zeros(()))
    def forward(self, rows):
        if self.training:
            self.seen += len(rows)
        return super().forward(rows)

def running(features, classes):
    return nn.Sequential(nn.Linear(features, 6), nn.BatchNorm1d(6), nn.Linear(6, classes))

def narrow(features):
    return nn.Linear(features, 2)

def wide(features):
    return nn.Linear(features, 9)

def still(features):
    return nn.Flatten()

def complex_(features):
    return nn.Linear(features, 3, dtype=torch.complex64)

def misfit(classes):
    return nn.Linear(17, classes)

def raising(features):
    raise RuntimeError("no luck")

def no_module(features):
    return 3

def cubes(scores, y):
    return ((scores - y).abs() ** 3).mean()

def hinge(scores, labels):
    return nn.functional.multi_margin_loss(scores, labels)

def each(scores, y):
    return nn.functional.cross_entropy(scores, y, reduction="none")

def plain(scores, y):
    return 3.0

def failing(scores, y):
    return scores @ y
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    file = tmp_path_factory.mktemp("nets") / "nets.py"
    file.write_text(NETS)
    yield str(file)
    sys.path.remove(str(file.parent))


def build(nets, module, rows=None, **settings):
    loss = settings.pop("loss", "")
    settings["loss"] = f"{nets}:{loss}" if loss in ("cubes", "hinge", "each", "plain", "failing") else loss
    return Torch(module=f"{nets}:{module}", **settings).build(data() if rows is None else rows)


def as_numpy(task, classes, w):
    """The same perceptron as 'mlp', and the order of its vector: there each matrix is transposed, biases below."""
    other = MLP(hidden="6", activation="tanh", l2=task.settings.l2, batch=task.settings.batch).build(data(classes))
    outputs = classes or 1
    first, head = w[:30], w[30:]
    order = [np.arange(24).reshape(6, 4).T.ravel(), np.arange(24, 30)]
    order += [30 + np.arange(6 * outputs).reshape(outputs, 6).T.ravel(), 30 + np.arange(6 * outputs, 7 * outputs)]
    assert len(first) + len(head) == other.dim
    return other, np.concatenate(order)


@pytest.mark.parametrize("classes", [3, 2])
def test_a_perceptron_of_torch_is_that_of_numpy(nets, classes):
    task = build(nets, "perceptron", data(classes), batch=7, l2=0.01)
    w = task.start(np.random.default_rng(0)).astype(np.float64)
    other, order = as_numpy(task, classes, w)
    weights, models = np.random.default_rng(2).random(ROWS), np.array([w, w / 2])
    assert task.loss(w) == pytest.approx(other.loss(w[order]), rel=1e-6)
    for rng in (lambda: None, lambda: np.random.default_rng(4)):
        assert np.allclose(task.grad(w, rng())[order], other.grad(w[order], rng()), atol=1e-6)
        for each in (weights, np.where(weights < 0.6, 0, weights), np.zeros(ROWS)):
            ours, theirs = task.weighted_grad(w, each, rng()), other.weighted_grad(w[order], each, rng())
            assert np.allclose(ours[order], theirs, atol=1e-6)
    numpys = models[:, order]
    assert np.allclose(task.row_losses(models), other.row_losses(numpys), atol=1e-6)
    assert np.allclose(task.held_out_losses(models), other.held_out_losses(numpys), atol=1e-6)
    assert np.allclose(task.half_losses(models, 1), other.half_losses(numpys, 1), atol=1e-6)
    assert np.allclose(task.half_grads(models)[:, order], other.half_grads(numpys), atol=1e-6)
    assert task.evaluate(w) == pytest.approx(other.evaluate(w[order]), rel=1e-5)
    shares = np.array([0.3, 0.7])
    assert task.blend(models, shares) == pytest.approx(other.blend(numpys, shares), rel=1e-5)
    part, same = task.window(3, 8), other.window(3, 8)
    assert np.allclose(part.grad(w)[order], same.grad(w[order]), atol=1e-6)
    assert part.surprise(w) == pytest.approx(same.surprise(w[order]), rel=1e-5)


def test_for_numbers_the_loss_is_the_mean_square_twice_that_of_numpys_perceptron(nets):
    task = build(nets, "perceptron", data(0), batch=0)
    w = task.start(np.random.default_rng(0)).astype(np.float64)
    other, order = as_numpy(task, 0, w)
    assert task.loss(w) == pytest.approx(2 * other.loss(w[order]), rel=1e-6)
    assert np.allclose(task.grad(w)[order], 2 * other.grad(w[order]), atol=1e-5)
    ours, theirs = task.evaluate(w), other.evaluate(w[order])
    assert ours.keys() == theirs.keys()
    assert all(ours[key] == pytest.approx(theirs[key], rel=1e-5) for key in ours if key != "train_loss")
    loss, square = task.surprise(w)
    assert loss == pytest.approx(square)


@pytest.mark.parametrize(("loss", "classes"), [("cubes", 0), ("hinge", 3)])
def test_a_loss_of_ones_own_is_judged_row_by_row_and_reported(nets, loss, classes):
    task = build(nets, "perceptron", data(classes), loss=loss, l2=0.02, batch=0)
    w = task.start(np.random.default_rng(1)).astype(np.float64)
    slope = differences(task.loss, w, 1e-2)  # in single precision
    assert np.allclose(task.grad(w), slope, atol=2e-3 * max(1, np.abs(slope).max()))
    assert task.row_losses(w[None]).mean() == pytest.approx(task.loss(w) - 0.01 * w @ w, rel=1e-5)
    assert np.allclose(task.weighted_grad(w, np.ones(ROWS)), task.grad(w), atol=1e-5)
    figures = task.evaluate(w)
    assert figures["held_out_loss"] == pytest.approx(task.held_out_losses(w[None]).mean(), rel=1e-5)
    assert ("test_error" if classes else "test_rmse") in figures


def test_it_has_all_that_a_perceptron_has(nets):
    task = build(nets, "perceptron")
    for capability in (Batched, Halving, Judging, Layered, Starting, Weighted, Windowed):
        assert isinstance(task, capability), capability
    rows = task.training_rows
    assert [build(nets, "perceptron", batch=size).batches for size in (0, 4, rows)] == [1, -(-rows // 4), 1]
    assert isinstance(Torch("a.py:B"), Placeable)


def test_the_vector_is_all_that_learns_once_and_layers_are_the_children(nets):
    task = build(nets, "Named")
    sizes = {name: layer.where.stop - layer.where.start for name, layer in task.layers.items()}
    assert sizes == {"scale": 1, "first": 20, "tied": 16, "again": 4, "head": 15}
    assert task.dim == 56
    assert [layer.where.start for layer in task.layers.values()] == [0, 1, 21, 37, 41]
    w = task.start(np.random.default_rng(0))
    assert w[0] == 1
    changed = w.copy()
    changed[task.layers["tied"].where] *= 2  # both of its uses change with it
    rows = torch.tensor(data().x, dtype=torch.float32)
    module = task.network.module
    task.loss(changed)
    assert torch.equal(module.tied.weight, module.again.weight)
    assert np.allclose(module.tied.weight.detach().numpy().ravel(), changed[task.layers["tied"].where])
    assert np.allclose(task.network.outputs(changed, rows).numpy(), module(rows).detach().numpy())
    assert list(build(nets, "perceptron").layers) == ["0", "2"]
    assert build(nets, "lazy").dim == 5 * 5 + 6 * 3


def test_it_starts_as_the_module_does_and_the_same_on_all_ranks(nets):
    task, other = build(nets, "perceptron"), build(nets, "perceptron", data(seed=9))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    w = task.start(stream(0, Purpose.START))
    assert np.array_equal(w, other.start(stream(0, Purpose.START)))
    assert not np.array_equal(w, task.start(stream(1, Purpose.START)))
    assert torch.equal(torch.get_rng_state(), before), "the user's own draws go on as they were"
    assert np.abs(w[:24]).max() <= 0.5  # U(-1/sqrt(4), 1/sqrt(4)), PyTorch's own
    assert w.dtype == np.float32


def test_dropout_follows_the_stream_of_the_batch_and_is_off_in_figures(nets):
    task = build(nets, "dropping", batch=7)
    w = task.start(np.random.default_rng(0))
    grads = [task.grad(w, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(grads[0], grads[1])
    assert not np.array_equal(grads[0], grads[2])
    same = build(nets, "dropping", batch=ROWS)  # all rows, and still draws
    assert not np.array_equal(same.grad(w, np.random.default_rng(1)), same.grad(w, np.random.default_rng(2)))
    assert np.array_equal(same.grad(w), same.grad(w))
    figures = task.evaluate(w)
    task.grad(w, np.random.default_rng(3))
    assert task.evaluate(w) == figures
    one = lambda v: task.loss(v, np.random.default_rng(5))  # noqa: E731
    wide = w.astype(np.float64)
    assert np.allclose(task.grad(wide, np.random.default_rng(5)), differences(one, wide, 1e-2), atol=5e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_that_comes_in_is_written_to_and_every_gradient_is_a_new_one(nets, dtype):
    task = build(nets, "perceptron", batch=5)
    w = task.start(np.random.default_rng(0)).astype(dtype)
    kept = w.copy()
    w.setflags(write=False)
    first = task.grad(w, np.random.default_rng(0))
    copy = first.copy()
    second = task.grad(w, np.random.default_rng(1))
    task.evaluate(w)
    task.held_out_losses(w[None])
    assert first.dtype == dtype
    assert np.array_equal(first, copy)
    assert np.array_equal(w, kept)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, w)


def test_backpropagation_adds_to_the_vector_itself(nets, monkeypatch):
    """No gradient is put together from pieces: memory is that of one vector."""
    task = build(nets, "perceptron")
    w = task.start(np.random.default_rng(0))
    places = []
    module = task.network.module
    for each in module.parameters():
        each.register_post_accumulate_grad_hook(lambda each: places.append(each.grad.data_ptr()))
    found = task.grad(w)
    first = found.ctypes.data
    assert sorted(place - first for place in places) == [0, 24 * 4, 30 * 4, 48 * 4]


def test_models_that_are_not_finite_have_infinite_losses(nets):
    task = build(nets, "perceptron")
    assert np.isposinf(task.held_out_losses(np.full((1, task.dim), np.nan))).all()
    rows = data()
    empty = Torch(f"{nets}:perceptron").build(
        type(rows)(rows.x, rows.y, rows.x[:0], rows.y[:0], rows.x[:0], rows.y[:0], classes=3)
    )
    assert empty.held_out_losses(np.zeros((2, empty.dim))).shape == (2, 0)
    assert empty.evaluate(np.zeros(empty.dim)).keys() == {"train_loss"}


@pytest.mark.parametrize(
    ("module", "settings", "said"),
    [
        ("running", {}, r"keeps running statistics, '1.running_mean'.*Use GroupNorm or LayerNorm"),
        ("Counting", {}, r"changes 'seen' when it learns"),
        ("narrow", {}, r"makes outputs of shape \(4, 2\) of 4 rows, and the data have 3 classes"),
        ("still", {}, "has no parameter to learn"),
        ("complex_", {}, r"has 'weight' of torch.complex64"),
        ("misfit", {}, r"fails on rows of shape \(4, 4\): RuntimeError"),
        ("raising", {}, "makes no module: RuntimeError: no luck"),
        ("no_module", {}, "makes a int, not a torch.nn.Module"),
        ("missing", {}, "unknown name in .*nets.py, of the module of 'torch': 'missing'"),
        ("perceptron", {"loss": "each"}, r"loss '.*:each' makes a tensor of shape \(4,\) of 4 rows, .* is one number"),
        ("perceptron", {"loss": "plain"}, r"loss '.*:plain' makes a float of 4 rows"),
        ("perceptron", {"loss": "failing"}, r"loss '.*:failing' fails: RuntimeError"),
        ("perceptron", {"loss": "mse"}, r"makes outputs of shape \(4, 3\) of 4 rows; mse needs one number a row"),
        ("perceptron", {"device": "cuda:99"}, "'torch' has device=cuda:99, and the number of GPUs .* is"),
    ],
)
def test_a_module_or_a_loss_that_does_not_fit_is_refused_in_a_sentence(nets, module, settings, said):
    with pytest.raises(ConfigError, match=said) as refused:
        build(nets, module, **settings)
    assert "\n" not in str(refused.value)


def test_labels_outside_the_head_and_losses_of_the_other_kind_are_refused(nets):
    rows = data()
    rows.y[3] = 7
    with pytest.raises(ConfigError, match=r"none of 0 \.\. 2"):
        build(nets, "perceptron", rows)
    assert build(nets, "wide").dim == 45
    with pytest.raises(ConfigError, match="cross-entropy of 'torch' is for two or more classes, and the data have num"):
        build(nets, "perceptron", data(0), loss="cross-entropy")


@pytest.mark.parametrize("wrong", [{"l2": -1.0}, {"batch": -1}, {"device": "gpu"}, {"threads": 0}, {"loss": "mae"}])
def test_settings_that_make_no_sense_are_refused(wrong):
    ((key, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"'torch' has {key}={value!r}"):
        Torch("a.py:B", **wrong)


@pytest.mark.parametrize("private", ["", "0", "2"])
def test_every_method_learns_on_what_is_shared(nets, private):
    raw = {"data": "synthetic:classes=2,rows=60,features=4", "task": f"torch:{nets}:perceptron,batch=16", "ranks": 4}
    raw |= {"algorithm": "diffusion:step_size=0.5", "dtype": "float32", "private": private, "held_out": 0.2}
    raw |= {"screen": "ubar", "byzantine": [{"ranks": [2], "attack": "sign-flip"}], "topology": "complete"}
    job = plan(load(raw))
    nodes = [job.node(rank) for rank in range(4)]
    states = simulate(nodes, 30)
    losses = [
        [nodes[rank].task.loss(state.x) for rank, state in enumerate(each) if rank != 2]
        for each in (simulate(nodes, 0), states)
    ]
    assert np.mean(losses[1]) < 0.8 * np.mean(losses[0])
    assert all(state.x.dtype == np.float32 for state in states)
    whole, shared = nodes[0].task.dim, nodes[0].message_shape[1]
    layer = nodes[0].task.layers[private].where if private else slice(0, 0)
    assert shared == whole - (layer.stop - layer.start)


def test_several_ranks_of_a_machine_take_its_devices_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [Torch("a.py:B").on(place).device for place in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert Torch("a.py:B", device="cuda:1").on(0).device == "cuda:1"
    assert Torch("a.py:B", device="cpu").on(1).device == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_it_is_the_same_but_for_rounding(nets):
    tasks = [build(nets, "perceptron", batch=7, device=device, l2=0.01) for device in ("cpu", "cuda")]
    w = tasks[0].start(np.random.default_rng(0))
    here, there = (task.grad(w, np.random.default_rng(1)) for task in tasks)
    assert np.allclose(here, there, atol=1e-5)
    assert tasks[1].parts.train.x.is_cuda
    assert tasks[0].evaluate(w) == pytest.approx(tasks[1].evaluate(w), rel=1e-4)
    assert np.array_equal(there, tasks[1].grad(w, np.random.default_rng(1)))
