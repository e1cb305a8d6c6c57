"""What the methods with several models on a rank share: starts, responsibilities, weighted steps, settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np

from dmtl.algorithms.local_steps import descent
from dmtl.capabilities import Batched, Starting, Weighted
from dmtl.errors import ConfigError
from dmtl.rng import NETWORK, Purpose, stream
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Mat, Task, Vec, View

__all__ = ["check_mixture", "responsibilities", "settled", "starts", "trained", "turn"]

_CLOSE = 1e-7
"""change of the shares at which they are settled"""
_MOST = 500
"""passes after which they are taken as they are"""


def check_mixture(name: str, components: int, step: Schedule | None, epochs: int, spread: float) -> None:
    """Refuse settings that no method with components can have."""
    check_schedule(step, f"'{name}' step_size")
    if components < 1:
        raise ConfigError(f"'{name}' has components={components}. It is how many models are mixed, at least 1.")
    if epochs < 1:
        raise ConfigError(f"'{name}' has epochs={epochs}. It must be at least 1.")
    if not (math.isfinite(spread) and spread > 0):
        raise ConfigError(f"'{name}' has spread={spread}. It is above 0: components that start alike stay alike.")


def starts(x0: Vec, components: int, spread: float, task: Task, view: View) -> Mat:
    """(components, d) first models: different from each other, and the same on all ranks.

    The first is ``x0``. The others are where the task starts with a stream of their own; those of a task that begins
    at zero are ``x0`` and N(0, spread^2 / d).
    """
    found = [x0]
    for component in range(1, components):
        rng = stream(view.seed, Purpose.START, NETWORK, component)
        if isinstance(task, Starting):
            found.append(task.start(rng).astype(x0.dtype))
        else:
            found.append(x0 + (spread / math.sqrt(len(x0)) * rng.standard_normal(len(x0))).astype(x0.dtype))
    return np.array(found)


def responsibilities(losses: Mat, shares: Vec) -> Mat:
    """q (k, m): q_i(j) = p_j exp(-losses[j, i]) / sum_l p_l exp(-losses[l, i]), p the ``shares`` (k,)."""
    with np.errstate(divide="ignore"):  # a share of 0 has a logarithm of -inf, and stays 0
        scores = np.log(shares)[:, None] - losses
    scores -= scores.max(axis=0)
    powers: Mat = np.exp(scores)
    powers /= powers.sum(axis=0)
    return powers


def settled(losses: Mat) -> Vec:
    """(k,) the shares that make rows with these ``losses`` (k, m) likeliest: equal ones, improved until they stay."""
    likely = np.exp(losses.min(axis=0) - losses)
    shares = np.full(len(losses), 1 / len(losses))
    for _ in range(_MOST):
        before, shares = shares, shares * (likely / (shares @ likely)).mean(axis=1)
        if np.abs(shares - before).max() < _CLOSE:
            break
    return shares


def trained(
    models: Mat, which: Sequence[int], weights: Mat, mu: float, epochs: int, task: Task, view: View, ahead: int
) -> Mat:
    """The ``models`` (k, d), those in ``which`` after local epochs on their rows' losses times ``weights`` (k, m).

    One generator goes through all of them, batch after batch; ``ahead`` is 0 before round 0 and 1 in a round.
    """
    after, rng = models.copy(), view.batch(ahead)
    steps = epochs * (task.batches if isinstance(task, Batched) else 1)
    if mu:
        for row in which:
            own = weights[row].astype(models.dtype)
            after[row] = descent(partial(_weighted, task, own), models[row], rng, mu, steps)
    return after


def _weighted(task: Task, weights: Vec, w: Vec, rng: np.random.Generator | None) -> Vec:
    return cast(Weighted, task).weighted_grad(w, weights, rng)


def turn(components: int, view: View, ahead: int = 0) -> int:
    """Which component the round ``view.round + ahead`` is about, the same on all ranks."""
    rng = stream(view.seed, Purpose.WAKE, NETWORK, view.round + ahead)
    return int(rng.integers(components))
