"""Throwing away messages that nobody asked for, without waiting for their sender and with a bound on memory."""

from __future__ import annotations

from mpi4py import MPI

__all__ = ["MOST", "Discard"]

MOST = 100_000
"""Most messages that are thrown away at a time."""
LARGEST = 2**20
"""Bytes of a message that is still received to get rid of it; of a longer one MPI holds the beginning only."""
OPEN = 16
"""Receives that may wait for the rest of their messages at a time."""


class Discard:
    """Takes messages off MPI's queue.

    A message is never received into less room than it needs: where ranks share memory, Open MPI 5.0 copies all of a
    long message whatever the size of the buffer.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm
        self._open: list[tuple[MPI.Request, bytearray]] = []

    def __call__(self, source: int, tag: int = MPI.ANY_TAG) -> tuple[int, bytes]:
        """Take what is there of one rank; return how many messages that was, and the beginning of the last."""
        status, beginning = MPI.Status(), b""
        self._open = [(request, buffer) for request, buffer in self._open if not _done(request)]
        try:
            for count in range(MOST):
                message = self._comm.Improbe(source, tag, status)
                if message is None:
                    return count, beginning
                size = status.Get_count(MPI.BYTE)
                if size <= LARGEST and len(self._open) < OPEN:
                    buffer = bytearray(size)
                    request = message.Irecv(buffer)
                    if not _done(request):  # its sender may have stopped in the middle of it
                        self._open.append((request, buffer))
                    beginning = bytes(buffer[:8])
        except MPI.Exception:  # it has died, and the requests will say so
            return 0, b""
        return MOST, beginning


def _done(request: MPI.Request) -> bool:
    try:
        return request.Test()
    except MPI.Exception:
        return True
