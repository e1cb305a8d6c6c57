"""Any PyTorch module and any loss, on the flat vector of the module's parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dmtl.capabilities import Layer
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.own import named
from dmtl.tasks.linear import (
    Part,
    Parts,
    batch_count,
    check_settings,
    draw,
    drawn,
    half,
    half_grads,
    judge,
    labels,
    prepare,
    report,
    weighed,
    windowed,
)
from dmtl.tasks.network import Criterion, Network, criterion, device_of, threads
from dmtl.types import Mat, Vec

__all__ = ["Torch", "TorchTask"]

TRIED = 4
"""rows on which a module is tried before round 0"""


@dataclass(frozen=True, slots=True)
class Torch:
    """A PyTorch module of the user's own, for classes or numbers; gradients by its backpropagation.

    f(w) = loss(module(rows; w), y) + l2/2 |w|^2, w (d,) all parameters that ask for a gradient, in the order of
    ``named_parameters()``; others stay as a module made with the seed 0 has them.

    ``module`` is a class or a function that returns a torch.nn.Module. It is called with ``features=`` and
    ``classes=`` where it has such parameters. The module gets rows (m, features), which it may reshape, and returns
    scores (m, classes), or a number for each row, (m,) or (m, 1), which is made (m,). A loss of the user's own is
    called with these and with the targets, labels as whole numbers, and returns their mean over the rows as a tensor
    without axes; of one row it is that row's loss. Models start as the module does, drawn from the run's seed, the
    same on all ranks. The layers are the module's children by their names, so that any of them can be private.

    It computes in single precision: ``--dtype float32`` makes messages of the same and halves them. Dropout draws in
    gradients on mini-batches, from the round's stream; without ``batch`` and in all figures modules are in their
    evaluation mode. Running statistics, as of BatchNorm, are refused: they are no parameters and would not travel.
    Several ranks of a machine take its GPUs in turn. The rows stay on the device; the vector goes there and its
    gradient comes back, once for each gradient.

    Not convex: there is no smoothness, and a method has to be told its step. Reports error and loss, or for numbers
    rmse and r2, and loss where it is the user's own.
    """

    module: str
    """FILE.py:NAME or package.module:NAME"""
    loss: str = ""
    """cross-entropy, mse, or FILE.py:NAME of a function (outputs, targets); empty: by the data, one of the first two"""
    batch: int = 64
    """rows per mini-batch, drawn without replacement; 0: all rows"""
    device: str = "auto"
    """cpu, cuda, cuda:1; auto: cuda where there is one"""
    l2: float = 0.0
    """weight of the ridge, at least 0"""
    threads: int = 1
    """of PyTorch, in each process; another number may change the last bits"""

    def __post_init__(self) -> None:
        check_settings("torch", self.l2, self.batch)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise ConfigError(f"'torch' has device={self.device!r}. Allowed: auto, cpu, cuda, cuda:0, cuda:1 ..")
        if self.threads < 1:
            raise ConfigError(f"'torch' has threads={self.threads}. Give at least 1.")
        if self.loss not in ("", "cross-entropy", "mse") and ":" not in self.loss:
            raise ConfigError(f"'torch' has loss={self.loss!r}. Allowed: cross-entropy, mse, FILE.py:FUNCTION.")

    def on(self, place: int) -> Torch:
        """The same for the ``place``-th rank of a machine: those with GPUs take them in turn."""
        return replace(self, device=device_of(self.device, place))

    def build(self, data: Dataset) -> TorchTask:
        """Bind the task to one rank's data."""
        device = device_of(self.device)
        threads(self.threads)
        loss = self._criterion(data.classes)
        parts = prepare("torch", data, False, lambda y: labels(y, data.classes) if data.classes else y)
        sizes = {"features": data.x.shape[1], "classes": data.classes}
        network = Network(f"module {self.module!r}", named(self.module, "the module of 'torch'"), sizes, device)
        whole = bool(data.classes)
        train, held_out, test = (Part(*network.rows(part.x, part.y, whole)) for part in parts[:3])
        network.check(loss, train.x[:TRIED], train.y[:TRIED], data.classes)
        return TorchTask(self, Parts(train, held_out, test, parts.half), network, loss, data.classes)

    def _criterion(self, classes: int) -> Criterion:
        name = self.loss or ("cross-entropy" if classes else "mse")
        if name == "cross-entropy" and classes < 2:
            raise ConfigError(
                "loss cross-entropy of 'torch' is for two or more classes, and the data have "
                f"{classes or 'numbers'}. Use loss=mse."
            )
        if ":" not in name:
            return criterion(name, None)
        own = named(name, "the loss of 'torch'")
        if not callable(own):
            raise ConfigError(f"the loss of 'torch' {name!r} is no function.")
        return criterion(repr(name), own)


@dataclass(frozen=True, eq=False)
class TorchTask:
    """A module bound to data; see ``Torch``. Rows and targets are tensors on the device."""

    settings: Torch
    parts: Parts
    network: Network
    criterion: Criterion
    classes: int

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        return self.network.dim

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The module's children."""
        return self.network.layers

    def start(self, rng: np.random.Generator) -> Vec:
        """The module's own initialisation."""
        return self.network.start(_seed(rng))

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        part = draw(self.parts.train, self.settings.batch, rng)
        ridge = self.settings.l2 / 2 * float(w @ w)
        if rng is not None:
            return self.network.value(self.criterion, w, *part, _seed(rng)) + ridge
        return self._mean(self.network.outputs(w, part.x), part) + ridge

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient (d,) by back-propagation."""
        return self._gradient(draw(self.parts.train, self.settings.batch, rng), w, rng)

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times its own of the ``weights`` (m,); (d,)."""
        rows, parts = weighed(weights, drawn(self.training_rows, self.settings.batch, rng))
        x, y = self.parts.train
        return self._gradient(Part(x[rows], y[rows]), w, rng, parts) if len(parts) else w * self.settings.l2

    def _gradient(self, part: Part, w: Vec, rng: np.random.Generator | None, weights: Vec | None = None) -> Vec:
        seed = None if rng is None else _seed(rng)
        return self.network.gradient(self.criterion, w, *part, self.settings.l2, weights, seed)

    def _mean(self, outputs: Mat, part: Part) -> float:
        return float(self.criterion.mean(outputs, part.y))

    def _row_losses(self, part: Part, w: Vec) -> Vec:
        if not len(part.y):
            return np.zeros(0)
        losses: Vec = self.criterion.rows(self.network.outputs(w, part.x), part.y).cpu().numpy()
        return losses

    def row_losses(self, models: Mat) -> Mat:
        """The losses of ``models`` (m, d) on the training rows, (m, rows)."""
        return judge(self.parts.train, models, self._row_losses)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.x)

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch."""
        return batch_count(self.training_rows, self.settings.batch)

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, lambda part, w: self._gradient(part, w, rng))

    def half_losses(self, models: Mat, which: int) -> Mat:
        """Losses of ``models`` (m, d) on one half, (m, rows)."""
        return judge(half(self.parts, which), models, self._row_losses)

    @property
    def held_out_rows(self) -> int:
        """How many rows it can judge models on."""
        return len(self.parts.held_out.y)

    def held_out_losses(self, models: Mat) -> Mat:
        """The losses of ``models`` (m, d), (m, rows)."""
        return judge(self.parts.held_out, models, self._row_losses)

    def window(self, first: int, last: int) -> TorchTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """Loss, and error or squared error; means over the training rows."""
        part = self.parts.train
        outputs = self.network.outputs(w, part.x)
        found = self._figures(part, outputs)
        return self._mean(outputs, part), found.get("error", found.get("rmse", 0.0) ** 2)

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: error and loss, or rmse and r2."""
        return report(self.parts, self.loss(w), lambda part: self._figures(part, self.network.outputs(w, part.x)))

    def blend(self, models: Mat, shares: Vec) -> dict[str, float]:
        """Figures of the mean of the predictions of ``models`` (m, d), with ``shares`` (m,): of classes, that of their
        probabilities, whose logarithms are scores again.
        """

        def mean(part: Part) -> Any:
            return self.network.blended(models, shares, part.x, bool(self.classes))

        train = self.parts.train
        return report(self.parts, self._mean(mean(train), train), lambda part: self._figures(part, mean(part)))

    def _figures(self, part: Part, outputs: Any) -> dict[str, float]:
        y: Any = part.y
        found = {}
        if self.classes and outputs.ndim == 2:
            found["error"] = int((outputs.argmax(1) != y).sum()) / len(y)
        if not self.classes and outputs.shape == y.shape:
            square, variance = float(((outputs - y) ** 2).mean()), float(y.var(correction=0))
            found |= {"rmse": square**0.5, **({"r2": 1 - square / variance} if variance > 0 else {})}
        return found if self.criterion.name == "mse" else {**found, "loss": self._mean(outputs, part)}


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))
