"""Tasks that are mixtures of a few linear classifiers, each task with shares of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mask, Mat, Vec

__all__ = ["Mixture", "Recipe"]


class Recipe(NamedTuple):
    """What the rows of a mixture are made from."""

    rows: NDArray[np.int64]
    """(T,) training rows of each task"""
    shares: Mat
    """(T, M) pi, the shares of the components in each task"""
    components: Mat
    """(M, p) theta"""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Mixtures of linear classifiers: all tasks have the same few components, and each its own shares of them.

    Task t has n_t = min(50 + floor(l_t), 1000) training rows, log l_t ~ N(4, 2^2), and shares pi_t ~ Dir(alpha, ..,
    alpha) of M components theta_m ~ U[-1, 1]^p. Of n rows of a task the components have Multinomial(n, pi_t); such a
    row is x ~ U[-1, 1]^p with the label y = round(sigmoid(<theta_m, x> + e)), e ~ N(0, noise^2). Which component a row
    is of nobody is told, and no feature tells: the best predictor of a task averages the components' probabilities by
    its shares, and where none has more than half, no linear model is that. Test rows are drawn in the same way, and
    fixed. Nothing has a bias.

    The authors have 300 tasks with 5000 test rows each, which with 150 features are 1.9 GB on every rank; tasks=300
    with our 1000 test rows are 0.5 GB. All other defaults and the order of draws are theirs: sizes, shares, components,
    and then task by task training and test. Their public code leaves something out: it does not go on to the next rows
    after each component, so that later components overwrite the labels of earlier ones and the rows at the end have
    label 0. Here each component labels its own rows.

    Marfoq, Neglia, Bellet, Kameni and Vidal, "Federated multi-task learning under a mixture of distributions",
    NeurIPS 2021.
    """

    tasks: int = 0
    """number T of tasks; 0: as many as there are ranks"""
    components: int = 3
    """number M of components"""
    features: int = 150
    """number p of features"""
    alpha: float = 0.4
    """concentration of the shares: the smaller, the more a task is of one component"""
    noise: float = 0.1
    """standard deviation of e"""
    test_rows: int = 1000
    """rows of each task to test on, besides its training rows"""

    def __post_init__(self) -> None:
        for name, least in (("tasks", 0), ("components", 1), ("features", 1), ("test_rows", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"'mixture' has {name}={getattr(self, name)}. {name} is at least {least}.")
        if not 0 < self.alpha < np.inf:
            raise ConfigError(f"'mixture' has alpha={self.alpha}. alpha is the concentration, above 0.")
        if not 0 <= self.noise < np.inf:
            raise ConfigError(f"'mixture' has noise={self.noise}. noise is a number, at least 0.")

    def recipe(self, ranks: int, seed: int) -> Recipe:
        """What ``load`` makes its rows from: the truth, for who is to be compared with it."""
        return self._recipe(self.tasks or ranks, stream(seed, Purpose.DATA))

    def load(self, ranks: int, seed: int) -> Pool:
        """Draw the tasks by ``seed``: as many as ``ranks``, or as ``tasks`` says."""
        count, rng = self.tasks or ranks, stream(seed, Purpose.DATA)
        recipe = self._recipe(count, rng)
        m = int(recipe.rows.sum()) + count * self.test_rows
        x, y, test = np.empty((m, self.features)), np.empty(m), np.zeros(m, dtype=np.bool_)
        at = 0
        for t, train in enumerate(recipe.rows):
            for size, tested in ((int(train), False), (self.test_rows, True)):
                x[at : at + size], y[at : at + size] = self._rows(recipe, t, size, rng)
                test[at : at + size] = tested
                at += size
        task = np.repeat(np.arange(count), recipe.rows + self.test_rows)
        return Pool(x, y, task, group=np.arange(m), classes=2, test=test)

    def _recipe(self, count: int, rng: np.random.Generator) -> Recipe:
        rows = np.minimum(50 + rng.lognormal(4, 2, count).astype(np.int64), 1000)
        shares = np.stack([rng.dirichlet(np.full(self.components, self.alpha)) for _ in range(count)])
        return Recipe(rows, shares, rng.uniform(-1, 1, (self.components, self.features)))

    def _rows(self, recipe: Recipe, t: int, size: int, rng: np.random.Generator) -> tuple[Mat, Vec]:
        """Features (size, p) and labels (size,) of task ``t``, shuffled."""
        counts = rng.multinomial(size, recipe.shares[t])
        x = rng.uniform(-1, 1, (size, self.features))
        ones: list[Mask] = []
        parts = np.split(x, np.cumsum(counts)[:-1])
        for part, theta in zip(parts, recipe.components, strict=True):
            # the sigmoid is above a half where its argument is above 0
            ones.append(part @ theta + rng.normal(scale=self.noise, size=len(part)) > 0)
        order = rng.permutation(size)
        return x[order], np.concatenate(ones)[order].astype(np.float64)
