"""Synchronous rounds over MPI: persistent point-to-point requests on a communicator of their own.

Only neighbours talk, nothing is pickled, no collective runs inside the loop, and every edge has its own requests.
"""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from dmtl.errors import TransportError
from dmtl.mailbox import Mailbox
from dmtl.node import Node
from dmtl.transports.mpi import guard
from dmtl.types import Inbox, Outbox, View

__all__ = ["Prompt", "Rushing", "connect"]

LARGEST = 2**31 - 1
"""Most numbers in one message: MPI counts them in a C int."""

_start = MPI.Prequest.Startall
_wait = MPI.Prequest.Waitall


class Requests(NamedTuple):
    """A rank's persistent requests, made once: what is started in a round and waited for."""

    heard: list[MPI.Prequest]
    """one per source"""
    to_all: list[MPI.Prequest]
    """one per target, all from the same buffer"""
    per_edge: list[MPI.Prequest]
    """one per target, each from its own row"""


def connect(comm: MPI.Intracomm, node: Node) -> Prompt | Rushing:
    """Open the exchange of one rank; collective over ``comm``, which is duplicated and not used afterwards.

    Raises TransportError for a message that MPI cannot carry.
    """
    f, d = node.message_shape
    if f * d > LARGEST:
        raise TransportError(f"a message of {f} x {d} numbers is too long: MPI carries {LARGEST}. Share less.")
    guard()
    own = comm.Dup()
    return Rushing(own, node) if node.rushing else Prompt(own, node)


def _requests(comm: MPI.Intracomm, view: View, box: Mailbox) -> Requests:
    if not box.said.size:
        return Requests([], [], [])
    return Requests(
        [comm.Recv_init(box.heard[row], source) for row, source in enumerate(view.sources)],
        [comm.Send_init(box.said, target) for target in view.targets],
        [comm.Send_init(box.edges[row], target) for row, target in enumerate(view.targets)],
    )


class Prompt:
    """An honest rank's exchange, or that of a liar who speaks without listening first."""

    stale = False

    def __init__(self, comm: MPI.Intracomm, node: Node) -> None:
        self.box = node.mailbox()
        self.round = 0
        """rounds whose messages have all come"""
        self.waiting_since = 0.0
        """when the wait began that goes on now, by a monotonic clock; 0 while there is none"""
        self._comm = comm
        self._requests = _requests(comm, node.view, self.box)
        self._all = self._requests.heard + self._requests.to_all
        self._edges = self._requests.heard + self._requests.per_edge
        self._active = self._all

    def send(self, outbox: Outbox) -> None:
        """Start this round's sends and receives."""
        box = self.box
        self._active = self._edges if box.post(outbox) else self._all
        box.clear()
        _start(self._active)

    def receive(self) -> Inbox:
        """Wait until all neighbours have spoken and all have taken what was said."""
        self.waiting_since = monotonic()
        _wait(self._active)
        self.waiting_since = 0.0
        self.round += 1
        return self.box.open()

    def close(self) -> None:
        """Free requests and communicator."""
        _free(self._comm, self._requests)


class Rushing:
    """A rushing liar's exchange: ``receive`` comes before ``send``.

    Two rushing liars would wait for each other to speak first, so between them the last round's words stand in: in
    round t one receives what the other sent in round t - 1, and nothing in round 0.
    """

    stale = False

    def __init__(self, comm: MPI.Intracomm, node: Node) -> None:
        self.box = node.mailbox()
        self.round = 0
        """rounds whose messages have all come"""
        self.waiting_since = 0.0
        """when the wait began that goes on now, by a monotonic clock; 0 while there is none"""
        self._comm = comm
        self._requests = _requests(comm, node.view, self.box)
        fellow = [source in node.rushers for source in node.view.sources]
        self._late = np.array(fellow, dtype=np.int64)
        self._now = [q for q, late in zip(self._requests.heard, fellow, strict=False) if not late]
        self._then = [q for q, late in zip(self._requests.heard, fellow, strict=False) if late]
        self._sending: list[MPI.Prequest] = []

    def receive(self) -> Inbox:
        """Wait for this round's messages of the honest, and last round's of fellow liars."""
        self.box.clear()
        pending = self._now + (self._then if self.round else [])
        self.waiting_since = monotonic()
        _start(pending)
        _wait(pending)
        self.waiting_since = 0.0
        self.round += 1
        return self.box.open(self._late)

    def send(self, outbox: Outbox) -> None:
        """Start this round's sends, once the last round's are through."""
        _wait(self._sending)
        self._sending = self._requests.per_edge if self.box.post(outbox) else self._requests.to_all
        _start(self._sending)

    def close(self) -> None:
        """Take the fellows' last words, so that no message is left over, and free everything."""
        if self.round:
            _start(self._then)
            _wait(self._then)
        _wait(self._sending)
        _free(self._comm, self._requests)


def _free(comm: MPI.Intracomm, requests: Requests) -> None:
    for request in (*requests.heard, *requests.to_all, *requests.per_edge):
        request.Free()
    comm.Free()
