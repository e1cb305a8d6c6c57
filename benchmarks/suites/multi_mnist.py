"""Two digits in one picture, each on ranks of its own with one trunk between them: the study of Sener and Koltun.

    python benchmarks/suites/multi_mnist.py --data FOLDER [--ranks 2 8] [--epochs 10] [--seeds 1] [--tune 3]
    python benchmarks/suites/multi_mnist.py --data FOLDER --time 2 4 8

FOLDER holds mnist/mnist.npz: X (70000, 28, 28), y, is_test. Even ranks name the left digit, odd ones the right one.
Two ranks have the same 60000 pictures; of eight, each pair has a quarter of them. The network is the paper's without
dropout: two convolutions of 5 x 5 to 10 and 20 channels with pooling and a layer of 50 (22,340 parameters) that all
ranks share, and a private head of 50 and 10. Mini-batches of 64, plain gradient steps that fall to a twentieth over
the run, single precision, all on MPI, everybody hears everybody. 'single' is a rank alone with its own trunk, 'uniform'
the average of all trunks in each step ('diffusion'), 'mgda-ub' weighs tasks by the gradients of the trunk's last layer:
by those of the mini-batches at hand, or smoothly by running means of the weights.

Figures are test accuracies in percent, left and right, the mean over ranks and seeds. The first step of each method is
the one with the best mean accuracy on a tenth of the training pictures, which it was not shown, after --tune epochs on
two ranks, and so is how smooth; --tune 0 takes what 3 epochs chose. Test pictures choose nothing.
--time is seconds a step against the number of tasks, in turns, of all forms.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))

from harness import digest, line, say, table
from harness import job as mpi

from dmtl.build import plan
from dmtl.config import load
from dmtl.runner import run
from dmtl.simulator import simulate

BATCH, IMAGES = 64, 60000
LAST = 0.05
"""the last step's part of the first"""
STEPS = (0.1, 0.2, 0.3)
METHODS = {
    "single": ("local",),
    "uniform": ("diffusion",),
    "mgda-ub": ("mgda-ub",),
    "mgda-ub, smooth": ("mgda-ub:smooth=0.9", "mgda-ub:smooth=0.99"),
    "mgda-ub, loss+ as published": ("mgda-ub:normalise=loss+,published=true",),
}
"""and what there is to choose from besides the step"""
CHOSEN = {
    "single": ("local", 0.2),
    "uniform": ("diffusion", 0.2),
    "mgda-ub": ("mgda-ub", 0.2),
    "mgda-ub, smooth": ("mgda-ub:smooth=0.9", 0.3),
    "mgda-ub, loss+ as published": ("mgda-ub:normalise=loss+,published=true", 0.3),
}
"""what 3 epochs chose"""
PUBLISHED = {"single": "97.23 / 95.90", "uniform": "96.46 / 94.99", "mgda-ub": "97.26 / 95.90"}
Start = Callable[[dict[str, Any]], dict[str, Any]]
TIMED = ("diffusion", "mgda-ub", "mgda:form=sketch", "mgda:form=exact")


def lenet(features: int, classes: int) -> Any:
    """A trunk and a head, by these names: 22,340 and 3060 parameters."""
    from torch import nn

    network = nn.Sequential()
    early = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU())
    late = nn.Sequential(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
    network.add_module("early", early)
    network.add_module("late", late)
    network.add_module("top", nn.Sequential(nn.Linear(320, 50), nn.ReLU()))
    network.add_module("head", nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, classes)))
    return network


def raw(
    path: Path, ranks: int, method: str, step: str, seed: int, rounds: int, held_out: float = 0.0
) -> dict[str, Any]:
    """A run as a configuration."""
    return {
        "data": {"name": "multi-mnist", "path": str(path), "tasks": ranks},
        "task": {"name": "torch", "module": f"{__file__}:lenet", "batch": BATCH, "device": "cpu"},
        "standardise": False,
        "held_out": held_out,
        "dtype": "float32",
        "topology": "complete",
        "private": "head",
        "algorithm": f"{method}{',' if ':' in method else ':'}step_size={step}",
        "rounds": rounds,
        "ranks": ranks,
        "seed": seed,
    }


def each_step(method: str) -> int:
    """Rounds of a step on a complete graph: mgda-ub floods in one and averages in another."""
    return 2 if method.startswith("mgda-ub") else 1


def on_mpi(told: dict[str, Any]) -> dict[str, Any]:
    """Figures of all ranks of one run, and the seconds of its rounds."""
    return mpi(told["ranks"], sys.executable, [__file__, "--worker", json.dumps(told)], 7200.0)[0]


def in_one(told: dict[str, Any]) -> dict[str, Any]:
    """The same in one process, with the same models bit for bit."""
    job = plan(load(told), told["ranks"])
    nodes = [job.node(rank) for rank in range(told["ranks"])]
    begin = perf_counter()
    states = simulate(nodes, told["rounds"])
    seconds = perf_counter() - begin
    return {
        "seconds": seconds,
        "every": [node.task.evaluate(state.x) for node, state in zip(nodes, states, strict=True)],
        "digest": digest([state.x for state in states]),
    }


def worker(told: str) -> None:
    """One rank."""
    from dmtl.transports.mpi import world
    from dmtl.transports.sync import connect

    comm, asked = world(), json.loads(told)
    job = plan(load(asked), comm.size)
    node = job.node(comm.rank)
    exchange = connect(comm, node)
    comm.Barrier()
    begin = perf_counter()
    state = run(node, exchange, asked["rounds"])
    comm.Barrier()
    seconds = perf_counter() - begin
    exchange.close()
    every, models = comm.gather(node.task.evaluate(state.x), root=0), comm.gather(state.x, root=0)
    # exact and sketched steps end when they end: they count them
    inner = getattr(state.model, "inner", state.model)
    steps = getattr(inner, "steps", asked["rounds"])
    if comm.rank == 0:
        line(comm, {"seconds": seconds, "steps": steps, "every": every, "digest": digest(models)})


def accuracies(every: Sequence[dict[str, float]], kind: str) -> np.ndarray:
    """(2,) left and right, in percent."""
    found = np.array([100 * (1 - figures[f"{kind}_error"]) for figures in every])
    return np.array([found[::2].mean(), found[1::2].mean()])


def once(
    path: Path, ranks: int, method: str, step: float, seed: int, epochs: int, kind: str, start: Start
) -> np.ndarray:
    """Accuracies of one run; on held-out pictures, a tenth of them, or on test pictures."""
    share = 0.1 if kind == "held_out" else 0.0
    rounds = epochs * round(IMAGES * (1 - share)) // (max(1, ranks // 2) * BATCH) * each_step(method)
    falling = f"{step}*{LAST ** (1 / rounds)}^t"
    there = start(raw(path, ranks, method, falling, seed, rounds, share))
    found = accuracies(there["every"], kind)
    say(
        f"{ranks} ranks, {method}, step {step:g}, seed {seed}: {found.round(2)} {kind}, {there['seconds']:.0f} s, "
        f"{there['digest'][:12]}"
    )
    return found


def tuned(path: Path, name: str, epochs: int, start: Start) -> tuple[str, float]:
    """The method and first step with the best mean accuracy on held-out pictures."""
    if not epochs:
        return CHOSEN[name]
    pairs = product(METHODS[name], STEPS)
    scores = {pair: once(path, 2, *pair, 1000, epochs, "held_out", start).mean() for pair in pairs}
    return max(scores, key=scores.__getitem__)


def timed(path: Path, counts: Sequence[int], repeats: int) -> str:
    """Milliseconds a step of each form, medians of ``repeats`` jobs in turns."""
    lines = []
    for ranks in counts:
        every: dict[str, list[float]] = {method: [] for method in TIMED}
        for repeat in range(repeats):
            for method in TIMED[:: 1 if repeat % 2 else -1]:
                there = on_mpi(raw(path, ranks, method, "0.1", 0, 80))
                every[method].append(1000 * there["seconds"] / there["steps"])
                say(f"{ranks} ranks, {method}: {there['steps']} steps in {there['seconds']:.1f} s")
        lines.append([str(ranks), *(f"{median(every[method]):.0f}" for method in TIMED)])
    return table(["tasks", *(f"{method}, ms a step" for method in TIMED)], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tune", type=int, default=3, help="epochs to choose steps with; 0: take what was chosen")
    parser.add_argument(
        "--one-process", action="store_true", help="in place of MPI: the same models, and no ranks that wait"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--time", type=int, nargs="+", help="numbers of tasks to time a step with, and nothing else")
    parser.add_argument("--repeats", type=int, default=3, help="of what is timed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.worker)
        return
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    path = (asked.data / "mnist" / "mnist.npz").resolve()
    if asked.time:
        print(timed(path, asked.time, asked.repeats))
        return
    start = in_one if asked.one_process else on_mpi
    chosen, lines = {name: tuned(path, name, asked.tune, start) for name in asked.methods}, []
    say(f"chosen: {chosen}")
    for ranks in asked.ranks:
        for name, (method, step) in chosen.items():
            every = [once(path, ranks, method, step, seed, asked.epochs, "test", start) for seed in range(asked.seeds)]
            left, right = np.mean(every, axis=0)
            lines.append([str(ranks), name, f"{step:g}", f"{left:.2f} / {right:.2f}", PUBLISHED.get(name, "")])
            say(" | ".join(lines[-1]))
    print(table(["ranks", "", "step", "left / right", "published"], lines))


if __name__ == "__main__":
    main()
