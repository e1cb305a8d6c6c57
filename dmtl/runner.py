"""The loop of one rank."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dmtl.node import Node, NodeState
from dmtl.types import Exchange, Inbox

__all__ = ["Record", "due", "run"]

Record = Callable[[NodeState, Inbox], None]
"""Called with a state and the messages that led to it."""


@np.errstate(over="ignore", invalid="ignore")  # a lie may be anything; the node's own checks find what matters
def run(
    node: Node,
    exchange: Exchange,
    rounds: int,
    record: Record | None = None,
    every: int = 1,
    state: NodeState | None = None,
) -> NodeState:
    """Take a node from ``state`` (its start if None) to the end of round ``rounds`` - 1.

    ``record`` is called before round 0, after every ``every`` rounds and at the end.
    Raises DivergedError where the node's own model stops being finite.
    """
    if state is None:
        state = node.start()
        if record:
            record(state, state.inbox)
    rushing = node.rushing
    for round in range(state.view.round, rounds):
        if rushing:
            inbox = exchange.receive()
            outbox, state = node.speak(state, inbox)
            exchange.send(outbox)
        else:
            outbox, state = node.speak(state, state.inbox)
            exchange.send(outbox)
            inbox = exchange.receive()
        state = node.step(state, inbox)
        if record and due(round + 1, every, rounds):
            record(state, inbox)
    return state


def due(done: int, every: int, rounds: int) -> bool:
    """Whether to record after that many rounds."""
    return done % every == 0 or done == rounds
