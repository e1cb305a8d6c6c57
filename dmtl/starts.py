"""Where models begin."""

from __future__ import annotations

import numpy as np

from dmtl.capabilities import Starting
from dmtl.rng import Purpose, stream
from dmtl.types import Task, Vec

__all__ = ["first_model"]


def first_model(task: Task, seed: int) -> Vec:
    """(d,) where the task starts with what all ranks of a run draw alike, or zero."""
    return task.start(stream(seed, Purpose.START)) if isinstance(task, Starting) else np.zeros(task.dim)
