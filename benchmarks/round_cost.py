"""What a round costs: dmtl against bare MPI, and against DISROPT.

    python benchmarks/round_cost.py [--ranks 2 4 8] [--dims 10 1000 100000 1000000] [--disropt PYTHON]

Bare MPI is the least that a program in Python can do for one round of averaging: persistent requests, one product,
one copy. dmtl does the same round through its node, its checks and its states. Both run in one process, in turn and
equally often, from the same start, and must end on the same bits. README.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
from harness import Quadratic, alternated, label, line, rounds_for, spread, start_of, timed, topology

from dmtl.algorithms.diffusion import Diffusion
from dmtl.memory import keep_pages
from dmtl.node import Node
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.types import Vec, View

WITHOUT_DISROPT = """DISROPT was left out. To compare with it, make it an environment of its own:
    python -m venv disropt-env && disropt-env/bin/pip install -r benchmarks/requirements-disropt.txt
    python benchmarks/round_cost.py --disropt disropt-env/bin/python"""


def target(d: int) -> float:
    """The most that a round of dmtl may cost, in rounds of bare MPI."""
    return 1.15 if d >= 100_000 else 1.5 if d >= 1000 else 2.5


class Bare:
    """Averaging with nothing around it."""

    def __init__(self, comm: Any, view: View, d: int) -> None:
        self.weights = view.weights
        self.block = np.zeros((1 + len(view.sources), d))
        self.requests = [comm.Recv_init(self.block[1 + row], source) for row, source in enumerate(view.sources)]
        self.requests += [comm.Send_init(self.block[0], target) for target in view.targets]

    def run(self, x0: Vec, rounds: int) -> Vec:
        from mpi4py import MPI

        start, wait = MPI.Prequest.Startall, MPI.Prequest.Waitall
        requests, weights, block = self.requests, self.weights, self.block
        out = np.empty_like(x0)
        block[0] = x0
        for _ in range(rounds):
            start(requests)
            wait(requests)
            np.dot(weights, block, out)
            block[0] = out
        return out

    def close(self) -> None:
        for request in self.requests:
            request.Free()


def measure(comm: Any, graph: str, d: int, options: argparse.Namespace) -> dict[str, Any]:
    """One cell of the table, on every rank of a job."""
    from dmtl.transports.sync import connect

    view, x0 = topology(graph, comm.size).view(comm.rank), start_of(comm.rank, d)
    own = comm.Dup()
    bare = Bare(own, view, d)
    node = Node(view, Quadratic(x0), Diffusion(step_size=0.0), Average())
    exchange = connect(comm, node)
    ends: dict[str, Vec] = {}

    def by_hand(rounds: int) -> None:
        ends["bare"] = bare.run(x0, rounds)

    def by_dmtl(rounds: int) -> None:
        ends["dmtl"] = run(node, exchange, rounds, None, 1, node.start(x0)).x

    def same_bits(rounds: int) -> None:
        equal = ends["bare"].tobytes() == ends["dmtl"].tobytes()
        harness.require(comm, equal, f"after {rounds} rounds on {graph} with d={d} dmtl is not where bare MPI is")

    by_hand(7)  # few enough that the ranks have not agreed yet and a wrong row would show
    by_dmtl(7)
    same_bits(7)
    rounds = rounds_for(comm, by_hand, options.seconds)
    pieces = [lambda: timed(comm, lambda: by_hand(rounds)), lambda: timed(comm, lambda: by_dmtl(rounds))]
    seconds = alternated(options.repeats, *pieces)
    same_bits(rounds)
    exchange.close()
    bare.close()
    own.Free()
    return {"graph": label(graph, comm.size), "ranks": comm.size, "d": d, "rounds": rounds, "seconds": seconds}


def worker(options: argparse.Namespace) -> None:
    """All cells of one rank count."""
    from mpi4py import MPI

    keep_pages()  # as the command line does; bare MPI is in the same process and has it too
    comm = MPI.COMM_WORLD
    line(comm, {"facts": harness.facts()})
    for graph in options.graphs:
        for d in options.dims:
            line(comm, measure(comm, graph, d, options))


def cost_row(cell: dict[str, Any]) -> list[str]:
    ratios = [dmtl / bare for bare, dmtl in cell["seconds"]]
    bare, dmtl = (1e6 * median(column) / cell["rounds"] for column in zip(*cell["seconds"], strict=True))
    goal = target(cell["d"])
    return [
        str(cell["ranks"]),
        cell["graph"],
        f"{cell['d']:,}",
        f"{bare:,.1f}",
        f"{dmtl:,.1f}",
        spread(ratios),
        f"{goal:g}",
        "yes" if median(ratios) <= goal else "no",
    ]


def peer_row(cell: dict[str, Any]) -> list[str]:
    rates = [[cell["rounds"][side] / seconds for side, seconds in enumerate(pair)] for pair in cell["seconds"]]
    theirs, ours = (median(column) for column in zip(*rates, strict=True))
    ratios = [our / their for their, our in rates]
    return [
        cell["method"],
        str(cell["ranks"]),
        cell["graph"],
        f"{cell['d']:,}",
        f"{theirs:,.0f}",
        f"{ours:,.0f}",
        spread(ratios, 1),
    ]


def report(cells: list[dict[str, Any]], peers: list[dict[str, Any]], where: str) -> str:
    parts = [where, ""]
    head = ["ranks", "graph", "d", "bare us/round", "dmtl us/round", "dmtl/bare (range)", "target", "met"]
    parts += [harness.table(head, [cost_row(cell) for cell in cells]), ""]
    if peers:
        head = ["method", "ranks", "graph", "d", "DISROPT it/s", "dmtl it/s", "dmtl/DISROPT (range)"]
        parts.append(harness.table(head, [peer_row(cell) for cell in peers]))
    else:
        parts.append(WITHOUT_DISROPT)
    return "\n".join(parts)


def jobs(options: argparse.Namespace, python: str, script: str, dims: list[int]) -> list[dict[str, Any]]:
    """One MPI job per rank count and graph; two ranks have one graph only."""
    same = ["--repeats", str(options.repeats), "--seconds", str(options.seconds), "--dims", *map(str, dims)]
    results: list[dict[str, Any]] = []
    for ranks in options.ranks:
        # Of large messages on many ranks a piece is longer than asked for, because it is five rounds at least.
        timeout = 60 + 10 * (ranks + options.seconds) * len(dims) * (2 + options.repeats)
        for graph in options.graphs[: 1 if ranks == 2 else None]:
            harness.say(f"{Path(script).stem}: {ranks} ranks, {label(graph, ranks)} ...")
            results += harness.job(ranks, python, [script, "--worker", "--graphs", graph, *same], timeout)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--dims", type=int, nargs="+", default=[10, 1000, 100_000, 1_000_000])
    parser.add_argument("--graphs", nargs="+", choices=harness.GRAPHS, default=list(harness.GRAPHS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="what one timed piece takes")
    parser.add_argument("--disropt", metavar="PYTHON", help="interpreter of an environment that has DISROPT")
    parser.add_argument("--json", metavar="FILE", help="write every single time there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    if min(options.ranks) < 2:
        parser.error("--ranks must be at least 2: one rank sends nothing")
    load = harness.load()
    results = jobs(options, sys.executable, __file__, options.dims)
    cells = [cell for cell in results if "facts" not in cell]
    where = harness.machine(results[0]["facts"], load)
    peers = []
    if options.disropt:
        script = str(Path(__file__).with_name("disropt_rounds.py"))
        peers = jobs(options, options.disropt, script, [d for d in options.dims if d <= 100_000])
    print(report(cells, peers, where))
    if options.json:
        text = json.dumps({"machine": where, "round_cost": cells, "disropt": peers}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
