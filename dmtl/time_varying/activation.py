"""Links that are there or not, by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.rng import NETWORK, Purpose, stream
from dmtl.types import Mask

__all__ = ["Activation"]


@dataclass(frozen=True, slots=True)
class Activation:
    """Random activation: each link is in use with probability p, independently of all others and of all rounds.

    The expected graph is p times the base graph, so any p > 0 lets a connected network agree in time; nothing is
    promised of a single round, in which ranks may be alone.

    Hatano and Mesbahi, "Agreement over random networks", IEEE Transactions on Automatic Control 50(11), 2005.
    """

    p: float
    """probability that a link is in use in a round, above 0 and up to 1"""

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ConfigError(f"'activation' has p={self.p}. p is a probability: give a number above 0 and up to 1.")

    def active(self, links: NDArray[np.int64], ranks: int, round: int, seed: int) -> Mask:
        """One draw per link."""
        draws = stream(seed, Purpose.GRAPH, NETWORK, round).random(len(links))
        return draws < self.p
