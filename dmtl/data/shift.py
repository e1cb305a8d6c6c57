"""Feature shift: ranks that see the same things differently. Training, held-out and test rows of a rank alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import isfinite, isqrt

import numpy as np
from scipy import ndimage

from dmtl.data.features import mapped
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mat

__all__ = ["Noise", "Rotation"]

TURNS = "0x90x180x270"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotated images: each rank sees square images turned by an angle of its own, anticlockwise.

    A row of s s features is an image, row by row. The angles are dealt to the ranks in turn, so that rank r has that of
    number r modulo their count: clusters of ranks that are known. With ``degrees`` each rank draws its angle uniformly
    from -degrees to degrees instead. Multiples of 90 degrees move pixels and change none. Other angles are about the
    centre, with bilinear interpolation, and what comes in from outside is the nearest pixel of the edge; that is ours.
    It comes before the rank's own units (standardise), which then belong to pixels as they are seen.

    Ghosh, Chung, Yin and Ramchandran, "An efficient framework for clustered federated learning", NeurIPS 2020.
    """

    angles: str = ""
    """in degrees, dealt to the ranks in turn, such as 0x45x90; empty: 0x90x180x270, unless degrees is given"""
    degrees: float = 0.0
    """above 0: the largest angle that a rank may draw, to either side"""

    def __post_init__(self) -> None:
        if not (isfinite(self.degrees) and 0 <= self.degrees <= 180):
            raise ConfigError(f"'rotation' has degrees={self.degrees}. degrees is an angle, 0 to 180.")
        if self.angles and self.degrees:
            raise ConfigError(
                "'rotation' has angles and degrees. angles are dealt and degrees draws: give one of them."
            )
        if not all(map(_is_number, self._dealt)):
            raise ConfigError(
                f"'rotation' has angles={self.angles!r}. Write them in degrees, joined by x: 0x90x180x270."
            )

    @property
    def _dealt(self) -> list[str]:
        return (self.angles or TURNS).split("x")

    def angle(self, rank: int, seed: int) -> float:
        """By how many degrees rank ``rank`` is turned."""
        if self.degrees:
            return float(stream(seed, Purpose.SHIFT, rank).uniform(-self.degrees, self.degrees))
        dealt = self._dealt
        return float(dealt[rank % len(dealt)])

    def shifted(self, data: Dataset, rank: int, ranks: int, seed: int) -> Dataset:
        """The rank's images, turned."""
        columns = data.x.shape[1]
        if isqrt(columns) ** 2 != columns:
            raise ConfigError(
                f"shift 'rotation' turns square images, and the data have {columns} features, which is no square. "
                f"Use the shift 'noise', or leave it out."
            )
        return mapped(data, partial(_turned, self.angle(rank, seed)))


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _turned(angle: float, x: Mat) -> Mat:
    side = isqrt(x.shape[1])
    images = x.reshape(len(x), side, side)
    if angle % 90 == 0:
        turned = np.rot90(images, int(angle // 90) % 4, axes=(1, 2))
    else:
        turned = ndimage.rotate(images, angle, axes=(1, 2), reshape=False, order=1, mode="nearest")
    return np.ascontiguousarray(turned).reshape(x.shape)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noisy features: the sensors of some ranks are worse than those of others.

    Rank r of n adds Gaussian noise of mean 0 and standard deviation sigma (r + 1) / n to every feature of all its rows:
    the last rank has sigma, and nobody has none. It comes before the rank's own units (standardise), so sigma is in the
    units of the data. What is ours: sigma is a standard deviation.

    Li, Diao, Chen and He, "Federated learning on non-IID data silos: an experimental study", ICDE 2022.
    """

    sigma: float = 0.1
    """standard deviation of the noise on the last rank"""

    def __post_init__(self) -> None:
        if not (isfinite(self.sigma) and self.sigma >= 0):
            raise ConfigError(f"'noise' has sigma={self.sigma}. sigma is a standard deviation, finite and at least 0.")

    def shifted(self, data: Dataset, rank: int, ranks: int, seed: int) -> Dataset:
        """The rank's rows with noise, which differs from row to row."""
        rng, size = stream(seed, Purpose.SHIFT, rank), self.sigma * (rank + 1) / ranks
        return mapped(data, lambda x: x + size * rng.standard_normal(x.shape))
