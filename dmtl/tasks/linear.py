"""What the linear tasks share: rows with a bias column, labels as targets, mini-batches, reported figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.types import Mask, Mat, Vec

__all__ = [
    "Part",
    "Parts",
    "batch_count",
    "check_settings",
    "class_figures",
    "clipped_mean",
    "cross_entropies",
    "draw",
    "drawn",
    "half",
    "half_grads",
    "judge",
    "labels",
    "misfit",
    "one_hot",
    "prepare",
    "probabilities",
    "report",
    "report_classes",
    "second_moment",
    "sign_error",
    "signs",
    "sum_of",
    "top_eigenvalue",
    "weighed",
    "weighted_mean",
    "windowed",
]

Targets = NDArray[np.floating[Any]]
"""(m,) numbers or signs, or (m, classes) one-hot rows"""


class Part(NamedTuple):
    """Rows as a loss reads them."""

    x: Mat
    """(m, q) features; q = p + 1 with the constant 1 last where there is a bias, else q = p"""
    y: Targets


class Parts(NamedTuple):
    """One rank's rows by what they are for."""

    train: Part
    held_out: Part
    test: Part
    half: Mask | None
    """(m,) the training rows of the second half; None: every second row"""


def check_settings(task: str, l2: float, batch: int) -> None:
    """Refuse settings that no linear task can have."""
    if not (math.isfinite(l2) and l2 >= 0):
        raise ConfigError(f"'{task}' has l2={l2}. l2 is the weight of the ridge, a finite number of at least 0.")
    if batch < 0:
        raise ConfigError(f"'{task}' has batch={batch}. batch is a number of rows, at least 1, or 0 for all rows.")


def misfit(task: str, wanted: str, classes: int) -> ConfigError:
    """Make the error for data of the wrong kind: what the task is for, what the data are, which task fits them."""
    if classes == 0:
        return ConfigError(f"task '{task}' is for {wanted}; the data are for regression. Use 'least-squares'.")
    mend = "Add rows of another class." if classes == 1 else "Use 'softmax'."
    return ConfigError(f"task '{task}' is for {wanted}; the data have {classes}. {mend}")


def signs(y: Vec) -> Targets:
    """Labels 0 and 1 (m,) as -1 and +1."""
    return 2 * labels(y, 2) - 1


def one_hot(y: Vec, classes: int) -> Targets:
    """Labels (m,) as rows (m, classes) with a single 1, column by column in memory."""
    return np.asfortranarray(np.equal.outer(labels(y, classes), np.arange(classes)), dtype=np.float64)


def labels(y: Vec, classes: int) -> Vec:
    """``y`` (m,), which must be whole numbers 0 .. classes - 1."""
    if not np.isin(y, np.arange(classes)).all():
        raise ConfigError(f"the data have a label that is none of 0 .. {classes - 1}. Number the classes from 0.")
    return y


def prepare(task: str, data: Dataset, bias: bool, encode: Callable[[Vec], Targets]) -> Parts:
    """Add the bias column and encode the targets once, in the data's own precision: float32, or else float64."""
    dtype = np.dtype(np.float32 if data.x.dtype == np.float32 else np.float64)

    def part(x: Mat, y: Vec) -> Part:
        columns = [x, np.ones((len(x), 1))] if bias else [x]
        rows = np.ascontiguousarray(np.concatenate(columns, axis=1, dtype=dtype))
        return Part(rows, encode(y).astype(dtype))

    parts = Parts(part(data.x, data.y), part(data.held_x, data.held_y), part(data.test_x, data.test_y), data.half)
    if parts.train.x.size == 0:
        raise ConfigError(f"task '{task}' needs a training row and a parameter; x has the shape {data.x.shape}.")
    if not all(np.isfinite(array).all() for rows in parts[:3] for array in rows):
        raise ConfigError(f"task '{task}' needs finite numbers; the data have NaN or infinity. Drop or fill them.")
    return parts


def draw(part: Part, size: int, rng: np.random.Generator | None) -> Part:
    """Draw ``size`` distinct rows, in ascending order; all of them, uncopied, without ``rng`` or with size 0."""
    rows = drawn(len(part.y), size, rng)
    return part if isinstance(rows, slice) else Part(part.x[rows], part.y[rows])


def drawn(count: int, size: int, rng: np.random.Generator | None) -> NDArray[np.int64] | slice:
    """Which of ``count`` rows ``draw`` draws."""
    if rng is None or not 0 < size < count:
        return slice(None)
    return np.sort(rng.choice(count, size, replace=False, shuffle=False))


class Weighed(NamedTuple):
    """Rows that weigh something, and what each weighs in a mean over them alone."""

    rows: NDArray[np.int64] | slice
    weights: Vec
    """(m,) times m and through the number of all rows, so the mean is that over all"""


def weighed(weights: Vec, rows: NDArray[np.int64] | slice) -> Weighed:
    """Those of ``rows`` whose ``weights`` are not 0: no others need be gone through.

    Where all weigh something they are what was given: a slice stays one, so nothing is copied for it.
    """
    parts = weights[rows]
    if parts.all():
        return Weighed(rows, parts)
    found = np.arange(len(weights))[rows][parts != 0]
    return Weighed(found, weights[found] * weights.dtype.type(len(found) / len(parts)))


def batch_count(count: int, size: int) -> int:
    """How many batches of ``size`` rows make an epoch of ``count``; 1 with size 0."""
    return -(-count // size) if size else 1


def windowed(parts: Parts, first: int, last: int) -> Parts:
    """The training rows ``first`` .. ``last`` - 1 alone; the others as they are."""
    x, y = parts.train
    return parts._replace(train=Part(x[first:last], y[first:last]), half=None)


def half(parts: Parts, which: int) -> Part:
    """Half 0 or 1 of the training rows; no rows for either where one of them has less than two."""
    (x, y), second = parts.train, parts.half
    if second is None:
        rows: Any = slice(which, None, 2) if len(y) >= 4 else slice(0)
    else:
        rows = second == bool(which) if 2 <= second.sum() <= len(y) - 2 else slice(0)
    return Part(x[rows], y[rows])


def half_grads(
    parts: Parts, pair: Mat, size: int, rng: np.random.Generator | None, gradient: Callable[[Part, Vec], Vec]
) -> Mat:
    """``gradient`` on half 0 at ``pair[0]`` and on half 1 at ``pair[1]``, (2, d); 0 where there are no halves."""
    found = np.zeros_like(pair)
    for which, w in enumerate(pair):
        rows = half(parts, which)
        if len(rows.y):
            found[which] = gradient(draw(rows, size, rng), w)
    return found


def clipped_mean(x: Mat, slopes: Mat, clip: float, order: int) -> Vec:
    """Mean (q c,) of the rows' gradients x_i s_i' (q, c), each shortened to ``clip`` in the 1- or 2-norm.

    ``slopes`` (m, c) are the derivatives of each row's loss by its scores. Both norms of an outer product are products.
    """
    sizes = np.linalg.norm(x, order, axis=1) * np.linalg.norm(slopes, order, axis=1)
    shares = (clip / np.maximum(sizes, clip) / len(x)).astype(x.dtype)
    mean: Vec = (x.T @ (slopes * shares[:, None])).ravel()
    return mean


def weighted_mean(x: Mat, slopes: Mat, weights: Vec) -> Vec:
    """Mean (q c,) of the rows' gradients x_i s_i' (q, c), each times its own of the ``weights`` (m,)."""
    mean: Vec = (x.T @ (slopes * weights[:, None])).ravel() / len(x)
    return mean


def second_moment(x: Mat) -> Mat:
    """``X' X / m`` (q, q), in double precision whatever the data's."""
    wide = x.astype(np.float64, copy=False)
    return wide.T @ wide / len(x)


def top_eigenvalue(x: Mat) -> float:
    """Largest eigenvalue of ``X' X / m``: sigma_max^2 / m."""
    rows, columns = x.shape
    moment = second_moment(x) if columns <= rows else second_moment(x.T) * (columns / rows)
    return float(np.linalg.eigvalsh(moment)[-1])


def sign_error(z: Vec, y: Targets) -> float:
    """Share of the scores ``z`` (m,) with another sign than ``y``; a score of 0 stands for the class -1."""
    return float(np.mean((z > 0) != (y > 0)))


def judge(part: Part, models: Mat, row_losses: Callable[[Part, Vec], Vec]) -> Mat:
    """Losses (m, rows) of ``models`` (m, d); NaN has an infinite one."""
    with np.errstate(all="ignore"):  # a model that a liar sent may overflow
        losses = np.array([row_losses(part, w) for w in models], np.float64).reshape(len(models), len(part.y))
    losses[np.isnan(losses)] = np.inf
    return losses


def report(parts: Parts, train_loss: float, measure: Callable[[Part], Mapping[str, float]]) -> dict[str, float]:
    """``train_loss``, and what ``measure`` finds on the held-out and on the test rows, where there are any."""
    figures = {"train_loss": train_loss}
    for name, part in (("held_out", parts.held_out), ("test", parts.test)):
        if len(part.y):
            figures |= {f"{name}_{figure}": value for figure, value in measure(part).items()}
    return figures


def sum_of(shares: Vec, predictions: Sequence[Mat]) -> Mat:
    """Their sum with ``shares`` (m,), in the order of the models."""
    found: Mat = np.zeros_like(predictions[0])
    for share, prediction in zip(shares, predictions, strict=True):
        found += share.astype(found.dtype) * prediction
    return found


def probabilities(scores: Mat) -> Mat:
    """Rows exp(z) / sum exp(z), (m, classes), without overflow."""
    powers: Mat = np.exp(scores - scores.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def cross_entropies(scores: Mat, y: Targets) -> Vec:
    """log sum exp(z) - z'y of each row of ``scores`` and of one-hot ``y`` (m, classes), (m,)."""
    z = scores - scores.max(axis=1, keepdims=True)
    losses: Vec = np.log(np.exp(z).sum(axis=1)) - (z * y).sum(axis=1)
    return losses


def class_figures(share: Mat, y: Targets) -> dict[str, float]:
    """Error and loss of class probabilities (m, classes) for one-hot ``y``; of equal ones the lowest label stands."""
    label = y.argmax(axis=1)
    kept = np.maximum(share[np.arange(len(label)), label], np.finfo(share.dtype).tiny)
    return {"error": float(np.mean(share.argmax(axis=1) != label)), "loss": -float(np.mean(np.log(kept)))}


def report_classes(parts: Parts, predict: Callable[[Part], Mat]) -> dict[str, float]:
    """What ``report`` tells, of rows of class probabilities (m, classes)."""

    def measure(part: Part) -> dict[str, float]:
        return class_figures(predict(part), part.y)

    return report(parts, measure(parts.train)["loss"], measure)
