"""A pull against the gossip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dmtl.attacks.hearsay import colluding, honest_heard
from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Dissensus"]


@dataclass(frozen=True, slots=True)
class Dissensus:
    """Dissensus: tell each victim what undoes the pull of its honest neighbours, so that it never joins them.

    z_i = x_i - eps sum_{j in H_i} w_ij (x_j - x_i) / sum_{Byzantine j} w_ij;  eps = 1 cancels that pull, more reverses
    it. It knows what its honest neighbours say in this round; every victim is told something else.
    What is ours: the paper's attacker knows row i of the weights and all of H_i. This one takes the weights as equal,
    the honest neighbours that it hears itself in place of H_i, and the colluders in its own neighbourhood, itself
    included, in place of those around i. Colluders and targets that it does not hear get the honest message.

    He, Karimireddy and Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", arXiv:2202.01545, 2022.
    """

    eps: float = 1.5
    """strength against the honest pull"""

    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "rushing"

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ConfigError(f"'dissensus' has eps={self.eps}. eps is a factor, at least 0.")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """A lie for each victim that is heard."""
        lies, heard = outbox.copy(), honest_heard(inbox, view)
        crowd = inbox.messages[heard]
        victims = dict(zip((view.sources[p] for p in heard.nonzero()[0]), crowd, strict=True))
        for row, target in enumerate(view.targets):
            if target in victims:
                x = victims[target]
                lies[row] = x - self.eps / colluding(view) * (crowd - x).sum(axis=0)
        return lies, ()
