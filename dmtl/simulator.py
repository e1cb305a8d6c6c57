"""All ranks in one process: a transport that copies rows between mailboxes, bit for bit what MPI would bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dmtl.node import Node, NodeState
from dmtl.runner import due
from dmtl.types import Block, Inbox

__all__ = ["Link", "perfect", "simulate"]

Link = Callable[[int, int, int], int]
"""(round, source, target) -> how many rounds old the message is that arrives; -1: none does."""

Observe = Callable[[int, NodeState, Inbox], None]
"""Called with a rank, its state, and the messages that led to it."""

LONGEST = 64
"""Oldest message that a link may deliver, in rounds."""


def perfect(round: int, source: int, target: int) -> int:
    """Every message arrives in its own round."""
    return 0


@np.errstate(over="ignore", invalid="ignore")  # as in the runner
def simulate(
    nodes: Sequence[Node],
    rounds: int,
    link: Link = perfect,
    record: Observe | None = None,
    every: int = 1,
) -> list[NodeState]:
    """Run all ranks to the end of round ``rounds`` - 1; ``nodes[r]`` is rank r.

    A ``link`` that is not ``perfect`` makes messages late or lost, the same ones each time it is asked.
    """
    states = [node.start() for node in nodes]
    wire = _Wire(nodes, link)
    if record:
        for rank, state in enumerate(states):
            record(rank, state, state.inbox)
    for round in range(rounds):
        inboxes = wire.round(round, nodes, states)
        for rank, node in enumerate(nodes):
            states[rank] = node.step(states[rank], inboxes[rank])
            if record and due(round + 1, every, rounds):
                record(rank, states[rank], inboxes[rank])
    return states


class _Wire:
    """Mailboxes and what is on its way between them."""

    def __init__(self, nodes: Sequence[Node], link: Link) -> None:
        self.boxes = [node.mailbox() for node in nodes]
        self.link = link
        self.views = [node.view for node in nodes]
        self.rushing = [rank for rank, node in enumerate(nodes) if node.rushing]
        self.prompt = [rank for rank, node in enumerate(nodes) if not node.rushing]
        self.row = [{source: row for row, source in enumerate(view.sources)} for view in self.views]
        self.past: list[dict[int, Block]] = [{} for _ in nodes]
        self.age = [np.zeros(len(view.sources), dtype=np.int64) for view in self.views]

    def round(self, round: int, nodes: Sequence[Node], states: list[NodeState]) -> list[Inbox]:
        """Let everybody speak, rushing liars last, and hand out what arrives."""
        for rank in self.prompt:
            self._speak(round, nodes[rank], states, states[rank].inbox)
        for box in self.boxes:
            box.clear()
        self._carry(round, self.prompt, range(len(nodes)))
        # Between two rushing liars last round's words stand in, or each would wait for the other to speak first.
        self._carry(round, self.rushing, self.rushing, late=1)
        for rank in self.rushing:
            self._speak(round, nodes[rank], states, self._open(rank))
        self._carry(round, self.rushing, self.prompt)
        return [self._open(rank) for rank in range(len(nodes))]

    def _speak(self, round: int, node: Node, states: list[NodeState], heard: Inbox) -> None:
        """Post what a node says; words are kept for later only where the link may delay them."""
        rank = node.view.rank
        outbox, states[rank] = node.speak(states[rank], heard)
        box = self.boxes[rank]
        words = box.edges if box.post(outbox) else np.broadcast_to(box.said, box.edges.shape)
        if self.link is perfect:
            self.past[rank] = {round: words}
        else:
            self.past[rank].pop(round - LONGEST - 1, None)
            self.past[rank][round] = words.copy()

    def _carry(self, round: int, sources: Iterable[int], targets: Iterable[int], late: int = 0) -> None:
        """Copy what arrives this round from ``sources`` to ``targets``, ``late`` rounds later than the link says."""
        listening = set(targets)
        for source in sources:
            for place, target in enumerate(self.views[source].targets):
                if target in listening:
                    self._deliver(round, source, place, target, late)

    def _deliver(self, round: int, source: int, place: int, target: int, late: int) -> None:
        age = self.link(round, source, target)
        if age < 0 or round - age - late not in self.past[source]:
            return
        row = self.row[target][source]
        self.boxes[target].heard[row] = self.past[source][round - age - late][place]
        self.age[target][row] = age + late

    def _open(self, rank: int) -> Inbox:
        return self.boxes[rank].open(self.age[rank] if self.age[rank].any() else None)
