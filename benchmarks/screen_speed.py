"""What a screen costs: every registered one, in milliseconds and in reads of the block, and beside byzfl's.

    python benchmarks/screen_speed.py [--neighbours 5 9 17 33] [--dims 100000 1000000] [--byzfl PYTHON]

A screen is called as a node calls it, on (1 + k, d) random numbers, one thread, with f = b = k // 4. Its time is also
given in reads of the block: sums of its rows. Where byzfl has the same rule, its numpy code gets the same numbers in
the same process, in turn with ours, and the answers are compared. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import harness
import numpy as np
from screen_peers import Peer, peer

from dmtl.capabilities import Knowing
from dmtl.errors import ConfigError
from dmtl.memory import keep_pages
from dmtl.registry import find, names
from dmtl.types import Mat, Vec, View

WITHOUT_BYZFL = """byzfl was left out. To compare with it, make it an environment of its own:
    python -m venv byzfl-env && byzfl-env/bin/pip install -r benchmarks/requirements-byzfl.txt
    byzfl-env/bin/pip install --no-deps byzfl==0.0.11
    python benchmarks/screen_speed.py --byzfl byzfl-env/bin/python"""
LONGEST = 7200
"""seconds after which the job is ended"""
HEAD = ["screen", "k", "d", "dtype", "ms", "reads", "MB", "byzfl ms", "byzfl/dmtl (range)", "byzfl MB", "apart"]
Cell = dict[str, Any]


def settings(kind: str, name: str, k: int, d: int) -> dict[str, Any]:
    """What a piece is made with; those that say no number of liars have their defaults."""
    given: dict[str, Any] = {}
    for field in fields(find(kind, name)):
        if field.name in ("f", "b"):
            given[field.name] = k // 4
        elif field.name == "tau" and field.default is MISSING:
            given["tau"] = math.sqrt(2 * d)  # a typical distance between two of the rows
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"needs a value for '{field.name}'")
    return given


def call_of(kind: str, name: str, k: int, d: int) -> Callable[[Mat, Vec], Any]:
    """The piece as a function of rows and weights; ConfigError says why it is left out."""
    piece = find(kind, name)(**settings(kind, name, k, d))
    if isinstance(piece, Knowing) and (piece.needs_held_out or piece.needs_liars):
        raise ConfigError("judges on held-out data" if piece.needs_held_out else "has to be told who lies")
    if piece.least_neighbours() > k:
        raise ConfigError(f"needs {piece.least_neighbours()} neighbours")
    here, task = view(k), harness.Quadratic(np.zeros(d))
    if kind == "pre-screen":
        return lambda rows, weights: piece(rows, weights, task, here)
    memory = piece.init(task, here)
    return lambda rows, weights: piece(rows, weights, memory, task, here)


def view(k: int) -> View:
    """Somebody with k neighbours, all of equal weight."""
    near, ones = tuple(range(1, 1 + k)), np.ones(k)
    weights = np.full(1 + k, 1 / (1 + k))
    return View(0, near, near, weights, weights, ones, 0, False, (), ones, 0)


def draw(k: int, d: int, dtype: str) -> tuple[Mat, Vec]:
    """Read-only rows, as a node hands them out, and weights."""
    rows = np.random.default_rng(k).normal(1.0, 1.0, (1 + k, d)).astype(dtype)
    rows.flags.writeable = False
    return rows, np.full(1 + k, 1 / (1 + k), dtype)


def in_turn(pieces: list[Callable[[], object]], repeats: int, seconds: float) -> list[list[float]]:
    """Seconds per call of each piece in each repeat; who goes first moves on, so that a drift favours nobody.

    A piece is called as often as fits in ``seconds``, and once at least.
    """
    calls = [max(1, int(seconds / max(once(piece, 1), 1e-9))) for piece in pieces]
    found = []
    for repeat in range(repeats):
        order = [(repeat + turn) % len(pieces) for turn in range(len(pieces))]
        taken = {index: once(pieces[index], calls[index]) for index in order}
        found.append([taken[index] for index in range(len(pieces))])
    return found


def once(piece: Callable[[], object], calls: int) -> float:
    """Seconds of the processor per call: what else runs on the machine does less to them than to those of the clock."""
    start = process_time()
    for _ in range(calls):
        piece()
    return (process_time() - start) / calls


def extra(piece: Callable[[], object]) -> int:
    """The most bytes that were held at any time of a call beyond what was held before, its answer included."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    piece()
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return most


def measure(kind: str, name: str, k: int, d: int, dtype: str, options: argparse.Namespace) -> Cell:
    """One row of the table."""
    cell: Cell = {"kind": kind, "name": name, "k": k, "d": d, "dtype": dtype}
    rows, weights = draw(k, d, dtype)
    try:
        call = partial(call_of(kind, name, k, d), rows, weights)
        call()
    except ConfigError as error:
        return cell | {"left_out": str(error).rstrip(".")}
    pieces: list[Callable[[], object]] = [partial(np.add.reduce, rows, axis=0), call]
    cell["bytes"] = extra(call)
    other: Peer | None = peer(name, rows, k // 4) if options.byzfl else None
    if other is not None and other.left_out:
        cell["peer_left_out"] = other.left_out
    elif other is not None:
        pieces.append(other.call)
        cell["peer_bytes"] = extra(other.call)
        cell["apart"] = float(np.max(np.abs(other.answer(other.call()) - answer(call()))))
    cell["seconds"] = in_turn(pieces, options.repeats, options.seconds)
    return cell


def answer(given: Any) -> Any:
    """The vector that a screen gives; a pre-screen gives vectors."""
    return getattr(given, "value", given)


def worker(options: argparse.Namespace) -> None:
    """All cells, a line of JSON each."""
    keep_pages()  # as the command line does; byzfl is in the same process and has it too
    for k in options.neighbours:
        for d in options.dims:
            for dtype in options.dtypes:
                for kind, name in options.pieces:
                    harness.say(f"{name}: k={k}, d={d:,}, {dtype} ...")
                    print(json.dumps(measure(kind, name, k, d, dtype, options)), flush=True)


def row(cell: Cell) -> list[str]:
    head = [cell["name"], str(cell["k"]), f"{cell['d']:,}", cell["dtype"]]
    if "left_out" in cell:
        return [*head, "-", "-", "-", cell["left_out"], "", "", ""]
    columns = list(zip(*cell["seconds"], strict=True))
    reads = median(ours / floor for floor, ours, *_ in cell["seconds"])
    head += [f"{1e3 * median(columns[1]):.2f}", f"{reads:.1f}", f"{cell['bytes'] / 1e6:.1f}"]
    if len(columns) < 3:
        return [*head, cell.get("peer_left_out", ""), "", "", ""]
    ratios = [theirs / ours for _, ours, theirs in cell["seconds"]]
    return [
        *head,
        f"{1e3 * median(columns[2]):.2f}",
        harness.spread(ratios, 1),
        f"{cell['peer_bytes'] / 1e6:.1f}",
        f"{cell['apart']:.0e}",
    ]


def main() -> None:
    everything = [(kind, name) for kind in ("screen", "pre-screen") for name in names(kind)]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--screens", nargs="+", choices=[name for _, name in everything], metavar="NAME")
    parser.add_argument("--neighbours", type=int, nargs="+", default=[5, 9, 17, 33])
    parser.add_argument("--dims", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.02, help="what one timed piece takes, if not one call")
    parser.add_argument("--byzfl", metavar="PYTHON", help="interpreter of an environment that has byzfl")
    parser.add_argument("--json", metavar="FILE", help="write every single time there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.pieces = [piece for piece in everything if not options.screens or piece[1] in options.screens]
    if options.worker:
        return worker(options)
    load = harness.load()
    cells = job(options.byzfl or sys.executable)
    print(report(cells, load, bool(options.byzfl)))
    if options.json:
        text = json.dumps({"load": load, "screen_speed": cells}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


def job(python: str) -> list[Cell]:
    """All cells, measured by that interpreter with one thread."""
    environment = os.environ | harness.ONE_THREAD | {"PYTHONPATH": str(harness.ROOT)}
    command = [python, __file__, "--worker", *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, timeout=LONGEST)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(cells: list[Cell], load: str, byzfl: bool) -> str:
    parts = [harness.computer(load), "", harness.table(HEAD, [row(cell) for cell in cells])]
    return "\n".join([*parts, *([] if byzfl else ["", WITHOUT_BYZFL])])


if __name__ == "__main__":
    main()
