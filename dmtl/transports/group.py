"""Persistent requests that are started and waited for together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpi4py import MPI

__all__ = ["Group", "Pair", "done", "group_of", "pair"]

Pair = tuple[MPI.Prequest, MPI.Prequest]
"""The same request with both tags."""


class Group(NamedTuple):
    """Requests, and whose they are."""

    requests: list[MPI.Prequest]
    statuses: list[MPI.Status]
    peers: list[int]


def pair(make: object, buffer: object, peer: int) -> Pair:
    """A request with tag 0 and one with tag 1."""
    return make(buffer, peer, 0), make(buffer, peer, 1)  # type: ignore[operator]


def group_of(chosen: Sequence[tuple[int, MPI.Prequest]]) -> Group:
    """A group of (peer, request)."""
    return Group([q for _, q in chosen], [MPI.Status() for _ in chosen], [peer for peer, _ in chosen])


def done(request: MPI.Request) -> bool:
    """Whether a request has come to its end, good or bad; it stays as it is."""
    try:
        return request.Get_status()
    except MPI.Exception:  # the next test of the group says which error it is
        return True
