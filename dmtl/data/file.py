"""The user's own data: a file with a task column, or a folder with a file per task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.data.pool import Pool
from dmtl.data.table import READERS, Names, Rows, read
from dmtl.errors import ConfigError
from dmtl.types import Vec

__all__ = ["File"]

MANY = 100
"""more distinct whole numbers than this are taken for quantities, not classes"""


@dataclass(frozen=True, slots=True)
class File:
    """A .npz, .csv or .parquet file with a task to each row, or a folder of such files, each a task by its name.

    .npz: the arrays x or X (m, p), y (m,) and task (m,); nothing pickled is loaded. .csv and .parquet: a column for the
    target and one for the task, all others are features and must be numbers; needs pandas. A column ``group``, if
    there is one, says which rows must not be divided between training and test (else each row is for itself; in a
    folder the groups of two files are different), and a column ``test`` of 0 and 1 fixes the rows to test on. Tasks may
    be numbers or names; they become 0 .. T-1 in sorted order, and need 3 rows each. In messages rows count from 1.

    What is a class, where ``classes`` does not say: names, truth values, and whole numbers (in an integer column) of at
    most 100 kinds, numbered in sorted order. All else is regression.
    """

    path: str
    """a file, or a folder with one file for each task"""
    task: str = "task"
    """array or column with the task of each row"""
    target: str = "y"
    """array or column with what is to be learnt"""
    group: str = ""
    """array or column with the group of each row; empty: ``group``, if there is one of that name"""
    classes: int = -1
    """-1: by the target, see above; 0: regression; c >= 2: classes, 0 .. c-1 as they are or up to c sorted kinds"""

    def __post_init__(self) -> None:
        if self.classes < -1 or self.classes == 1:
            raise ConfigError(
                f"'file' has classes={self.classes}. Allowed: -1 to go by the target, 0 for regression, 2 or more."
            )
        named = [name for name in (self.task, self.target, self.group) if name]
        if len({*named, "test"}) <= len(named):
            raise ConfigError(f"'file' has one name twice among {', '.join(named)} and test. Give each column its own.")

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the file; ``ranks`` and ``seed`` are not looked at."""
        place = Path(self.path)
        names = Names(self.task, self.target, self.group)
        if place.is_dir():
            rows = _folder(place, names)
        elif place.is_file():
            rows = read(place, names)
        else:
            raise ConfigError(f"there is no file {self.path!r}. Give path=FILE, one of {', '.join(READERS)}.")
        labels, task = _number(rows.task)
        _refuse_small(self.path, labels, task)
        y, classes = self._targets(rows.y)
        group = np.arange(len(task)) if rows.group is None else _number(rows.group)[1]
        return Pool(rows.x, y, task, group, classes, labels=labels, test=rows.test)

    def _targets(self, y: NDArray[Any]) -> tuple[Vec, int]:
        """Numbers (m,) and how many classes there are."""
        place = f"{self.path!r}, target {self.target!r}"
        kinds, code = np.unique(y, return_inverse=True)
        text = y.dtype.kind == "U"
        limit = self.classes if self.classes > 0 else MANY
        if self.classes == 0 or (self.classes < 0 and not text and (y.dtype.kind == "f" or len(kinds) > MANY)):
            if text:
                raise ConfigError(
                    f"{place} holds text, and classes=0 is regression. Give numbers, or leave out classes."
                )
            return y.astype(np.float64), 0
        if not text and np.any(kinds % 1):
            raise ConfigError(f"{place} has fractions such as {kinds[kinds % 1 != 0][0]}; they are no classes.")
        if self.classes > 0 and not text and kinds[0] >= 0 and kinds[-1] < self.classes:
            return y.astype(np.float64), self.classes
        if not 2 <= len(kinds) <= limit:
            raise ConfigError(
                f"{place}: the number of different values is {len(kinds)}; allowed are 2 to {limit} classes."
            )
        return code.astype(np.float64), max(self.classes, len(kinds))


def _number(values: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names in sorted order, and the number of each value among them."""
    kinds, code = np.unique(values, return_inverse=True)
    return tuple(str(kind) for kind in kinds), code.astype(np.int64)


def _refuse_small(path: str, labels: tuple[str, ...], task: NDArray[np.int64]) -> None:
    counts = np.bincount(task)
    small = np.flatnonzero(counts < 3)
    if len(small):
        has = f"{counts[small[0]]} {'row' if counts[small[0]] == 1 else 'rows'}"
        raise ConfigError(
            f"{path!r}: task {labels[small[0]]!r} has {has}, and needs 3 to train and to test. "
            f"{len(small)} of {len(labels)} tasks are too small; leave them out."
        )


def _folder(place: Path, names: Names) -> Rows:
    """The files of a folder one after another, each a task called as the file without its suffix."""
    files = sorted(entry for entry in place.iterdir() if entry.suffix.lower() in READERS and entry.is_file())
    if not files:
        raise ConfigError(f"folder {str(place)!r} has no files of {', '.join(READERS)}.")
    if len({file.stem for file in files}) < len(files):
        raise ConfigError(f"folder {str(place)!r} has two files of the same name but for the suffix. Remove one.")
    parts = [read(file, names, one_task=True) for file in files]
    for file, part in zip(files, parts, strict=True):
        _same(files[0], parts[0], file, part)
    return Rows(
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        task=np.concatenate([part.task for part in parts]),
        group=_apart(parts),
        test=None if parts[0].test is None else np.concatenate([part.test for part in parts if part.test is not None]),
        features=parts[0].features,
    )


def _same(first: Path, pattern: Rows, file: Path, part: Rows) -> None:
    """Refuse a file of a folder that has other columns than the first."""
    kinds = [
        (rows.features, rows.y.dtype.kind == "U", rows.group is None, rows.test is None) for rows in (pattern, part)
    ]
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{str(file)!r} has other columns than {str(first)!r}: {', '.join(part.features[:20])} "
            f"against {', '.join(pattern.features[:20])}, group, test or the kind of target. Make them alike."
        )


def _apart(parts: list[Rows]) -> NDArray[np.int64] | None:
    """Group numbers (m,) that differ from file to file."""
    found: list[NDArray[np.int64]] = []
    start = 0
    for part in parts:
        if part.group is None:
            return None
        names, group = _number(part.group)
        found.append(group + start)
        start += len(names)
    return np.concatenate(found)
