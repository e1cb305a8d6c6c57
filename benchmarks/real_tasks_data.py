"""The data of real_tasks.py: how they are read, divided into rows for training and for test, and standardised."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmtl.data.schools import Exam

COMPONENTS = 200
"""on how many principal directions HAR's features are projected; 0: on none"""
Rows_ = tuple[np.ndarray, np.ndarray]


class Task(NamedTuple):
    """One task's rows."""

    train: Rows_
    test: Rows_


def school(folder: Path, seed: int, share: float) -> list[Task]:
    """Argyriou, Evgeniou and Pontil's splits, by number: X (m, 28) with the bias last, split_train (10, m)."""
    with np.load(folder / "school" / "school.npz") as file:
        x, y, task = file["X"][:, :27].astype(float), file["y"].astype(float), file["task"]
        first = file["split_train"][seed]
    return divided(x, y - y[first].mean(), task, first)


def exam(folder: Path, seed: int, share: float) -> list[Task]:
    """65 schools."""
    pool = Exam().load(0, 0)
    first = drawn(np.zeros(len(pool.y)), pool.task, seed, share)
    return divided(pool.x, pool.y - pool.y[first].mean(), pool.task, first)


def landmine(folder: Path, seed: int, share: float) -> list[Task]:
    """A random share of each field's rows for training."""
    with np.load(folder / "landmine" / "landmine.npz") as file:
        x, y, task = file["X"].astype(float), file["y"].astype(float), file["task"]
    return divided(x, y, task, drawn(y, task, seed, share))


def har(folder: Path, seed: int, share: float) -> list[Task]:
    """Sitting (3) against the rest, a person a task."""
    with np.load(folder / "har" / "har_features561.npz") as file:
        x, y, task = file["X"].astype(float), (file["y"] == 3).astype(float), file["task"]
    return projected(divided(x, y, task, drawn(y, task, seed, share)), COMPONENTS)


def drawn(y: np.ndarray, task: np.ndarray, seed: int, share: float) -> np.ndarray:
    """(m,) which rows are for training: that share of each task's, with a row of each class at least."""
    rng, first = np.random.default_rng([17, seed]), np.zeros(len(y), bool)
    for number in np.unique(task):
        rows = rng.permutation(np.flatnonzero(task == number))
        lead = [rows[y[rows] == label][0] for label in np.unique(y[rows])]
        rest = rows[~np.isin(rows, lead)]
        first[[*lead, *rest[: max(round(share * len(rows)) - len(lead), 0)]]] = True
    return first


def divided(x: np.ndarray, y: np.ndarray, task: np.ndarray, first: np.ndarray) -> list[Task]:
    """Standardise on the training rows of all tasks, and give each task its own."""
    mean, spread = x[first].mean(axis=0), x[first].std(axis=0)
    x = (x - mean) / np.where(spread > 0, spread, 1.0)
    found = []
    for number in np.unique(task):
        here = task == number
        found.append(Task((x[here & first], y[here & first]), (x[here & ~first], y[here & ~first])))
    return found


def projected(tasks: list[Task], count: int) -> list[Task]:
    """Features on the leading principal directions of the training rows of all tasks."""
    if not count:
        return tasks
    rows = np.concatenate([task.train[0] for task in tasks])
    axes = np.linalg.eigh(rows.T @ rows)[1][:, -count:]
    return [Task((train[0] @ axes, train[1]), (test[0] @ axes, test[1])) for train, test in tasks]


def halved(tasks: list[Task], seed: int) -> list[Task]:
    """The training rows again: four fifths to learn from, one to choose by."""
    rng, found = np.random.default_rng([18, seed]), []
    for x, y in (task.train for task in tasks):
        kept = drawn(y if len(np.unique(y)) == 2 else np.zeros(len(y)), np.zeros(len(y)), int(rng.integers(2**31)), 0.8)
        found.append(Task((x[kept], y[kept]), (x[~kept], y[~kept])))
    return found
