"""Synchronous rounds over MPI: persistent point-to-point requests on a communicator of their own.

Only neighbours talk, nothing is pickled, no collective runs inside the loop, and every edge has its own requests.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from dmtl.errors import TransportError
from dmtl.mailbox import Mailbox
from dmtl.node import Node, NodeState
from dmtl.transports.edges import SWEEP, Edges
from dmtl.transports.ending import before_round_0, revocable
from dmtl.transports.group import group_of, start
from dmtl.transports.loss import Loss, Tell
from dmtl.transports.mpi import guard
from dmtl.types import Inbox, Outbox

__all__ = ["Prompt", "Rushing", "connect"]

LARGEST = 2**31 - 1
"""Most numbers in one message: MPI counts them in a C int."""


def connect(
    comm: MPI.Intracomm, node: Node, state: NodeState | None = None, patience: float = 0.0, tell: Tell | None = None
) -> Prompt | Rushing:
    """Open the exchange of one rank; collective over ``comm``, which is duplicated and not used afterwards.

    ``state`` is the one that the loop goes on from, None at the start. ``patience`` is how many seconds to wait for a
    neighbour before it is given up, 0: for ever; ``tell`` hears of each that is. Raises TransportError for a message
    that MPI cannot carry.
    """
    f, d = node.form[0]
    if f * d > LARGEST:
        raise TransportError(f"a message of {f} x {d} numbers is too long: MPI carries {LARGEST}. Share less.")
    guard()
    with before_round_0(comm):
        own = comm.Dup()
        comm.Barrier()  # a communicator may be revoked only once all ranks have it
    revocable(own)
    box = node.mailbox()
    in_turn = node.changing is None or not node.changing.directed
    edges = Edges(own, node.view, box, patience, state.view.round if state else 0, tell, in_turn)
    return Rushing(edges, box, node, state) if node.rushing else Prompt(edges, box, node)


class Prompt:
    """An honest rank's exchange, or that of a liar who speaks without listening first."""

    stale = False

    def __init__(self, edges: Edges, box: Mailbox, node: Node) -> None:
        self.edges = edges
        self.box = box
        self._everybody, self._lost = edges.requests.everybody, edges.lost  # looked up in every round
        self._view = node.view
        self._changing = node.changing
        self._active = group_of((), (), {})

    @property
    def lost(self) -> dict[int, Loss]:
        """Neighbours that were given up, with round and reason."""
        return self.edges.lost

    def send(self, outbox: Outbox) -> None:
        """Start this round's sends and receives."""
        each = self.box.post(outbox)
        self.box.clear()
        if self._changing is None:
            self._active = self._everybody(each, self._lost)
            start(self._active.requests)
        else:
            view = self._view
            row = self._changing.row(view.rank, self.edges.round)
            self._active = self.edges.some(_of(view.sources, row.hears), _of(view.targets, row.speaks), each)

    def receive(self) -> Inbox:
        """Wait until all neighbours have spoken and all have taken what was said."""
        edges = self.edges
        edges.finish(self._active)
        edges.round += 1
        if edges.lost or edges.round % SWEEP == 0:
            edges.sweep()
        return self.box.open()

    def drain(self) -> None:
        """Throw away what lost neighbours still send."""
        self.edges.drain()

    def leave(self) -> None:
        """Nothing: who listened to this rank has heard all."""

    def close(self) -> None:
        """Free requests and communicator."""
        self.edges.close()


class Rushing:
    """A rushing liar's exchange: ``receive`` comes before ``send``.

    Two rushing liars would wait for each other to speak first, so between them the last round's words stand in: in
    round t one receives what the other sent in round t - 1, and nothing in round 0.
    """

    stale = False

    def __init__(self, edges: Edges, box: Mailbox, node: Node, state: NodeState | None) -> None:
        self.edges = edges
        self.box = box
        self._view = node.view
        self._changing = node.changing
        self._rushers = node.rushers
        self._late = np.array([source in node.rushers for source in node.view.sources], dtype=np.int64)
        self._each = False
        self._sending = group_of((), (), {})
        if state is not None and state.said is not None and edges.round:
            # What the fellows have not heard yet when a run is taken up again.
            self._each = box.post(Outbox((), state.said))
            self._start_sending([target for target in node.view.targets if target in node.rushers])

    @property
    def lost(self) -> dict[int, Loss]:
        """Neighbours that were given up, with round and reason."""
        return self.edges.lost

    def receive(self) -> Inbox:
        """Wait for this round's messages of the honest, and last round's of fellow liars."""
        edges = self.edges
        self.box.clear()
        pending = edges.some([*self._prompt_sources(), *self._fellows()], (), self._each)
        edges.finish(pending)
        edges.round += 1
        edges.sweep()
        return self.box.open(self._late)

    def send(self, outbox: Outbox) -> None:
        """Start this round's sends, once the last round's are through."""
        self.edges.finish(self._sending)
        self._each = self.box.post(outbox)
        self._start_sending(self._targets())

    def drain(self) -> None:
        """Throw away what lost neighbours still send."""
        self.edges.drain()

    def leave(self) -> None:
        """Nothing: who listened to this rank has heard all, but for fellow liars."""

    def close(self) -> None:
        """Take the fellows' last words, so that no message is left over, and free everything."""
        pending = self.edges.some(self._fellows(), (), self._each)
        self.edges.finish(pending)
        self.edges.finish(self._sending)
        self.edges.close()

    def _start_sending(self, targets: list[int]) -> None:
        self._sending = self.edges.some((), targets, self._each)

    def _fellows(self) -> list[int]:
        """Fellow liars who said something in the round before."""
        return [source for source in self._view.sources if source in self._rushers] if self.edges.round else []

    def _prompt_sources(self) -> list[int]:
        """Neighbours who speak in this round before this rank does."""
        view, changing = self._view, self._changing
        hears = view.sources if changing is None else _of(view.sources, changing.row(view.rank, self.edges.round).hears)
        return [source for source in hears if source not in self._rushers]

    def _targets(self) -> list[int]:
        """Neighbours to speak to in the round that was just heard; fellows always, whom it reaches in the next."""
        view, changing = self._view, self._changing
        if changing is None:
            return list(view.targets)
        speaks = _of(view.targets, changing.row(view.rank, self.edges.round - 1).speaks)
        return [target for target in view.targets if target in speaks or target in self._rushers]


def _of(ranks: tuple[int, ...], mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[int]:
    return [rank for rank, on in zip(ranks, mask, strict=True) if on]
