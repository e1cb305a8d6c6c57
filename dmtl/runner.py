"""The loop of one rank."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dmtl.node import Node, NodeState
from dmtl.types import Exchange, Inbox

__all__ = ["Horizon", "Record", "due", "over", "run"]

Record = Callable[[NodeState, Inbox], None]
"""Called with a state and the messages that led to it."""


class Horizon:
    """The round before which a loop stops, which a signal may bring nearer while the loop runs, and how far it is."""

    __slots__ = ("round", "state")

    def __init__(self, round: int) -> None:
        self.round = round
        self.state: NodeState | None = None
        """the state before the round that is going on"""


@np.errstate(over="ignore", invalid="ignore")  # a lie may be anything; the node's own checks find what matters
def run(
    node: Node,
    exchange: Exchange,
    rounds: int,
    record: Record | None = None,
    every: int = 1,
    state: NodeState | None = None,
    horizon: Horizon | None = None,
) -> NodeState:
    """Take a node from ``state`` (its start if None) to the end of round ``rounds`` - 1, or to the horizon before it.

    ``record`` is called before round 0, after every ``every`` rounds and at the end. A method that finds that it is
    done ends the loop, on all ranks in the same round.
    Raises DivergedError where the node's own model stops being finite.
    """
    if state is None:
        state = node.start()
        if record:
            record(state, state.inbox)
    horizon = horizon or Horizon(rounds)
    rushing, hides, wire, ended = node.rushing, node.hides, node.wire, over(node, state)
    round = state.view.round
    while round < horizon.round and not ended:
        round += 1
        horizon.state = state
        if rushing:
            inbox = exchange.receive()
            if wire is not None:
                inbox, state = node.opened(state, inbox)
            outbox, state = node.speak(state, node.reaching(state, inbox) if hides else inbox)
            exchange.send(outbox)
        else:
            outbox, state = node.speak(state, state.inbox)
            exchange.send(outbox)
            inbox = exchange.receive()
            if wire is not None:
                inbox, state = node.opened(state, inbox)
        if hides:  # a rushing liar has had a look before; its own words of this round are in the inbox only now
            inbox, state = node.hear(state, inbox)
        state = node.step(state, inbox)
        ended = over(node, state)
        if record and (ended or due(round, every, rounds)):
            record(state, inbox)
    return state


def over(node: Node, state: NodeState) -> bool:
    """Whether a node's method has found that it is done."""
    return node.ends is not None and node.ends.over(state.model)


def due(done: int, every: int, rounds: int) -> bool:
    """Whether to record after that many rounds."""
    return done % every == 0 or done == rounds
