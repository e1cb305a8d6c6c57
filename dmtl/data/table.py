"""Reading one file of rows: .npz by numpy, .csv and .parquet by pandas. Every fault is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from dmtl.data.optional import missing, optional_module
from dmtl.errors import ConfigError
from dmtl.types import Mask, Mat

__all__ = ["READERS", "Names", "Rows", "read"]


class Names(NamedTuple):
    """What the arrays or columns are called."""

    task: str
    target: str
    group: str
    """empty: ``group`` if there is one of that name"""


class Rows(NamedTuple):
    """The rows of one file, checked: finite numbers, equal lengths, no objects."""

    x: Mat
    """(m, p)"""
    y: NDArray[Any]
    """(m,) numbers or strings"""
    task: NDArray[Any]
    """(m,) numbers or strings; the file's name where the file is one task"""
    group: NDArray[Any] | None
    test: Mask | None
    features: tuple[str, ...]
    """what the columns of ``x`` are called"""


class _Source(NamedTuple):
    """A file half read: columns by name, and how to speak of it."""

    file: str
    unit: str
    """'array' or 'column'"""
    columns: Mapping[str, NDArray[Any]]

    def at(self, name: str) -> str:
        """Where a fault is."""
        return f"{self.file!r}, {self.unit} {name!r}"

    @property
    def held(self) -> str:
        """The names of its columns, for a message."""
        return ", ".join(list(self.columns)[:20]) + (", .." if len(self.columns) > 20 else "") or "none"

    def get(self, name: str, role: str) -> NDArray[Any]:
        """A column that must be there; ``role`` is the setting that names it."""
        if name in self.columns:
            return self.columns[name]
        near = get_close_matches(name, self.columns, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"{self.file!r} has no {self.unit} {name!r}.{hint} It has: {self.held}. Name the {role} with {role}=NAME."
        )


def read(path: Path, names: Names, one_task: bool = False) -> Rows:
    """Read ``path``; with ``one_task`` the whole file is one task and must not have a task column."""
    if path.suffix.lower() not in READERS:
        raise ConfigError(f"{str(path)!r} is no kind of file that is read. Allowed: {', '.join(READERS)}.")
    source = READERS[path.suffix.lower()](path, names)
    if one_task and names.task in source.columns:
        raise ConfigError(
            f"{source.at(names.task)}: in a folder each file is one task. Take it out, or give the one file."
        )
    y = _plain(source, names.target, source.get(names.target, "target"))
    task = np.full(len(y), path.stem) if one_task else _plain(source, names.task, source.get(names.task, "task"))
    group = _optional(source, names.group or "group", bool(names.group))
    x, features = _features(source, names)
    test = _optional(source, "test", False)
    columns = {names.target: y, names.task: task, names.group or "group": group, "test": test}
    for name, column in columns.items():
        if column is not None and len(column) != len(x):
            raise ConfigError(f"{source.at(name)} has {len(column)} rows and the features have {len(x)}.")
    if not len(x):
        raise ConfigError(f"{source.file!r} has no rows.")
    return Rows(x, y, task, group, None if test is None else _mask(source, test), features)


def _optional(source: _Source, name: str, asked: bool) -> NDArray[Any] | None:
    """A column that may be missing unless it was ``asked`` for."""
    if not asked and name not in source.columns:
        return None
    return _plain(source, name, source.get(name, "group"))


def _plain(source: _Source, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """One axis of finite numbers or of strings."""
    if values.ndim != 1:
        raise ConfigError(f"{source.at(name)} has {values.ndim} axes; it needs one, a value for each row.")
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "backslashreplace")
    if values.dtype.kind != "U":
        _finite(source, (name,), values[:, None])
    return values


def _finite(source: _Source, names: tuple[str, ...], values: NDArray[Any]) -> None:
    """Refuse what is no real number, naming the first such column and row; rows count from 1."""
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"{source.at(names[0])} holds {values.dtype}, not numbers. Give numbers.")
    bad = ~np.isfinite(values)
    if bad.any():
        column = int(bad.any(axis=0).argmax())
        row = int(bad[:, column].argmax())
        value = values[row, column]
        raise ConfigError(f"{source.at(names[column])}, row {row + 1} is {value}. Fill it in or leave the row out.")


def _features(source: _Source, names: Names) -> tuple[Mat, tuple[str, ...]]:
    """The feature matrix (m, p) and the names of its columns."""
    if source.unit == "array":
        name = "x" if "x" in source.columns else "X"
        if name not in source.columns:
            raise ConfigError(f"{source.file!r} has no array 'x' or 'X' of features. It has: {source.held}.")
        values = source.columns[name]
        if values.ndim != 2:
            raise ConfigError(f"{source.at(name)} has {values.ndim} axes; it needs two, rows and features.")
        features = tuple(f"{name}[:, {j}]" for j in range(values.shape[1]))
    else:
        taken = {names.task, names.target, names.group or "group", "test"}
        features = tuple(name for name in source.columns if name not in taken)
        for name in features:
            if source.columns[name].dtype.kind == "U":
                raise ConfigError(f"{source.at(name)} holds text. Turn it into numbers, or take it out.")
        values = np.column_stack([source.columns[name] for name in features]) if features else np.empty((0, 0))
    if not features:
        raise ConfigError(f"{source.file!r} has no features.")
    with np.errstate(over="ignore"):
        x = values.astype(np.float64) if values.dtype.kind in "biuf" else values
    _finite(source, features, x)
    return x, features


def _mask(source: _Source, values: NDArray[Any]) -> Mask:
    """Which rows are for testing."""
    wrong = np.flatnonzero(~np.isin(values, (0, 1)))
    if len(wrong):
        raise ConfigError(f"{source.at('test')}, row {wrong[0] + 1} is {values[wrong[0]]}. Allowed: 0, 1, true, false.")
    return values.astype(np.bool_)


def _unreadable(place: str, error: Exception, fix: str) -> ConfigError:
    why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ConfigError(f"{place} cannot be read: {why}. {fix}")


def _npz(path: Path, names: Names) -> _Source:
    """Read the arrays of a .npz file; pickled objects are never loaded."""
    columns: dict[str, NDArray[Any]] = {}
    wanted = {"x", "X", "test", names.target, names.task, names.group or "group"}
    place = repr(str(path))
    try:
        if not is_zipfile(path):
            raise ValueError("it is no .npz file")
        # opened here: numpy forgets to close the file where the archive is broken
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive.files:
                place = f"{str(path)!r}, array {name!r}"
                columns[name] = archive[name] if name in wanted else np.empty(0)
    except Exception as error:  # a broken file can make the readers raise nearly anything
        raise _unreadable(place, error, "Save plain arrays with numpy.savez.") from error
    return _Source(str(path), "array", columns)


def _csv(path: Path, names: Names) -> _Source:
    return _frame(path, lambda pandas: _aligned(pandas, pandas.read_csv(path, low_memory=False)))


def _aligned(pandas: Any, frame: Any) -> Any:
    """Refuse rows longer than the header: pandas would take their first values for an index and shift the rest."""
    if not isinstance(frame.index, pandas.RangeIndex):
        raise ValueError("its rows are longer than its header")
    return frame


def _parquet(path: Path, names: Names) -> _Source:
    return _frame(path, lambda pandas: pandas.read_parquet(path))


def _frame(path: Path, reader: Callable[[Any], Any]) -> _Source:
    """Read the columns of a pandas frame."""
    pandas = optional_module("file", "pandas", "pandas")
    try:
        frame = reader(pandas)
    except ImportError as error:
        raise missing("file", "pyarrow") from error
    except Exception as error:  # as above
        raise _unreadable(repr(str(path)), error, "Write it again with a header and rows of equal length.") from error
    if not len(frame):
        raise ConfigError(f"{str(path)!r} has no rows.")
    columns: dict[str, NDArray[Any]] = {}
    for name in frame.columns:
        if str(name).startswith("Unnamed: "):
            raise ConfigError(f"{str(path)!r} has a column without a name. Name it, or write frames with index=False.")
        columns[str(name)] = _column(pandas, f"{str(path)!r}, column {str(name)!r}", frame[name])
    return _Source(str(path), "column", columns)


def _column(pandas: Any, place: str, series: Any) -> NDArray[Any]:
    """One column as numbers, or else as strings."""
    absent = series.isna().to_numpy()
    if absent.any():
        raise ConfigError(
            f"{place}, row {int(absent.argmax()) + 1} is NaN or missing. Fill it in or leave the row out."
        )
    if pandas.api.types.is_numeric_dtype(series.dtype):
        values: NDArray[Any] = series.to_numpy()
        return values if values.dtype.kind != "O" else series.to_numpy(dtype=np.float64)
    return np.array([str(value) for value in series], dtype=np.str_)


READERS: Mapping[str, Callable[[Path, Names], _Source]] = MappingProxyType(
    {".npz": _npz, ".csv": _csv, ".parquet": _parquet}
)
