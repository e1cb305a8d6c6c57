"""The same number everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.attacks.settings import check_factor, check_finite
from dmtl.rng import Purpose
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Constant"]


@dataclass(frozen=True, slots=True)
class Constant:
    """Same value: every message is the same, in all rounds.

    z = c 1, or z = c 1 + v with v ~ U[0, spread]^d, drawn once by each liar. It knows nothing. With value=0 it says the
    vector of zeros, which many screens take for a small update.

    Li, Xu, Chen, Giannakis and Ling, "RSA: Byzantine-robust stochastic aggregation methods for distributed learning
    from heterogeneous datasets", AAAI 2019; with a spread Li, Abbas and Koutsoukos, "Byzantine resilient distributed
    multi-task learning", NeurIPS 2020.
    """

    value: float = 1.0
    """c, in the units of the model"""
    spread: float = 0.0
    """how much is added to each number at most, at least 0; 0: all numbers are equal"""

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        check_finite("constant", "value", self.value, "what every number of the message is")
        check_factor("constant", "spread", self.spread, "how much is added at most")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """c everywhere, and what this liar adds."""
        lies = np.full_like(outbox, self.value)
        if self.spread:
            lies += view._replace(round=0).rng(Purpose.ATTACK).uniform(0.0, self.spread, outbox.shape[1:])
        return lies, ()
