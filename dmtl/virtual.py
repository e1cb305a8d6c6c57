"""Ranks that do not wait, in one process: every rank has a clock of its own, and no clock is the machine's.

A round of rank r costs ``Timing.cost`` seconds of virtual time, a message is ``Timing.delay`` seconds on its way. The
same timing gives the same run, so how asynchronous ranks compare with synchronous ones can be computed, not measured.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dmtl.mailbox import nothing
from dmtl.node import Node, NodeState
from dmtl.runner import Horizon, due, run
from dmtl.types import Inbox, Mat, Outbox, View

__all__ = ["Moment", "Timing", "simulate_async", "synchronous_times"]

Moment = Callable[[int, NodeState, Inbox, float], None]
"""Called with a rank, its state, the messages that led to it, and the virtual time."""


class Timing(Protocol):
    """How long everything takes, in seconds of virtual time: pure functions, the same answer each time."""

    def cost(self, rank: int, round: int) -> float:
        """What a round of a rank takes, at least 0; its messages leave at its end. Infinity: the rank has died."""

    def delay(self, round: int, source: int, target: int) -> float:
        """How long the message of ``source``'s own ``round`` is on its way, at least 0; infinity: it is lost."""


def simulate_async(
    nodes: Sequence[Node],
    rounds: int,
    timing: Timing,
    max_age: int = 0,
    record: Moment | None = None,
    every: int = 1,
    until: float = math.inf,
    horizon: Horizon | None = None,
) -> list[NodeState]:
    """Let every rank do ``rounds`` rounds at its own pace, or as many as end by virtual time ``until``.

    At the end of each of its rounds a rank speaks, looks at what has arrived, and steps, waiting for nobody. Of each
    neighbour it sees the newest words that have arrived; older ones that come later are ignored. An age counts the
    rank's own rounds since it first saw these words: 0 is new, beyond ``max_age`` (0: no limit) they are gone, -1.
    The last words of a rank that has done all its rounds stay, at age 0. What happens at the same time happens in the
    order of the ranks. ``record`` is called at time 0, after every ``every`` rounds of a rank and after its last.
    A ``horizon`` set to 0 stops everybody at once. Raises DivergedError as ``run`` does.
    """
    lines = {(node.view.rank, target): _Line() for node in nodes for target in node.view.targets}
    desks = [_Desk(node, lines, timing, rounds - 1, max_age) for node in nodes]
    states = [node.start() for node in nodes]
    if record:
        for rank, state in enumerate(states):
            record(rank, state, state.inbox, 0.0)
    limit = min(until, sys.float_info.max)  # what would happen at infinity never does
    agenda = [(end, rank) for rank in range(len(nodes)) if rounds and (end := timing.cost(rank, 0)) <= limit]
    heapify(agenda)
    horizon = horizon or Horizon(rounds)
    while agenda and horizon.round:
        now, rank = heappop(agenda)
        done = states[rank].view.round + 1
        desks[rank].now, desks[rank].round = now, done - 1
        states[rank] = run(nodes[rank], desks[rank], done, state=states[rank])
        end = now + timing.cost(rank, done) if done < rounds else math.inf
        if end <= limit:
            heappush(agenda, (end, rank))
        if record and (end > limit or due(done, every, rounds)):
            record(rank, states[rank], states[rank].inbox, now)
    return states


class _Letter(NamedTuple):
    """One message on its way."""

    arrival: float
    round: int
    """the sender's"""
    words: Mat
    """(f, d)"""


class _Line:
    """One directed edge: the messages on it that may still be seen, later ones arriving later."""

    __slots__ = ("way",)

    def __init__(self) -> None:
        self.way: deque[_Letter] = deque()

    def send(self, letter: _Letter, now: float) -> None:
        """Put a letter on its way, and forget those that it overtakes or that others have overtaken."""
        while self.way and self.way[-1].arrival >= letter.arrival:
            self.way.pop()
        self.way.append(letter)
        while len(self.way) > 1 and self.way[1].arrival <= now:
            self.way.popleft()

    def look(self, now: float) -> _Letter | None:
        """The newest letter that has come since the last look."""
        newest = None
        while self.way and self.way[0].arrival <= now:
            newest = self.way.popleft()
        return newest


class _Desk:
    """The exchange of one rank in virtual time."""

    stale = True

    def __init__(
        self, node: Node, lines: dict[tuple[int, int], _Line], timing: Timing, last: int, max_age: int
    ) -> None:
        view = node.view
        self.rank = view.rank
        self.box = node.mailbox()
        self.box.clear()
        self.now = 0.0
        self.round = 0
        self.last = last
        """the number of everybody's last round"""
        self.max_age = max_age
        self.timing = timing
        self.heard = [lines[source, self.rank] for source in view.sources]
        self.told = [(target, lines[self.rank, target]) for target in view.targets]
        self.seen = np.zeros(len(self.heard), dtype=np.int64)
        """the round in which each row's words were new"""
        self.standing = np.zeros(len(self.heard), dtype=np.bool_)
        """rows with the last words of a rank that is done"""

    def send(self, outbox: Outbox) -> None:
        """Give the messages to the lines."""
        box = self.box
        # One copy for all targets, unless each has words of its own.
        words = box.edges.copy() if box.post(outbox) else np.broadcast_to(box.said.copy(), box.edges.shape)
        for (target, line), row in zip(self.told, words, strict=True):
            arrival = self.now + self.timing.delay(self.round, self.rank, target)
            if arrival < math.inf:
                line.send(_Letter(arrival, self.round, row), self.now)

    def receive(self) -> Inbox:
        """Look at what has come."""
        box = self.box
        for row, line in enumerate(self.heard):
            letter = line.look(self.now)
            if letter:
                box.heard[row] = letter.words
                self.seen[row] = self.round
                self.standing[row] = letter.round == self.last
        age = np.where(self.standing, 0, self.round - self.seen)
        if self.max_age:
            box.heard[age > self.max_age] = nothing(box.heard.dtype)
        return box.open(age if age.any() else None)

    def close(self) -> None:
        """Nothing to free."""


def synchronous_times(views: Sequence[View], rounds: int, timing: Timing) -> NDArray[np.float64]:
    """(rounds + 1, n) when each rank has done so many rounds, if all wait for all that they hear.

    T_r(t+1) = max(E_r(t), max over sources s of E_s(t) + delay(t, s, r)) with E_r(t) = T_r(t) + cost(r, t), T_r(0) = 0.
    Where a message is lost the wait has no end: infinity.
    """
    times = np.zeros((rounds + 1, len(views)))
    for t in range(rounds):
        ends = [times[t, view.rank] + timing.cost(view.rank, t) for view in views]
        for view in views:
            arrivals = [ends[source] + timing.delay(t, source, view.rank) for source in view.sources]
            times[t + 1, view.rank] = max([ends[view.rank], *arrivals])
    return times
