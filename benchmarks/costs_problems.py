"""The problems of ``costs.py``, each with the methods that solve it and the same problem for a central method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import exactness
import numpy as np
from exactness import Objective, common, coupled, kernel, mixed, peers, penalised, related

from dmtl.algorithms.central import Problem, problem
from dmtl.consensus.chart import chart
from dmtl.penalties.network import Fused
from dmtl.penalties.norms import Columns, Entries, Peaks, Rows
from dmtl.penalties.penalty import Gauge
from dmtl.penalties.quadratic import Mean, OnGraph
from dmtl.penalties.spectral import Clustered, LowRank, Relationship
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures
from dmtl.penalties.tree import Tree

SHARE = 0.1
Builder = Callable[..., tuple[Objective, float]]
"""of ``exactness.py``: from a planned run and its nodes, the objective of their states and its least"""


class Block(NamedTuple):
    """Methods with one problem."""

    title: str
    problem: Callable[[Mapping[str, Any]], Builder]
    """from what the braces of the methods stand for"""
    methods: Sequence[str]
    units: Mapping[str, Gauge] = {}
    """penalties of strength 1: their name in braces is a tenth of the least strength with which all models are 0"""

    def fill(self, tasks: Sequence[Any]) -> dict[str, Any]:
        """What the braces stand for with these tasks."""
        slope = np.stack([task.grad(np.zeros(task.dim)) for task in tasks], axis=1)
        strengths = {name: SHARE * float(unit.dual(slope)) for name, unit in self.units.items()}
        return {"groups": groups(len(tasks)), **strengths}


def groups(ranks: int) -> str:
    """Two groups of two groups, as 'hierarchical' is told them."""
    ends = [ranks * quarter // 4 for quarter in range(5)]
    levels = (ends[::2], ends)
    return "/".join("|".join(f"{a}-{b - 1}" for a, b in pairwise(cut)) for cut in levels)


def fixed(penalty: Any) -> Callable[[Mapping[str, Any]], Builder]:
    """A problem whose strengths are written."""
    return lambda its: partial(penalised, penalty)


def engines(penalty: str, *names: str) -> tuple[str, ...]:
    """Those methods with that penalty."""
    return tuple(f"{name}:penalty=({penalty})" for name in names or ("nids", "pg-extra", "dadmm"))


BLOCKS = (
    Block(
        "joint sparsity",
        lambda its: partial(penalised, Rows(its["s"])),
        ("joint-sparse:strength={s}", "smtl:penalty=(l21:strength={s})", *engines("l21:strength={s}")),
        {"s": Rows(1.0)},
    ),
    Block(
        "trace norm",
        lambda its: partial(penalised, LowRank(its["s"])),
        (
            "trace-norm:strength={s}",
            "smtl:penalty=(nuclear:strength={s})",
            "trace-norm:strength={s},form=factorised,rank=8",
            *engines("nuclear:strength={s}"),
        ),
        {"s": LowRank(1.0)},
    ),
    Block(
        "near the mean",
        fixed(Mean(1.0)),
        (
            "smtl:penalty=(mean:strength=1.0),accelerate=true",
            *(f"mean-regularised:strength=1.0,engine={name}" for name in ("nids", "pg-extra", "extra", "dadmm")),
        ),
    ),
    Block(
        "relations on the graph",
        lambda its: partial(coupled, related),
        tuple(f"{name}:strength=1.0,delta=0.1" for name in ("dmtrl", "mocha", "pmtl")),
    ),
    Block(
        "equal peaks",
        lambda its: partial(penalised, Peaks(its["s"])),
        engines("l1inf:strength={s}"),
        {"s": Peaks(1.0)},
    ),
    Block(
        "robust, low rank",
        lambda its: partial(penalised, Robust(its["s"], its["o"])),
        (
            "robust-mtl:low_rank={s},outliers={o}",
            "robust-mtl:low_rank={s},outliers={o},form=lifted,engine=nids",
            "robust-mtl:low_rank={s},outliers={o},form=lifted,engine=dadmm",
        ),
        {"s": LowRank(1.0), "o": Columns(1.0)},
    ),
    Block(
        "robust, features",
        lambda its: partial(penalised, RobustFeatures(its["s"], its["o"])),
        (
            "rmtfl:features={s},outliers={o}",
            "rmtfl:features={s},outliers={o},form=lifted,engine=nids",
            "rmtfl:features={s},outliers={o},form=lifted,engine=dadmm",
        ),
        {"s": Rows(1.0), "o": Columns(1.0)},
    ),
    Block(
        "dirty model",
        lambda its: partial(penalised, Dirty(its["s"], its["o"])),
        ("dirty:shared={s},own={o},engine=nids", "dirty:shared={s},own={o},engine=dadmm"),
        {"s": Peaks(1.0), "o": Entries(1.0)},
    ),
    Block(
        "clusters",
        fixed(Clustered(3, 0.1, 0.5)),
        (
            "clustered:k=3,strength=0.1,eta=0.5",
            "clustered:k=3,strength=0.1,eta=0.5,form=lifted,engine=nids",
            "clustered:k=3,strength=0.1,eta=0.5,form=lifted,engine=dadmm",
        ),
    ),
    Block(
        "learned relations",
        fixed(Relationship(0.01)),
        (
            "relationship:strength=0.01",
            "smtl:penalty=(squared-nuclear:strength=0.01),accelerate=true",
            *engines("squared-nuclear:strength=0.01", "dadmm"),
        ),
    ),
    Block(
        "hierarchy",
        lambda its: partial(penalised, Tree(its["groups"])),
        ("hierarchical:groups={groups}", "smtl:penalty=(tree:groups={groups})"),
    ),
    Block(
        "network lasso",
        fixed(Fused(0.05)),
        ("network-lasso:strength=0.05", "pdmm:cap=0.05", "pdmm:cap=0.05,theta=0.9"),
    ),
    Block("Laplacian", lambda its: partial(coupled, mixed), ("laplacian:strength=0.5", "amtl:strength=0.5")),
    Block(
        "peers",
        lambda its: partial(coupled, peers),
        ("collaborative:strength=0.5", "private-coordinate-descent:strength=0.5"),
    ),
    Block("mixed-effect kernel", lambda its: partial(coupled, kernel), ("dinuzzo:strength=0.1,share=0.5",)),
    Block(
        "one model for all",
        lambda its: partial(common, None),
        ("nids", "extra", "pg-extra", "dadmm", "pdmm", "pdmm:theta=0.9", "gradient-tracking"),
    ),
)


class Share(NamedTuple):
    """A task whose loss counts ``share`` times."""

    task: Any
    share: float

    def loss(self, w: np.ndarray) -> float:
        return self.share * self.task.loss(w)

    def grad(self, w: np.ndarray) -> np.ndarray:
        return self.share * self.task.grad(w)

    @property
    def dim(self) -> int:
        return self.task.dim

    @property
    def smoothness(self) -> float:
        return self.share * self.task.smoothness


class Whole(NamedTuple):
    """All tasks as one."""

    tasks: Sequence[Any]

    def loss(self, w: np.ndarray) -> float:
        return sum(task.loss(w) for task in self.tasks)

    def grad(self, w: np.ndarray) -> np.ndarray:
        return np.sum([task.grad(w) for task in self.tasks], axis=0)

    @property
    def dim(self) -> int:
        return self.tasks[0].dim

    @property
    def smoothness(self) -> float:
        """The largest eigenvalue of the Hessian, which for least squares is the same everywhere."""
        return float(np.linalg.eigvalsh(sum(task.curvature(np.zeros(self.dim)) for task in self.tasks))[-1])


def central(builder: Any, made: Any, tasks: Sequence[Any]) -> Problem:
    """A builder's problem for a central method."""
    if builder.func is penalised:
        return problem(tasks, builder.args[0], chart(made.topology.graph))
    if builder.func is common:
        return Problem([Whole(tasks)], Entries(0.0))
    shares, coupling = builder.args[0](made.topology)
    shared = [Share(task, float(c)) for task, c in zip(tasks, np.broadcast_to(shares, len(tasks)), strict=True)]
    return Problem(shared, OnGraph(1.0, *np.linalg.eigh(coupling)))


def missing() -> list[str]:
    """Methods that ``exactness.py`` has and no block."""
    ours = {spec.split(":")[0] for block in BLOCKS for spec in block.methods}
    return sorted({spec.split(":")[0] for spec in exactness.METHODS} - ours)
