"""Says for whom a rank waits, and since when, where a round takes too long."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import Protocol

from dmtl.mailbox import Mailbox
from dmtl.types import View

__all__ = ["Watchdog"]


class Waiting(Protocol):
    """What the watchdog looks at, from its own thread and without touching MPI."""

    box: Mailbox
    round: int
    waiting_since: float


class Watchdog:
    """A thread that looks at a rank's wait from outside; a context manager.

    It reads the marks in the receive buffers: a row that still has its mark has not come. That is a look and no
    guarantee, which is enough for a message to a person.
    """

    def __init__(self, edges: Waiting, view: View, seconds: float) -> None:
        self._edges = edges
        self._view = view
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dmtl-watchdog", daemon=True)

    def __enter__(self) -> None:
        if self._seconds > 0:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        said = (-1, 0.0)
        patience = self._seconds
        while not self._stop.wait(min(1.0, self._seconds / 4)):
            began, round = self._edges.waiting_since, self._edges.round
            if (round, began) != said:
                said, patience = (round, began), self._seconds
            waited = monotonic() - began
            if began and waited > patience:
                patience *= 2
                print(self._sentence(round, waited), file=sys.stderr, flush=True)

    def _sentence(self, round: int, waited: float) -> str:
        late = [self._view.sources[row] for row in self._edges.box.missing()]
        whom = f"rank {late[0]}" if len(late) == 1 else f"ranks {', '.join(map(str, late))}"
        return (
            f"dmtl: rank {self._view.rank} has waited {waited:.0f} s for {whom if late else 'its sends to be taken'} "
            f"in round {round}."
        )
