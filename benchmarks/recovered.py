"""What networks find out about related tasks: subspaces, relations, clusters, features and outliers that are known.

    python benchmarks/recovered.py [--seeds 3] [--blocks low-rank clustered joint-sparse]

20 ranks in a small world, a task each: 40 features, no bias, 30 rows, of which 20 are to learn from and the others to
choose by (clusters: 14), noise 0.3. The tasks have rank 3; or are of 4 clusters, but for two outliers; or all need the
same 8 features; or so do all but two. Each method runs as the network's method in the simulator. Its strength is chosen
on the rows to choose by, from 10 (21 pairs where there are two), by the central method, which has the same minimiser;
the last column says how far the network ended from that. Rules: 'best' is the least error on those rows, 'strongest'
the greatest strength whose error is within a standard error of it. Alone is ridge regression with its own 10 ridges.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from harness import say, table
from scipy.cluster.hierarchy import fcluster, linkage

import dmtl
from dmtl.algorithms.central import CentralFISTA, Problem
from dmtl.algorithms.clustered import ClusteredMTL
from dmtl.algorithms.dirty import DirtyModel
from dmtl.algorithms.dmtrl import DMTRL
from dmtl.algorithms.joint_sparse import JointSparse
from dmtl.algorithms.relationship import Relationship
from dmtl.algorithms.robust_mtl import RMTFL, RobustMTL
from dmtl.algorithms.trace_norm import TraceNorm
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.data.synthetic import Synthetic
from dmtl.graphs.drawn import SmallWorld
from dmtl.node import Node
from dmtl.penalties import spectral, sums
from dmtl.penalties.norms import Peaks, Rows
from dmtl.penalties.penalty import columns
from dmtl.screens.average import Average
from dmtl.tasks.least_squares import LeastSquares
from dmtl.topology import Topology, metropolis

T, D, RANK, CLUSTERS, SUPPORT, INSIDE = 20, 40, 3, 4, 8, 18
"""INSIDE: tasks that are no outliers, where there are such"""
SOLID = 1e-3
"""singular values and rows above that share of the largest count"""
L2 = 1e-4
STEPS = 300
"""of FISTA in the network; as many rounds as they take for those that have other steps"""
SHARES = [0.001 * 2.0**step for step in range(10)]
STRENGTHS = [10 ** (-3 + step / 2) for step in range(10)]
FIRST = [0.01 * 2.0**step for step in range(7)]


class Tasks(NamedTuple):
    """Drawn tasks and what made them."""

    truth: np.ndarray
    """(d, T)"""
    tasks: list[Any]
    rows: list[tuple[np.ndarray, np.ndarray]]
    """to choose by"""


def drawn(block: str, seed: int) -> Tasks:
    """The tasks of a block: the package's own ones, with other parameters where it has no such."""
    shape = "low-rank" if block == "low-rank" else "clustered"
    made = Synthetic(shape=shape, features=D, rows=30, rank=RANK, clusters=CLUSTERS).load(T, seed)
    assert made.truth is not None
    before = made.truth[:, :-1].T
    w, rng = before.copy(), np.random.default_rng([5, seed])
    if block.startswith("joint-sparse"):
        w[:] = 0
        w[rng.permutation(D)[:SUPPORT]] = rng.standard_normal((SUPPORT, T)) / SUPPORT**0.5
    if block in ("clustered", "joint-sparse but for two"):
        w[:, INSIDE:] = rng.standard_normal((D, T - INSIDE)) * 2 / D**0.5
    y = made.y + np.sum(made.x * (w - before).T[made.task], axis=1)
    tasks, rows, none = [], [], (np.empty((0, D)), np.empty(0))
    learn = 14 if block == "clustered" else 20  # with 20, models learnt alone show the clusters as well
    for t in range(T):
        x, here = made.x[made.task == t], y[made.task == t]
        tasks.append(LeastSquares(l2=L2, bias=False).build(Dataset(x[:learn], here[:learn], *none, *none)))
        rows.append((x[learn:], here[learn:]))
    return Tasks(w, tasks, rows)


class Method(NamedTuple):
    """A network's method and the penalty of the central one, both made with the strengths of a candidate."""

    network: Callable[..., Any]
    penalty: Callable[..., Any]
    unit: Callable[[np.ndarray], float]
    """what strengths are multiplied by, from the gradient at 0"""
    candidates: Sequence[tuple[float, ...]]


def norm(penalty: Any) -> Callable[[np.ndarray], float]:
    """The least strength with which all models are 0."""
    return lambda slope: penalty(1.0).dual(slope)


def single(network: Any, penalty: Any) -> Method:
    """A norm with one strength."""
    return Method(network, penalty, norm(penalty), [(share,) for share in SHARES])


def double(network: Any, penalty: Any, first: Any, ratios: Sequence[float] = (0.4, 0.8, 1.6)) -> Method:
    """A penalty of two parts, the second's strength being so many times the first's."""
    return Method(network, penalty, norm(first), [(share, ratio * share) for share, ratio in product(FIRST, ratios)])


def free(network: Any, penalty: Any) -> Method:
    """A penalty that is no norm."""
    return Method(network, penalty, lambda slope: 1.0, [(strength,) for strength in STRENGTHS])


METHODS = {
    "trace-norm": single(TraceNorm, spectral.LowRank),
    "relationship": free(Relationship, spectral.Relationship),
    "dmtrl, learned": free(
        lambda s: DMTRL(s, 0.1, relations="learned"), lambda s: spectral.Relationship(s, ridge=0.1 * s)
    ),
    "clustered, k = 4": free(partial(ClusteredMTL, CLUSTERS), partial(spectral.Clustered, CLUSTERS)),
    "robust-mtl": double(RobustMTL, sums.Robust, spectral.LowRank),
    "joint-sparse": single(JointSparse, Rows),
    "rmtfl": double(RMTFL, sums.RobustFeatures, Rows),
    "dirty": double(DirtyModel, sums.Dirty, Peaks, (0.15, 0.3, 0.6)),
}
BLOCKS = {
    "low-rank": ("trace-norm", "relationship", "dmtrl, learned", "clustered, k = 4"),
    "clustered": ("clustered, k = 4", "robust-mtl", "trace-norm", "relationship"),
    "joint-sparse": ("joint-sparse", "rmtfl", "dirty", "trace-norm"),
    "joint-sparse but for two": ("joint-sparse", "rmtfl", "dirty", "robust-mtl"),
}


def missed(models: np.ndarray, made: Tasks) -> tuple[float, float]:
    """Mean squared error on the held-out rows, and the standard error of that mean."""
    each = np.concatenate([(x @ w - y) ** 2 for (x, y), w in zip(made.rows, models.T, strict=True)])
    return float(each.mean()), float(each.std() / len(each) ** 0.5)


def alone(made: Tasks) -> np.ndarray:
    """Each task by itself, the ridge chosen as the others' strengths are."""
    found = [np.stack([task.prox(np.zeros(D), s) for task in made.tasks], axis=1) for s in STRENGTHS]
    return min(found, key=lambda models: missed(models, made))


def central(made: Tasks, method: Method) -> list[tuple[tuple[float, ...], np.ndarray]]:
    """Strengths and the central minimiser with them: the best ones, and the strongest within a standard error."""
    slope, warm = np.stack([task.grad(np.zeros(D)) for task in made.tasks], axis=1), None
    found = []
    for candidate in sorted(method.candidates, reverse=True):
        strengths = tuple(float(number * method.unit(slope)) for number in candidate)
        penalty = method.penalty(*strengths)
        here, fista = Problem(made.tasks, penalty), CentralFISTA(penalty)
        whole = fista.begin(here, np.zeros((penalty.copies * D, T)) if warm is None else warm)
        for _ in range(3000):
            before, whole = whole.w, fista.move(here, whole)
            if np.abs(whole.w - before).max() <= 1e-8 * max(np.abs(whole.w).max(), 1e-3):
                break
        warm, models = whole.w, columns(whole.w, penalty.copies)
        found.append((missed(models, made), strengths, models))
    best = min(found, key=lambda each: each[0])
    strong = next(each for each in found if each[0][0] <= sum(best[0]))
    return [best[1:], strong[1:]]


class Found(NamedTuple):
    """What the network has at the end."""

    models: np.ndarray
    """(d, T)"""
    whole: np.ndarray
    """(D, T) the same, or its two parts"""
    told: list[tuple[int, int, float]]
    """entries of the tasks' covariance, as the ranks know them: of two neighbours"""


def network(made: Tasks, piece: Any, steps: int) -> Found:
    """The method on the small world: so many steps of FISTA, or as many rounds as those take."""
    graph = SmallWorld(k=4, p=0.3).graph(T, 1)
    topology, drawing = Topology(graph, metropolis(graph)), chart(graph)
    algorithm = piece.charted(drawing)
    nodes = [Node(topology.view(rank, 0, False, ()), made.tasks[rank], algorithm, Average()) for rank in range(T)]
    states = dmtl.simulate(nodes, drawing.diameter + steps * len(drawing.spectrum))
    whole, told = [], []
    for rank, state in enumerate(states):
        inner = getattr(state.model, "inner", state.model)
        whole.append(algorithm.column(state.model) if hasattr(algorithm, "column") else inner.w)
        if hasattr(algorithm, "tell"):
            row = algorithm.tell(state.model, state.view)["relations"]
            told += [(rank, other, value) for other, value in zip(state.view.sources, row[1:], strict=True)]
    return Found(np.stack([state.x for state in states], axis=1), np.stack(whole, axis=1), told)


def relations(w: np.ndarray) -> np.ndarray:
    """(T, T) the tasks' covariance (W'W)^(1/2), scaled to ones on the diagonal."""
    _, sigma, right = np.linalg.svd(w, full_matrices=False)
    root = (right.T * sigma) @ right
    size = np.sqrt(np.maximum(np.diag(root), 1e-12))
    return root / np.outer(size, size)


def likeness(w: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of what two matrices of models say of each pair of tasks."""
    pairs = np.triu_indices(T, 1)
    return float(np.corrcoef(relations(w)[pairs], relations(truth)[pairs])[0, 1])


def agreement(one: np.ndarray, two: np.ndarray) -> float:
    """Adjusted Rand index of two partitions: 1 if they are the same, 0 on average by chance."""
    count = np.array([[np.sum((one == a) & (two == b)) for b in np.unique(two)] for a in np.unique(one)])

    def choose(n: np.ndarray) -> float:
        return float(np.sum(n * (n - 1) / 2))

    same, rows, cols = choose(count), choose(count.sum(axis=1)), choose(count.sum(axis=0))
    chance = rows * cols / choose(np.array([len(one)]))
    return (same - chance) / ((rows + cols) / 2 - chance)


def judged(block: str, w: np.ndarray, whole: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """What is found of the structure of a block."""
    left, sigma, _ = np.linalg.svd(w, full_matrices=False)
    if block == "low-rank":
        real = np.linalg.svd(truth, full_matrices=False)[0][:, :RANK]
        cosines = np.linalg.svd(left[:, :RANK].T @ real, compute_uv=False)
        sine = float(np.sqrt(max(1 - cosines.min() ** 2, 0)))
        return {"rank": float(np.sum(sigma > SOLID * sigma[0])), "subspace": sine, "relations": likeness(w, truth)}
    found = {}
    if block == "clustered":
        ward = fcluster(linkage(w[:, :INSIDE].T, "ward"), CLUSTERS, "maxclust")
        found = {"rand": agreement(ward, np.arange(INSIDE) % CLUSTERS), "relations": likeness(w, truth)}
    else:
        size, needed = np.linalg.norm(whole[:D], axis=1), np.linalg.norm(truth[:, :INSIDE], axis=1) > 0
        chosen, largest = size > SOLID * size.max(), needed[np.argsort(size)[-SUPPORT:]]
        hits = float(np.sum(chosen & needed))
        found = {"chosen": float(chosen.sum()), "precision": hits / chosen.sum(), "recall": hits / SUPPORT}
        found |= {"largest 8": float(largest.sum())}
    if len(whole) == 2 * D and block != "joint-sparse":
        apart = np.linalg.norm(whole[D:], axis=0) > 1e-6
        found |= {"outliers": float(apart[INSIDE:].sum()), "others apart": float(apart[:INSIDE].sum())}
    return found


HEADS = {
    "low-rank": ("rank", "subspace", "relations", "told"),
    "clustered": ("rand", "relations", "told", "outliers", "others apart"),
    "joint-sparse": ("chosen", "precision", "recall", "largest 8"),
    "joint-sparse but for two": ("chosen", "precision", "recall", "largest 8", "outliers", "others apart"),
}


def lines(block: str, name: str, seed: int) -> list[dict[str, float]]:
    """What a method finds in one draw, by each of the two rules."""
    made = drawn(block, seed)
    own, found = alone(made), []
    far = float(np.linalg.norm(own - made.truth))
    if name == "alone":
        return [{"error": 1.0, **judged(block, own, own, made.truth)}]
    best, strong = central(made, METHODS[name])
    for strengths, least in [best] if best[0] == strong[0] else [best, strong]:
        models, whole, told = network(made, METHODS[name].network(*strengths), STEPS)
        here = {"error": float(np.linalg.norm(models - made.truth)) / far, **judged(block, models, whole, made.truth)}
        if told:
            true, mine = relations(made.truth), [value for *_, value in told]
            here["told"] = float(np.corrcoef(mine, [true[one, two] for one, two, _ in told])[0, 1])
        found.append(here | {"gap": float(np.linalg.norm(models - least) / np.linalg.norm(least))})
    return [found[0], found[-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="draws")
    parser.add_argument("--blocks", nargs="+", default=list(BLOCKS), choices=BLOCKS)
    asked = parser.parse_args()
    begin = perf_counter()
    for block in asked.blocks:
        heads, shown = ("error", *HEADS[block], "gap"), []
        for name in ("alone", *BLOCKS[block]):
            draws = [lines(block, name, seed) for seed in range(asked.seeds)]
            for rule, found in zip(("best", "strongest"), zip(*draws, strict=True), strict=False):
                means = [f"{np.mean([each[key] for each in found]):.2g}" if key in found[0] else "" for key in heads]
                shown.append([f"`{name}`", rule, *means])
                say(f"{block}: {', '.join(shown[-1])}  {perf_counter() - begin:.0f} s")
        print(f"\n{block}, {asked.seeds} draws:\n")
        print(table(["method", "rule", *heads], shown), flush=True)


if __name__ == "__main__":
    main()
