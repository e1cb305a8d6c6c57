"""Twenty-nine fields of land mines as a stream, one row a round: what do ranks gain by learning together online?

    python benchmarks/landmine_stream.py --data FOLDER [--jobs 2] [--seeds 5]

FOLDER holds landmine/landmine.npz: X (14820, 9), y 0 or 1, task 0 .. 28; six rows of a hundred are mines. Features are
standardised on all rows. A seed cuts each field's rows into halves at random, two streams of 215 rows, with logistic
regression on each; every model is scored on a row before it has learnt from it, and figures are of rows 65 to 214.
Settings are chosen, for each line and seed, by the mean loss on the first stream. Printed is of the second: the mean
loss, the area under the ROC curve of each field in percent, its mean over fields and its least, all means over seeds.
"better": in how many seeds the loss is below that of learning alone by gradient descent.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import table
from sklearn.metrics import roc_auc_score

from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import DivergedError
from dmtl.simulator import simulate

FIELDS, ROUNDS, FIRST = 29, 215, 65
STEPS = ("0.03/sqrt(t)", "0.1/sqrt(t)", "0.3/sqrt(t)", "1/sqrt(t)", "3/sqrt(t)")
ALONE = "alone"
RANDOM = "erdos-renyi:p=0.3"


class Line(NamedTuple):
    """A method on a graph, and the settings to choose from."""

    name: str
    graph: str
    specs: tuple[str, ...]


class Run(NamedTuple):
    """One setting on one order of the rows."""

    path: str
    graph: str
    spec: str
    seed: int


class Figures(NamedTuple):
    """What a run gives."""

    loss: float
    areas: np.ndarray
    """(29,)"""


def both(form: str, *values: object) -> tuple[str, ...]:
    """A specification with all steps and all values."""
    return tuple(form.format(step, value) for step, value in product(STEPS, values))


LINES = [
    Line(ALONE, "ring", both("local:step_size={}", 0)),
    Line("alone, dual averaging", "complete", both("drom:step_size={},g=0", 0)),
    Line("one model for all", "complete", both("diffusion:step_size={}", 0)),
    Line("laplacian", "complete", both("laplacian:step_size={},strength={}", 0.003, 0.03, 0.3)),
    Line("dmtc", "complete", both("dmtc:step_size={},coupling={}", 0.01, 0.1, 1)),
    Line("dmtc", RANDOM, both("dmtc:step_size={},coupling={}", 0.01, 0.1, 1)),
    Line("drom, exact sums", "complete", both("drom:step_size={},g={}", 0.002, 0.01, 0.05)),
    Line("drom, exact sums, capped", "complete", both("drom:step_size={},g={},cap=3", 0.002, 0.01, 0.05)),
    Line("drom, gossip", RANDOM, both("drom:step_size={},g={},sums=gossip,rounds=1", 0.002, 0.01, 0.05)),
    Line("drom, neighbours only", RANDOM, both("drom:step_size={},g={},sums=local", 0.002, 0.01, 0.05)),
    Line("resilient-mtl", "complete", both("resilient-mtl:step_size={},warm_up={}", 20, 100)),
]


def prepared(source: Path, place: Path, seed: int) -> list[str]:
    """Two halves of the rows in a random order, as the data source 'file' reads them."""
    with np.load(source / "landmine" / "landmine.npz") as file:
        x, y, task = file["X"].astype(np.float64), file["y"].astype(np.int64), file["task"]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    order, paths = np.random.default_rng([31, seed]).permutation(len(y)), []
    each = [order[task[order] == field] for field in range(FIELDS)]
    for half in range(2):
        rows = np.concatenate([field[half::2] for field in each])
        paths.append(str(place / f"landmine-{seed}-{half}.npz"))
        np.savez(paths[-1], x=x[rows], y=y[rows], task=task[rows])
    return paths


def measured(run: Run) -> Figures:
    """Scores of all models on their next rows."""
    raw = {
        "data": {"name": "file", "path": run.path},
        "task": "logistic:l2=0",
        "standardise": False,
        "test": 0.02,
        "stream": 1,
        "algorithm": run.spec,
        "topology": run.graph,
        "ranks": FIELDS,
        "seed": run.seed,
    }
    made = plan(load(raw))
    nodes = [made.node(rank) for rank in range(FIELDS)]
    rows = [node.task.parts.train for node in nodes]  # type: ignore[attr-defined]
    scores = np.zeros((FIELDS, ROUNDS + 1))

    def note(rank: int, state: object, inbox: object) -> None:
        after = state.view.round  # type: ignore[attr-defined]
        if after < ROUNDS:
            scores[rank, after] = rows[rank].x[after] @ state.x  # type: ignore[attr-defined]

    try:
        simulate(nodes, ROUNDS, note, 1)
    except DivergedError:
        return Figures(np.inf, np.full(FIELDS, np.nan))
    labels = np.array([part.y[:ROUNDS] for part in rows]) > 0
    losses = np.logaddexp(0, np.where(labels, -1, 1) * scores[:, :ROUNDS])
    late = slice(FIRST, ROUNDS)
    areas = [area(labels[k, late], scores[k, late]) for k in range(FIELDS)]
    return Figures(float(losses[:, late].mean()), np.array(areas))


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Under the ROC curve, in percent; NaN where there is no mine."""
    return float(100 * roc_auc_score(labels, scores)) if labels.any() else np.nan


def tried(line: Line, paths: list[list[str]], pool: ProcessPoolExecutor) -> tuple[list[Figures], str]:
    """The figures of all seeds with the settings chosen for each, and those that were chosen most."""
    runs = [Run(first, line.graph, spec, seed) for seed, (first, _) in enumerate(paths) for spec in line.specs]
    found, count = [each.loss for each in pool.map(measured, runs)], len(line.specs)
    best = [line.specs[int(np.argmin(found[seed * count : (seed + 1) * count]))] for seed in range(len(paths))]
    last = [Run(paths[seed][1], line.graph, spec, seed) for seed, spec in enumerate(best)]
    return list(pool.map(measured, last)), max(best, key=best.count)


def main() -> None:
    """Choose, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    lines, alone = [], np.empty(0)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(asked.jobs) as pool:
        paths = [prepared(asked.data, Path(folder), seed) for seed in range(asked.seeds)]
        for line in LINES:
            best, chosen = tried(line, paths, pool)
            losses = np.array([each.loss for each in best])
            alone = losses if line.name == ALONE else alone
            areas = np.nanmean([each.areas for each in best], axis=0)
            row = [line.name, line.graph, f"{losses.mean():.4f}", f"{np.sum(losses < alone)} of {len(losses)}"]
            lines.append([*row, f"{areas.mean():.1f}", f"{areas.min():.1f}", chosen])
            print(" | ".join(lines[-1]), flush=True)
    print(table(["method", "graph", "loss", "better", "area", "least", "mostly chosen"], lines))


if __name__ == "__main__":
    main()
