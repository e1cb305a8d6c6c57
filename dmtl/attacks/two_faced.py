"""One thing to some, the opposite to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Task, View

__all__ = ["TwoFaced"]


@dataclass(frozen=True, slots=True)
class TwoFaced:
    """Two-faced: pull even-numbered targets one way and odd-numbered ones the other, to split the network.

    z_i = m + (-1)^i c |m| u, m the honest message and u a unit vector that all colluders share in a round.
    It knows its own state only. As long as m = 0 there is nothing to blow up and the message is honest.
    What is ours: the direction is drawn at random in each round, and the size follows the honest message.

    Lamport, Shostak and Pease, "The Byzantine generals problem", ACM Transactions on Programming Languages and
    Systems 4(3), 1982.
    """

    scale: float = 1.0
    """c, length of the lie relative to the honest message"""

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise ConfigError(f"'two-faced' has scale={self.scale}. scale is a factor, at least 0.")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """One side for even targets, the other for odd ones."""
        unit = view.plan().standard_normal(outbox.shape[1:])
        unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
        side = np.array([1 - 2 * (target % 2) for target in view.targets]).reshape(-1, 1, 1)
        size = self.scale * np.linalg.norm(outbox, axis=-1, keepdims=True)
        lies: Block = (outbox + side * size * unit).astype(outbox.dtype)
        return lies, ()
