"""Signals that ask a run to stop: the loop comes to an end of its own, so that the state can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from dmtl.runner import Horizon

__all__ = ["Stopping"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What batch systems, people and launchers send. mpirun passes SIGUSR1 on and waits; of the others it lets its ranks
live for a quarter of a second."""


class Stopping:
    """A context manager in which the first signal draws the horizon near; a second SIGINT interrupts at once."""

    def __init__(self, horizon: Horizon, nearest: Callable[[], int], told: Callable[[int], None] | None = None) -> None:
        """``nearest()`` is the earliest round before which the loop can stop; ``told`` hears of it."""
        self.signal = 0
        """the first signal that came; 0: none yet"""
        self._horizon = horizon
        self._nearest = nearest
        self._told = told
        self._round = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python refuses
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.signal).name

    def set(self, round: int) -> None:
        """Set the horizon to ``round``, or nearer where a signal has come."""
        self._horizon.round = round
        if self.signal:  # looked at after the horizon is set: the signal may come in between
            self._horizon.round = min(round, self._round)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self._round = self._nearest()
        self._horizon.round = min(self._horizon.round, self._round)
        self.signal = number
        if self._told:
            self._told(self._round)
