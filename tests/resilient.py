"""Streams of linear regression with liars, for 'resilient-mtl': many seeds at once, in a few lines that share no code.

Complete graph, rows x ~ N(0, I) one a round, y = x'w_k + noise; honest rank k has task k mod 4, the last ranks lie.
Letters: S seeds, h honest ranks, n ranks, p features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import networkx as nx
import numpy as np

from dmtl.algorithms.streamed import Streamed
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.topology import Topology, metropolis
from dmtl.types import Attack

N, P, TASKS, NOISE = 20, 10, 4, 0.5
Lie = Callable[["Setting", np.ndarray, int], np.ndarray]
"""(setting, psi (S, h, p), round) -> what each liar says to each honest rank, (S, h, n - h, p)"""


@dataclass(frozen=True)
class Rows:
    """One rank's rows, or a window of them; the loss is half the squared error."""

    x: np.ndarray
    y: np.ndarray

    @property
    def dim(self) -> int:
        return self.x.shape[1]

    @property
    def training_rows(self) -> int:
        return len(self.y)

    def window(self, first, last):
        return Rows(self.x[first:last], self.y[first:last])

    def loss(self, w, rng=None):
        rest = self.x @ w - self.y
        return float(rest @ rest) / (2 * len(rest))

    def grad(self, w, rng=None):
        return self.x.T @ (self.x @ w - self.y) / len(self.y)

    def surprise(self, w):
        return self.loss(w), 2 * self.loss(w)

    def evaluate(self, w):
        return {}


@dataclass(frozen=True)
class Setting:
    """The rows of all seeds."""

    seeds: int = 20
    rounds: int = 1000
    liars: int = 5
    seed: int = 0

    @property
    def honest(self) -> int:
        return N - self.liars

    @cached_property
    def truth(self) -> np.ndarray:
        """(S, h, p)"""
        tasks = np.random.default_rng(self.seed).standard_normal((self.seeds, TASKS, P))
        return tasks[:, np.arange(self.honest) % TASKS]

    def rows(self, round: int) -> tuple[np.ndarray, np.ndarray]:
        """(S, h, p) and (S, h)"""
        rng = np.random.default_rng([self.seed, round])
        x = rng.standard_normal((self.seeds, self.honest, P))
        return x, np.vecdot(x, self.truth) + NOISE * rng.standard_normal((self.seeds, self.honest))


def constant(setting: Setting, psi: np.ndarray, round: int, value: float = 2.0) -> np.ndarray:
    return np.full((*psi.shape[:2], setting.liars, P), value)


def shrink(setting: Setting, psi: np.ndarray, round: int) -> np.ndarray:
    factors = np.random.default_rng([setting.seed, round, 1]).random((*psi.shape[:2], setting.liars, 1))
    return 0.1 * factors * setting.truth[:, :1, None]


def drag(setting: Setting, psi: np.ndarray, round: int, r: float = 0.02) -> np.ndarray:
    return np.repeat((psi + r * (3.0 - psi))[:, :, None], setting.liars, axis=2)


def pulse(setting: Setting, psi: np.ndarray, round: int, first: int = 350, every: int = 600) -> np.ndarray:
    """The victim's own minimiser, so the best name that there is; now and then something 20 away from it."""
    lies = np.repeat(setting.truth[:, :, None], setting.liars, axis=2)
    if round % every == first % every and round >= first:
        away = np.random.default_rng([setting.seed, round, 2]).standard_normal((*psi.shape[:2], 1, P))
        lies += 20 * away / np.linalg.norm(away, axis=-1, keepdims=True)
    return lies


def truthful(setting: Setting, psi: np.ndarray, round: int) -> np.ndarray:
    """What ranks with the first ranks' tasks say."""
    return np.repeat(psi[:, None, : setting.liars], psi.shape[1], axis=1)


@dataclass(frozen=True)
class Oracle:
    """The method over, and what it would be with the defects that it must not have."""

    rule: str = "loss"
    gamma: float = 0.01
    warm_up: int = 200
    worst: float = 9.0
    guard: float = 4.0
    mu: float = 0.02
    score: str = "next-batch"
    """'same-batch' as published, 'lopsided': there, with the own loss before the step"""
    slack: float = 0.0
    anew: bool = True
    """whether figures begin anew halfway through the warm-up"""

    def run(self, setting: Setting, lie: Lie) -> np.ndarray:
        """(rounds, S, h) squared distances of models to the truth."""
        S, h, t = setting.seeds, setting.honest, np.arange(setting.honest)
        w = psi = np.zeros((S, h, P))
        known: list[np.ndarray] = []
        errors = np.empty((setting.rounds, S, h))
        for round in range(setting.rounds):
            x, y = setting.rows(round)
            if self.score != "next-batch":
                psi = w - self.mu * (np.vecdot(x, w) - y)[..., None] * x
            words = np.concatenate([np.repeat(psi[:, None], h, axis=1), lie(setting, psi, round)], axis=2)
            losses = (np.einsum("shp,shlp->shl", x, words) - y[..., None]) ** 2 / 2
            if self.score == "lopsided":
                losses[:, t, t] = (np.vecdot(x, w) - y) ** 2 / 2
            known, kept = self._judged(known, words, losses, t, round + 1)
            w = psi
            if self.rule == "loss" and round >= self.warm_up:
                a = kept / known[0]
                w = np.einsum("shl,shlp->shp", a / a.sum(axis=2, keepdims=True), words)
            if self.score == "next-batch":
                psi = w - self.mu * (np.vecdot(x, w) - y)[..., None] * x
            errors[round] = np.sum((w - setting.truth) ** 2, axis=2)
        return errors

    def _judged(self, known: list[np.ndarray], words: np.ndarray, losses: np.ndarray, t: np.ndarray, heard: int):
        """Accumulated losses, means and spreads of words (S, h, n, ..), and who is kept."""
        half = self.warm_up // 2 if self.anew else 0
        if heard in (1, half + 1):
            known = [losses, words, np.zeros_like(losses)]
        moved = np.sum((words - known[1]) ** 2, axis=3)
        g = max(self.gamma, 1 / (heard - half if heard > half else heard))
        after = [(1 - g) * old + g * new for old, new in zip(known, (losses, words, moved), strict=True)]
        own = after[0][:, t, t, None]
        kept = after[0] <= (1 + self.slack) * own
        if self.worst:
            kept &= losses <= self.worst * own
        if self.guard:
            kept &= moved <= self.guard * known[2]
        kept[:, t, t] = True
        return after, kept


class Told:
    """A liar that says what a ``Lie`` says to the honest ranks of one seed."""

    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "rushing"

    def __init__(self, setting: Setting, lie: Lie) -> None:
        self.setting, self.lie = setting, lie

    def init(self, task: Any, view: Any) -> tuple[()]:
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        h, lies = self.setting.honest, outbox.copy()
        psi = inbox.messages[np.array(view.sources) < h, 0][None]
        lies[np.array(view.targets) < h, 0] = self.lie(self.setting, psi, view.round)[0, :, view.rank - h]
        return lies, ()


def nodes(setting: Setting, lie: Lie | Attack, algorithm, idle) -> list[Node]:
    """The first seed's network; liars run ``idle`` inside, which is quick."""
    attack = lie if hasattr(lie, "knowledge") else Told(setting, lie)
    rows = [setting.rows(round) for round in range(setting.rounds)]
    graph, h = nx.complete_graph(N), setting.honest
    topology, liars = Topology(graph, metropolis(graph)), tuple(range(h, N))
    x, y = np.stack([x[0] for x, _ in rows], axis=1), np.stack([y[0] for _, y in rows], axis=1)
    made = []
    for rank in range(N):
        lies = rank >= h
        task, view = Rows(x[rank % h], y[rank % h]), topology.view(rank, 0, False, liars if lies else ())
        inner = Streamed(idle if lies else algorithm, 1)
        made.append(Node(view, task, inner, Average(), attack if lies else None, rushers=liars))
    return made
