"""What an asynchronous round costs, beside a synchronous one of the same method on the same ranks.

    python benchmarks/async_cost.py [--ranks 2 4 8] [--dims 10 1000 100000 1000000] [--network]

Gossip averaging on a ring, both exchanges in one process, in turn and equally often. A round of either is one message
to each neighbour and one average; only the synchronous one waits. 'new' is the share of looks at a neighbour that
found a new message: where ranks share cores, a rank may go many rounds before its neighbour has had its turn.
"""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any

import harness
import numpy as np
from harness import Quadratic, alternated, line, rounds_for, spread, start_of, timed, topology

from dmtl.algorithms.diffusion import Diffusion
from dmtl.memory import keep_pages
from dmtl.node import Node, NodeState
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.types import Inbox


def measure(comm: Any, d: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table, on every rank of a job."""
    from dmtl.transports.asynchronous import connect_async
    from dmtl.transports.sync import connect

    x0 = start_of(comm.rank, d)
    node = Node(topology("ring", comm.size).view(comm.rank), Quadratic(x0), Diffusion(step_size=0.0), Average())
    waiting, free = connect(comm, node), connect_async(comm, node, network=options.network)

    def synchronous(rounds: int) -> None:
        run(node, waiting, rounds, None, 1, node.start(x0))

    def asynchronous(rounds: int) -> None:
        run(node, free, rounds, None, 1, node.start(x0))

    synchronous(7)
    rounds = rounds_for(comm, asynchronous, options.seconds)
    pieces = [lambda: timed(comm, lambda: synchronous(rounds)), lambda: timed(comm, lambda: asynchronous(rounds))]
    seconds = alternated(options.repeats, *pieces)
    shares: list[float] = []

    def look(state: NodeState, inbox: Inbox) -> None:
        shares.append(float(np.mean(inbox.age == 0)))

    state = run(node, free, rounds, look, 1, node.start(x0))
    harness.require(comm, bool(np.isfinite(state.x).all()), "an average is not finite")
    waiting.close()
    free.close()
    return {"ranks": comm.size, "d": d, "rounds": rounds, "seconds": seconds, "new": float(np.mean(shares))}


def worker(options: argparse.Namespace) -> None:
    """All rows of one rank count."""
    from dmtl.transports.mpi import world

    comm = world()
    keep_pages()
    line(comm, {"facts": harness.facts()})
    for d in options.dims:
        line(comm, measure(comm, d, options))


def row(cell: dict[str, Any]) -> list[str]:
    sync, free = (1e6 * median(column) / cell["rounds"] for column in zip(*cell["seconds"], strict=True))
    ratios = [asynchronous / synchronous for synchronous, asynchronous in cell["seconds"]]
    return [str(cell["ranks"]), f"{cell['d']:,}", f"{sync:,.1f}", f"{free:,.1f}", spread(ratios), f"{cell['new']:.0%}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 1000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="what one timed piece takes")
    parser.add_argument("--network", action="store_true", help="messages as between machines, not shared memory")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    load = harness.load()
    results: list[dict[str, Any]] = []
    for ranks in options.ranks:
        harness.say(f"async_cost: {ranks} ranks ...")
        numbers = {"--dims": options.dims, "--repeats": [options.repeats], "--seconds": [options.seconds]}
        arguments = [word for name, values in numbers.items() for word in (name, *map(str, values))]
        arguments += ["--network"] if options.network else []
        timeout = 60 + 10 * (ranks + options.seconds) * len(options.dims) * (2 + options.repeats)
        results += harness.job(ranks, sys.executable, [__file__, "--worker", *arguments], timeout)
    head = ["ranks", "d", "synchronous us/round", "asynchronous us/round", "ratio (range)", "new"]
    cells = [cell for cell in results if "facts" not in cell]
    print(harness.machine(results[0]["facts"], load), harness.table(head, [row(cell) for cell in cells]), sep="\n\n")


if __name__ == "__main__":
    main()
