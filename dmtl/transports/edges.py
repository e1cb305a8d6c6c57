"""The requests of one rank, edge by edge, so that each edge fails alone.

A neighbour that dies, sends too much, floods or never answers costs this edge: it is given up for good, its row stays
marked as not heard, and the round goes on. What one may lose to a neighbour is bounded: a time by ``patience``, memory
by looking for messages that nobody asked for and throwing them away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from mpi4py import MPI

from dmtl.errors import RevokedError, TransportError
from dmtl.mailbox import Mailbox
from dmtl.transports.ending import fault_tolerant
from dmtl.types import View

__all__ = ["Edges", "Group", "Loss", "Tell"]

PULSE = 2
"""Tag of an empty message that says 'I am waiting too'. Tags 0 and 1 are those of messages, in turn."""
POLLS = 100
"""Tests of the requests between two looks at the clock."""
GLANCE = 0.02
"""Seconds between two looks at the neighbours while waiting."""
SWEEP = 64
"""Rounds between two looks for messages that nobody asked for."""
DRAIN = 100_000
"""Most unasked messages thrown away at a time."""
STRETCH = 8
"""Patience with a neighbour that says it waits itself, in multiples of the patience with one that says nothing."""

_start = MPI.Prequest.Startall
_test = MPI.Prequest.Testall


class Loss(NamedTuple):
    """Why and when an edge was given up."""

    round: int
    why: str


class Group(NamedTuple):
    """Requests that are started and waited for together."""

    requests: list[MPI.Prequest]
    statuses: list[MPI.Status]
    peers: list[int]


Tell = Callable[[int, Loss], None]
"""Hears of each neighbour that is given up."""

Pair = tuple[MPI.Prequest, MPI.Prequest]
"""The same request with both tags."""


class Edges:
    """All persistent requests of one rank on a communicator of its own, and which neighbours are lost."""

    def __init__(
        self,
        comm: MPI.Intracomm,
        view: View,
        box: Mailbox,
        patience: float,
        round: int = 0,
        tell: Tell | None = None,
    ) -> None:
        self.lost: dict[int, Loss] = {}
        self.round = round
        """rounds whose messages have all come"""
        self.waiting_since = 0.0
        """when the wait began that goes on now, by a monotonic clock; 0 while there is none"""
        self.alarm: Callable[[], None] | None = None
        """called once if a wait goes on beyond ``alarm_at``"""
        self.alarm_at = 0.0
        """by a monotonic clock"""
        self._comm = comm
        self._view = view
        self.box = box
        self._patience = patience
        self._tell = tell
        talks = bool(box.said.size)
        sources, targets = (view.sources, view.targets) if talks else ((), ())
        self._heard = {s: _pair(comm.Recv_init, box.heard[row], s) for row, s in enumerate(sources)}
        self._to_all = {t: _pair(comm.Send_init, box.said, t) for t in targets}
        self._per_edge = {t: _pair(comm.Send_init, box.edges[row], t) for row, t in enumerate(targets)}
        self._turns = {"heard": dict.fromkeys(sources, 0), "said": dict.fromkeys(targets, 0)}
        self._groups: dict[tuple[int, bool], Group] = {}
        self._last_seen: dict[int, float] = {}
        self._next_look = 0.0
        self._next_pulse = 0.0
        self._pulses: list[MPI.Request] = []
        self._both_ways = set(sources) & set(targets)

    def everybody(self, turn: int, each: bool) -> Group:
        """The requests of a round in which all links are in use; ``each``: every target gets a message of its own."""
        key = turn & 1, each
        if key not in self._groups:
            said = self._per_edge if each else self._to_all
            pairs = [*self._heard.items(), *said.items()]
            self._groups[key] = _group([(peer, pair[turn & 1]) for peer, pair in pairs if peer not in self.lost])
        return self._groups[key]

    def some(self, sources: Iterable[int], targets: Iterable[int], each: bool) -> Group:
        """The requests to hear these sources and to tell these targets; counts the uses of each link by itself."""
        said = self._per_edge if each else self._to_all
        chosen = []
        for peers, pairs, turns in ((sources, self._heard, "heard"), (targets, said, "said")):
            for peer in peers:
                if peer in pairs and peer not in self.lost:
                    chosen.append((peer, pairs[peer][self._turns[turns][peer] & 1]))
                    self._turns[turns][peer] += 1
        return _group(chosen)

    def start(self, group: Group) -> None:
        """Start all requests of a group."""
        _start(group.requests)

    def finish(self, group: Group) -> None:
        """Wait until each request of a group has come to its end, or its edge is given up."""
        requests, statuses, _ = group
        try:
            for _ in range(POLLS):
                if _test(requests, statuses):
                    return
        except MPI.Exception as error:
            group = self._without_failed(group, error)
        self._wait(group)

    def sweep(self) -> None:
        """Mark the rows of lost neighbours as not heard, and every so often look for messages that nobody asked for."""
        if self.lost:
            self.box.forget([row for row, source in enumerate(self._view.sources) if source in self.lost])
        if self.round % SWEEP == 0:
            self._look_for_floods()

    def close(self) -> None:
        """Free the requests and the communicator; not to be called where neighbours are lost."""
        for pairs in (self._heard, self._to_all, self._per_edge):
            for pair in pairs.values():
                for request in pair:
                    request.Free()
        self._comm.Free()

    def _wait(self, group: Group) -> None:
        self.waiting_since = self._next_look = monotonic()
        self._next_pulse = self.waiting_since + self._patience / 4
        while True:
            try:
                for _ in range(POLLS):
                    if _test(group.requests, group.statuses):
                        self.waiting_since = 0.0
                        return
            except MPI.Exception as error:
                group = self._without_failed(group, error)
            now = monotonic()
            if self.alarm and now > self.alarm_at:
                alarm, self.alarm = self.alarm, None
                alarm()
            if now >= self._next_look:
                group = self._looked_around(group, now)

    def _without_failed(self, group: Group, error: MPI.Exception) -> Group:
        """Give up the edges on which requests have failed; return the other requests."""
        if fault_tolerant() and self._comm.Is_revoked():
            raise RevokedError("another rank has failed and ended the job.") from None
        codes = [MPI.Get_error_class(status.Get_error()) for status in group.statuses]
        failed = {peer: code for peer, code in zip(group.peers, codes, strict=True) if code in _REASONS}
        if not failed:
            raise TransportError(f"MPI failed in round {self.round}: {error}.") from error
        for peer, code in failed.items():
            self._give_up(peer, _REASONS[code])
        return self._remaining(group)

    def _remaining(self, group: Group) -> Group:
        return _group([(p, q) for p, q in zip(group.peers, group.requests, strict=True) if p not in self.lost])

    def _give_up(self, peer: int, why: str) -> None:
        if peer not in self.lost:
            self.lost[peer] = Loss(self.round, why)
            self._groups.clear()
            if self._tell:
                self._tell(peer, self.lost[peer])

    def _looked_around(self, group: Group, now: float) -> Group:
        """Give up neighbours that keep this rank waiting for too long, and tell the others that it waits."""
        self._next_look = now + GLANCE
        self._look_for_floods()
        if self._patience:
            self._take_pulses(now)
            if now > self._next_pulse:
                self._next_pulse = now + self._patience / 4
                live = [target for target in self._view.targets if target not in self.lost]
                self._pulses = [self._comm.Isend(b"", target, PULSE) for target in live]
            requests = zip(group.peers, group.requests, strict=True)
            late = {peer for peer, request in requests if peer not in self.lost and not _done(request)}
            for peer in late:
                quiet = now - max(self.waiting_since, self._last_seen.get(peer, 0.0))
                if quiet > self._patience or now - self.waiting_since > STRETCH * self._patience:
                    self._cancel(group, peer)
                    self._give_up(peer, f"did not answer for {now - self.waiting_since:.0f} s")
        return self._remaining(group)

    def _cancel(self, group: Group, peer: int) -> None:
        """Take back the receive from one neighbour, so that nothing is written into its row any more."""
        for source, request in zip(group.peers, group.requests, strict=True):
            if source == peer and request in self._heard.get(peer, ()):
                request.Cancel()

    def _take_pulses(self, now: float) -> None:
        for source in self._view.sources:
            if source not in self.lost and self._throw_away(source, PULSE):
                self._last_seen[source] = now

    def _look_for_floods(self) -> None:
        """Give up neighbours that send what nobody asked for; what came of it is thrown away.

        Where messages go both ways a neighbour is at most one message ahead, and that one has the other tag.
        """
        for source in self._view.sources:
            if source in self.lost:
                self._throw_away(source, MPI.ANY_TAG)
            elif source in self._both_ways and self._unasked(source):
                self._give_up(source, "sent more than one message in a round")
                self._throw_away(source, MPI.ANY_TAG)

    def _unasked(self, source: int) -> bool:
        """Whether two messages of one neighbour are there, or one with a tag that no message has."""
        status = MPI.Status()
        if not self._comm.Iprobe(source, MPI.ANY_TAG, status):
            return False
        tag = status.Get_tag()
        return tag > PULSE or (tag < PULSE and bool(self._comm.Iprobe(source, 1 - tag)))

    def _throw_away(self, source: int, tag: int) -> int:
        """Receive and forget what is there of one neighbour; return how many messages that was."""
        try:
            for count in range(DRAIN):
                if not self._comm.Iprobe(source, tag):
                    return count
                try:
                    self._comm.Recv(bytearray(), source, tag)
                except MPI.Exception as error:
                    if error.Get_error_class() != MPI.ERR_TRUNCATE:
                        raise
        except MPI.Exception:  # it has died in the meantime, and so will every later call say
            return 0
        return DRAIN


_REASONS = {
    MPI.ERR_PROC_FAILED: "died",
    MPI.ERR_PROC_ABORTED: "died",
    MPI.ERR_TRUNCATE: "sent a message that is too long",
}


def _pair(make: object, buffer: object, peer: int) -> Pair:
    return make(buffer, peer, 0), make(buffer, peer, 1)  # type: ignore[operator]


def _group(chosen: Sequence[tuple[int, MPI.Prequest]]) -> Group:
    return Group([q for _, q in chosen], [MPI.Status() for _ in chosen], [peer for peer, _ in chosen])


def _done(request: MPI.Request) -> bool:
    try:
        return request.Get_status()
    except MPI.Exception:  # the next test of the group says which error it is
        return True
