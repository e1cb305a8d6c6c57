"""A comparison before round 0: do all ranks run the same thing, and did all of them get this far?

It is a collective. Once the loop has begun there is none: a rank hears of its neighbours only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.errors import DmtlError

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["Verdict", "agree", "exchange_rounds", "unlike"]

_DIGEST = 64
_RECORD = 1024
_ROUNDS = 256


class Verdict(NamedTuple):
    """What a rank learns from the comparison."""

    exit_code: int
    """0: go on"""
    say: str
    """what this rank is to print; one rank speaks for all that have the same to say"""


def agree(comm: MPI.Intracomm, digest: str, error: DmtlError | None, shape: tuple[int, int] = (0, 0)) -> Verdict:
    """Compare what all ranks are about to run; collective over ``comm``.

    ``digest``: 64 hexadecimal digits of everything that must be the same; ``error``: what went wrong on this rank;
    ``shape``: (f, d) of its messages.
    """
    records = _gather(comm, digest, error, shape)
    errors = [(code, text) for code, _, text in records]
    if any(code for code, _ in errors):
        first = next(code for code, _ in errors if code)
        mine = errors[comm.rank]
        speaks = mine[0] and mine not in errors[: comm.rank]
        return Verdict(first, f"error: {mine[1]}" if speaks else "")
    digests = [digest for _, digest, _ in records]
    other = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if not other:
        return Verdict(0, "")
    shapes = [(int(f), int(d)) for f, d in (text.split() for _, _, text in records)]
    say = unlike(shapes) or _disagreement(other)
    return Verdict(2, f"error: {say}" if comm.rank == 0 else "")


def unlike(shapes: Sequence[tuple[int, int]]) -> str:
    """What is wrong with messages of these shapes (f, d), one for each rank; empty if all are alike."""
    rank = next((rank for rank, shape in enumerate(shapes) if shape != shapes[0]), 0)
    if not rank:
        return ""
    (f, d), (f0, d0) = shapes[rank], shapes[0]
    mine, first = (str(d), str(d0)) if f == f0 == 1 else (f"{f} x {d}", f"{f0} x {d0}")
    return (
        f"rank {rank} would send messages of {mine} numbers and rank 0 of {first}: their tasks have different numbers "
        f"of parameters. Give all ranks one module, and data with the same columns and classes."
    )


def exchange_rounds(comm: MPI.Intracomm, own: Sequence[int]) -> list[list[int]]:
    """Every rank's list of rounds, its first 256; collective over ``comm``."""
    mine = np.full(_ROUNDS, -1, np.int64)
    mine[: len(own)] = own[:_ROUNDS]
    table = np.empty((comm.size, _ROUNDS), np.int64)
    _allgather(comm, mine, table)
    return [row[row >= 0].tolist() for row in table]


def _gather(
    comm: MPI.Intracomm, digest: str, error: DmtlError | None, shape: tuple[int, int]
) -> list[tuple[int, str, str]]:
    """(exit code, digest, message or shape) of every rank, in fixed-size records: nothing is pickled."""
    text = str(error).encode()[: _RECORD - _DIGEST - 1] if error else f"{shape[0]} {shape[1]}".encode()
    mine = bytes([error.exit_code if error else 0]) + digest.encode().ljust(_DIGEST) + text
    send = np.frombuffer(mine.ljust(_RECORD, b"\0"), dtype=np.uint8)
    receive = np.empty((comm.size, _RECORD), dtype=np.uint8)
    _allgather(comm, send, receive)
    rows = [row.tobytes() for row in receive]
    cut = 1 + _DIGEST
    return [(row[0], row[1:cut].decode().strip(), row[cut:].rstrip(b"\0").decode(errors="replace")) for row in rows]


def _allgather(comm: MPI.Intracomm, mine: NDArray[Any], table: NDArray[Any]) -> None:
    from dmtl.transports.ending import before_round_0

    with before_round_0(comm):
        comm.Allgather(mine, table)


def _disagreement(other: list[int]) -> str:
    shown = ", ".join(map(str, other[:8])) + (" ..." if len(other) > 8 else "")
    who = f"rank {shown} is" if len(other) == 1 else f"ranks {shown} are"
    return (
        f"{who} about to run something else than rank 0: other settings, graph, data or version of dmtl. "
        f"Start all ranks with the same command, files and environment."
    )
