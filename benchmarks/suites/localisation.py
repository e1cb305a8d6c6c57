"""A hundred sensors look for four targets, and up to 99 of them lie: the first study of Li, Abbas and Koutsoukos.

    python benchmarks/suites/localisation.py [--seeds 2] [--tune 1] [--mpi]

100 agents at random in [0, 3]^2 hear at most 9 agents within the distance 1; 25 of them look for each target. 500
rounds, a measurement in each (data 'localisation', task 'bearing'); mu = 0.1. Liars say 15 + U[0, 1]^2 in all rounds.
A run's figures are over honest agents: the mean loss of the combined model over the last 200 rounds, on the row that
it was adapted with, as published, and on the row that comes next, which no model has seen; the largest of these; the
mean square of the distance between model and target at the end. Their means over seeds are printed; a maximum is the
largest of all seeds.

The rule by losses has the paper's settings (gamma 0.1, start 10, scores on the row that was adapted with), and
next-batch scores after 100 rounds alone, gamma and worst chosen by the mean loss on the next row on --tune other seeds.
"same as alone": in how many seeds all models of all rounds are bit for bit those of the rule 'none' with the same order
of steps. --mpi makes such runs on ten MPI ranks and says whether all models are bit for bit those of the simulator.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from resilient import digest, method, on_mpi, say, simulated, started, table, worker

from dmtl.data.localisation import Localisation

ROUNDS, LAST = 500, 200
PAPER = {"score": "paper", "gamma": 0.1, "start": 10.0, "warm_up": 0, "worst": 0.0, "guard": 0.0, "step_size": 0.1}
PLAIN = {**PAPER, "score": "next-batch"}
"""of the rules that score nothing: own and neighbours' words are of the same round"""
GRID = [{**PLAIN, "gamma": gamma, "warm_up": 100, "worst": worst} for gamma, worst in product((0.1, 0.2), (0.0, 9.0))]
PUBLISHED = {
    (0, "none"): "~0.12",
    (0, "loss"): "~0.05",
    (0, "average"): "~30",
    (0, "distance"): "~30",
    (20, "none"): "~0.15",
    (20, "loss"): "~0.05",
    (20, "average"): "~30",
    (20, "distance"): "~30",
    (99, "none"): "~0.01",
    (99, "loss"): "= alone",
    (99, "average"): "~5",
    (99, "distance"): "~6",
}


class Figures(NamedTuple):
    """What one run gives."""

    seen: float
    """mean loss on the row of the round"""
    unseen: float
    """mean loss on the next row"""
    most: float
    """the largest on the next row"""
    off: float
    """mean square of the distance from the target"""
    models: np.ndarray
    """(rounds + 1, honest, 2)"""


def raw(settings: dict[str, Any], lying: int, seed: int, ranks: int = 100, graph: str = "") -> dict[str, Any]:
    """The run as a configuration."""
    return {
        "data": {"name": "localisation", "rows": ROUNDS},
        "task": "bearing",
        "standardise": False,
        "topology": graph or "near:radius=1,most=9",
        "weights": "uniform",
        "algorithm": settings,
        "byzantine": [{"count": lying, "attack": "constant:value=15,spread=1"}] if lying else [],
        "stream": 1,
        "rounds": ROUNDS,
        "ranks": ranks,
        "seed": seed,
    }


def once(settings: dict[str, Any], lying: int, seed: int) -> Figures:
    """One run in one process."""
    job = started(raw(settings, lying, seed))
    honest = [rank for rank in range(100) if rank not in job.lies]
    models = np.empty((ROUNDS + 1, 100, 2))

    def note(rank: int, state: Any, inbox: Any) -> None:
        models[state.view.round, rank] = state.model.inner.w

    simulated(job, record=note)
    kept, pool = models[:, honest], job.pool
    x = pool.x.reshape(100, -1, 4)[honest].swapaxes(0, 1)
    d = pool.y.reshape(100, -1)[honest].T
    u, places = x[..., :2], x[..., 2:]
    targets = Localisation().targets(100, seed)[honest]

    def loss(rounds: slice, ahead: int) -> np.ndarray:
        """Of the models after these rounds, on the row that led to them or on a later one."""
        rows = slice(rounds.start - 1 + ahead, rounds.stop - 1 + ahead)
        return np.asarray((d[rows] + np.vecdot(places[rows] - kept[rounds], u[rows])) ** 2)

    after = slice(ROUNDS - LAST + 1, ROUNDS + 1)
    seen, unseen = loss(after, 0), loss(after, 1)
    off = np.square(kept[-1] - targets).sum(axis=1)
    return Figures(float(seen.mean()), float(unseen.mean()), float(unseen.max()), float(off.mean()), kept)


def tuned(seeds: range) -> dict[str, Any]:
    """The settings of the rule by losses with the least loss on the next row, a fifth of the agents lying."""
    found = {}
    for number, settings in enumerate(GRID):
        found[number] = np.mean([once(method("loss", settings), 20, seed).unseen for seed in seeds])
        say(f"{settings}: {found[number]:.4f}")
    return GRID[min(found, key=found.__getitem__)]


def told(settings: dict[str, Any]) -> str:
    """What tells settings apart."""
    return (
        f"{settings['score']}, gamma {settings['gamma']:g}, warm-up {settings['warm_up']}, worst {settings['worst']:g}"
    )


def lines(seeds: range, chosen: dict[str, Any], liars: list[int], rules: list[str]) -> list[list[str]]:
    """The table's body."""
    found = []
    asked = [("none", PLAIN), ("loss", PAPER), ("loss", chosen), ("average", PLAIN), ("distance", PLAIN)]
    for lying in liars:
        scored = {each["score"]: each for _, each in asked}
        alone = {name: [once(method("none", each), lying, seed) for seed in seeds] for name, each in scored.items()}
        for rule, settings in [pair for pair in asked if pair[0] in rules]:
            known = alone[settings["score"]] if rule == "none" else None
            figures = known or [once(method(rule, settings), lying, seed) for seed in seeds]
            pairs = zip(figures, alone[settings["score"]], strict=True)
            same = sum(np.array_equal(one.models, other.models) for one, other in pairs)
            row = [str(lying), rule + (f" ({told(settings)})" if rule == "loss" else "")]
            row += [f"{np.mean([getattr(each, key) for each in figures]):.3g}" for key in ("seen", "unseen")]
            row += [f"{max(each.most for each in figures):.3g}", f"{np.mean([each.off for each in figures]):.3g}"]
            row += [PUBLISHED[lying, rule], f"{same} of {len(seeds)}"]
            found.append(row)
            say(" | ".join(row))
    return found


def on_ranks(ranks: int, seed: int) -> list[list[str]]:
    """The same on MPI beside the simulator."""
    found = []
    for lying, rule in product((0, 2, ranks - 1), ("none", "loss", "average", "distance")):
        asked = raw(method(rule, PAPER if rule == "loss" else PLAIN), lying, seed, ranks, "near:radius=3,most=9")
        there = on_mpi(__file__, asked, (), 300.0)
        states, _ = simulated(started(asked))
        same = digest([state.x for state in states]) == there["digest"]
        found.append(
            [str(lying), rule, f"{there['seconds']:.1f}", f"{there['test_loss']:.3g}", "yes" if same else "NO"]
        )
        say(" | ".join(found[-1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--tune", type=int, default=1, help="seeds to choose settings on; 0: those that seed 1000 chose"
    )
    parser.add_argument("--liars", type=int, nargs="+", default=[0, 20, 99], choices=[0, 20, 99])
    parser.add_argument("--rules", nargs="+", default=["none", "loss", "average", "distance"])
    parser.add_argument("--mpi", action="store_true", help="the runs on ten MPI ranks, and no others")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.worker)
        return
    if asked.mpi:
        print(table(["liars of 10", "rule", "seconds", "test loss", "as simulated"], on_ranks(10, 0)))
        return
    chosen = tuned(range(1000, 1000 + asked.tune)) if asked.tune else GRID[2]
    head = ["liars", "rule", "loss", "next loss", "largest", "MSD", "published loss", "same as alone"]
    print(table(head, lines(range(asked.seeds), chosen, asked.liars, asked.rules)))


if __name__ == "__main__":
    main()
