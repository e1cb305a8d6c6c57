"""Not a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.types import Block, Inbox, Task, View

__all__ = ["NaN"]


@dataclass(frozen=True, slots=True)
class NaN:
    """Not a number: a message of NaN, which poisons every sum that it gets into.

    z = (NaN, .., NaN). It knows nothing. A rank that examines what it hears refuses the message, and its weight goes
    to the own vector.

    Blanchard, El Mhamdi, Guerraoui and Stainer, "Machine learning with adversaries: Byzantine tolerant gradient
    descent", NeurIPS 2017, for liars that may say anything at all.
    """

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """NaN everywhere."""
        return np.full_like(outbox, np.nan), ()
