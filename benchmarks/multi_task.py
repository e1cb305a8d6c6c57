"""Which screens help where neighbours learn other tasks and some of them lie: three tasks, six liars, seven attacks.

    python benchmarks/multi_task.py [--jobs 2] [--seeds 5] [--tune 2] [--screens gate-cap-anchor ubar]

24 honest ranks, 8 on each of 3 tasks, and 6 liars on a random graph (each link with probability 0.4). A task is linear
regression with d = 20 parameters of norm 3 at random directions, the ranks of a task 0.3 apart; a rank has 12 rows with
noise 0.3, fewer than parameters, so that nobody can learn alone. 150 rounds of diffusion, step size 0.1. A cell is the
mean over honest ranks and seeds of the squared distance between model and truth; the zero model has 9.

Every screen of the registry is run, with the best of a few settings, chosen on other seeds (--tune) by the mean
logarithm of the error over the columns. Screens that judge on held-out rows learn from 8 of the 12 rows and judge on
4; all others, and 'alone', learn from all 12.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import MISSING, dataclass, fields
from itertools import product
from typing import Any, ClassVar, NamedTuple

import networkx as nx
import numpy as np

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.local import Local
from dmtl.attacks.alie import ALIE
from dmtl.attacks.hearsay import honest_heard
from dmtl.attacks.silent import Silent
from dmtl.capabilities import Knowing
from dmtl.data.pool import Dataset
from dmtl.errors import DivergedError
from dmtl.node import Node, NodeState
from dmtl.registry import find, names
from dmtl.rng import Purpose
from dmtl.screens.average import Average
from dmtl.screens.gate_cap_anchor import GateCapAnchor
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.topology import Topology, metropolis
from dmtl.types import Mixed

HONEST, LIARS, TASKS, D, ROWS, HELD = 24, 6, 3, 20, 12, 4
ROUNDS, STEP = 150, 0.1

GRIDS: dict[str, dict[str, list[Any]]] = {
    "balance": {"gamma": [0.5, 1.2, 2.0]},
    "centred-clipping": {"tau": [0.1, 0.3, 1.0]},
    "gate-cap-anchor": {"margin": [0.0, 0.5, 1.0], "most": [0.1, 0.25, 0.5]},
    "huber": {"tau": [0.1, 0.3, 1.0]},
    "loss-weighted": {"nu": [0.05, 0.2], "worst": [1.2, 2.0], "most": [0.25, 1.0]},
    "self-centred-clipping": {"tau": [0.1, 0.3, 1.0]},
    "sketch-guard": {"gamma": [0.5, 1.2, 2.0]},
    "smea": {"f": [1, 2]},
    "tv": {"lam": [0.02, 0.1, 0.3]},
    "ubar": {"rho": [0.2, 0.4, 0.7], "alpha": [0.3, 0.5]},
}
"""What is tried of each screen; others get b or f = 1, 2, 3 where they have such a setting."""


class Case(NamedTuple):
    """One draw of everything."""

    seed: int
    topology: Topology
    truth: np.ndarray
    """(n, d) what each rank wants to know"""
    centres: np.ndarray
    """(tasks, d)"""
    x: np.ndarray
    """(n, rows, d)"""
    y: np.ndarray
    """(n, rows)"""


def draw(seed: int) -> Case:
    rng, n = np.random.default_rng([5, seed]), HONEST + LIARS
    graph = nx.gnp_random_graph(n, 0.4, seed=seed)
    while not nx.is_connected(graph.subgraph(range(HONEST))):
        graph = nx.gnp_random_graph(n, 0.4, seed=rng.integers(2**31).item())
    centres = 3 * units(rng, TASKS)
    truth = centres[np.arange(n) % TASKS] + 0.3 * units(rng, n)
    x = rng.standard_normal((n, ROWS, D))
    y = np.einsum("nrd,nd->nr", x, truth) + 0.3 * rng.standard_normal((n, ROWS))
    return Case(seed, Topology(graph, metropolis(graph)), truth, centres, x, y)


def units(rng: np.random.Generator, count: int) -> np.ndarray:
    directions = rng.standard_normal((count, D))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def task(case: Case, rank: int, held: int) -> Any:
    x, y, rows = case.x[rank], case.y[rank], ROWS - held
    none = np.empty((0, D)), np.empty(0)
    return LeastSquares(l2=0.0, bias=False).build(Dataset(x[:rows], y[:rows], x[rows:], y[rows:], *none))


@dataclass(frozen=True)
class Told:
    """A liar that knows the whole case and says to each target what ``lie`` makes of it.

    ``lie`` gets the case, the target, the target's own message (or None) and the honest messages heard (m, d).
    """

    case: Case
    lie: Callable[..., np.ndarray]
    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "rushing"

    def init(self, task: Any, view: Any) -> tuple[()]:
        return ()

    def __call__(self, outbox: Any, inbox: Any, memory: Any, task: Any, view: Any) -> Any:
        lies, heard = outbox.copy(), honest_heard(inbox, view)
        crowd = inbox.messages[heard, 0]
        said = dict(zip((view.sources[p] for p in heard.nonzero()[0]), crowd, strict=True))
        for row, target in enumerate(view.targets):
            if target < HONEST and len(crowd):
                lies[row, 0] = self.lie(self.case, target, said.get(target), crowd, view)
        return lies, ()


def sign(case, target, own, crowd, view):
    return -3 * crowd.mean(axis=0)


def gauss(case, target, own, crowd, view):
    return crowd.mean(axis=0) + 10 * view.rng(Purpose.ATTACK).standard_normal(D)


def wrong_task(case, target, own, crowd, view):
    """An honest-looking model of a task that is not the target's."""
    other = (target + 1 + view.rank % 2) % TASKS
    return case.centres[other] + 0.3 * units(view.rng(Purpose.ATTACK), 1)[0]


def drift(case, target, own, crowd, view):
    """Nearer than anybody honest, and away from what the target wants to know."""
    if own is None:
        return crowd.mean(axis=0)
    apart = np.linalg.norm(crowd - own, axis=1)
    away = own - case.truth[target]
    return own + 0.9 * apart[apart > 0].min(initial=np.inf if (apart > 0).any() else 0.0) * away / np.linalg.norm(away)


def loss_hug(case, target, own, crowd, view):
    """Fits all rows of the target exactly, 3 away from the smallest such model, where the rows do not look."""
    x, y = case.x[target], case.y[target]
    unseen = case.truth[target] - np.linalg.pinv(x) @ (x @ case.truth[target])
    return np.linalg.pinv(x) @ y - 3 * unseen / np.linalg.norm(unseen)


ATTACKS: dict[str, Callable[[Case], Any]] = {
    "none": lambda case: Silent(),
    "sign": lambda case: Told(case, sign),
    "gauss": lambda case: Told(case, gauss),
    "alie": lambda case: ALIE(z=1.5),
    "wrong task": lambda case: Told(case, wrong_task),
    "drift": lambda case: Told(case, drift),
    "loss hug": lambda case: Told(case, loss_hug),
}


@dataclass(frozen=True)
class SameTask:
    """The mean of oneself and the honest neighbours with the same task: what nobody can know."""

    linear: ClassVar[bool] = False

    def init(self, task: Any, view: Any) -> tuple[()]:
        return ()

    def __call__(self, rows: Any, weights: Any, memory: Any, task: Any, view: Any) -> Mixed:
        sources = np.array(view.sources, int)
        kept = (sources < HONEST) & (sources % TASKS == view.rank % TASKS)
        return Mixed(rows[np.concatenate(([True], kept))].mean(axis=0), kept.astype(float))


def states(case: Case, screen: Any, attack: str, held: int, algorithm: Any = None) -> list[NodeState]:
    """How all nodes end; DivergedError where a model comes apart."""
    nodes, told = [], ATTACKS[attack](case)
    liars = tuple(range(HONEST, HONEST + LIARS))
    oracle = isinstance(screen, Knowing) and screen.needs_liars
    for rank in range(HONEST + LIARS):
        lies = rank >= HONEST
        view = case.topology.view(rank, case.seed, False, liars if lies or oracle else ())
        learns = task(case, rank, 0 if lies else held)
        rushers = liars if told.rushing else ()
        method = algorithm or Diffusion(STEP)
        nodes.append(Node(view, learns, method, Average() if lies else screen, told if lies else None, rushers=rushers))
    return simulate(nodes, ROUNDS)


def cell(cases: list[Case], screen: Any, attack: str, held: int, algorithm: Any = None) -> float:
    """Mean squared distance of the honest models from the truth; infinite where one came apart."""
    found = []
    for case in cases:
        try:
            ended = states(case, screen, attack, held, algorithm)[:HONEST]
        except DivergedError:
            return np.inf
        found.append(np.mean([np.sum((state.x - truth) ** 2) for state, truth in zip(ended, case.truth, strict=False)]))
    return float(np.mean(found))


def bound(cases: list[Case], screen: GateCapAnchor, attack: str) -> float:
    """Mean of (|v - w*| + R)^2, which 'gate-cap-anchor' proves of each rank, with the v and R that it ended with."""
    found = []
    for case in cases:
        for state, truth in zip(states(case, screen, attack, HELD)[:HONEST], case.truth, strict=False):
            memory = state.memory[0]
            radius = memory.wide * np.linalg.norm(memory.halves[0] - memory.halves[1])
            most = (np.linalg.norm(memory.anchor - truth) + radius) ** 2
            assert np.sum((state.x - truth) ** 2) <= most
            found.append(most)
    return float(np.mean(found))


def candidates(name: str) -> list[Any]:
    """The screens of that name that are tried."""
    piece = find("screen", name)
    known = {field.name: field.default for field in fields(piece)}
    grid = GRIDS.get(name) or {key: [1, 2, 3] for key in ("b", "f") if key in known}
    return [piece(**dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


def held_rows(screen: Any) -> int:
    return HELD if isinstance(screen, Knowing) and screen.needs_held_out else 0


def tuned(name: str, cases: list[Case], attacks: list[str]) -> Any:
    """The candidate with the least mean logarithm of the error over the attacks."""
    tried = candidates(name)
    if len(tried) == 1:
        return tried[0]

    def score(screen: Any) -> float:
        found = [min(cell(cases, screen, attack, held_rows(screen)), 1e9) for attack in attacks]
        return float(np.mean(np.log(found)))

    return min(tried, key=score)


def told(screen: Any) -> str:
    """Settings that differ from the defaults."""
    changed = [
        f"{field.name}={getattr(screen, field.name)}"
        for field in fields(screen)
        if field.default is MISSING or getattr(screen, field.name) != field.default
    ]
    return ",".join(changed)


def row(name: str, values: list[float]) -> str:
    shown = (f"{value:.2f}" if value < 100 else f"{value:.0e}" for value in values)
    return f"| {name} | " + " | ".join(shown) + " |"


def line(asked: tuple[str, list[Case], list[Case], list[str]]) -> list[str]:
    """The lines of one screen: chosen on ``others``, measured on ``cases``."""
    name, cases, others, attacks = asked
    chosen = [attack for attack in attacks if attack != "loss hug"]  # against which no setting helps
    screen = tuned(name, others, chosen) if others and chosen else candidates(name)[0]
    values = [cell(cases, screen, attack, held_rows(screen)) for attack in attacks]
    lines = [row(f"{name}:{told(screen)}".rstrip(":"), values)]
    if isinstance(screen, GateCapAnchor):
        lines.append(row("its bound", [bound(cases, screen, attack) for attack in attacks]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune", type=int, default=2, help="seeds to choose settings on; 0: the first candidate")
    parser.add_argument("--screens", nargs="*", default=names("screen"))
    parser.add_argument("--attacks", nargs="*", default=list(ATTACKS))
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    cases = [draw(seed) for seed in range(asked.seeds)]
    others = [draw(1000 + seed) for seed in range(asked.tune)]
    print("| screen | " + " | ".join(asked.attacks) + " |\n|---" + "|---" * len(asked.attacks) + "|")
    alone, oracle = cell(cases, Average(), "none", 0, Local(STEP)), cell(cases, SameTask(), "none", 0)
    print(row("alone", [alone] * len(asked.attacks)))
    print(row("oracle", [oracle] * len(asked.attacks)), flush=True)
    with ProcessPoolExecutor(asked.jobs) as pool:
        for lines in pool.map(line, [(name, cases, others, asked.attacks) for name in asked.screens]):
            print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
