"""Falsifications of a liar's own data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError

__all__ = ["LabelFlip"]


@dataclass(frozen=True, slots=True)
class LabelFlip:
    """Turn training labels over: y becomes classes - 1 - y, and for regression -y.

    A share of the training rows, drawn at random; held-out and test rows stay as they are, so that what the liar
    reports of itself is measured on true data. Regression is ours: the literature flips classes.

    Fang, Cao, Jia, Gong, Local Model Poisoning Attacks to Byzantine-Robust Federated Learning, USENIX Security 2020.
    """

    share: float = 1.0
    """share of the training rows that are flipped, 0 to 1; rounded to whole rows"""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"'label-flip' has share={self.share}. share is a part of the rows, from 0 to 1.")

    def __call__(self, data: Dataset, rng: np.random.Generator) -> Dataset:
        """Flip the rows that ``rng`` chooses."""
        rows = rng.permutation(len(data.y))[: round(self.share * len(data.y))]
        y = data.y.copy()
        y[rows] = data.classes - 1 - y[rows] if data.classes else -y[rows]
        return replace(data, y=y)
