"""What the attacks that listen have in common: whom they hear, and how many they are."""

from __future__ import annotations

import numpy as np

from dmtl.types import Inbox, Mask, View

__all__ = ["colluding", "honest_heard"]


def honest_heard(inbox: Inbox, view: View) -> Mask:
    """(k_in,) the sources that do not collude and whose message can be used."""
    honest = np.array([source not in view.colluders for source in view.sources], dtype=np.bool_)
    return honest & inbox.valid


def colluding(view: View) -> int:
    """Colluders in the attacker's own neighbourhood, itself included."""
    return 1 + sum(source in view.colluders for source in view.sources)
