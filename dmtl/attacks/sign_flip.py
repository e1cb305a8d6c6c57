"""The opposite of the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Task, View

__all__ = ["SignFlip"]


@dataclass(frozen=True, slots=True)
class SignFlip:
    """Sign flip: say the opposite of the own honest message.

    z = -c m, m what an honest rank would say. It knows its own state only.

    Li, Xu, Chen, Giannakis and Ling, "RSA: Byzantine-robust stochastic aggregation methods for distributed learning
    from heterogeneous datasets", AAAI 2019.
    """

    scale: float = 1.0
    """c, how many times the honest message"""

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def __post_init__(self) -> None:
        if not self.scale >= 0:
            raise ConfigError(f"'sign-flip' has scale={self.scale}. scale is a factor, at least 0.")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """The honest messages times -c."""
        return -self.scale * outbox, ()
