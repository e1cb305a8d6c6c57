"""The screen, bound to one round's messages: how a method touches its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmtl.mailbox import only, swapped
from dmtl.sums import weighted_sum
from dmtl.types import Block, Inbox, Mask, Mat, Mixed, Task, Vec

if TYPE_CHECKING:
    from dmtl.node import Node, NodeState

__all__ = ["Mixer", "Relaxed"]


class Mixer:
    """The screen bound to one round's inbox: ``mix(row)``. Lives for one step."""

    __slots__ = ("inbox", "linear", "memory", "model", "node", "parts", "sound", "sums", "trusted", "view", "why")

    def __init__(self, node: Node, state: NodeState, inbox: Inbox) -> None:
        self.node = node
        self.view = state.view
        self.model = state.model
        """the algorithm's state before its step"""
        self.parts: Sequence[Task] | None = None
        """by which tasks its vectors are judged, once somebody asks"""
        self.memory = state.memory
        self.inbox = inbox
        self.linear = node.linear
        """whether one product over all rows is the answer, unless it shows a bad row"""
        self.trusted = node.ones
        """(k_in,) the screen's trust in row 0"""
        self.why: NDArray[np.int8] | None = None
        """the screen's codes for the rows of row 0 that reached it"""
        self.sums: Mat | None = None
        """(f, d) the plain sums of all rows, where a message has several and none was bad"""
        self.sound: Vec | None = None
        """the last plain sum, known to be finite, so that nobody looks at it twice"""

    def __call__(self, row: int = 0, own: Vec | None = None) -> Vec:
        """Robust weighted average (d,) of one message row."""
        if self.linear and own is None:
            if self.sums is not None:
                kept: Vec = self.sums[row]
                return kept
            value, square = weighted_sum(self.view.weights, self.inbox.flat)
            if square <= self.node.limit:  # false for NaN too
                if self.node.rows == 1:
                    self.sound = value
                    return value
                # One product has averaged all rows: keep the others for when they are asked for.
                self.sums = value.reshape(self.node.rows, -1)
                return self(row)
        return self._screened(row, own).value

    def trust(self, row: int = 0, own: Vec | None = None) -> Vec:
        """(k_in,) the screen's trust in each neighbour; 0 where a message was refused."""
        if self.node.linear:
            trust: Vec = self.inbox.valid.astype(self.node.ones.dtype)
            self.trusted = trust
            return trust
        return self._screened(row, own).trust

    def refuse(self, rows: Mask) -> None:
        """Treat the messages in ``rows`` (k_in,) as if they had not come."""
        if rows.any():
            self.linear = False
            self.inbox = self.inbox._replace(age=np.where(rows, -1, self.inbox.age))

    def instead(self, words: Block, there: Mask, weights: Vec) -> None:
        """Average these ``words`` (k_in, f, d) in place of what came, with these weights."""
        self.linear, self.sums = False, None
        self.inbox, self.view = swapped(self.inbox, words, there), self.view._replace(weights=weights)

    def _screened(self, row: int, own: Vec | None) -> Mixed:
        """Refuse bad messages, give their weight to the own vector, and let the screen see the rest.

        The view that the screen gets has the neighbours whose rows are there and no others, in the order of the rows.
        """
        rows, view, valid = self.inbox.rows[row], self.view, self.inbox.valid
        if not valid.all():
            rows, view = rows[np.concatenate(([True], valid))], only(view, valid)
        if own is not None:
            rows = np.concatenate((own[None], rows[1:]))
        if self.parts is None:
            self.parts = self.node.judged(self.model, self.view)
        mixed = self.node.screen(rows, view.weights, self.memory[row], self.parts[row], view)
        trust = np.zeros(len(valid), self.node.dtype)
        trust[valid] = mixed.trust
        self.memory = (*self.memory[:row], mixed.memory, *self.memory[row + 1 :])
        if row == 0:
            self.trusted, self.why = trust, mixed.why
        return mixed._replace(trust=trust)


class Relaxed:
    """A step towards the average where neighbours know of each vector what was said of it, and not the vector itself.

    mix() = x + gamma (S(c) - c_own): the screen S works on the copies c that both ends of each edge have, the own one
    included, and what has not been said of x stays in it. So what ranks have in common is not lost, CHOCO gossip where
    S is an average. ``own`` in the place of x moves its copy as far.
    """

    __slots__ = ("_instead", "copies", "gamma", "mixer", "said")

    def __init__(self, mixer: Mixer, said: Mat, copies: Mat, gamma: float) -> None:
        """``said`` (f, d) are the vectors of this round, ``copies`` (f, d) what the neighbours now have of them."""
        self.mixer, self.said, self.copies, self.gamma = mixer, said, copies, gamma
        self._instead = False

    def __call__(self, row: int = 0, own: Vec | None = None) -> Vec:
        """Robust weighted average (d,) of one message row, and what has not been said."""
        x = self.said[row] if own is None else own
        if self._instead:
            return self.mixer(row, x)
        copy: Vec = self.copies[row] if own is None else own - (self.said[row] - self.copies[row])
        mixed = self.mixer(row, None if own is None else copy)
        found: Vec = x + self.gamma * (mixed - copy)
        return found

    def trust(self, row: int = 0, own: Vec | None = None) -> Vec:
        """(k_in,) the screen's trust in each neighbour."""
        return self.mixer.trust(row, own)

    def refuse(self, rows: Mask) -> None:
        """Treat the messages in ``rows`` (k_in,) as if they had not come."""
        self.mixer.refuse(rows)

    def instead(self, words: Block, there: Mask, weights: Vec) -> None:
        """Average other words, which are no copies of what is said now: as they are, with the own vector as it is."""
        self._instead = True
        self.mixer.instead(words, there, weights)
