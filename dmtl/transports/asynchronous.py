"""Asynchronous rounds: every rank publishes its newest message and looks at its neighbours' newest. Nobody waits.

Ranks that share memory read each other's slots (``slots.py``): inside the loop they pass no message, and all they ask
of MPI is a memory barrier. Between machines messages travel (``letters.py``). Collectives are in ``connect_async`` and
``close`` only.
"""

from __future__ import annotations

from functools import partial
from os import sched_yield
from time import sleep
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from dmtl.node import Node
from dmtl.transports.edges import Loss, Tell
from dmtl.transports.ending import before_round_0
from dmtl.transports.late import Delay, Late, Source
from dmtl.transports.letters import Failures, Incoming, Outgoing
from dmtl.transports.mpi import guard
from dmtl.transports.slots import Reader, Writer, room
from dmtl.transports.window import Window
from dmtl.types import Inbox, Outbox

__all__ = ["Asynchronous", "connect_async"]


_NAP = 1e-4
"""Seconds between two looks of a rank that has finished."""


class Ends(NamedTuple):
    """A rank's ends of its edges."""

    window: Window | None
    writer: Writer | None
    """what is said to all targets on this machine; None if there are none"""
    sources: tuple[Source, ...]
    """one per in-neighbour"""
    incoming: tuple[Incoming, ...]
    """those of them that are on other machines"""
    outgoing: tuple[tuple[int, Outgoing], ...]
    """targets on other machines, and their places among all targets"""


def connect_async(
    comm: MPI.Intracomm,
    node: Node,
    max_age: int = 0,
    network: bool = False,
    delay: Delay | None = None,
    tell: Tell | None = None,
) -> Asynchronous:
    """Open the asynchronous exchange of one rank; collective over ``comm``, which is duplicated.

    A message that is older than ``max_age`` of this rank's own rounds counts as not heard; 0: no limit.
    ``network``: send messages as if every rank were on a machine of its own. ``delay`` makes messages late or loses
    them; ``tell`` hears of each neighbour that dies. Raises TransportError where the ranks of one machine cannot share
    so much memory.
    """
    guard()
    with before_round_0(comm):
        own = comm.Dup()
        own.Set_errhandler(MPI.ERRORS_RETURN)  # a dead neighbour is noticed, and ends nobody else
        f, d = node.message_shape
        ends = _ends(own, node, network) if f * d else Ends(None, None, (), (), ())
    if delay and ends.sources:  # a method without messages has none
        late = (
            Late(source, partial(delay, rank)) for rank, source in zip(node.view.sources, ends.sources, strict=True)
        )
        ends = ends._replace(sources=tuple(late))
    return Asynchronous(own, node, ends, max_age, tell)


def _ends(comm: MPI.Intracomm, node: Node, network: bool) -> Ends:
    sources, targets, form = node.view.sources, node.view.targets, (node.message_shape, node.dtype)
    places = np.zeros(comm.size, np.int64)
    places[list(targets)] = range(len(targets))
    comm.Alltoall(places.copy(), places)  # from now on: this rank's place among the targets of each
    window, writer, near = None, None, dict[int, Reader]()
    if not network:
        rows = _rows(node)
        window = Window(comm, room(rows, *form))
        if any(rank in window.place for rank in targets):
            writer = Writer(window.segment(comm.rank), rows, *form, window.fence)
        window.meet()
        for rank in sources:
            if rank in window.place:
                near[rank] = Reader(window.segment(rank), int(places[rank]), *form, window.fence)
    failures = Failures(comm)
    far = {rank: Incoming(comm, rank, *form, failures) for rank in sources if rank not in near}
    outgoing = ((place, rank) for place, rank in enumerate(targets) if window is None or rank not in window.place)
    return Ends(
        window,
        writer,
        tuple(near.get(rank) or far[rank] for rank in sources),
        tuple(far.values()),
        tuple((place, Outgoing(comm, rank, *form)) for place, rank in outgoing),
    )


def _rows(node: Node) -> int:
    """How many messages a node says in one round: one, or one per target if it is a liar or its method does so."""
    words = node.algorithm.send(node.start().model, node.view)
    return 1 if isinstance(words, tuple) and node.attack is None else len(node.view.targets)


class Asynchronous:
    """The exchange of any rank; a rushing liar looks before it speaks."""

    stale = True

    def __init__(self, comm: MPI.Intracomm, node: Node, ends: Ends, max_age: int, tell: Tell | None) -> None:
        self.box = node.mailbox()
        self.box.clear()
        self.round = 0
        """how many times this rank has looked"""
        self.waiting_since = 0.0
        """0: it never waits"""
        self.lost: dict[int, Loss] = {}
        """neighbours that died, with the round of this rank in which it noticed"""
        self._tell = tell
        self._left = False
        self._comm = comm
        self._ends = ends
        self._ranks = node.view.sources
        self._max_age = max_age or float("inf")
        self._age = [-1] * len(ends.sources)

    def send(self, outbox: Outbox) -> None:
        """Publish this round's messages in place of the last round's."""
        box, ends = self.box, self._ends
        each = box.post(outbox)
        if ends.writer:
            ends.writer.say(box.edges if each else box.said)
        for place, target in ends.outgoing:
            target.say(box.edges[place] if each else box.said)

    def receive(self) -> Inbox:
        """Look at what is there."""
        box, age = self.box, self._age
        for row, source in enumerate(self._ends.sources):
            if self._ranks[row] not in self.lost:
                age[row] = 0 if source.take(box.heard[row]) or source.final else self._older(row, source)
        for _, target in self._ends.outgoing:
            target.push()
        if age and 0 not in age:
            sched_yield()  # where ranks share a core, those who may have something new to say go first
        self.round += 1
        return box.open(np.array(age)) if any(age) else box.open()

    def _older(self, row: int, source: Source) -> int:
        """The age of a row whose sender has said nothing new."""
        if source.dead():
            if source.take(self.box.heard[row]):  # said between the first look and the death
                return 0
            rank = self._ranks[row]
            self.lost[rank] = Loss(self.round, "died")
            if self._tell:
                self._tell(rank, self.lost[rank])
        elif self._age[row] < self._max_age:
            return self._age[row] + (self._age[row] >= 0)
        self.box.forget(row)
        return -1

    def close(self) -> None:
        """Say that there is no more to come and free what is held; collective, so all ranks must be alive."""
        self.leave()
        for _, target in self._ends.outgoing:
            target.close()
        for source in self._ends.incoming:
            source.close()
        if self._ends.window:
            self._ends.window.close()
        self._comm.Free()

    def leave(self) -> None:
        """Say that there is no more to come, and free nothing: for a rank that ends its process though others died.

        Between machines this takes until all neighbours have ended too, because last words have to be fetched.
        """
        if self._left:
            return
        self._left = True
        ends, spare = self._ends, np.empty_like(self.box.said)
        if ends.writer:
            ends.writer.end()
        for _, target in ends.outgoing:
            target.end()
        while not (
            all(target.done for _, target in ends.outgoing)
            and all(source.final or source.dead() for source in ends.incoming)
        ):
            for _, target in ends.outgoing:
                target.push()
            for source in ends.incoming:
                source.take(spare)
            sleep(_NAP)
