"""What a rank remembers of its neighbours: how their models did on its data, and how far they move."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.types import Mask, Mat, Vec, View

__all__ = ["Comparing", "Memory", "Reputation", "inverse", "without_worst"]

_WORST = 1e300
"""what a loss counts that is infinite or no number: it stays a number, and is forgiven by nobody"""
_TINY = 1e-300


@runtime_checkable
class Comparing(Protocol):
    """A task that takes the losses of several models at once, on the same rows."""

    def losses(self, models: Mat, rng: np.random.Generator | None = None) -> Vec:
        """``loss`` of each of ``models`` (m, d) on one draw of rows, (m,)."""


class Memory(NamedTuple):
    """How figures accumulate: means over all words at first, then a share gamma of the newest word."""

    gamma: float
    anew: int
    """after so many words figures begin anew, so that what was said before models were fitted is forgotten"""
    started: bool
    """whether losses and distances begin at a given figure instead, and take a share gamma of each word"""


class Reputation(NamedTuple):
    """Accumulated figures: the own words' first, then the neighbours', ascending; they rest while one is silent."""

    losses: Vec
    """(1 + k,) float64, A_l"""
    distances: Vec
    """(1 + k,) float64, squared distances to the model that this rank had before"""
    centres: Mat
    """(k, d) the mean of what each neighbour has said"""
    spread: Vec
    """(k,) float64, squared distances of what it said to that mean"""
    heard: NDArray[np.int64]
    """(1 + k,) rounds that went into these"""

    @classmethod
    def blank(cls, view: View, d: int, dtype: DTypeLike, start: float) -> Reputation:
        """Nothing heard of anybody."""
        k = len(view.sources)
        return cls(
            np.full(1 + k, start),
            np.full(1 + k, start),
            np.zeros((k, d), dtype),
            np.zeros(k),
            np.zeros(1 + k, np.int64),
        )

    def moved(self, here: NDArray[np.intp], words: Mat) -> Vec:
        """(m - 1,) squared distances of the neighbours' words to the mean of what they said before."""
        return squares(words[1:] - self.centres[here[1:] - 1])

    def after(self, here: NDArray[np.intp], words: Mat, losses: Vec, distances: Vec, memory: Memory) -> Reputation:
        """With this round's ``words`` (m, d) of those in ``here`` (m,), the own ones first."""
        heard, near = self.heard.copy(), here[1:] - 1
        heard[here] += 1
        age = heard[here] - np.where(heard[here] > memory.anew, memory.anew, 0)
        share = np.maximum(memory.gamma, 1 / age)
        begun = memory.gamma if memory.started else share
        return Reputation(
            _mixed(self.losses, here, begun, np.minimum(losses, _WORST)),
            _mixed(self.distances, here, begun, distances),
            _mixed(self.centres, near, share[1:, None].astype(words.dtype), words[1:]),
            _mixed(self.spread, near, share[1:], np.where(age[1:] == 1, 0.0, self.moved(here, words))),
            heard,
        )


def _mixed(old: Mat, here: NDArray[np.intp], share: Vec | float, new: Mat) -> Mat:
    """The old figures, those that are ``here`` with a share of the new ones."""
    found = old.copy()
    found[here] = (1 - share) * old[here] + share * new
    return found


def squares(rows: Mat) -> Vec:
    """(m,) squared norms, in double precision."""
    found: Vec = np.vecdot(rows, rows).astype(np.float64)
    return found


def inverse(figures: Vec, kept: Mask) -> Vec:
    """Weights (m,) that sum to one, in proportion to 1 / figure over the ``kept``; figures of 0 share everything."""
    floored = np.maximum(figures, _TINY)
    ratio = np.where(kept, floored[kept].min() / floored, 0.0)
    weights: Vec = ratio / ratio.sum()
    return weights


def without_worst(weights: Vec, losses: Vec, f: int) -> Mask:
    """(m,) all but the f neighbours that contribute most to the expected loss, weight^2 times loss; never oneself."""
    kept = np.ones(len(weights), np.bool_)
    kept[1 + np.argsort(-(weights[1:] ** 2 * losses[1:]), kind="stable")[:f]] = False
    return kept
