"""Differential privacy: how much noise a clipped mean gradient needs, and what many of them give away together."""

from __future__ import annotations

import math

import numpy as np

from dmtl.types import Vec

__all__ = ["noise", "scale", "sensitivity", "spent"]


def sensitivity(clip: float, rows: int) -> float:
    """How far a mean over that many rows moves at most if one is replaced, each being no longer than ``clip``."""
    return 2 * clip / rows


def scale(clip: float, rows: int, epsilon: float, delta: float) -> float:
    """The scale of the noise that makes one clipped mean gradient (epsilon, delta)-private.

    delta = 0: of the Laplace mechanism, s / epsilon, s the sensitivity in the 1-norm. Else the standard deviation of
    the Gaussian mechanism, s sqrt(2 log(1.25 / delta)) / epsilon, s that in the 2-norm; for epsilon below 1.
    """
    most = sensitivity(clip, rows)
    return most / epsilon if delta == 0 else most * math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def noise(rng: np.random.Generator, width: float, delta: float, like: Vec) -> Vec:
    """Independent draws (d,) of the mechanism with that scale."""
    drawn = rng.laplace(0.0, width, len(like)) if delta == 0 else rng.normal(0.0, width, len(like))
    return drawn.astype(like.dtype)


def spent(epsilon: float, delta: float, updates: int, slack: float = 0.0) -> tuple[float, float]:
    """(epsilon, delta) that so many releases, each (``epsilon``, ``delta``)-private, have together.

    slack = 0: the sums (basic composition). Above 0: epsilon sqrt(2 u log(1 / slack)) + u epsilon (e^epsilon - 1) and
    u delta + slack (advanced composition), or the sums where their epsilon is the smaller one.
    """
    plain = updates * epsilon
    if slack <= 0:
        return plain, updates * delta
    strong = epsilon * math.sqrt(2 * updates * math.log(1 / slack)) + plain * math.expm1(epsilon)
    return (strong, updates * delta + slack) if strong < plain else (plain, updates * delta)
