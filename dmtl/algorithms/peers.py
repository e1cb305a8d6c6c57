"""What the peer-to-peer methods share: last words of the neighbours, shares of the edges, confidence in own data."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dmtl.capabilities import Counted
from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Mask, Mix, Task, Vec, View

__all__ = ["Words", "average", "check_peers", "confidence", "listened", "silence"]


class Words(NamedTuple):
    """The last message of every neighbour, however old."""

    said: Block
    """(k, f, d) 0 where nothing has come yet"""
    there: Mask
    """(k,) whether anything has"""


def silence(shape: tuple[int, int], x0: Vec, view: View) -> Words:
    """Nobody has said anything yet; ``shape`` is that of a message."""
    neighbours = len(view.sources)
    return Words(np.zeros((neighbours, *shape), x0.dtype), np.zeros(neighbours, np.bool_))


def listened(words: Words, inbox: Inbox) -> Words:
    """The words after this round: those that came and can be used take the place of older ones."""
    came = inbox.valid
    return Words(np.where(came[:, None, None], inbox.messages, words.said), words.there | came)


def average(words: Words, mix: Mix, view: View) -> Vec:
    """The screen's average (d,) of the neighbours' last words, weighted by the graph's edge weights S_kl / D_k.

    The own vector has no weight of its own but that of neighbours of whom nothing has come.
    """
    weights = np.concatenate(([0.0], view.couplings / view.couplings.sum())).astype(view.couplings.dtype)
    mix.instead(words.said, words.there, weights)
    return mix()


def confidence(task: Task, full_rows: int) -> float:
    """c = min(1, m / ``full_rows``), m the task's rows; 1 with 0, and for a task that does not count its rows."""
    return min(1.0, task.training_rows / full_rows) if full_rows and isinstance(task, Counted) else 1.0


def check_peers(name: str, strength: float, full_rows: int) -> None:
    """Refuse settings that no method with a coupling and a confidence can have."""
    if not (math.isfinite(strength) and strength >= 0):
        raise ConfigError(f"'{name}' has strength={strength}. It must be a finite number of at least 0.")
    if full_rows < 0:
        raise ConfigError(f"'{name}' has full_rows={full_rows}. It is a number of rows, or 0 to trust all data alike.")
