"""From a configuration to nodes: every piece made, every liar placed, everything checked, before round 0.

All of it is a pure function of the configuration and of the number of ranks, so every rank gets the same without talk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from dmtl.compat import check_graph, check_node
from dmtl.config import Config, Liars
from dmtl.data.partition import task_count
from dmtl.data.pool import Dataset, Pool
from dmtl.data.split import choose_tasks, share, standardise
from dmtl.errors import ConfigError
from dmtl.graphs.common import check_connected
from dmtl.node import Node
from dmtl.registry import find
from dmtl.rng import Purpose, stream
from dmtl.screens.piped import Piped
from dmtl.specs import Spec, describe, make
from dmtl.topology import Topology
from dmtl.types import Algorithm, Attack, Screen

__all__ = ["Lie", "Plan", "plan"]


class Lie(NamedTuple):
    """What one Byzantine rank does."""

    attack: Attack | None
    poison: Callable[[Dataset, np.random.Generator], Dataset] | None


@dataclass(frozen=True)
class Plan:
    """A run, ready to start: what all ranks have in common."""

    config: Config
    """every setting explicit, every liar placed"""
    topology: Topology
    algorithm: Algorithm[Any]
    screen: Screen
    lies: Mapping[int, Lie]
    """the Byzantine ranks"""
    pool: Pool
    rows: list[NDArray[np.int64]]
    """rows of the pool per rank"""
    task: Any
    """the task's settings; ``build(dataset)`` binds them"""
    warnings: tuple[str, ...]

    def dataset(self, rank: int) -> Dataset:
        """A rank's own data, poisoned if it is such a liar."""
        config = self.config
        data = share(self.pool, self.rows[rank], config.test, config.held_out, config.seed, rank)
        data = standardise(data) if config.standardise else data
        poison = self.lies[rank].poison if rank in self.lies else None
        if poison:
            data = poison(data, stream(config.seed, Purpose.POISON, rank))
        return _cast(data, config.dtype)

    def node(self, rank: int) -> Node:
        """A rank's node; raises ConfigError or CompatibilityError where its data or task do not fit."""
        config = self.config
        lie = self.lies.get(rank)
        colluders = tuple(sorted(self.lies)) if lie else ()
        rushers = [r for r, other in self.lies.items() if other.attack and other.attack.rushing]
        view = self.topology.view(rank, config.seed, getattr(self.task, "batch", 0) > 0, colluders)
        task = self.task.build(self.dataset(rank))
        check_node(self.algorithm, task, rank, self.config)
        attack = lie.attack if lie else None
        return Node(view, task, self.algorithm, self.screen, attack, config.dtype, rushers)

    def label(self, rank: int) -> str:
        """What a rank's task is called in the data."""
        natural = self.config.partition == {"name": "natural"}
        return self.pool.labels[rank] if natural and self.pool.labels else f"rank {rank}"


def plan(config: Config, ranks: int = 0) -> Plan:
    """Make and check everything that all ranks share; ``ranks`` is how many there are, 0 to find out from the rest.

    Raises ConfigError for wrong input and CompatibilityError for pieces that do not go together.
    """
    topology_piece = make("topology", config.topology)
    ranks = ranks or config.ranks or _own_size(topology_piece, config.seed)
    pool = make("data", config.data).load(ranks or 8, config.seed)
    pool = choose_tasks(pool, config.tasks) if config.tasks else pool
    spread = config.partition or {"name": "natural" if task_count(pool) > 1 else "iid"}
    ranks = ranks or (task_count(pool) if spread == {"name": "natural"} else 8)
    graph = topology_piece.graph(ranks, config.seed)
    check_connected(graph, f"topology {config.topology['name']!r}")
    topology = Topology(graph, find("weights", config.weights)(graph))
    rows = make("partition", spread).assign(pool, ranks, config.seed)
    groups = _place(config.byzantine, ranks, config.seed)
    algorithm, screen = make("algorithm", config.algorithm), _screen(config.screen)
    lies = {rank: _lie(group) for group in groups for rank in group.ranks}
    task = make("task", config.task or {"name": _task_for(pool.classes)})
    warnings = check_graph(algorithm, screen, topology, lies, config)
    explicit = _explicit(msgspec.structs.replace(config, partition=spread), ranks, groups, task)
    return Plan(explicit, topology, algorithm, screen, lies, pool, rows, task, tuple(warnings))


def _own_size(piece: Any, seed: int) -> int:
    """The number of ranks that a topology brings along; 0 if it takes any number."""
    try:
        return len(piece.graph(None, seed))
    except ConfigError:
        return 0


def _task_for(classes: int) -> str:
    return {0: "least-squares", 2: "logistic"}.get(classes, "softmax")


def _screen(specs: list[Spec]) -> Screen:
    """The screen, with its pre-screens in front."""
    *first, last = specs
    screen: Screen = make("screen", last)
    return Piped(tuple(make("pre-screen", spec) for spec in first), screen) if first else screen


def _lie(group: Liars) -> Lie:
    return Lie(
        make("attack", group.attack) if group.attack else None,
        make("poison", group.poison) if group.poison else None,
    )


def _place(groups: list[Liars], ranks: int, seed: int) -> list[Liars]:
    """Say which ranks lie: those that are named, the others drawn by the seed from the rest."""
    taken: set[int] = set()
    for group in groups:
        if not (group.attack or group.poison):
            raise ConfigError("byzantine ranks are given but not what they do. Add --attack NAME or --poison NAME.")
        for rank in group.ranks:
            if not 0 <= rank < ranks or rank in taken:
                raise ConfigError(f"byzantine rank {rank}: it must be one of 0 .. {ranks - 1}, named once.")
            taken.add(rank)
    placed = []
    order = [int(rank) for rank in stream(seed, Purpose.PLACEMENT).permutation(ranks)]
    for group in groups:
        free = [rank for rank in order if rank not in taken]
        if group.count > len(free):
            raise ConfigError(f"byzantine is {group.count}, but only {len(free)} of the {ranks} ranks are left.")
        drawn = free[: group.count]
        taken.update(drawn)
        placed.append(Liars(0, tuple(sorted({*group.ranks, *drawn})), group.attack, group.poison))
    return placed


def _explicit(config: Config, ranks: int, groups: list[Liars], task: Any) -> Config:
    """The same configuration with every default written out, so that it can be read, compared and run again."""
    full: dict[str, Any] = {
        kind: describe(kind, make(kind, getattr(config, kind)))
        for kind in ("data", "partition", "topology", "algorithm")
    }
    *first, last = config.screen
    screen = [describe("pre-screen", make("pre-screen", spec)) for spec in first]
    screen.append(describe("screen", make("screen", last)))
    liars = [
        msgspec.structs.replace(
            group,
            attack=group.attack and describe("attack", make("attack", group.attack)),
            poison=group.poison and describe("poison", make("poison", group.poison)),
        )
        for group in groups
    ]
    return msgspec.structs.replace(
        config,
        ranks=ranks,
        task=describe("task", task),
        screen=screen,
        byzantine=liars,
        eval_every=config.every,
        **full,
    )


def _cast(data: Dataset, dtype: str) -> Dataset:
    """All floating-point arrays of a data set in the run's precision."""
    floats: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            floats[field.name] = value.astype(dtype, copy=False)
    return replace(data, **floats)
