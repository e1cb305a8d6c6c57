"""Sensors that look for a few targets: noisy bearings and distances, one pair in each round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.graphs.near import place
from dmtl.rng import Purpose, stream
from dmtl.types import Mat, Vec

__all__ = ["Localisation"]

CORNERS = ((10.0, 10.0), (10.0, 20.0), (20.0, 10.0), (20.0, 20.0))


@dataclass(frozen=True, slots=True)
class Localisation:
    """Each rank is a sensor in the plane and measures one of four targets again and again; the task is 'bearing'.

    Sensor k is at x_k, uniform in [0, side]^2: where the topology 'near' has it. Its target w_k is one of (10, 10),
    (10, 20), (20, 10), (20, 20), each moved by U[0, 1]^2; the first quarter of the ranks has the first one, and so on.
    With e the unit vector from x_k to w_k a measurement is a bearing and a distance along it:

        u = e + v (1, 1),  v ~ N(0, s_k^2)        d = (w_k - x_k)'u + r,  r ~ N(0, t_k^2)

    s_k ~ U[0.01, 0.02], but 0.1 for the share ``noisy`` of the ranks, which are drawn; t_k ~ U[0.1, 0.2].
    A row has the features (u, x_k) and the target d. It is not to be standardised (--set standardise=false): a bearing
    has the length 1, and x_k is the same in all rows. Rows are in the order of time, those to test on last.
    ``targets`` tells the w_k.

    Li, Abbas and Koutsoukos, "Byzantine resilient distributed multi-task learning", NeurIPS 2020.
    """

    rows: int = 500
    """measurements of each rank to learn from"""
    test: int = 100
    """further ones to test on"""
    noisy: float = 0.05
    """share of the ranks with poor bearings"""
    side: float = 3.0
    """side of the square of sensors; that of 'near'"""

    def __post_init__(self) -> None:
        for name in ("rows", "test"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'localisation' has {name}={getattr(self, name)}. {name} is at least 1.")
        if not 0 <= self.noisy <= 1:
            raise ConfigError(f"'localisation' has noisy={self.noisy}. noisy is a share, from 0 to 1.")
        if not 0 < self.side < np.inf:
            raise ConfigError(f"'localisation' has side={self.side}. side is a length, above 0.")

    def load(self, ranks: int, seed: int) -> Pool:
        """Draw the measurements of ``ranks`` sensors by ``seed``."""
        places, targets, poor = self.places(ranks, seed), self.targets(ranks, seed), self._poor(ranks, seed)
        drawn = [self._measured(k, places[k], targets[k], bool(poor[k]), seed) for k in range(ranks)]
        each = self.rows + self.test
        return Pool(
            x=np.concatenate([x for x, _ in drawn]),
            y=np.concatenate([y for _, y in drawn]),
            task=np.repeat(np.arange(ranks), each),
            group=np.arange(ranks * each),
            test=np.tile(np.arange(each) >= self.rows, ranks),
        )

    def places(self, ranks: int, seed: int) -> Mat:
        """(ranks, 2) where the sensors are."""
        return np.array([place(rank, self.side, seed) for rank in range(ranks)])

    def targets(self, ranks: int, seed: int) -> Mat:
        """(ranks, 2) what each rank looks for."""
        found = np.array(CORNERS) + stream(seed, Purpose.DATA).uniform(0.0, 1.0, (len(CORNERS), 2))
        return found[np.arange(ranks) * len(CORNERS) // ranks]

    def _poor(self, ranks: int, seed: int) -> Vec:
        """(ranks,) 1 for those with poor bearings."""
        order = stream(seed, Purpose.DATA, round=1).permutation(ranks)
        poor: Vec = (order < round(self.noisy * ranks)).astype(np.float64)
        return poor

    def _measured(self, rank: int, x: Vec, target: Vec, poor: bool, seed: int) -> tuple[Mat, Vec]:
        """Rows (m, 4) and distances (m,) of one rank."""
        rng = stream(seed, Purpose.DATA, rank)
        bearing_noise, distance_noise = rng.uniform(0.01, 0.02), rng.uniform(0.1, 0.2)
        draws = rng.standard_normal((self.rows + self.test, 2))
        e = (target - x) / np.linalg.norm(target - x)
        u = e + (0.1 if poor else bearing_noise) * draws[:, :1]
        d: Vec = u @ (target - x) + distance_noise * draws[:, 1]
        return np.column_stack([u, np.broadcast_to(x, u.shape)]), d
