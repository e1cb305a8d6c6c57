"""A perceptron with hidden layers, for classes or numbers; its gradient is written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np

from dmtl.capabilities import Layer
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.tasks.linear import (
    Part,
    Parts,
    batch_count,
    check_settings,
    class_figures,
    cross_entropies,
    drawn,
    half,
    half_grads,
    judge,
    one_hot,
    prepare,
    probabilities,
    report,
    sum_of,
    weighed,
    windowed,
)
from dmtl.types import Mat, Vec

__all__ = ["MLP", "MLPTask"]

Activation = Literal["relu", "tanh"]


@dataclass(frozen=True, slots=True)
class MLP:
    """Multilayer perceptron: classes by softmax and cross-entropy, numbers by half the squared error.

    f(w) = 1/m sum_i loss(h_L(x_i), y_i) + l2/2 |w|^2,  h_0 = x,  h_j = a(h_(j-1) W_j + b_j), and no activation a after
    the last layer. w (d,) holds, layer after layer, W_j row by row and then b_j.

    The layers are 'hidden1', 'hidden2' .. and 'head', so that any of them can be private. Not convex: there is no
    smoothness, and a method has to be told its step. A zero model is a saddle, so models start at random: weights
    N(0, 2 / inputs) for relu and N(0, 1 / inputs) for tanh, biases 0, the same on all ranks of one seed.
    Reports error (of equal scores the lowest label stands) and loss (without l2), or for numbers rmse and r2.

    The start for relu is that of He, Zhang, Ren and Sun, ICCV 2015.
    """

    hidden: str = "64"
    """widths of the hidden layers, such as 64 or 128x64"""
    activation: Activation = "relu"
    """a"""
    l2: float = 1e-4
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""

    def __post_init__(self) -> None:
        check_settings("mlp", self.l2, self.batch)
        if self.activation not in get_args(Activation):
            raise ConfigError(f"'mlp' has activation={self.activation!r}. It is relu or tanh.")
        if not all(width.isdecimal() and int(width) > 0 for width in self.hidden.split("x")):
            raise ConfigError(f"'mlp' has hidden={self.hidden!r}. Write the widths of its layers, as in 64 or 128x64.")

    def build(self, data: Dataset) -> MLPTask:
        """Bind the task to one rank's data."""
        if data.classes == 1:
            raise ConfigError("task 'mlp' is for numbers or two or more classes; the data have 1. Add another class.")

        def encode(y: Vec) -> Mat:
            return one_hot(y, data.classes) if data.classes else y[:, None]

        parts = prepare("mlp", data, False, encode)
        inner = tuple(int(width) for width in self.hidden.split("x"))
        return MLPTask(self, parts, (data.x.shape[1], *inner, data.classes or 1), data.classes)


class Pass(NamedTuple):
    """What a pass forwards leaves for the way back."""

    inputs: tuple[Mat, ...]
    """what each layer was given, (m, width)"""
    scores: Mat
    """(m, outputs)"""


@dataclass(frozen=True, eq=False)
class MLPTask:
    """A perceptron bound to data; see ``MLP``."""

    settings: MLP
    parts: Parts
    widths: tuple[int, ...]
    """of the input, of each hidden layer, and of the output"""
    classes: int

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Each layer's weights with its biases as the last row."""
        found, at = {}, 0
        for number, shape in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            end = at + (shape[0] + 1) * shape[1]
            name = "head" if number == len(self.widths) - 1 else f"hidden{number}"
            found[name] = Layer(slice(at, end), (shape[0] + 1, shape[1]))
            at = end
        return found

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""
        return self.layers["head"].where.stop  # type: ignore[no-any-return]

    def start(self, rng: np.random.Generator) -> Vec:
        """Weights N(0, g / inputs), g = 2 for relu and 1 for tanh, and biases of 0."""
        gain = 2.0 if self.settings.activation == "relu" else 1.0
        parts = []
        for rows, columns in (layer.shape for layer in self.layers.values()):
            parts += [rng.standard_normal((rows - 1) * columns) * np.sqrt(gain / (rows - 1)), np.zeros(columns)]
        return np.concatenate(parts).astype(self.parts.train.x.dtype)

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Objective at ``w`` (d,)."""
        part = self._rows(drawn(self.training_rows, self.settings.batch, rng))
        return float(np.mean(self._row_losses(part, w))) + self.settings.l2 / 2 * float(w @ w)

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient (d,) by back-propagation."""
        return self._gradient(self._rows(drawn(self.training_rows, self.settings.batch, rng)), w)

    def weighted_grad(self, w: Vec, weights: Vec, rng: np.random.Generator | None = None) -> Vec:
        """The gradient at ``w``, each row's part times its own of the ``weights`` (m,); (d,)."""
        rows, parts = weighed(weights, drawn(self.training_rows, self.settings.batch, rng))
        return self._gradient(self._rows(rows), w, parts) if len(parts) else w * self.settings.l2

    def _rows(self, rows: slice | np.ndarray) -> Part:
        x, y = self.parts.train
        return Part(x[rows], y[rows])

    def _matrices(self, w: Vec) -> list[Mat]:
        return [w[layer.where].reshape(layer.shape) for layer in self.layers.values()]

    def _forward(self, x: Mat, w: Vec) -> Pass:
        inputs, matrices = [x], self._matrices(w)
        for matrix in matrices[:-1]:
            z = inputs[-1] @ matrix[:-1] + matrix[-1]
            inputs.append(np.maximum(z, 0) if self.settings.activation == "relu" else np.tanh(z))
        return Pass(tuple(inputs), inputs[-1] @ matrices[-1][:-1] + matrices[-1][-1])

    def _gradient(self, part: Part, w: Vec, weights: Vec | None = None) -> Vec:
        inputs, scores = self._forward(part.x, w)
        back = (probabilities(scores) if self.classes else scores) - part.y
        back *= (1 / len(back) if weights is None else weights[:, None] / len(back)) * np.ones((), back.dtype)
        found, matrices = w * self.settings.l2, self._matrices(w)
        places = [layer.where for layer in self.layers.values()]
        for number in reversed(range(len(matrices))):
            h, place = inputs[number], places[number]
            end = place.stop - back.shape[1]
            found[place.start : end] += (h.T @ back).ravel()
            found[end : place.stop] += back.sum(axis=0)
            if number:
                slope = h > 0 if self.settings.activation == "relu" else 1 - h * h
                back = (back @ matrices[number][:-1].T) * slope
        return found

    def _row_losses(self, part: Part, w: Vec) -> Vec:
        scores = self._forward(part.x, w).scores
        if not self.classes:
            rest: Vec = scores[:, 0] - part.y[:, 0]
            return rest * rest / 2
        return cross_entropies(scores, part.y)

    def row_losses(self, models: Mat) -> Mat:
        """The losses of ``models`` (m, d) on the training rows, (m, rows)."""
        return judge(self.parts.train, models, self._row_losses)

    @property
    def batches(self) -> int:
        """How many mini-batches make an epoch."""
        return batch_count(self.training_rows, self.settings.batch)

    @property
    def training_rows(self) -> int:
        """How many rows the loss is the mean of."""
        return len(self.parts.train.x)

    def half_grads(self, pair: Mat, rng: np.random.Generator | None = None) -> Mat:
        """Gradients (2, d) on half 0 of the rows at ``pair[0]`` and on half 1 at ``pair[1]``."""
        return half_grads(self.parts, pair, self.settings.batch, rng, self._gradient)

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

    def window(self, first: int, last: int) -> MLPTask:
        """The task with the training rows ``first`` .. ``last`` - 1 alone."""
        return replace(self, parts=windowed(self.parts, first, last))

    def surprise(self, w: Vec) -> tuple[float, float]:
        """Loss, and error or squared error; means over the training rows."""
        loss = float(np.mean(self._row_losses(self.parts.train, w)))
        if not self.classes:
            return loss, 2 * loss
        scores = self._forward(self.parts.train.x, w).scores
        return loss, float(np.mean(scores.argmax(axis=1) != self.parts.train.y.argmax(axis=1)))

    def evaluate(self, w: Vec) -> dict[str, float]:
        """Figures at ``w``: error and loss, or rmse and r2."""
        return report(
            self.parts, self.loss(w), lambda part: self._figures(self._mixed(part, w[None], np.ones(1)), part.y)
        )

    def blend(self, models: Mat, shares: Vec) -> dict[str, float]:
        """Figures of the mean of the predictions of ``models`` (m, d), with ``shares`` (m,)."""
        mixed, y = self._mixed(self.parts.train, models, shares), self.parts.train.y
        loss = class_figures(mixed, y)["loss"] if self.classes else float(np.mean((mixed - y) ** 2)) / 2
        return report(self.parts, loss, lambda part: self._figures(self._mixed(part, models, shares), part.y))

    def _mixed(self, part: Part, models: Mat, shares: Vec) -> Mat:
        """(rows, outputs) the mean of what the models predict."""
        scores = [self._forward(part.x, w).scores for w in models]
        return sum_of(shares, [probabilities(z) for z in scores] if self.classes else scores)

    def _figures(self, predicted: Mat, y: Mat) -> dict[str, float]:
        if self.classes:
            return class_figures(predicted, y)
        square, variance = float(np.mean((predicted - y) ** 2)), float(np.var(y))
        return {"rmse": square**0.5, **({"r2": 1 - square / variance} if variance > 0 else {})}
