"""The strongest lie along a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from dmtl.attacks.alie import z_max
from dmtl.attacks.case import Case
from dmtl.attacks.fitting import Optima
from dmtl.attacks.told import Told
from dmtl.attacks.victims import Scene, Victim, unit
from dmtl.capabilities import Knowing
from dmtl.errors import ConfigError
from dmtl.mailbox import only
from dmtl.types import Attack, Block, Inbox, Mat, Screen, Task, Vec, View

__all__ = ["Line", "LineSearch", "deviation", "line", "strongest"]

DECADES = 4.0
"""The grid goes from so many powers of ten below the longest step up to it."""
GOLDEN = 20
"""Steps of the golden section: it ends within a ten-thousandth of the bracket."""
_SHARE = (5**0.5 - 1) / 2


class Line(NamedTuple):
    """All lies ref + c u."""

    ref: Vec
    u: Vec
    usual: tuple[float, ...]
    """the strengths c that the attack of this name takes when it does not search"""


@dataclass(frozen=True, slots=True)
class LineSearch:
    """Line search: along a direction, say what moves this victim's aggregate farthest from where the honest move it.

    z_i = ref + c* u;  c* = argmax_c | F_i(x_i, honest rows, z) - F_i(x_i, honest rows) |, F_i the victim's own rule
    with its weights. Directions: 'alie' mu - c s; 'ipm' -c mu; 'dissensus' x_i - c sum_H w_ij (x_j - x_i) / w_B;
    'away' x_i + c r (x_i - x_i*) / |x_i - x_i*|, x_i* the optimum of the victim's own data and r the root mean square
    distance of its honest neighbours. mu and s are mean and standard deviation of the honest rows at the victim, w_B
    the liars' weight there. It tries the usual strengths of the direction, a log-spaced grid of both signs, and a
    golden section around the best of it. Every victim is told something else.
    It knows every rule, weight and task, and what its own neighbours say in this round.
    What is ours: all liars around a victim are taken to say this same lie, and F_i without lies is without their rows,
    their weight given to the own vector as for messages that are refused. What it does not hear of the victim's
    neighbours it replaces by what it does hear, preferring those whom the victim does not. A rule that remembers is
    taken as it was before round 0, and weights are those of the graph when all links are in use. In the further
    vectors of a message 'away' leads away from the honest mean. It says its honest message to fellow liars and to
    targets that it does not hear. Against an oracle, and where nobody tells it the case, it takes the usual strength.

    Baruch, Baruch and Goldberg, "A little is enough: circumventing defenses for distributed learning", NeurIPS 2019;
    Xie, Koyejo and Gupta, "Fall of empires: breaking Byzantine-tolerant SGD by inner product manipulation", UAI 2019;
    He, Karimireddy and Jaggi, "Byzantine-robust decentralized learning via ClippedGossip", arXiv:2202.01545, 2022, for
    the directions; Gaucher, Dieuleveut and Hendrikx, "Unified breakdown analysis for Byzantine robust gossip", ICML
    2025, for searching along them.
    """

    direction: Literal["alie", "ipm", "dissensus", "away"] = "alie"
    """along which line: alie, ipm, dissensus or away"""
    points: int = 24
    """strengths on the grid, for each sign; at least 16"""
    most: float = 100.0
    """the largest strength; the smallest is a ten-thousandth of it"""

    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "omniscient"

    def __post_init__(self) -> None:
        if self.points < 16:
            raise ConfigError(f"'line-search' has points={self.points}. It takes 16 at least to see the best of them.")
        if not 0 < self.most < np.inf:
            raise ConfigError(f"'line-search' has most={self.most}. most is the largest strength, above 0.")

    def informed(self, case: Case) -> Attack:
        """The attack that knows every rule."""
        return Told(self, case)

    def init(self, task: Task, view: View) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """The usual lie of that direction."""
        return self.lie(outbox, inbox, (), view, None), ()

    def prepare(self, view: View, case: Case) -> Any:
        """The victims' optima, where the direction leads away from them."""
        return Optima.of(view, case) if self.direction == "away" else ()

    def lie(self, outbox: Block, inbox: Inbox, memory: Any, view: View, case: Case | None) -> Block:
        """A search for each victim and each vector."""
        lies = outbox.copy()
        scene, searches = Scene.of(outbox, inbox, view, case), case is not None and not _sees_liars(case.screen)
        for place, target in enumerate(view.targets):
            for row in range(outbox.shape[1]):
                victim = scene.victim(target, row)
                if victim is None:
                    continue
                optimum = memory.x[place] if isinstance(memory, Optima) and row == 0 else None
                along = line(self.direction, victim, optimum)
                if case is not None and searches:
                    lies[place, row] = self._search(deviation(victim, view, case, inbox.cap), along)
                else:
                    lies[place, row] = _at(along, along.usual[0])
        return lies

    def _search(self, far: Callable[[Vec], float], along: Line) -> Vec:
        grid = np.geomspace(self.most / 10**DECADES, self.most, self.points)
        return _at(along, strongest(lambda c: far(_at(along, c)), grid, along.usual))


def line(direction: str, victim: Victim, optimum: Vec | None = None) -> Line:
    """The lies along a direction, as this victim's neighbourhood makes them."""
    x, honest = victim.rows[0], victim.honest
    mean = honest.mean(axis=0)
    if direction == "alie":
        return Line(mean, -honest.std(axis=0), (z_max(len(victim.rows), int(victim.lying.sum())),))
    if direction == "ipm":
        return Line(np.zeros_like(x), -mean, (0.5, 0.1, 1.1))
    if direction == "dissensus":
        weights = victim.weights[1:]
        pull = weights[~victim.lying] @ (honest[1:] - x)
        return Line(x, -pull / weights[victim.lying].sum(), (1.5, 1.0))
    away = x - mean
    if optimum is not None:  # a message may have more numbers than the model
        away = np.zeros_like(x)
        away[: len(optimum)] = x[: len(optimum)] - optimum
    spread = np.sqrt(np.square(honest[1:] - x).sum(axis=1).mean()) if len(honest) > 1 else 0.0
    return Line(x, unit(away) * spread, (1.0,))


def deviation(victim: Victim, view: View, case: Case, cap: float) -> Callable[[Vec], float]:
    """How far a lie of all liars around it takes the victim's aggregate from that of its honest rows."""
    near = case.topology.sources(victim.rank)
    here = case.topology.view(victim.rank, view.seed, view.stochastic)
    here = here._replace(weights=victim.weights, round=view.round, trust=np.ones(len(near), victim.weights.dtype))
    task = case.task(victim.rank)
    memory = case.screen.init(task, here)

    def aggregate(rows: Mat, seen: View) -> Vec:
        return case.screen(rows, seen.weights, memory, task, seen).value

    honest = aggregate(victim.honest, only(here, ~victim.lying)).astype(np.float64)
    rows = victim.rows.copy()

    def far(lie: Vec) -> float:
        if not np.linalg.norm(lie) <= cap:  # the victim would refuse it
            return 0.0
        rows[1:][victim.lying] = lie
        moved = float(np.linalg.norm(aggregate(rows, here) - honest))
        return moved if moved < np.inf else 0.0

    return far


def strongest(far: Callable[[float], float], grid: Vec, usual: tuple[float, ...]) -> float:
    """The strength of either sign with the largest ``far``: of the usual ones, the grid, and all between its points."""
    known: dict[float, float] = {c: far(c) for c in (*usual, *grid.tolist(), *(-grid).tolist())}
    place = max(range(len(grid)), key=lambda p: max(known[float(grid[p])], known[-float(grid[p])]))
    sign = 1.0 if known[float(grid[place])] >= known[-float(grid[place])] else -1.0

    def tried(log: float) -> float:
        c = sign * float(np.exp(log))
        return known.setdefault(c, far(c))

    low, high = np.log(grid[[max(place - 1, 0), min(place + 1, len(grid) - 1)]]).tolist()
    left, right = high - _SHARE * (high - low), low + _SHARE * (high - low)
    at_left, at_right = tried(left), tried(right)
    for _ in range(GOLDEN):
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - _SHARE * (high - low)
            at_left = tried(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _SHARE * (high - low)
            at_right = tried(right)
    return max(known, key=lambda c: known[c])


def _sees_liars(screen: Screen) -> bool:
    """Whether a rule is an oracle, whom no lie moves."""
    return isinstance(screen, Knowing) and screen.needs_liars


def _at(along: Line, c: float) -> Vec:
    lie: Vec = (along.ref + c * along.u).astype(along.ref.dtype)
    return lie
