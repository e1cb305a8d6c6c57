"""Several natural tasks on one rank, each with a block of one common parameter vector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Dataset, Origin
from dmtl.errors import ConfigError, unknown
from dmtl.tasks.hinge import Hinge
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.linear import check_settings
from dmtl.tasks.logistic import Logistic
from dmtl.types import Mat, Vec

__all__ = ["Many"]

Numbers = NDArray[np.int64]
INNER: dict[str, type[Hinge] | type[LeastSquares] | type[Logistic]] = {
    "hinge": Hinge,
    "least-squares": LeastSquares,
    "logistic": Logistic,
}


@dataclass(frozen=True, slots=True)
class Many:
    """Rows of all natural tasks on every rank: a linear model for each task, one after the other in one vector.

    f(W) = 1/m sum_i loss(y_i, x_i' w_k(i)) + l2/2 |W|^2, k(i) the natural task of row i, W = (w_1, .., w_K) (K q,),
    q = p, or p + 1 with each task's own bias last. This is the ``inner`` task on the features e_k x x, which are x in
    block k and 0 elsewhere, and so it has all that the inner task has.

    Assumed: data with natural tasks, spread so that a rank has rows of several of them: ``--partition iid``. A rank
    with rows of a single task, or data without tasks, is one block or K with one in use. The training rows are put
    in such an order that the tasks take turns, each with its own rows in their order: as a stream they come mixed.
    Memory is that of the features, m K q numbers.

    Reference: Evgeniou, Micchelli and Pontil, Learning multiple tasks with kernel methods, Journal of Machine Learning
    Research, 2005.
    """

    inner: str = "logistic"
    """hinge, least-squares or logistic"""
    l2: float = 1e-3
    """weight of the ridge, at least 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    bias: bool = True
    """whether a constant 1 is the last feature of each task"""

    def __post_init__(self) -> None:
        check_settings("many", self.l2, self.batch)
        if self.inner not in INNER:
            raise unknown("inner task of 'many':", self.inner, INNER)

    def build(self, data: Dataset) -> Any:
        """Bind the task to one rank's data."""
        inner = INNER[self.inner](self.l2, self.batch, bias=False)
        try:
            return inner.build(self._in_blocks(data))
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"task {self.inner!r}", "task 'many'")) from None

    def _in_blocks(self, data: Dataset) -> Dataset:
        origin = data.origin or Origin(_none(data.y), _none(data.held_y), _none(data.test_y), 1)
        x = self._blocks(data.x, origin.train, origin.tasks)
        held_x = self._blocks(data.held_x, origin.held, origin.tasks)
        test_x = self._blocks(data.test_x, origin.test, origin.tasks)
        return _in_turn(replace(data, x=x, held_x=held_x, test_x=test_x, truth=None), origin)

    def _blocks(self, x: Mat, number: Numbers, tasks: int) -> Mat:
        """(m, tasks q): each row in its own block."""
        rows = np.concatenate([x, np.ones((len(x), int(self.bias)), x.dtype)], axis=1)
        wide = np.zeros((len(x), tasks, rows.shape[1]), rows.dtype)
        wide[np.arange(len(x)), number] = rows
        return wide.reshape(len(x), tasks * rows.shape[1])


def _none(y: Vec) -> Numbers:
    """The only task there is, for each row."""
    return np.zeros(len(y), np.int64)


def _in_turn(data: Dataset, origin: Origin) -> Dataset:
    """The training rows with the tasks taking turns."""
    number = origin.train
    turn = np.empty(len(number), np.int64)
    for task in np.unique(number):
        rows = np.flatnonzero(number == task)
        turn[rows] = np.arange(len(rows))
    order = np.lexsort((number, turn))
    half = None if data.half is None else data.half[order]
    return replace(data, x=data.x[order], y=data.y[order], half=half, origin=origin._replace(train=number[order]))
