"""The results of a run: one folder, in which every rank writes its own files and no other's.

config.toml                 the effective configuration
graph.json                  the topology, as node-link data
rank-0003.jsonl             first the surroundings, then a line per evaluation, at the end a summary
rank-0003.npz               the final state, as plain arrays
rank-0003.ckpt-000500.npz   a checkpoint; of those that all ranks surely have, two are kept
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import networkx as nx
import numpy as np

from dmtl.build import Plan
from dmtl.config import Config, digest, to_toml
from dmtl.errors import ResultsError
from dmtl.node import NodeState

__all__ = [
    "RankLog",
    "check_free",
    "flatten",
    "folder",
    "installed",
    "portable",
    "prepare",
    "read_log",
    "restore",
    "save_state",
    "surroundings",
    "writing",
]


def folder(config: Config) -> Path:
    """Where a run's results go; every rank finds it by itself."""
    return Path(config.out) if config.out else Path("runs") / f"{config.name}-{digest(config)[:8]}"


def check_free(config: Config) -> Path:
    """The results folder, refused if another run's results are in it; touches nothing."""
    place = folder(config)
    if place.exists() and not place.is_dir():
        raise ResultsError(f"{place} is a file, and results need a folder. Give another --out.")
    if not config.overwrite and place.is_dir() and any(place.iterdir()):
        raise ResultsError(f"{place} has results already. Give --overwrite, or another --name or --out.")
    return place


def prepare(plan: Plan) -> Path:
    """Make the folder and write what is the same for all ranks; safe to be done by all of them at once."""
    place = folder(plan.config)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        for old in place.glob("rank-*"):  # left from a larger run; each rank sees to its own number
            if (number := _rank_of(old)) is not None and number >= plan.topology.size:
                old.unlink(missing_ok=True)
        _write(place / "config.toml", to_toml(plan.config).encode())
        graph = nx.node_link_data(plan.topology.graph, edges="edges")
        _write(place / "graph.json", json.dumps(graph, indent=1, default=str).encode())
    return place


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say which folder it was that could not be written to."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ResultsError):
            raise
        raise ResultsError(f"cannot write to {place}: {error.strerror or error}. What is written stays.") from error


def surroundings() -> dict[str, Any]:
    """What a run's numbers may depend on and the configuration does not say."""
    names = ("dmtl", "numpy", "scipy", "networkx", "mpi4py", "scikit-learn")
    job = {key: os.environ[key] for key in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID") if key in os.environ}
    threads = {key: os.environ.get(key, "") for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: installed(name) for name in names},
        "mpi": _mpi_library(),
        "job": job,
        "threads": threads,
    }


class RankLog:
    """One rank's lines in a file of its own, each written through at once; a context manager.

    Mode "a" goes on with the file that is there.
    """

    def __init__(self, place: Path, rank: int, suffix: str = "jsonl", mode: Literal["w", "a"] = "w") -> None:
        self._place = place
        with writing(place):
            path = place / f"rank-{rank:04d}.{suffix}"
            torn = mode == "a" and path.is_file() and not path.read_bytes().endswith(b"\n")
            self._file: IO[str] = path.open(mode, encoding="utf-8", buffering=1)
            if torn:  # a last line that was cut short must not swallow the next
                self._file.write("\n")

    def __enter__(self) -> RankLog:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._place):
            self._file.close()

    def write(self, event: str, **values: Any) -> None:
        """Append one line; numbers that JSON lacks become null."""
        with writing(self._place):
            self._file.write(json.dumps({"event": event, **_plain(values)}) + "\n")
            self._file.flush()


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The events in a rank's file, and how many lines were none, such as a torn last one."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return [], 1
    found, torn = [], 0
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict) and "event" in value:
            found.append(value)
        else:
            torn += 1
    return found, torn


def flatten(state: Any, path: str = "") -> dict[str, Any]:
    """A nested NamedTuple of arrays and numbers as plain arrays by dotted path; None and () leave no trace."""
    if state is None:
        return {}
    if isinstance(state, tuple):
        keys = getattr(state, "_fields", range(len(state)))
        parts = (flatten(part, f"{path}.{key}" if path else str(key)) for key, part in zip(keys, state, strict=True))
        return {key: value for part in parts for key, value in part.items()}
    return {path: np.asarray(state)}


def restore(like: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """The state that ``flatten`` took apart, in the shape of ``like``; raises ResultsError where it is another's.

    An axis of length 0 in ``like`` takes any length: what fills only while a run goes on is empty before it.
    """
    if like is None:
        return None
    if isinstance(like, tuple):
        keys = list(getattr(like, "_fields", range(len(like))))
        parts = [
            restore(part, arrays, f"{path}.{key}" if path else str(key)) for key, part in zip(keys, like, strict=True)
        ]
        return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)
    if path not in arrays:
        raise ResultsError(f"the checkpoint has no {path!r}. It is of another method or version.")
    value, expected = arrays[path], np.asarray(like)
    lengths = zip(value.shape, expected.shape, strict=False)
    fits = value.ndim == expected.ndim and all(want in (0, got) for got, want in lengths)
    if not fits or value.dtype != expected.dtype:
        raise ResultsError(
            f"the checkpoint has {path!r} as {value.dtype} of shape {value.shape}, not as {expected.dtype} of shape "
            f"{expected.shape}. It is of another method or version."
        )
    return value if isinstance(like, np.ndarray) else value.item()


class Saved(NamedTuple):
    """What a node needs to go on, without what every round makes anew."""

    round: int
    trust: Any
    model: Any
    memory: Any
    attack: Any
    heard: Any
    """the last round's rows (1 + k, f d) and their ages (k,), which a liar may look back at; else nothing"""
    past: Any = ()
    """what came in the rounds before, where messages may be late"""
    said: Any = None
    """a rushing liar's last words"""
    copies: Any = ()
    """what both ends of each edge know of what was said, where messages are compressed"""


def portable(state: NodeState) -> Saved:
    """The part of a node's state that has to be kept."""
    view, inbox = state.view, state.inbox
    heard = (inbox.flat, inbox.age) if view.colluders else ()
    return Saved(
        view.round, view.trust, state.model, state.memory, state.attack, heard, state.past, state.said, state.copies
    )


def save_state(path: Path, state: Any) -> None:
    """Write a state's arrays aside and rename: a file of that name is never half written."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path.parent):
        try:
            with aside.open("wb") as file:
                np.savez(file, **flatten(state))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def _rank_of(path: Path) -> int | None:
    """The rank whose file it is; None for a file that only looks like one."""
    number = path.name.removeprefix("rank-").split(".")[0]
    return int(number) if number.isdigit() else None


def _write(path: Path, content: bytes) -> None:
    """Write aside and rename, so that many ranks may write the same file."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(path)


def installed(name: str) -> str:
    """Version of an installed package; empty if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _mpi_library() -> str:
    """The MPI library, if this process has loaded one; loads none."""
    module = sys.modules.get("mpi4py.MPI")
    return str(module.Get_library_version()).split(",")[0].strip("\0 ") if module else ""


def _plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, numpy numbers as numbers, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
