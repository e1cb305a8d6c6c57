"""Tasks that are mixtures of three: the synthetic study of Marfoq, Neglia, Bellet, Kameni and Vidal (NeurIPS 2021).

    python benchmarks/suites/mixtures.py [--tasks 60] [--rounds 200] [--seeds 1] [--tuned]
    python benchmarks/suites/mixtures.py --tasks 16 --mpi

Rows are x ~ U[-1, 1]^150 with labels round(sigmoid(theta_z' x + N(0, 0.1^2))), z one of three components that a task
has in shares ~ Dirichlet(0.4), theta ~ U[-1, 1]^150. A task has min(50 + LogNormal(4, 2), 1000) rows to learn from and
1000 to be tested on. Logistic regression with a bias, mini-batches of 128, an epoch a round, in single precision.
Figures are test accuracies in percent: the mean over tasks, and the mean over the worst tenth of them.

The step of each method and its penalty l2 (the paper's 0.0005, or none) are the best of STEPS and L2 by the mean
accuracy on a fifth of the training rows, which it was not shown; then it learns from all training rows. Test rows
choose nothing. --tuned takes what 60 tasks of seed 12345 chose. Published are the paper's figures for 300 tasks, with
a server; their step for these data is not known. The last lines are the best that is: the rules that made the rows,
mixed in each task's true shares, and the same rules in the shares that its training rows make most likely.
--mpi runs fedem on Erdos-Renyi(0.5) on so many MPI ranks as well, and says whether all models are those of the
simulator, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from itertools import product, starmap
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

sys.path.append(str(Path(__file__).resolve().parent.parent))

from harness import digest, figures, line, say, table, worst
from harness import job as mpi

from dmtl.algorithms.mixture import settled
from dmtl.data.mixture import Mixture
from dmtl.data.pool import Dataset
from dmtl.node import Node, NodeState
from dmtl.runner import run
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.specs import make, parse
from dmtl.tasks.logistic import Logistic
from dmtl.topology import Topology, metropolis

BATCH = 128
SEED = 12345
"""the paper's"""
STEPS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
L2 = (5e-4, 0.0)


class Setting(NamedTuple):
    """What held-out rows choose."""

    step: float
    l2: float


METHODS = {
    ("local", "path"): Setting(0.1, 5e-4),
    ("diffusion", "complete"): Setting(10.0, 5e-4),
    ("diffusion", "erdos-renyi:p=0.5"): Setting(1.0, 5e-4),
    ("ifca", "erdos-renyi:p=0.5"): Setting(3.0, 5e-4),
    ("fedspd", "erdos-renyi:p=0.5"): Setting(0.3, 5e-4),
    ("fedem:one=true", "erdos-renyi:p=0.5"): Setting(30.0, 0.0),
    ("fedem", "ring"): Setting(0.3, 0.0),
    ("fedem", "erdos-renyi:p=0.5"): Setting(3.0, 0.0),
    ("fedem", "complete"): Setting(30.0, 0.0),
}
"""and what 60 tasks chose"""
PUBLISHED = {"local": "65.7 / 58.4", "diffusion": "68.2 / 58.9", "fedem": "74.7 / 66.7"}


class Rows(NamedTuple):
    """One task's rows, to learn from and to be tested on."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@cache
def recipe(tasks: int, seed: int) -> tuple[Rows, ...]:
    """The tasks, as the data source 'mixture' draws them."""
    pool = Mixture(tasks=tasks).load(tasks, seed)
    x, y = pool.x.astype(np.float32), pool.y.astype(np.float32)
    found = []
    for task in range(tasks):
        train, test = (np.flatnonzero((pool.task == task) & (pool.test == tested)) for tested in (False, True))
        found.append(Rows(x[train], y[train], x[test], y[test]))
    return tuple(found)


def truth(tasks: int, seed: int) -> np.ndarray:
    """(2, tasks) accuracies in percent of who knows all rules: with every task's shares, and with the likeliest."""
    source = Mixture(tasks=tasks)
    pool, known = source.load(tasks, seed), source.recipe(tasks, seed)
    ones = ndtr(pool.x @ known.components.T / source.noise)
    found = []
    for task in range(tasks):
        train, test = (np.flatnonzero((pool.task == task) & (pool.test == tested)) for tested in (False, True))
        likely = np.where(pool.y[train, None], ones[train], 1 - ones[train])
        both = known.shares[task], settled(-np.log(np.maximum(likely.T, 1e-12)))
        found.append([100 * np.mean((ones[test] @ shares > 0.5) == pool.y[test]) for shares in both])
    return np.array(found).T


def nodes(
    rows: Sequence[Rows], method: str, graph: str, setting: Setting, seed: int, tuning: bool = False
) -> list[Node]:
    """A node per task; while ``tuning``, a fifth of the training rows is held out, and the test rows are away."""
    links = make("topology", parse(graph, "graph")).graph(len(rows), seed)
    topology = Topology(links, metropolis(links))
    algorithm = make("algorithm", {**parse(method, "method"), "step_size": setting.step})
    model = Logistic(l2=setting.l2, batch=BATCH)
    found = []
    for rank, (x, y, test_x, test_y) in enumerate(rows):
        kept = len(y) // 5 if tuning else 0
        test = (test_x[:0], test_y[:0]) if tuning else (test_x, test_y)
        data = Dataset(x[kept:], y[kept:], x[:kept], y[:kept], *test, classes=2)
        view = topology.view(rank, seed, stochastic=True)
        found.append(Node(view, model.build(data), algorithm, Average(), dtype=np.float32))
    return found


def accuracy(node: Node, state: NodeState, kind: str) -> float:
    """In percent, of what the rank predicts with."""
    evaluate = getattr(node.algorithm, "evaluate", None)
    figures = evaluate(state.model, node.task) if evaluate else node.task.evaluate(state.x)
    return 100 * (1 - figures[f"{kind}_error"])


def accuracies(everyone: Sequence[Node], rounds: int, kind: str) -> np.ndarray:
    """(tasks,) after so many rounds in one process."""
    states = simulate(everyone, rounds)
    return np.array([accuracy(*pair, kind) for pair in zip(everyone, states, strict=True)])


def tuned(rows: Sequence[Rows], method: str, graph: str, rounds: int, seed: int) -> Setting:
    """The setting with the best mean accuracy on held-out rows."""
    scores = {}
    for setting in starmap(Setting, product(STEPS, L2)):
        everyone = nodes(rows, method, graph, setting, seed, tuning=True)
        scores[setting] = float(accuracies(everyone, rounds, "held_out").mean())
    say(f"{method} on {graph}: {scores}")
    return max(scores, key=scores.__getitem__)


def worker(told: str) -> None:
    """One rank of a run on MPI."""
    from dmtl.transports.mpi import world
    from dmtl.transports.sync import connect

    comm, asked = world(), json.loads(told)
    rows, setting = recipe(comm.size, asked["seed"]), Setting(*asked["setting"])
    node = nodes(rows, asked["method"], asked["graph"], setting, 0)[comm.rank]
    exchange = connect(comm, node)
    comm.Barrier()
    begin = perf_counter()
    state = run(node, exchange, asked["rounds"])
    seconds = perf_counter() - begin
    exchange.close()
    every = comm.gather((state.model.thetas, accuracy(node, state, "test")), root=0)
    if comm.rank == 0:
        found = [figure for _, figure in every]
        line(comm, {"seconds": seconds, "digest": digest([models for models, _ in every]), "accuracies": found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1, help="data sets; the first chooses")
    parser.add_argument("--tuned", action="store_true", help="take what was chosen before")
    parser.add_argument("--methods", nargs="+", help="such as fedem, where not all")
    parser.add_argument("--mpi", action="store_true", help="one run of fedem on MPI and in the simulator, no others")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        worker(asked.worker)
        return
    if asked.mpi:
        on_mpi(asked.tasks, asked.rounds)
        return
    lines = []
    for (method, graph), chosen in METHODS.items():
        if asked.methods and method not in asked.methods:
            continue
        setting = chosen if asked.tuned else tuned(recipe(asked.tasks, SEED), method, graph, asked.rounds, SEED)
        found = []
        for seed in range(SEED, SEED + asked.seeds):
            begin, rows = perf_counter(), recipe(asked.tasks, seed)
            found.append(accuracies(nodes(rows, method, graph, setting, seed), asked.rounds, "test"))
            shown = " / ".join(figures(found[-1:]))
            say(f"{method} on {graph}, seed {seed}, {setting}: {shown}, {perf_counter() - begin:.0f} s")
        shown = method if method == "local" else f"{method} on {graph}"
        lines.append([shown, f"{setting.step:g}, {setting.l2:g}", *figures(found), PUBLISHED.get(method, "")])
    best = zip(*(truth(asked.tasks, seed) for seed in range(SEED, SEED + asked.seeds)), strict=True)
    for name, found in zip(("the rules that made the rows, in the true shares", "in the likeliest"), best, strict=True):
        lines.append([name, "", *figures(found), ""])
    print(table(["method", "step, l2", "accuracy", "worst tenth", "published"], lines))


def on_mpi(ranks: int, rounds: int) -> None:
    """The same run twice, and whether it is the same."""
    method, graph = "fedem", "erdos-renyi:p=0.5"
    setting = tuned(recipe(ranks, SEED), method, graph, rounds, SEED)
    asked = {"method": method, "graph": graph, "setting": setting, "seed": SEED, "rounds": rounds}
    there = mpi(ranks, sys.executable, [__file__, "--worker", json.dumps(asked)], 3600.0)[0]
    everyone = nodes(recipe(ranks, SEED), method, graph, setting, 0)
    same = digest([state.model.thetas for state in simulate(everyone, rounds)]) == there["digest"]
    found = np.array(there["accuracies"])
    shown = [
        str(ranks),
        f"{found.mean():.1f}",
        f"{worst(found):.1f}",
        f"{there['seconds']:.0f}",
        "yes" if same else "no",
    ]
    print(table(["ranks", "accuracy", "worst tenth", "seconds", "the simulator's models, bit for bit"], [shown]))


if __name__ == "__main__":
    main()
