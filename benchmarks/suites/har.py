"""Thirty people, six activities, up to 29 liars: the second study of Li, Abbas and Koutsoukos.

    python benchmarks/suites/har.py --data FOLDER [--epochs 50] [--seeds 1] [--tune 1] [--mpi]

FOLDER holds har/har_features561.npz: X (10299, 561), y 0 .. 5 and task 0 .. 29, a person. Everybody hears everybody;
softmax regression (3372 parameters), mini-batches of 10 and step 0.01, a quarter of each person's rows to test on, in
single precision. An epoch is 26 rounds, as many batches as a person has on average, and models are exchanged in each.
Persons 0, 3, 6 .. are poor in data: they learn from one batch in eleven, and evaluate on all. Liars say their own model
times U[0, 0.1), drawn anew in each round. Figures are the honest people's test accuracy in percent, its mean and least.

The rule by losses has the paper's settings (gamma 0.001, start 1, scores on the batch that was learnt from), and those
that --tune seeds chose by the mean accuracy after ten epochs, ten people lying; --tune 0 takes what seed 1000 chose.
With 29 liars only the rules 'none' and 'loss' are run. --mpi runs the rule by losses on 30 MPI ranks, once and nothing
else, and prints the seconds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from resilient import accuracies, liars, method, on_mpi, say, simulated, started, table, worker

PEOPLE, BATCHES = 30, 26
LIARS = {0: (), 10: (27, 12, 24, 13, 1, 8, 16, 15, 28, 9), 29: tuple(rank for rank in range(PEOPLE) if rank != 4)}
"""those of the paper's code"""
SHARES = [1 / 11 if person % 3 == 0 else 1.0 for person in range(PEOPLE)]
PAPER = {"score": "paper", "gamma": 0.001, "start": 1.0, "warm_up": 0, "worst": 0.0, "guard": 0.0, "step_size": 0.01}
PLAIN = {**PAPER, "score": "next-batch"}
"""of the rules that score nothing: own and neighbours' words are of the same round"""
GRID = [
    {**PAPER, "score": "next-batch", "gamma": gamma, "warm_up": warm_up}
    for gamma, warm_up in product((0.003, 0.01, 0.05), (0, 52))
]
PUBLISHED = {
    (0, "loss"): "95",
    (0, "none"): "91",
    (0, "average"): "90",
    (0, "distance"): "87",
    (10, "loss"): "96",
    (10, "none"): "94",
    (10, "average"): "20-40",
    (10, "distance"): "~20",
}


def prepared(source: Path, place: Path) -> str:
    """The file as the data source 'file' reads it."""
    with np.load(source / "har" / "har_features561.npz") as file:
        np.savez(place / "har.npz", x=file["X"].astype(np.float64), y=file["y"].astype(np.int64), task=file["task"])
    return str(place / "har.npz")


def raw(path: str, settings: dict[str, Any], lying: int, seed: int, epochs: int) -> dict[str, Any]:
    """The run as a configuration."""
    return {
        "data": {"name": "file", "path": path},
        "task": "softmax:l2=0,batch=10",
        "test": 0.25,
        "standardise": False,
        "dtype": "float32",
        "topology": "complete",
        "algorithm": settings,
        "byzantine": liars(LIARS[lying], "shrink"),
        "rounds": epochs * BATCHES,
        "ranks": PEOPLE,
        "seed": seed,
    }


def once(path: str, settings: dict[str, Any], lying: int, seed: int, epochs: int) -> np.ndarray:
    """Accuracies of one run in one process."""
    begin, job = perf_counter(), started(raw(path, settings, lying, seed, epochs))
    states, everyone = simulated(job, SHARES)
    found = accuracies(job, states, everyone)
    say(f"{lying} liars, {settings}, seed {seed}: {found.mean():.1f}, {perf_counter() - begin:.0f} s")
    return found


def tuned(path: str, seeds: range) -> dict[str, Any]:
    """The settings of the rule by losses with the best mean accuracy."""
    if not seeds:
        return GRID[1]
    return max(GRID, key=lambda s: np.mean([once(path, method("loss", s), 10, seed, 10).mean() for seed in seeds]))


def told(settings: dict[str, Any]) -> str:
    """What tells settings apart."""
    return f"{settings['score']}, gamma {settings['gamma']:g}, warm-up {settings['warm_up']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tune", type=int, default=1, help="seeds to choose settings on; 0: none")
    parser.add_argument("--liars", type=int, nargs="+", default=list(LIARS), choices=list(LIARS))
    parser.add_argument("--rules", nargs="+", default=["none", "loss", "average", "distance"])
    parser.add_argument("--mpi", action="store_true", help="one run on 30 MPI ranks, and no others")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.worker)
        return
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    with tempfile.TemporaryDirectory() as place:
        path = prepared(asked.data, Path(place))
        if asked.mpi:
            there = on_mpi(__file__, raw(path, method("loss", PAPER), 10, 0, asked.epochs), SHARES, 3600.0)
            mean = f"{100 * (1 - there['test_error']):.1f}"
            print(table(["epochs", "seconds", "accuracy"], [[str(asked.epochs), f"{there['seconds']:.0f}", mean]]))
            return
        chosen, lines = tuned(path, range(1000, 1000 + asked.tune)), []
        every = [("none", PLAIN), ("loss", PAPER), ("loss", chosen), ("average", PLAIN), ("distance", PLAIN)]
        for lying, (rule, settings) in product(asked.liars, [pair for pair in every if pair[0] in asked.rules]):
            if lying == 29 and rule not in ("none", "loss"):
                continue
            found = [once(path, method(rule, settings), lying, seed, asked.epochs) for seed in range(asked.seeds)]
            name = rule + (f" ({told(settings)})" if rule == "loss" else "")
            ours = f"{np.mean([each.mean() for each in found]):.1f}", f"{min(each.min() for each in found):.1f}"
            lines.append([str(lying), name, *ours, PUBLISHED.get((lying, rule), "")])
            say(" | ".join(lines[-1]))
    print(table(["liars", "rule", "accuracy", "least", "published"], lines))


if __name__ == "__main__":
    main()
