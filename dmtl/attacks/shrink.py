"""The truth, made small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dmtl.attacks.settings import check_factor
from dmtl.rng import Purpose
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Shrink"]


@dataclass(frozen=True, slots=True)
class Shrink:
    """Shrinking: the own model times a small random factor, another one for each vector, target and round.

    z_i = c u_i m, m the honest message and u_i uniform in [0, 1). Near the start it is close to the truth; once models
    have learnt, it takes back what they know. It knows its own state only.
    What is ours: a factor per edge, where the authors' experiments say the same to all.

    Li, Abbas and Koutsoukos, "Byzantine resilient distributed multi-task learning", NeurIPS 2020 (their experiments).
    """

    scale: float = 0.1
    """c, the largest factor"""

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        check_factor("shrink", "scale", self.scale)

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """A factor per vector and target."""
        factors = self.scale * view.rng(Purpose.ATTACK).random((*outbox.shape[:2], 1))
        return outbox * factors.astype(outbox.dtype), ()
