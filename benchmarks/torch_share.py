"""What the network costs beside a network: the exchange's and the screen's share of a round of a torch CNN.

    python benchmarks/torch_share.py [--ranks 8] [--batch 64] [--repeats 9]

A CNN of a million parameters on every rank, one thread each. A round of gradients alone ('local') and a round of
gradients, exchange and screen ('diffusion') take turns in one process, from the same start: what the second takes
more is the network's. Memory is what a rank takes at its most beyond what it takes with a network of the same
convolutions and almost no parameters, in models of four megabytes. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
from harness import alternated, label, line, spread, timed, topology

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.local import Local
from dmtl.data.pool import Dataset
from dmtl.memory import keep_pages
from dmtl.node import Node
from dmtl.runner import run
from dmtl.specs import make, parse
from dmtl.tasks.torch import Torch, TorchTask

SCREENS = ("average", "median", "self-centred-clipping:b=1")
STEP = 0.01
ROWS, SIDE, CLASSES = 512, 28, 10


def cnn(features: int, classes: int, width: int = 312) -> Any:
    """Two convolutions and two full layers: 1,000,690 parameters for 28 x 28 pixels and 10 classes."""
    from torch import nn

    images = nn.Sequential(nn.Unflatten(1, (1, SIDE, SIDE)), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    deep = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(images, deep, nn.Linear(64 * (SIDE // 4) ** 2, width), nn.ReLU(), nn.Linear(width, classes))


def thin(features: int, classes: int) -> Any:
    """The same but for the full layers: 21,973 parameters."""
    return cnn(features, classes, 1)


def data(rank: int) -> Dataset:
    """Noise of that shape: what is learnt makes no difference to what it costs."""
    rng = np.random.default_rng(rank)
    x = rng.standard_normal((ROWS, SIDE * SIDE)).astype(np.float32)
    y = rng.integers(CLASSES, size=ROWS).astype(np.float32)
    return Dataset(x, y, x[:0], y[:0], x[:0], y[:0], classes=CLASSES)


def task(rank: int, options: argparse.Namespace) -> TorchTask:
    name = "thin" if options.thin else "cnn"
    return Torch(f"{__file__}:{name}", batch=options.batch, device="cpu").build(data(rank))


def peak() -> int:
    """The most bytes that this process has had in memory."""
    words = Path("/proc/self/status").read_text(encoding="utf-8").split()
    return 1024 * int(words[words.index("VmHWM:") + 1])


def measure(comm: Any, options: argparse.Namespace) -> None:
    """One graph and one screen on every rank of a job, the memory first."""
    from dmtl.transports.sync import connect

    graph, screen = options.graphs[0], options.screens[0]
    view = topology(graph, comm.size).view(comm.rank, 0, True)
    mine = task(comm.rank, options)
    node = Node(view, mine, Diffusion(step_size=STEP), make("screen", parse(screen, "--screen")), dtype=np.float32)
    alone = Node(view, mine, Local(step_size=STEP), node.screen, dtype=np.float32)
    exchange = connect(comm, node)
    run(node, exchange, 5)
    memory = max(comm.allgather(peak()))
    if options.thin:
        exchange.close()
        return line(comm, {"peak": memory, "d": mine.dim})
    start, rounds = node.start(), options.rounds
    silent = connect(comm, alone)
    run(alone, silent, 2)
    pairs = alternated(
        options.repeats,
        lambda: timed(comm, lambda: run(alone, silent, rounds, state=alone.start())),
        lambda: timed(comm, lambda: run(node, exchange, rounds, state=start)),
    )
    line(
        comm,
        {
            "graph": label(graph, comm.size),
            "screen": screen,
            "d": mine.dim,
            "neighbours": len(view.sources),
            "peak": memory,
            "milliseconds": [[1e3 * seconds / rounds for seconds in pair] for pair in pairs],
        },
    )
    exchange.close()
    silent.close()


def plain(comm: Any, options: argparse.Namespace) -> None:
    """The memory of a rank that trains the same module in plain PyTorch and talks to nobody."""
    import torch

    torch.set_num_threads(1)
    module, rows = (thin if options.thin else cnn)(SIDE * SIDE, CLASSES), data(comm.rank)
    x, y = torch.tensor(rows.x), torch.tensor(rows.y, dtype=torch.long)
    rng = np.random.default_rng(0)
    for _ in range(5):
        batch = torch.from_numpy(rng.choice(ROWS, options.batch, replace=False))
        module.zero_grad()
        torch.nn.functional.cross_entropy(module(x[batch]), y[batch]).backward()
        with torch.no_grad():  # by hand: torch.optim loads more than all of dmtl
            for each in module.parameters():
                each -= STEP * each.grad
    line(comm, {"peak": max(comm.allgather(peak())), "d": sum(each.numel() for each in module.parameters())})


def worker(options: argparse.Namespace) -> None:
    from mpi4py import MPI

    keep_pages(sparing=True)  # as the command line does
    comm = MPI.COMM_WORLD
    line(comm, {"facts": harness.facts()})
    (plain if options.plain else measure)(comm, options)


def growth(large: dict[str, Any], little: dict[str, Any]) -> float:
    """How many vectors in single precision a rank holds at its most, by what memory grows with the parameters."""
    return float((large["peak"] - little["peak"]) / 4 / (large["d"] - little["d"]))


def row(cell: dict[str, Any]) -> list[str]:
    shares = [100 * (1 - alone / together) for alone, together in cell["milliseconds"]]
    alone, together = (median(column) for column in zip(*cell["milliseconds"], strict=True))
    return [
        cell["graph"],
        cell["screen"],
        f"{alone:.0f}",
        f"{together:.0f}",
        f"{spread(shares, 1)} %",
        f"{cell['models']:.1f}",
        f"{cell['plain']:.1f}",
        str(3 + 2 * cell["neighbours"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4, help="in one timed piece")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--graphs", nargs="+", choices=harness.GRAPHS, default=list(harness.GRAPHS))
    parser.add_argument("--screens", nargs="+", default=list(SCREENS))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--thin", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    load = harness.load()
    same = [f"--{name}={getattr(options, name)}" for name in ("batch", "rounds", "repeats")]
    timeout = 120 + 2.0 * options.ranks * options.rounds * options.repeats
    start = [__file__, "--worker", *same]
    python = sys.executable
    bare = [harness.job(options.ranks, python, [*start, "--plain", *more], timeout)[1] for more in ([], ["--thin"])]
    cells: list[dict[str, Any]] = []
    for graph, screen in product(options.graphs, options.screens):
        harness.say(f"torch_share: {graph}, {screen} ...")
        which = [*start, "--graphs", graph, "--screens", screen]
        little = harness.job(options.ranks, python, [*which, "--thin"], timeout)[1]
        facts, cell = harness.job(options.ranks, python, which, timeout)
        cells.append({**facts, **cell, "models": growth(cell, little), "plain": growth(*bare)})
    print(harness.machine(cells[0]["facts"], load), "\n")
    head = [
        "graph",
        "screen",
        "alone ms",
        "together ms",
        "the network's share (range)",
        "models in memory",
        "of plain PyTorch",
        "bound",
    ]
    print(harness.table(head, [row(cell) for cell in cells]))


if __name__ == "__main__":
    main()
