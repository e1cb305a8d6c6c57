"""Evidence of who talked to whom: every message of a run, and every call on its communicators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from dmtl.types import Exchange, Inbox, Outbox, View

__all__ = ["Spy", "Traced"]

Write = Callable[..., None]
"""Takes an event's name and its values."""


class Spy(NamedTuple):
    """A communicator that notes every method called on it, and on the communicators made from it."""

    comm: Any
    write: Write

    def __getattr__(self, name: str) -> Any:
        """The communicator's attribute; a method is noted when it is called."""
        found = getattr(self.comm, name)
        if not callable(found):
            return found

        def noted(*args: Any, **kwargs: Any) -> Any:
            self.write("call", name=name)
            made = found(*args, **kwargs)
            return Spy(made, self.write) if name in ("Dup", "Split") else made

        return noted


class Traced:
    """An exchange that notes every message before it is given away, and where the loop begins and ends."""

    def __init__(self, exchange: Exchange, view: View, size: int, write: Write) -> None:
        """``size`` is that of one message in bytes."""
        self._exchange = exchange
        self._view = view
        self._size = size
        self._write = write
        self._round = 0
        self.stale = exchange.stale

    def send(self, outbox: Outbox) -> None:
        """Note one line per target, then send."""
        if self._round == 0:
            self._write("loop", state="begins")
        for target in self._view.targets if self._size else ():
            self._write("message", round=self._round, source=self._view.rank, target=target, bytes=self._size)
        self._round += 1
        self._exchange.send(outbox)

    def receive(self) -> Inbox:
        """Receive."""
        return self._exchange.receive()

    def close(self) -> None:
        """Note the end of the loop, then close."""
        self._write("loop", state="ends")
        self._exchange.close()
