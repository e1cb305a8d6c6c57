"""What a run costs each rank, found out without running it: what it sends and what it keeps in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from dmtl.build import Plan
from dmtl.commands.console import Line, size_words, span_words
from dmtl.data.pool import Dataset, Pool
from dmtl.results import flatten, portable

__all__ = ["Share", "measure", "memory_lines", "share_lines", "traffic_lines"]


class Share(NamedTuple):
    """What one rank has, says and holds; sizes in bytes."""

    rows: int
    training: int
    parameters: int
    message: tuple[int, int]
    """(f, d)"""
    one: int
    """over one link in one round"""
    sent: int
    """to all neighbours in one round"""
    mailbox: int
    state: int
    data: int
    """its own rows, without the pool that they come from"""


def measure(job: Plan, rank: int) -> Share:
    """Make one rank's node and weigh it."""
    node, data = job.node(rank), job.dataset(rank)
    one = node.weight
    k_in, k_out = len(node.view.sources), len(node.view.targets)
    kept = portable(node.start())._replace(heard=())  # what was heard is in the mailbox
    return Share(
        rows=len(job.rows[rank]),
        training=len(data.x),
        parameters=node.task.dim,
        message=node.message_shape,
        one=one,
        sent=k_out * one,
        mailbox=(1 + k_in + k_out) * one,
        state=sum(array.nbytes for array in flatten(kept).values()),
        data=_weight(data),
    )


def share_lines(shares: Sequence[Share]) -> list[Line]:
    """Rows and parameters over all ranks, least and most."""
    counts = {
        "data_rows_per_rank": [share.rows for share in shares],
        "training_rows_per_rank": [share.training for share in shares],
        "parameters": [share.parameters for share in shares],
    }
    return [
        Line(key, [min(values), max(values)], span_words(str(min(values)), str(max(values))))
        for key, values in counts.items()
    ]


def traffic_lines(job: Plan, shares: Sequence[Share]) -> list[Line]:
    """What is sent."""
    f, d = shares[0].message
    one = shares[0].one
    total = sum(share.sent for share in shares) * job.config.rounds
    shape = f"{f} x {d} of {job.config.dtype}" if f else "none: the method never talks"
    if f and job.config.compressor:
        shape += f", packed by {job.config.compressor['name']}"
    return [
        Line("message", {"f": f, "d": d, "dtype": job.config.dtype}, shape),
        Line("per_edge_and_round", one, f"{size_words(one)} each way"),
        _sizes("sent_per_rank_and_round", [share.sent for share in shares]),
        Line("whole_run", total, size_words(total)),
    ]


def memory_lines(pool: Pool, shares: Sequence[Share]) -> list[Line]:
    """What a rank keeps. The pool counts on every rank: each reads it whole and takes its rows."""
    common = _weight(pool)
    return [
        _sizes("mailbox", [share.mailbox for share in shares]),
        _sizes("state", [share.state for share in shares]),
        _sizes("own_data", [share.data for share in shares]),
        Line("whole_data_set", common, size_words(common)),
        _sizes("together", [share.mailbox + share.state + share.data + common for share in shares]),
    ]


def _sizes(key: str, values: Sequence[int]) -> Line:
    return Line(key, [min(values), max(values)], span_words(size_words(min(values)), size_words(max(values))))


def _weight(data: Dataset | Pool) -> int:
    """Bytes of all arrays of a data set."""
    arrays = (getattr(data, field.name) for field in fields(data))
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
