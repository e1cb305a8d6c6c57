"""One slow rank among real MPI processes: seconds until the joint objective is small, with waiting and without.

    python benchmarks/stragglers_mpi.py [--ranks 8] [--pace 0.01] [--repeats 3]

The problem is that of `stragglers.py`: related least-squares tasks on a ring. A round takes a rank 10 ms at least, of
which it computes a few microseconds and sleeps the rest, so that all ranks share two cores without disturbing each
other; rank 2 takes k times as long. Each rank notes its model and the machine's clock after every round; afterwards
the moment is found at which the objective of all models together was within a thousandth of its start from its least.
`laplacian` on the transport `sync`, `amtl:relaxation=1` on `async`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic

import networkx as nx
import numpy as np
from harness import mpi_job, say, table
from stragglers import SLOW, STRENGTH, Problem

from dmtl.algorithms.amtl import AMTL
from dmtl.algorithms.laplacian import Laplacian
from dmtl.links import Conditions
from dmtl.runner import Horizon, run

SMALL = 1e-3


def worker(folder: str, transport: str, factor: float, pace: float, seconds: float) -> None:
    """One rank; writes when it had which model."""
    from dmtl.transports.asynchronous import connect_async
    from dmtl.transports.late import Paced
    from dmtl.transports.mpi import world
    from dmtl.transports.sync import connect

    comm = world()
    problem = Problem(nx.cycle_graph(comm.size))
    method = Laplacian(STRENGTH) if transport == "sync" else AMTL(STRENGTH, relaxation=1.0)
    node = problem.nodes(method)[comm.rank]
    exchange = connect(comm, node) if transport == "sync" else connect_async(comm, node)
    most = math.ceil(seconds / pace / (factor if transport == "sync" else 1))
    horizon = Horizon(most)
    paced = Paced(exchange, node.view, Conditions(slow={SLOW: factor}, pace=pace), horizon, seconds)
    if transport == "sync":  # all stop after the same rounds
        paced = Paced(exchange, node.view, Conditions(slow={SLOW: factor}, pace=pace), horizon)
    times, models = [], []

    def note(state, inbox) -> None:
        times.append(monotonic())
        models.append(state.x)

    comm.Barrier()
    run(node, paced, most, note, horizon=horizon)
    paced.close()
    np.savez(Path(folder) / f"{comm.rank}.npz", times=times, models=models)


def reached(problem: Problem, folder: Path, ranks: int) -> float:
    """Seconds from the start of the last rank until the gap of all models was small."""
    notes = [np.load(folder / f"{rank}.npz") for rank in range(ranks)]
    start = max(float(note["times"][0]) for note in notes)
    moments = sorted((float(t), r, i) for r, note in enumerate(notes) for i, t in enumerate(note["times"]))
    x = np.zeros((ranks, problem.tasks[0].dim))
    models = [note["models"] for note in notes]
    for time, rank, index in moments:
        x[rank] = models[rank][index]
        if problem.gap(x) < SMALL:
            return time - start
    return math.inf


def once(problem: Problem, ranks: int, transport: str, factor: float, pace: float, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [__file__, "--worker", json.dumps([folder, transport, factor, pace, seconds])]
        subprocess.run(mpi_job(ranks, sys.executable, arguments), check=True, timeout=60 + 4 * seconds)
        return reached(problem, Path(folder), ranks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--pace", type=float, default=0.01)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*json.loads(options.worker))
        return
    problem = Problem(nx.cycle_graph(options.ranks))
    rows = []
    for factor in (1.0, 3.0, 10.0, 30.0):
        times = {}
        for transport in ("sync", "async"):
            # About a hundred rounds do it; those of the slow rank count in full only where all wait for it.
            seconds = 120 * options.pace * (factor if transport == "sync" else 1 + factor / 2)
            found = [
                once(problem, options.ranks, transport, factor, options.pace, seconds) for _ in range(options.repeats)
            ]
            times[transport] = median(found)
            say(f"{factor:g} {transport}: {found}")
        cells = [f"{times['sync']:.2f}", f"{times['async']:.2f}", f"{times['sync'] / times['async']:.1f}"]
        rows.append([f"{factor:g}", *cells, f"{(options.ranks - 1 + factor) / options.ranks:.2f}"])
    print(table(["k", "sync, s", "async, s", "gain", "mean cost"], rows))


if __name__ == "__main__":
    main()
