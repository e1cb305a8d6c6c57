"""Every victim its own words, a little nearer to the liar's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmtl.attacks.hearsay import honest_said, victims
from dmtl.attacks.settings import check_factor, check_finite
from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Task, View

__all__ = ["Drag"]


@dataclass(frozen=True, slots=True)
class Drag:
    """Drag: tell each victim what it said itself, moved a small step towards a target that all liars share.

    z_i = x_i + r (v - x_i), x_i the victim's own words of this round and v = (target, .., target). The lie is nearer to
    the victim than any honest neighbour, so a rule by distances gives it the most weight, and round by round the victim
    arrives at v. A rule by losses lets it pass as long as a step costs less than the losses fluctuate.
    It knows what its victims say in this round. What is ours: whoever is not heard gets the own message moved in this
    way, and fellow liars the truth.

    Li, Abbas and Koutsoukos, "Resilient distributed diffusion in networks with adversaries", IEEE Transactions on
    Signal and Information Processing over Networks, 2020 (there r = 0.002, on two parameters).
    """

    r: float = 0.02
    """the step, in distances from the victim to the target, at most 1"""
    target: float = 10.0
    """what every number of the target is"""

    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "rushing"

    def __post_init__(self) -> None:
        check_factor("drag", "r", self.r, "a share of the way")
        if self.r > 1:
            raise ConfigError(f"'drag' has r={self.r}. r is a share of the way, at most 1.")
        check_finite("drag", "target", self.target, "what every number of the target is")

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """A lie per victim."""
        words, honest = outbox.copy(), honest_said(inbox, view)
        for row, place in victims(inbox, view):
            words[row] = honest[place]
        lies: Block = words + self.r * (self.target - words)
        fellows = np.isin(view.targets, view.colluders)
        lies[fellows] = outbox[fellows]
        return lies.astype(outbox.dtype, copy=False), ()
