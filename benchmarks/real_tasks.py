"""Multi-task learning on real tasks: who learns from whom, beside learning alone and beside one model for all.

    python benchmarks/real_tasks.py --data FOLDER [--sets school landmine har] [--seeds 3] [--jobs 2]

FOLDER holds school/school.npz, landmine/landmine.npz and har/har_features561.npz; the loaders below say which arrays.
A method is a penalty on the matrix of all models, solved by central FISTA: on a network the methods of the same name
make the same steps to 1e-12 (tests/test_replicated.py), so the figures are theirs, on every graph. Ridge and strength
are chosen for each method, split and seed on a fifth of the training rows, alone and pooled with as many candidates as
the others; then all training rows are used. Features are standardised on the training rows of all tasks.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from harness import say, table

from dmtl.algorithms.central import CentralFISTA, Problem
from dmtl.data.pool import Dataset
from dmtl.penalties.norms import Entries, Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship
from dmtl.penalties.sums import Robust, RobustFeatures
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic

STEPS, CLOSE = 3000, 1e-5
"""steps of FISTA at most; the largest change of a number, over the largest number, at which it stops"""
Rows_ = tuple[np.ndarray, np.ndarray]


class Task(NamedTuple):
    """One task's rows."""

    train: Rows_
    test: Rows_


Method = tuple[str, Callable[[float], Any], Sequence[float]]
METHODS: list[Method] = [
    ("mean-regularised", Mean, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    ("trace-norm", LowRank, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    ("relationship", Relationship, (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1)),
    ("joint-sparse", Rows, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    ("clustered, k = 5", partial(Clustered, 5), (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    ("robust-mtl", lambda s: Robust(s, 0.3 * s), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    ("rmtfl", lambda s: RobustFeatures(s, 0.3 * s), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
]
RIDGES = (1e-4, 1e-3, 1e-2)
MANY = tuple(10 ** (-4 + step / 4) for step in range(21))
"""ridges of those that have no strength: as many candidates as the others have pairs"""


def school(folder: Path, seed: int, share: float) -> list[Task]:
    """Argyriou, Evgeniou and Pontil's splits, by number: X (m, 28) with the bias last, split_train (10, m)."""
    with np.load(folder / "school" / "school.npz") as file:
        x, y, task = file["X"][:, :27].astype(float), file["y"].astype(float), file["task"]
        first = file["split_train"][seed]
    return divided(x, y, task, first)


def landmine(folder: Path, seed: int, share: float) -> list[Task]:
    """A random share of each field's rows for training."""
    with np.load(folder / "landmine" / "landmine.npz") as file:
        x, y, task = file["X"].astype(float), file["y"].astype(float), file["task"]
    return divided(x, y, task, drawn(y, task, seed, share))


def har(folder: Path, seed: int, share: float) -> list[Task]:
    """Sitting (3) against the rest, a person a task."""
    with np.load(folder / "har" / "har_features561.npz") as file:
        x, y, task = file["X"].astype(float), (file["y"] == 3).astype(float), file["task"]
    return divided(x, y, task, drawn(y, task, seed, share))


def drawn(y: np.ndarray, task: np.ndarray, seed: int, share: float) -> np.ndarray:
    """(m,) which rows are for training: that share of each task's, with a row of each class at least."""
    rng, first = np.random.default_rng([17, seed]), np.zeros(len(y), bool)
    for number in np.unique(task):
        rows = rng.permutation(np.flatnonzero(task == number))
        lead = [rows[y[rows] == label][0] for label in np.unique(y[rows])]
        rest = rows[~np.isin(rows, lead)]
        first[[*lead, *rest[: max(round(share * len(rows)) - len(lead), 0)]]] = True
    return first


def divided(x: np.ndarray, y: np.ndarray, task: np.ndarray, first: np.ndarray) -> list[Task]:
    """Standardise on the training rows of all tasks, and give each task its own."""
    mean, spread = x[first].mean(axis=0), x[first].std(axis=0)
    x = (x - mean) / np.where(spread > 0, spread, 1.0)
    found = []
    for number in np.unique(task):
        here = task == number
        found.append(Task((x[here & first], y[here & first]), (x[here & ~first], y[here & ~first])))
    return found


def halved(tasks: list[Task], seed: int) -> list[Task]:
    """The training rows again: four fifths to learn from, one to choose by."""
    rng, found = np.random.default_rng([18, seed]), []
    for x, y in (task.train for task in tasks):
        kept = drawn(y if len(np.unique(y)) == 2 else np.zeros(len(y)), np.zeros(len(y)), int(rng.integers(2**31)), 0.8)
        found.append(Task((x[kept], y[kept]), (x[~kept], y[~kept])))
    return found


def bound(tasks: list[Task], ridge: float, classes: int) -> list[Any]:
    """The tasks as losses."""
    settings = Logistic(l2=ridge) if classes else LeastSquares(l2=ridge)
    found = []
    for x, y in (task.train for task in tasks):
        none = x[:0], y[:0]
        found.append(settings.build(Dataset(x, y, *none, *none, classes=classes)))
    return found


def solved(losses: list[Any], penalty: Any, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The models (d, T), and all variables (D, T) to start the next one from."""
    here = Problem(losses, penalty)
    w = np.zeros((penalty.copies * losses[0].dim, len(losses))) if start is None else start
    method = CentralFISTA(penalty)
    whole = method.begin(here, w)
    for _ in range(STEPS):
        before, whole = whole, method.move(here, whole)
        if np.abs(whole.w - before.w).max() <= CLOSE * max(np.abs(whole.w).max(), 1e-9):
            break
    return np.add.reduce(np.split(whole.w, penalty.copies)), whole.w


def scores(models: np.ndarray, tasks: list[Task]) -> list[np.ndarray]:
    """Each task's scores on its test rows; the bias is last."""
    return [task.test[0] @ w[:-1] + w[-1] for task, w in zip(tasks, models.T, strict=True)]


def regression(models: np.ndarray, tasks: list[Task]) -> dict[str, float]:
    """RMSE over all rows, and explained variance in percent, about the tasks' own means and about that of all."""
    said = np.concatenate(scores(models, tasks))
    true = [task.test[1] for task in tasks]
    every = np.concatenate(true)
    square = float(np.sum((said - every) ** 2))
    within = sum(float(np.sum((y - y.mean()) ** 2)) for y in true)
    return {
        "RMSE": (square / len(every)) ** 0.5,
        "explained within tasks": 100 * (1 - square / within),
        "explained overall": 100 * (1 - square / float(np.sum((every - every.mean()) ** 2))),
    }


def ranking(models: np.ndarray, tasks: list[Task]) -> dict[str, float]:
    """Mean over tasks of the area under the ROC curve, in percent, of those that have both classes to test on."""
    found = []
    for said, (_, y) in zip(scores(models, tasks), (task.test for task in tasks), strict=True):
        high, low = said[y > 0], said[y == 0]
        if len(high) and len(low):
            order = np.concatenate((high, low)).argsort().argsort() + 1  # no two scores are equal but by accident
            found.append((order[: len(high)].sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))
    return {"AUC": 100 * float(np.mean(found))}


def mistakes(models: np.ndarray, tasks: list[Task]) -> dict[str, float]:
    """Mean over tasks of the share of wrong signs, in percent."""
    pairs = zip(scores(models, tasks), (task.test[1] for task in tasks), strict=True)
    return {"error": 100 * float(np.mean([np.mean((said > 0) != (y > 0)) for said, y in pairs]))}


class Set(NamedTuple):
    """A data set, how it is divided, and what is measured; the first measure is what settings are chosen by."""

    load: Callable[[Path, int, float], list[Task]]
    shares: tuple[float, ...]
    seeds: int
    """of the published protocol"""
    classes: int
    measure: Callable[[np.ndarray, list[Task]], dict[str, float]]
    better: int
    """1 where more is better"""


SETS = {
    "school": Set(school, (0.75,), 10, 0, regression, -1),
    "landmine": Set(landmine, (0.1, 0.25, 0.5, 0.8), 5, 2, ranking, 1),
    "har": Set(har, (0.75,), 10, 2, mistakes, -1),
}


def one(task: Task, rows: list[Task]) -> Task:
    """All tasks' training rows in one."""
    return Task(tuple(np.concatenate(part) for part in zip(*(each.train for each in rows), strict=True)), task.test)  # type: ignore[arg-type]


def fitted(name: str, tasks: list[Task], setting: tuple[float, float], classes: int, warm: Any) -> tuple[Any, Any]:
    """The models (d, T) of a method with a ridge and a strength."""
    ridge, strength = setting
    if name == "pooled":
        model, warm = solved(bound([one(tasks[0], tasks)], ridge, classes), Entries(0.0), warm)
        return np.repeat(model, len(tasks), axis=1), warm
    make = {title: piece for title, piece, _ in METHODS}.get(name)
    return solved(bound(tasks, ridge, classes), make(strength) if make else Entries(0.0), warm)


def candidates(name: str) -> list[tuple[float, float]]:
    """Pairs of ridge and strength."""
    grid = next((grid for title, _, grid in METHODS if title == name), None)
    return list(product(RIDGES, grid)) if grid else [(ridge, 0.0) for ridge in MANY]


def cell(folder: Path, which: str, share: float, seed: int, name: str) -> dict[str, float]:
    """What one method reaches on one split."""
    here = SETS[which]
    tasks = here.load(folder, seed, share)
    inner, found, warm = halved(tasks, seed), [], None
    for setting in candidates(name):
        models, warm = fitted(name, inner, setting, here.classes, warm)
        found.append((here.better * next(iter(here.measure(models, inner).values())), setting))
    setting = max(found)[1]
    models, _ = fitted(name, tasks, setting, here.classes, None)
    return here.measure(models, tasks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=0, help="splits; 0: as many as the published protocol has")
    parser.add_argument("--methods", nargs="+", default=["pooled", "alone", *(name for name, _, _ in METHODS)])
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    begin = perf_counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for which in asked.sets:
            here, lines = SETS[which], []
            seeds = range(asked.seeds or here.seeds)
            for share, name in product(here.shares, asked.methods):
                found = list(pool.map(partial(cell, asked.data, which, share, name=name), seeds))
                said = [
                    f"{np.mean([each[key] for each in found]):.2f} +- {np.std([each[key] for each in found]):.2f}"
                    for key in found[0]
                ]
                lines.append([name, f"{share:.0%}", *said])
                say(f"{which}: {', '.join(lines[-1])}  {perf_counter() - begin:.0f} s")
            print(f"\n{which}, {len(seeds)} splits:\n")
            print(table(["method", "training rows", *found[0]], lines), flush=True)


if __name__ == "__main__":
    main()
