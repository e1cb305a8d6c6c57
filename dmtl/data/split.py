"""One rank's rows divided into training, held-out and test data; units of its own; a choice of tasks."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.data.partition import task_count
from dmtl.data.pool import Dataset, Origin, Pool
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream
from dmtl.types import Mask, Vec

__all__ = ["choose_tasks", "in_precision", "share", "spread_out", "standardise"]

Rows = NDArray[np.int64]


def _turns(labels: Vec, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Shuffle; for each item its turn 0, 1 .. within its label, and how many items have that label."""
    _, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(code[shuffled], kind="stable")]
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_label] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turn, counts[code]


def spread_out(labels: Vec, rng: np.random.Generator, reserve: bool = False) -> Rows:
    """Shuffle so that every stretch of the result has the labels in about the same proportions.

    With ``reserve`` one item of each label comes after all the others.
    """
    turn, count = _turns(labels, rng)
    last = (turn == count - 1) & reserve
    return np.lexsort((rng.permutation(len(labels)), (turn + 0.5) / count, last))


def share(pool: Pool, rows: Rows, test: float, held_out: float, seed: int, rank: int) -> Dataset:
    """Divide one rank's ``rows`` by groups, at random and with the classes in proportion.

    ``test`` is the part of all groups that is tested on, unless the source fixes that; ``held_out`` the part of the
    others that is kept from training. One group of each class stays in training wherever that is possible, and so
    little may be held out, even nothing, where a class has a single group left.
    """
    _fractions(test, held_out)
    who = _name(pool, rows, rank)
    rng = stream(seed, Purpose.PARTITION, rank)
    fixed = None if pool.test is None else pool.test[rows]
    part = _parts(pool, rows, (test, held_out), fixed, rng)
    learn = part % 3 == 0
    train, held, tested = rows[learn], rows[part == 1], rows[part == 2]
    _refuse(pool, train, tested, who)
    tasks = np.unique(pool.task[rows])
    alone, count = len(tasks) == 1, task_count(pool)
    return Dataset(
        *(pool.x[train], pool.y[train], pool.x[held], pool.y[held], pool.x[tested], pool.y[tested]),
        classes=pool.classes,
        label=pool.labels[tasks[0]] if alone and pool.labels else "",
        truth=pool.truth[tasks[0]].copy() if alone and pool.truth is not None else None,
        half=part[learn] == 3,
        origin=Origin(pool.task[train], pool.task[held], pool.task[tested], count) if count > 1 else None,
    )


def _fractions(test: float, held_out: float) -> None:
    if not 0 < test < 1:
        raise ConfigError(f"test={test} is not allowed. test is the part of the rows to test on, between 0 and 1.")
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out={held_out} is not allowed. held_out is a part of the training rows, 0 or below 1.")


def _name(pool: Pool, rows: Rows, rank: int) -> str:
    """What to call a rank in a message: its number, and its task where it has one with a name."""
    tasks = np.unique(pool.task[rows])
    return f"rank {rank} ({pool.labels[tasks[0]]!r})" if len(tasks) == 1 and pool.labels else f"rank {rank}"


def _parts(
    pool: Pool, rows: Rows, fractions: tuple[float, float], fixed: Mask | None, rng: np.random.Generator
) -> Rows:
    """Part of each row: 0 training, 1 held out, 2 test, 3 training as well: its second half."""
    groups, first, member = np.unique(pool.group[rows], return_index=True, return_inverse=True)
    part = np.zeros(len(groups), dtype=np.int64)
    if fixed is not None:
        part[fixed[first]] = 2
        torn = np.flatnonzero((part[member] == 2) != fixed)
        if len(torn):
            group = groups[member[torn[0]]]
            raise ConfigError(f"group {group} of the data has rows in the fixed test set and others outside it.")
    free = np.flatnonzero(part == 0)
    label = pool.y[rows[first[free]]] if pool.classes else np.zeros(len(free))
    order = free[spread_out(label, rng, reserve=True)]
    spare = len(free) - len(np.unique(label))
    tested = 0 if fixed is not None else max(1, min(_whole(fractions[0], len(free)), spare))
    tested = max(0, min(tested, len(free) - 1))
    held = max(0, min(_whole(fractions[1], len(free) - tested), spare - tested))
    part[order[:tested]] = 2
    part[order[tested : tested + held]] = 1
    learn = np.flatnonzero(part == 0)
    label = pool.y[rows[first[learn]]] if pool.classes else np.zeros(len(learn))
    turn, _ = _turns(label, rng)
    part[learn[(turn + label) % 2 == 1]] = 3  # classes with one group more go to either half in turn
    return part[member]


def _whole(fraction: float, count: int) -> int:
    """Nearest whole number of ``count`` things, halves upwards."""
    return int(fraction * count + 0.5)


def _refuse(pool: Pool, train: Rows, tested: Rows, who: str) -> None:
    """Refuse a rank that has nothing to learn or nothing to be judged by."""
    if not len(train):
        raise ConfigError(f"{who} has no rows to train on. Give it more groups of rows, or leave its task out.")
    if not len(tested):
        raise ConfigError(f"{who} has no rows to test on. Give it more groups of rows, or leave its task out.")
    if pool.classes == 2 and len(np.unique(pool.y[train])) < 2:
        raise ConfigError(
            f"{who} has training rows of class {pool.y[train[0]]:.0f} only. "
            f"Choose another seed or partition, or leave its task out."
        )


def standardise(data: Dataset) -> Dataset:
    """Shift and scale the features by mean and deviation of the rank's own training rows: nobody needs others' data.

    A feature that is constant there is shifted only. The truth follows into the new units, so that predictions stay.
    """
    mean = data.x.mean(axis=0)
    # a constant feature has a deviation of rounding errors, not always 0
    std = np.where(np.ptp(data.x, axis=0) > 0, data.x.std(axis=0), 1.0)
    std[std == 0] = 1.0
    x, held_x, test_x = ((part - mean) / std for part in (data.x, data.held_x, data.test_x))
    truth = data.truth
    if truth is not None:
        truth = np.append(truth[:-1] * std, truth[-1] + truth[:-1] @ mean)
    return replace(data, x=x, held_x=held_x, test_x=test_x, truth=truth)


def choose_tasks(pool: Pool, spec: str) -> Pool:
    """Keep the tasks named by ``spec``, such as ``0-7`` or ``0,3,5-9``, numbered anew in that order."""
    count = task_count(pool)
    chosen = _chosen(spec, count)
    number = np.full(count, -1, dtype=np.int64)
    number[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(number[pool.task] >= 0)
    labels = pool.labels or tuple(str(task) for task in range(count))
    return replace(
        pool,
        x=pool.x[rows],
        y=pool.y[rows],
        task=number[pool.task[rows]],
        group=pool.group[rows],
        labels=tuple(labels[task] for task in chosen),
        truth=None if pool.truth is None else pool.truth[chosen],
        test=None if pool.test is None else pool.test[rows],
    )


def _chosen(spec: str, count: int) -> list[int]:
    """Task numbers that ``spec`` names, in its order."""
    hint = f"Allowed: numbers and ranges from 0-{count - 1}, each task once, such as 0-7 or 0,3,5-9."
    chosen: list[int] = []
    for piece in spec.replace(" ", "").split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", piece)
        if not match:
            raise ConfigError(f"--tasks {spec!r} is malformed at {piece!r}. {hint}")
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high < count:
            raise ConfigError(f"--tasks {spec!r} is out of range at {piece!r}: there are {count} tasks. {hint}")
        chosen.extend(range(low, high + 1))
    if len(set(chosen)) < len(chosen):
        raise ConfigError(f"--tasks {spec!r} names a task twice. {hint}")
    return chosen


def in_precision(data: Dataset, dtype: str) -> Dataset:
    """All floating-point arrays of a data set in the run's precision."""
    floats: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            floats[field.name] = value.astype(dtype, copy=False)
    return replace(data, **floats)
