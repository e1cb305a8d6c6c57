"""What the benchmarks share: MPI jobs with a time-out, graphs, timed pieces and tables.

Nothing here imports mpi4py at the top: a benchmark starts mpirun and must not be an MPI process itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import networkx as nx
import numpy as np

from dmtl.graphs.lattices import Complete, Ring
from dmtl.topology import Topology, metropolis
from dmtl.types import Vec

GRAPHS = ("ring", "4-regular")
ROOT = Path(__file__).resolve().parent.parent
_AS_ROOT = {f"{prefix}_ALLOW_RUN_AS_ROOT{suffix}": "1" for prefix in ("OMPI", "PRTE") for suffix in ("", "_CONFIRM")}
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
_MARK = "result: "


class Quadratic:
    """f(w) = |w - b|^2 / 2, the cheapest task there is: what is left of a round is the library."""

    smoothness = 1.0

    def __init__(self, b: Vec) -> None:
        self.b = b
        self.dim = len(b)

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        return 0.5 * float((w - self.b) @ (w - self.b))

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        return w - self.b

    def evaluate(self, w: Vec) -> dict[str, float]:
        return {}


def label(graph: str, ranks: int) -> str:
    """The graph's real name: up to 5 ranks no other graph than the complete one has degree 4 or comes near it."""
    return "complete" if graph == "4-regular" and ranks <= 5 else graph


def topology(graph: str, ranks: int) -> Topology:
    """A graph with Metropolis weights."""
    if label(graph, ranks) == "complete":
        links = Complete().graph(ranks, 0)
    elif graph == "ring":
        links = Ring().graph(ranks, 0)
    else:
        links = nx.random_regular_graph(4, ranks, seed=0)
    return Topology(links, metropolis(links))


def start_of(rank: int, d: int) -> Vec:
    """(d,) where a rank starts; every rank can make everybody's."""
    return np.random.default_rng(rank).normal(size=d)


def timed(comm: Any, piece: Callable[[], object]) -> float:
    """Seconds from the moment when all ranks are ready to the moment when all are done."""
    comm.Barrier()
    start = perf_counter()
    piece()
    comm.Barrier()
    return perf_counter() - start


def rounds_for(comm: Any, piece: Callable[[int], object], seconds: float) -> int:
    """How many rounds of ``piece`` take so long; the same number on all ranks. Warms everything up as well."""
    rounds = 5
    while True:
        # The quicker of two: a hiccup of the machine must not pass for a slow round.
        taken: float = comm.bcast(min(timed(comm, partial(piece, rounds)) for _ in range(2)))
        if taken >= seconds / 5:
            return max(5, round(rounds * seconds / taken))
        rounds *= 4


def alternated(repeats: int, first: Callable[[], float], second: Callable[[], float]) -> list[list[float]]:
    """Seconds of both in each repeat, who goes first changing, so that a drift of the load favours neither."""
    pairs = []
    for repeat in range(repeats):
        if repeat % 2:
            late = second()
            pairs.append([first(), late])
        else:
            early = first()
            pairs.append([early, second()])
    return pairs


def require(comm: Any, holds: bool, sentence: str) -> None:
    """End the job where a claim of the benchmark does not hold on this rank."""
    if not holds:
        raise AssertionError(f"rank {comm.rank}: {sentence}")


def line(comm: Any, result: dict[str, Any]) -> None:
    """Hand a result of this job to the process that started it; the first rank's counts."""
    if comm.rank == 0:
        print(_MARK + json.dumps(result), flush=True)


def mpi_job(ranks: int, python: str, arguments: Sequence[str], *flags: str) -> list[str]:
    """The command that starts ``python arguments`` on so many ranks; sets what the job needs in the environment."""
    os.environ.update({**_AS_ROOT, **ONE_THREAD, "PYTHONPATH": str(ROOT)})
    return [*_mpirun(python), *flags, "-n", str(ranks), python, *arguments]


def job(ranks: int, python: str, arguments: Sequence[str], timeout: float) -> list[dict[str, Any]]:
    """Run a script on so many ranks and return the results that it hands over."""
    command = mpi_job(ranks, python, ["-m", "mpi4py", *arguments])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        said, complaint = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun then ends its ranks, as it could not if it were killed
        said, complaint = process.communicate(timeout=60)
        complaint += f"\ntook more than {timeout:.0f} s"
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{said}\n{complaint}")
    return [json.loads(text[len(_MARK) :]) for text in said.splitlines() if text.startswith(_MARK)]


def _mpirun(python: str) -> list[str]:
    """The launcher beside that interpreter, else the one on PATH; Open MPI must be told that ranks may share cores."""
    beside = Path(python).with_name("mpirun")
    program = str(beside) if beside.exists() else shutil.which("mpirun")
    if program is None:
        raise SystemExit("there is no mpirun: pip install 'dmtl[mpi]', or load your cluster's MPI")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    return [program, "--oversubscribe"] if "Open MPI" in version else [program]


def digest(models: Sequence[Vec]) -> str:
    """Hexadecimal digest of all models, bit for bit."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(model).tobytes() for model in models)).hexdigest()


def worst(found: Vec) -> float:
    """The mean over the worst tenth."""
    return float(np.sort(found)[: max(1, len(found) // 10)].mean())


def figures(found: Sequence[Vec]) -> tuple[str, str]:
    """The mean and the mean over the worst tenth, of each seed's and then over seeds."""
    return f"{np.mean([each.mean() for each in found]):.1f}", f"{np.mean([worst(each) for each in found]):.1f}"


def load() -> str:
    """How busy the machine is: averages over 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def machine(facts: dict[str, Any], load: str) -> str:
    """One line about where this was measured; ``facts`` come from a worker, ``load`` is that before the start."""
    return f"{computer(load)}, mpi4py {facts['mpi4py']}, {facts['library']}{_addresses()}"


def computer(load: str) -> str:
    """The same without MPI."""
    return (
        f"{os.cpu_count()} cores ({_processor()}), load average before {load}, Python {platform.python_version()}, "
        f"numpy {np.__version__}"
    )


def _addresses() -> str:
    """Say so where code lies at the same address in all processes, which matters if ranks share cores."""
    try:
        flags = int(Path("/proc/self/personality").read_text(encoding="utf-8"), 16)
    except OSError:
        return ""
    return ", no address randomisation" if flags & 0x0040000 else ""


def facts() -> dict[str, str]:
    """What a worker knows of its MPI."""
    import mpi4py
    from mpi4py import MPI

    return {"mpi4py": mpi4py.__version__, "library": MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0")}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((text.split(":")[1].strip() for text in lines if text.startswith("model name")), platform.machine())


def spread(ratios: Sequence[float], digits: int = 2) -> str:
    """Median and range."""
    return f"{median(ratios):.{digits}f} ({min(ratios):.{digits}f}-{max(ratios):.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def say(text: str) -> None:
    """Progress, to standard error."""
    print(text, file=sys.stderr, flush=True)
