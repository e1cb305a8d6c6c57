"""Random streams: one per (seed, rank, purpose, round), so that nothing about randomness is ever stored.

Adding a draw in one place changes no other place, and a run resumed at round t draws what it would have drawn.
"""

from __future__ import annotations

import enum

import numpy as np

__all__ = ["NETWORK", "Purpose", "stream"]

NETWORK = 2**32 - 1
"""Stands for a rank where a draw is common to the whole network."""


class Purpose(enum.IntEnum):
    """What a stream is drawn for. Numbers are part of every result: append, never renumber."""

    INIT = 0
    BATCH = 1
    ATTACK = 2
    COLLUSION = 3
    SCREEN = 4
    PLACEMENT = 5
    PARTITION = 6
    DATA = 7
    GRAPH = 8
    LINK = 9
    POISON = 10
    WAKE = 11
    PRIVACY = 12
    FEATURES = 13
    START = 14
    SHIFT = 15
    COMPRESSION = 16


def stream(seed: int, purpose: Purpose, rank: int = NETWORK, round: int = 0) -> np.random.Generator:
    """Return the generator of one (seed, rank, purpose, round); the same arguments give the same draws."""
    key = (rank, int(purpose), round)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
