"""What a stream would have cost somebody who had known it: the least loss of a model that stays the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from dmtl.errors import DmtlError
from dmtl.report.reading import RankRun, Run
from dmtl.tasks.hinge import HingeTask
from dmtl.tasks.least_squares import LeastSquaresTask
from dmtl.tasks.linear import Part, top_eigenvalue
from dmtl.tasks.logistic import LogisticTask
from dmtl.tasks.newton import Function, newton
from dmtl.tasks.softmax import SoftmaxTask
from dmtl.types import Mat, Vec

__all__ = ["Hindsight", "hindsight", "least", "pooled", "rows_of"]

LINEAR = "hinge, least-squares, logistic and softmax"
Linear = HingeTask | LeastSquaresTask | LogisticTask | SoftmaxTask

RIDGE = 1e-6
"""what keeps a minimiser finite where classes can be told apart without an error"""
SMOOTHINGS = (1.0, 0.1, 0.01, 0.001)
"""how round the kink of the hinge is made, one after the other"""
LARGEST = 2e9
"""rows times columns squared: beyond it a report would take minutes"""


class Hindsight(NamedTuple):
    """Sums of losses over all rows that honest ranks were tested on."""

    common: float | None
    """least with one model for all ranks; None where the ranks' models are not of the same length"""
    own: float | None
    """least with a model for each rank"""
    lack: str
    """why there is neither; empty where there is"""


def hindsight(run: Run, rows: dict[int, int]) -> Hindsight:
    """The best fixed models on the first ``rows`` of each rank: the data are made again from config.toml."""
    if not run.config:
        return _without("config.toml is missing or torn")
    try:
        tasks = _shown(run, rows)
        if heavy := _heavy(tasks):
            return _without(heavy)
        own = sum(least(task) for task in tasks)
        same = len({(type(task), task.dim) for task in tasks}) == 1
        return Hindsight(least(pooled(tasks)) if same else None, own, "")
    except NotImplementedError as error:
        return _without(str(error))
    except (DmtlError, OSError, LinAlgError, LookupError, TypeError, ValueError) as error:
        return _without(f"the data cannot be made again: {error}")


def _without(lack: str) -> Hindsight:
    return Hindsight(None, None, lack.strip().rstrip("."))


def _shown(run: Run, rows: dict[int, int]) -> list[Linear]:
    """Each rank's task with the rows that had come, and without a ridge."""
    from dmtl.build import plan
    from dmtl.config import load

    job = plan(load({**run.config, "force": True}), run.size)
    known = {str(rank.start.get("identity")) for rank in run.ranks if rank.start.get("identity")}
    if known - {job.data_identity}:
        raise ValueError("they are others than those of the run")
    given = {field.name for field in fields(job.task)} if is_dataclass(job.task) else set()
    settings: Any = replace(job.task, **{name: 0 for name in ("l2", "batch") if name in given})
    tasks = []
    for rank, count in rows.items():
        task = settings.build(job.dataset(rank))
        if not isinstance(task, Linear):
            named = run.config["task"]["name"]
            raise NotImplementedError(f"the best model of '{named}' in hindsight is not known, only that of {LINEAR}")
        if count > task.training_rows:
            raise ValueError(f"rank {rank} says that it had {count} rows of {task.training_rows}")
        tasks.append(_wide(task.window(0, count)))
    return tasks


def _wide(task: Linear) -> Linear:
    x, y = (part.astype(np.float64, copy=False) for part in task.parts.train)
    return replace(task, parts=task.parts._replace(train=Part(x, y)))


def _heavy(tasks: Sequence[Linear]) -> str:
    work = sum(float(task.parts.train.x.size) * task.parts.train.x.shape[1] for task in tasks)
    return f"{work:.0e} products of numbers for a step are too many for a report" if work > LARGEST else ""


def pooled(tasks: Sequence[Linear]) -> Linear:
    """All rows as one rank's."""
    first = tasks[0]
    train = Part(*(np.concatenate(parts) for parts in zip(*(task.parts.train for task in tasks), strict=True)))
    return replace(first, parts=first.parts._replace(train=train, half=None))


def least(task: Linear) -> float:
    """The least sum of losses over the task's training rows: exact for least squares.

    For the others it is the loss of a model that is the best up to ``RIDGE`` |w|^2 / 2 a row, and for the hinge up to
    0.0007 a row besides: a little too high, and so the regret a little too low.
    """
    x, y = task.parts.train
    start = np.zeros(task.dim)
    if isinstance(task, LeastSquaresTask):
        found = [np.linalg.lstsq(x, y)[0]]
    elif isinstance(task, HingeTask):
        found = _margins(x, y)
    else:
        steep = top_eigenvalue(x) / (4 if isinstance(task, LogisticTask) else 2)
        found = [start, replace(task, smoothness=steep).prox(start, RIDGE)]
    return min(task.surprise(w)[0] for w in found) * task.training_rows


def _margins(x: Mat, y: Vec) -> list[Vec]:
    """Minimisers (d,) of the mean hinge loss with a kink that is less and less round."""
    w: Vec = np.zeros(x.shape[1])
    found: list[Vec] = []
    for tau in SMOOTHINGS:
        w = newton(_rounded(x, y, tau), w)
        found.append(w)
    return found


def _rounded(x: Mat, y: Vec, tau: float) -> Function:
    """mean tau log(1 + exp((1 - y x'w) / tau)) + RIDGE / 2 |w|^2: above the hinge loss by at most tau log 2."""
    count, ridge = len(y), RIDGE * np.eye(x.shape[1])

    def gap(w: Vec) -> Vec:
        lack: Vec = (1 - y * (x @ w)) / tau
        return lack

    def share(w: Vec) -> Vec:
        return 0.5 * (1 + np.tanh(gap(w) / 2))

    def value(w: Vec) -> float:
        return float(np.mean(tau * np.logaddexp(0, gap(w)))) + RIDGE / 2 * float(w @ w)

    def gradient(w: Vec) -> Vec:
        slope: Vec = RIDGE * w - x.T @ (y * share(w)) / count
        return slope

    def solve(w: Vec, g: Vec) -> Vec:
        p = share(w)
        return np.linalg.solve((x.T * (p * (1 - p) / (tau * count))) @ x + ridge, g)

    return Function(value, gradient, solve, top_eigenvalue(x) / (4 * tau) + RIDGE)


def rows_of(ranks: Sequence[RankRun]) -> dict[int, int]:
    """How many rows each of these ranks was tested on, those with none left out."""
    counts = {rank.rank: rank.last("online_rows") for rank in ranks}
    return {rank: int(count) for rank, count in counts.items() if count is not None and 1 <= count < 2**53}
