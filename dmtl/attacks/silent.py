"""No message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.mailbox import nothing
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Silent"]


@dataclass(frozen=True, slots=True)
class Silent:
    """Silence: say nothing to anybody, as if the rank were dead.

    z is the mark that every transport reads as 'nothing was sent'. It knows nothing.

    Blanchard, El Mhamdi, Guerraoui and Stainer, "Machine learning with adversaries: Byzantine tolerant gradient
    descent", NeurIPS 2017, for liars that may do anything at all.
    """

    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """The mark everywhere."""
        return np.full_like(outbox, nothing(outbox.dtype)), ()
