"""Features of features: a kernel as an inner product, so that linear methods learn what is not linear.

An exact kernel needs everybody's rows. A map into finitely many features that is drawn before round 0 needs none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from math import comb, factorial, isfinite, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mat, Vec

__all__ = ["MOST", "RBF", "Polynomial", "mapped"]

MOST = 20_000
"""features that a polynomial may make"""


def mapped(data: Dataset, rows: Callable[[Mat], Mat]) -> Dataset:
    """One rank's data under a map of rows: training, held-out and test rows alike.

    Rows stay rows, so targets and halves stay. The generating parameters are of other features, and are dropped.
    """
    x, held_x, test_x = (rows(part) for part in (data.x, data.held_x, data.test_x))
    return replace(data, x=x, held_x=held_x, test_x=test_x, truth=None)


@dataclass(frozen=True, slots=True)
class RBF:
    """Random Fourier features: inner products that approximate the Gaussian kernel exp(-|x - z|^2 / (2 width^2)).

    phi(x) = sqrt(2 / count) (cos <u_1, x>, .., sin <u_1, x>, ..) with count / 2 frequencies u, each from the Gaussian
    distribution with the covariance I / width^2. The mean of <phi(x), phi(z)> over draws is the kernel, and
    |phi(x)|^2 = 1 whatever the draw. With independent draws an inner product is off by more than e with a probability
    of at most 2 exp(-count e^2 / 4), by Hoeffding's inequality.
    With ``orthogonal``, as many frequencies at a time as there are columns are at right angles to each other, and have
    the lengths of Gaussian vectors: each alone has the same distribution, and the variance is lower where the columns
    are many. A cosine and a sine of each have a lower variance than twice as many cosines with random phases.
    All ranks draw the same from the seed of the run before round 0. Where the run standardises, x is in each rank's own
    units and width too; with standardise=false all have those of the data. The features are not scaled again. The bias
    of a task adds 1 to the kernel; bias=false leaves it as it is.

    Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007; Yu, Suresh, Choromanski,
    Holtmann-Rice and Kumar, "Orthogonal random features", NIPS 2016; Sutherland and Schneider, "On the error of random
    Fourier features", UAI 2015, for cosines and sines.
    """

    count: int = 200
    """number of features, even: a cosine and a sine of each frequency"""
    width: float | None = None
    """how far the kernel reaches; left out: the square root of the number of columns"""
    orthogonal: bool = True
    """whether frequencies are at right angles to each other, or else independent"""

    def __post_init__(self) -> None:
        if self.count < 2 or self.count % 2:
            raise ConfigError(f"'rbf' has count={self.count}. count is an even number of features, at least 2.")
        if self.width is not None and not (isfinite(self.width) and self.width > 0):
            raise ConfigError(f"'rbf' has width={self.width}. width is a finite number above 0.")

    def drawn(self, columns: int, seed: int) -> Callable[[Mat], Mat]:
        """The map of rows (m, columns) to rows (m, count)."""
        rng = stream(seed, Purpose.FEATURES)
        draw = _at_right_angles if self.orthogonal else _independent
        width = sqrt(columns) if self.width is None else self.width
        return partial(_waves, draw(self.count // 2, columns, rng) / width)


def _waves(frequencies: Mat, x: Mat) -> Mat:
    angles = x.astype(np.float64, copy=False) @ frequencies.T
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / sqrt(len(frequencies))


def _independent(count: int, columns: int, rng: np.random.Generator) -> Mat:
    """Gaussian vectors (count, columns)."""
    return rng.standard_normal((count, columns))


def _at_right_angles(count: int, columns: int, rng: np.random.Generator) -> Mat:
    """Gaussian vectors (count, columns), orthogonal to each other within each ``columns`` of them."""
    blocks = []
    for first in range(0, count, columns):
        size = min(columns, count - first)
        q, r = np.linalg.qr(rng.standard_normal((columns, size)))
        # the signs make q uniform among all rotations, whatever signs the factorisation chooses
        directions = (q * np.where(np.diag(r) < 0, -1.0, 1.0)).T
        blocks.append(directions * np.sqrt(rng.chisquare(columns, size))[:, None])
    return np.concatenate(blocks)


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Polynomial features: inner products that are the kernel (offset + <x, z>)^degree.

    phi(x) has a number for each product of ``degree`` factors from (sqrt(offset), x_1 .. x_p), whatever their order,
    times the square root of the number of orders: <phi(x), phi(z)> is the kernel, up to rounding. These are
    comb(p + degree, degree) features, or comb(p + degree - 1, degree) with offset=0, which takes products of x alone.
    Nothing is drawn, so all ranks have the same. With an offset above 0 one feature is constant, and the bias of a task
    adds 1 to the kernel beside it; bias=false leaves the kernel as it is. The features are not scaled again.

    Schölkopf and Smola, "Learning with kernels", MIT Press, 2002, for the kernel and its features.
    """

    degree: int = 2
    """2 or 3"""
    offset: float = 1.0
    """at least 0; above it lower degrees count too"""

    def __post_init__(self) -> None:
        if self.degree not in (2, 3):
            raise ConfigError(f"'polynomial' has degree={self.degree}. degree is 2 or 3.")
        if not (isfinite(self.offset) and self.offset >= 0):
            raise ConfigError(f"'polynomial' has offset={self.offset}. offset is a finite number of at least 0.")

    def drawn(self, columns: int, seed: int) -> Callable[[Mat], Mat]:
        """The map of rows (m, columns) to products; raises ConfigError where they are too many."""
        factors = columns + (self.offset > 0)
        count = comb(factors + self.degree - 1, self.degree)
        if count > MOST:
            raise ConfigError(
                f"'polynomial' with degree={self.degree} makes {count} features of {columns}, more than {MOST}. "
                f"Lower the degree, or use rbf, which makes as many as its count says."
            )
        chosen = list(combinations_with_replacement(range(factors), self.degree))
        orders = [factorial(self.degree) / prod(map(factorial, Counter(each).values())) for each in chosen]
        return partial(_products, np.array(chosen), np.sqrt(orders), sqrt(self.offset))


def _products(chosen: NDArray[np.int64], weights: Vec, constant: float, x: Mat) -> Mat:
    wide = x.astype(np.float64, copy=False)
    factors = np.column_stack([wide, np.full(len(x), constant)])  # chosen asks for the last only where it is not 0
    found: Mat = factors[:, chosen[:, 0]] * weights
    for place in chosen.T[1:]:
        found *= factors[:, place]
    return found
