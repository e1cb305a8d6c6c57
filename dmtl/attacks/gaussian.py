"""Noise in place of the message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.errors import ConfigError
from dmtl.rng import Purpose
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Gaussian"]


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian noise: say something that has nothing to do with the task.

    z ~ N(0, sigma^2 I), drawn anew in each round, the same to all targets. It knows nothing, not even its own state.
    What is ours: the noise is centred at 0 and not at the honest mean, which a rank alone does not know.

    Xie, Koyejo and Gupta, "Generalized Byzantine-tolerant SGD", arXiv:1802.10116, 2018.
    """

    sigma: float = 1.0
    """standard deviation of every coordinate, in the units of the model"""

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        if not self.sigma >= 0:
            raise ConfigError(f"'gaussian' has sigma={self.sigma}. sigma is a standard deviation, at least 0.")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """One draw (f, d), said to all."""
        noise = self.sigma * view.rng(Purpose.ATTACK).standard_normal(outbox.shape[1:])
        lies = np.empty_like(outbox)
        lies[:] = noise
        return lies, ()
