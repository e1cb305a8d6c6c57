"""How near can lies come to the proven constants of the screens?

    python benchmarks/robustness_constants.py
    python benchmarks/robustness_constants.py --rules cs-plus gts --starts 1000 --steps 2000 --seeds 0 1 2

A screen F is (B, rho)-robust if for all honest vectors z_j and all lies |F - sum_H w_j z_j|^2 <= rho B sum_H w_j
|z_j|^2, where the own vector is 0, H the honest neighbours and B the liars' weight; honest ranks then come to agree
where 2 rho B is less than the second smallest eigenvalue of their Laplacian. Here honest vectors and lies are looked
for with the largest ratio of the two sides. In neighbourhoods of 2 to 8 with 1 to 3 liars, vectors are drawn that come
near the bounds (collinear, in clusters, with ties), and the best three draws of each size are changed at random for as
long as that helps: honest vectors and lies, by factors of their lengths and by steps of their own. Once with equal
weights, once with weights drawn apart.

An entry is the largest ratio found, which is a lower bound of the constant; the proven one is an upper bound.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from dmtl.specs import make, parse
from dmtl.types import Mat, Screen, Vec, View

ORACLE = "self-centred-clipping:oracle=true"
RULES = {"cs-plus": 2, "gts": 4, ORACLE: 25 / 16, "self-centred-clipping": 25 / 16, "cs-he": 25 / 16, "rtc": 4}
"""rule -> the proven constant"""
SIZES = ((1, 2), (1, 3), (1, 4), (1, 6), (2, 5), (2, 7), (3, 8))
"""liars and neighbours"""
BEST = 3
"""of so many draws of each size better ones are looked for"""


class Start(NamedTuple):
    """What a rank hears from honest neighbours (h, d) and from liars (b, d), with its weights (1 + b + h,).

    Its own vector is 0, and the liars come first.
    """

    honest: Mat
    lies: Mat
    weights: Vec


class Size(NamedTuple):
    """A task for screens that ask for its size."""

    dim: int


@cache
def ready(rule: str, b: int) -> Screen:
    """A screen that expects b liars."""
    screen: Screen = make("screen", {**parse(rule, "--rules"), "b": b})
    return screen


@cache
def view(neighbours: int, liars: int) -> View:
    """The view of a rank with so many neighbours."""
    others, ones = tuple(range(1, 1 + neighbours)), np.ones(neighbours)
    weights = np.full(1 + neighbours, 1 / (1 + neighbours))
    return View(0, others, others, weights, weights, ones, 0, False, others[:liars], ones, 0)


def liars_weight(rule: str, weights: Vec, b: int, liars: int) -> float:
    """B: what the rule takes, or is told, as the liars' weight."""
    if rule == ORACLE:
        return float(weights[1 : 1 + liars].sum())
    heaviest = np.sort(weights[1:])[-b:].sum() if rule == "self-centred-clipping" else b * weights[1:].max()
    return float(heaviest)


def ratio(rule: str, b: int, start: Start) -> float:
    """What the constant would have to be for these vectors."""
    honest, lies, weights = start
    screen, here, task = ready(rule, b), view(len(lies) + len(honest), len(lies)), Size(honest.shape[1])
    rows = np.concatenate([np.zeros((1, honest.shape[1])), lies, honest])
    w = weights[1 + len(lies) :]
    value = screen(rows, weights, screen.init(task, here), task, here._replace(weights=weights)).value
    error = value - w @ honest
    right = liars_weight(rule, weights, b, len(lies)) * (w @ np.sum(honest**2, axis=1))
    return float(error @ error / right)


def sample(rng: np.random.Generator, liars: int, neighbours: int, equal: bool) -> Start:
    """Honest vectors, lies and weights of the kinds that come near the bounds: collinear, in clusters, with ties."""
    d = int(rng.integers(1, 4))
    weights = np.ones(1 + neighbours) if equal else np.append(1.0, rng.choice([0.3, 0.5, 0.7, 0.95, 1.0], neighbours))
    weights /= weights.sum()
    honest = rng.choice([0.0, 1.0, 1.0, 2.0], (neighbours - liars, 1)) * np.eye(d)[0]
    honest += rng.choice([0.0, 0.1, 1.0]) * rng.standard_normal((neighbours - liars, d))
    honest[0, 0] += 1e-3
    far = rng.choice([0.999, 1.999, np.exp(rng.normal(0, 2))])
    lies = -far * np.eye(d)[0] * np.ones((liars, 1)) + rng.choice([0.0, 1.0]) * rng.standard_normal((liars, d))
    return Start(honest, lies, weights)


def climb(rule: str, b: int, start: Start, rng: np.random.Generator, steps: int) -> float:
    """The largest ratio that changing lies and honest vectors step by step can find."""
    best = ratio(rule, b, start)
    for _ in range(steps):
        size = rng.choice([0.01, 0.1, 1.0])
        trial = [part * np.exp(size * rng.standard_normal((len(part), 1))) for part in start[:2]]
        trial = [part + 0.1 * size * rng.standard_normal(part.shape) for part in trial]
        changed = Start(trial[0], trial[1], start.weights)
        found = ratio(rule, b, changed)
        if found > best:
            best, start = found, changed
    return best


def search(rule: str, equal: bool, seed: int = 12, starts: int = 70, steps: int = 80) -> float:
    """The largest ratio found over many sizes of neighbourhoods."""
    rng, worst = np.random.default_rng(seed), 0.0
    for b, k in SIZES:
        drawn = [sample(rng, b, k, equal) for _ in range(starts)]
        drawn.sort(key=lambda start: ratio(rule, b, start), reverse=True)
        worst = max(worst, *(climb(rule, b, start, rng, steps) for start in drawn[:BEST]))
    return worst


def searched(asked: tuple[str, bool, int, int, int]) -> float:
    """One search, for a pool."""
    return search(*asked)


def table(found: Mapping[tuple[str, bool], float]) -> list[str]:
    """A line per rule: proven, and found with equal and with other weights."""
    lines = ["| rule | proven | found, equal weights | found, other weights |", "|---|---|---|---|"]
    for rule in dict.fromkeys(rule for rule, _ in found):
        lines.append(f"| `{rule}` | {RULES[rule]:.5g} | {found[rule, True]:.3f} | {found[rule, False]:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--starts", type=int, default=300, help="draws of each size")
    parser.add_argument("--steps", type=int, default=1000, help="changes of each of the best draws")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    todo = list(product(asked.rules, (True, False), asked.seeds, [asked.starts], [asked.steps]))
    found = dict.fromkeys(product(asked.rules, (True, False)), 0.0)
    with ProcessPoolExecutor(asked.jobs) as pool:
        for (rule, equal, *_), value in zip(todo, pool.map(searched, todo), strict=True):
            found[rule, equal] = max(found[rule, equal], value)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
