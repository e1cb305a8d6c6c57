"""All ranks in one process: a transport that copies rows between mailboxes, bit for bit what MPI would bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dmtl.node import Node, NodeState
from dmtl.runner import Horizon, due, over
from dmtl.types import Block, Inbox

__all__ = ["Observe", "simulate"]

Observe = Callable[[int, NodeState, Inbox], None]
"""Called with a rank, its state, and the messages that led to it."""


@np.errstate(over="ignore", invalid="ignore")  # as in the runner
def simulate(
    nodes: Sequence[Node],
    rounds: int,
    record: Observe | None = None,
    every: int = 1,
    states: Sequence[NodeState] | None = None,
    horizon: Horizon | None = None,
) -> list[NodeState]:
    """Run all ranks from ``states`` (their starts if None) to the end of round ``rounds`` - 1, or to the horizon.

    ``nodes[r]`` is rank r. A method that finds that it is done ends the loop.
    """
    if states is None:
        states = [node.start() for node in nodes]
        if record:
            for rank, state in enumerate(states):
                record(rank, state, state.inbox)
    states, wire = list(states), _Wire(nodes, states)
    horizon = horizon or Horizon(rounds)
    round = states[0].view.round
    ended = all(map(over, nodes, states))
    while round < horizon.round and not ended:
        inboxes = wire.round(round, nodes, states)
        round += 1
        for rank, node in enumerate(nodes):
            states[rank] = node.step(states[rank], inboxes[rank])
        ended = all(map(over, nodes, states))
        if record and (ended or due(round, every, rounds)):
            for rank, state in enumerate(states):
                record(rank, state, inboxes[rank])
    return states


class _Wire:
    """Mailboxes and what is on its way between them."""

    def __init__(self, nodes: Sequence[Node], states: Sequence[NodeState]) -> None:
        self.boxes = [node.mailbox() for node in nodes]
        self.views = [node.view for node in nodes]
        self.rushing = [rank for rank, node in enumerate(nodes) if node.rushing]
        self.prompt = [rank for rank, node in enumerate(nodes) if not node.rushing]
        self.row = [{source: row for row, source in enumerate(view.sources)} for view in self.views]
        self.words: list[Block | None] = [state.said for state in states]
        """what each rank said last, a message per target"""
        self.late = [self._lateness(rank) for rank in range(len(nodes))]

    def _lateness(self, rank: int) -> NDArray[np.int64] | None:
        """(k_in,) how old what comes to a rushing liar is: its fellows' words are of last round."""
        if rank not in self.rushing:
            return None
        return np.array([source in self.rushing for source in self.views[rank].sources], np.int64)

    def round(self, round: int, nodes: Sequence[Node], states: list[NodeState]) -> list[Inbox]:
        """Let everybody speak, rushing liars last, and hand out what arrives."""
        for rank in self.prompt:
            self._speak(nodes[rank], states, states[rank].inbox)
        for box in self.boxes:
            box.clear()
        everybody = range(len(nodes))
        self._carry(self.prompt, everybody)
        if round:
            # Between two rushing liars last round's words stand in, or each would wait for the other to speak first.
            self._carry(self.rushing, self.rushing)
        heard = {}
        for rank in self.rushing:
            node, heard[rank] = nodes[rank], self._open(nodes[rank], states)
            self._speak(node, states, node.reaching(states[rank], heard[rank]) if node.hides else heard[rank])
        self._carry(self.rushing, self.prompt)
        heard |= {rank: self._open(nodes[rank], states) for rank in self.prompt}
        return [self._hear(nodes[rank], states, heard[rank]) for rank in everybody]

    def _speak(self, node: Node, states: list[NodeState], heard: Inbox) -> None:
        """Post what a node says."""
        rank = node.view.rank
        outbox, states[rank] = node.speak(states[rank], heard)
        box = self.boxes[rank]
        self.words[rank] = box.edges if box.post(outbox) else np.broadcast_to(box.said, box.edges.shape)

    def _carry(self, sources: Iterable[int], targets: Iterable[int]) -> None:
        """Copy what ``sources`` said last to those of their neighbours that are among ``targets``."""
        listening = set(targets)
        for source in sources:
            words = self.words[source]
            for place, target in enumerate(self.views[source].targets):
                if target in listening and words is not None:
                    self.boxes[target].heard[self.row[target][source]] = words[place]

    def _open(self, node: Node, states: list[NodeState]) -> Inbox:
        """What has been carried to a rank."""
        rank = node.view.rank
        inbox = self.boxes[rank].open(self.late[rank])
        if node.wire is not None:
            inbox, states[rank] = node.opened(states[rank], inbox)
        return inbox

    def _hear(self, node: Node, states: list[NodeState], inbox: Inbox) -> Inbox:
        """What of it reaches the rank."""
        rank = node.view.rank
        if node.hides:
            inbox, states[rank] = node.hear(states[rank], inbox)
        return inbox
