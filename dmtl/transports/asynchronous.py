"""Asynchronous rounds: every rank publishes its newest message and looks at its neighbours' newest. Nobody waits.

Ranks that share memory read each other's slots (``slots.py``): inside the loop they pass no message, and all they ask
of MPI is a memory barrier. Between machines messages travel (``letters.py``). Collectives are in ``connect_async`` and
``close`` only.
"""

from __future__ import annotations

from functools import partial
from os import sched_yield
from time import monotonic, sleep
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from dmtl.node import Node
from dmtl.transports.discard import Discard
from dmtl.transports.edges import SWEEP
from dmtl.transports.ending import before_round_0
from dmtl.transports.late import Delay, Late, Source
from dmtl.transports.letters import Failures, Incoming, Outgoing
from dmtl.transports.loss import FLOODS, Loss, Tell
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
    far: frozenset[int]
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
    patience: float = 0.0,
) -> Asynchronous:
    """Open the asynchronous exchange of one rank; collective over ``comm``, which is duplicated.

    A message that is older than ``max_age`` of this rank's own rounds counts as not heard; 0: no limit.
    ``network``: send messages as if every rank were on a machine of its own. ``delay`` makes messages late or loses
    them; ``tell`` hears of each neighbour that is lost. At the end one that says nothing new for ``patience`` seconds
    is given up, 0: never. Raises TransportError where the ranks of one machine cannot share so much memory.
    """
    guard()
    with before_round_0(comm):
        own = comm.Dup()
        own.Set_errhandler(MPI.ERRORS_RETURN)  # a dead neighbour is noticed, and ends nobody else
        f, d = node.form[0]
        ends = _ends(own, node, network) if f * d else Ends(None, None, (), frozenset(), ())
    sources = ends.sources
    if delay and sources:  # a method without messages has none
        sources = tuple(
            Late(source, partial(delay, rank)) for rank, source in zip(node.view.sources, sources, strict=True)
        )
    return Asynchronous(own, node, ends, sources, max_age, tell, patience)


def _ends(comm: MPI.Intracomm, node: Node, network: bool) -> Ends:
    sources, targets, form = node.view.sources, node.view.targets, node.form
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
        frozenset(far),
        tuple((place, Outgoing(comm, rank, *form)) for place, rank in outgoing),
    )


def _rows(node: Node) -> int:
    """How many messages a node says in one round: one, or one per target if it is a liar or its method does so."""
    words = node.algorithm.send(node.start().model, node.view)
    return 1 if isinstance(words, tuple) and node.attack is None else len(node.view.targets)


class Asynchronous:
    """The exchange of any rank; a rushing liar looks before it speaks."""

    stale = True

    def __init__(
        self,
        comm: MPI.Intracomm,
        node: Node,
        ends: Ends,
        sources: tuple[Source, ...],
        max_age: int,
        tell: Tell | None,
        patience: float,
    ) -> None:
        self.box = node.mailbox()
        self.box.clear()
        self.round = 0
        """how many times this rank has looked"""
        self.waiting_since = 0.0
        """0: it never waits"""
        self.lost: dict[int, Loss] = {}
        """neighbours that were given up, with the round of this rank in which it noticed"""
        self._tell = tell
        self._left = False
        self._comm = comm
        self._ends = ends
        self._sources = sources
        self._ranks, self._targets = node.view.sources, node.view.targets
        self._max_age = max_age or float("inf")
        self._patience = patience or float("inf")
        self._age = [-1] * len(sources)
        self._discard = Discard(comm)

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
        for row, source in enumerate(self._sources):
            if self._ranks[row] not in self.lost:
                age[row] = 0 if source.take(box.heard[row]) or source.final else self._older(row, source)
        for _, target in self._ends.outgoing:
            target.push()
        if age and 0 not in age:
            sched_yield()  # where ranks share a core, those who may have something new to say go first
        self.round += 1
        if self.lost or self.round % SWEEP == 0:
            self.drain()
        return box.open(np.array(age)) if any(age) else box.open()

    def _older(self, row: int, source: Source) -> int:
        """The age of a row whose sender has said nothing new."""
        why = source.gone()
        if why:
            if source.take(self.box.heard[row]):  # said between the first look and the death
                return 0
            self._give_up(self._ranks[row], why)
        elif self._age[row] < self._max_age:
            return self._age[row] + (self._age[row] >= 0)
        self.box.forget(row)
        return -1

    def _give_up(self, rank: int, why: str) -> None:
        self.lost[rank] = Loss(self.round, why)
        if self._tell:
            self._tell(rank, self.lost[rank])

    def drain(self) -> None:
        """Throw away what nobody asked for: all messages of those who share memory, and of those who were given up."""
        for rank in self._ranks:
            if (rank in self.lost or rank not in self._ends.far) and self._discard(rank)[0] and rank not in self.lost:
                self._give_up(rank, FLOODS)

    def close(self) -> None:
        """Say that there is no more to come and free what is held; collective, so all ranks must be alive."""
        self.leave()
        for _, target in self._ends.outgoing:
            target.close()
        if self._ends.window:
            self._ends.window.close()
        self._comm.Free()

    def leave(self) -> None:
        """Say that there is no more to come, and free nothing: for a rank that ends its process though others died.

        This takes until all neighbours have ended too, because last words have to be fetched.
        """
        if self._left:
            return
        self._left = True
        if self._ends.writer:
            self._ends.writer.end()
        outgoing = {self._targets[place]: target for place, target in self._ends.outgoing}
        sources = dict(zip(self._ranks, self._ends.sources, strict=False))  # there are none where nobody speaks
        for target in outgoing.values():
            target.end()
        signs = dict.fromkeys((*sources, *outgoing), monotonic())
        while waits := self._unfinished(sources, outgoing):
            self._look_at_the_last_words(sources, outgoing, signs)
            for rank in waits:
                quiet = monotonic() - signs[rank]
                if quiet > self._patience:
                    self._give_up(rank, f"did not answer for {quiet:.0f} s")
            self.drain()
            sleep(_NAP)

    def _unfinished(self, sources: dict[int, Source], outgoing: dict[int, Outgoing]) -> set[int]:
        """Neighbours that have not said their last words, or not taken this rank's."""
        silent = {rank for rank, target in outgoing.items() if not target.done}
        silent |= {rank for rank, source in sources.items() if not (source.final or source.gone())}
        return silent.difference(self.lost)

    def _look_at_the_last_words(
        self, sources: dict[int, Source], outgoing: dict[int, Outgoing], signs: dict[int, float]
    ) -> None:
        """Say and hear what there is, and note when each neighbour gave a sign of life."""
        spare = np.empty_like(self.box.said)
        for rank, target in outgoing.items():
            if target.push():
                signs[rank] = monotonic()
        for rank, source in sources.items():
            if source.take(spare):
                signs[rank] = monotonic()
