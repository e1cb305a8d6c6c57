"""One message of more than 2 GiB between two ranks, looked at from both ends.

    python benchmarks/large_message.py [--numbers 280000000]

Needs about six times the message in memory. Prints the size, the seconds of the exchange, and whether every number
arrived.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter

import harness
import numpy as np

from dmtl.algorithms.diffusion import Diffusion
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.types import Outbox


def worker(d: int) -> None:
    """One rank: say its own number d times, with the round's last place different."""
    from mpi4py import MPI

    from dmtl.transports.sync import connect

    comm = MPI.COMM_WORLD
    words = np.full(d, float(comm.rank))
    words[-1] = 10.0 + comm.rank
    node = Node(harness.topology("ring", 2).view(comm.rank), harness.Quadratic(words), Diffusion(0.0), Average())
    exchange = connect(comm, node)
    began = perf_counter()
    exchange.send(Outbox((words,)))
    heard = exchange.receive().messages[0, 0]
    seconds = perf_counter() - began
    other = 1 - comm.rank
    whole = bool(heard[-1] == 10.0 + other and heard[:-1].min() == heard[:-1].max() == other)
    harness.require(comm, whole, "a number was lost on the way")
    exchange.close()
    harness.line(comm, {"seconds": seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=280_000_000)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.numbers)
        return
    script = [str(Path(__file__).resolve()), "--worker", "--numbers", str(asked.numbers)]
    (result,) = harness.job(2, sys.executable, script, timeout=300)
    size = asked.numbers * 8 / 2**30
    print(f"{size:.2f} GiB each way between two ranks in {result['seconds']:.1f} s, every number arrived")


if __name__ == "__main__":
    main()
