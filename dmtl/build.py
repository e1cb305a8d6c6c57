"""From a configuration to nodes: every piece made, every liar placed, everything checked, before round 0.

All of it is a pure function of the configuration and of the number of ranks, so every rank gets the same without talk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from dmtl.attacks.case import Case
from dmtl.attacks.told import told
from dmtl.capabilities import Knowing
from dmtl.changing import Changing
from dmtl.compat import check_changing, check_graph, check_links, check_node
from dmtl.config import Config, Liars
from dmtl.consensus.chart import Charted, Gathering, chart
from dmtl.data.features import mapped
from dmtl.data.partition import task_count
from dmtl.data.pool import Borrowing, Dataset, Poison, Pool, Shift
from dmtl.data.split import choose_tasks, in_precision, share, standardise
from dmtl.errors import ConfigError
from dmtl.graphs.common import check_connected
from dmtl.links import Conditions, parse_joins, parse_link, parse_slow, parse_split
from dmtl.modes import as_shared, check_compressor, check_layers, check_rows, check_task, check_vectors, in_mode
from dmtl.node import Node
from dmtl.own import files
from dmtl.registry import find
from dmtl.rng import Purpose, stream
from dmtl.screens.piped import Piped
from dmtl.specs import Spec, describe, make
from dmtl.topology import Topology
from dmtl.types import Algorithm, Attack, Mat, Screen
from dmtl.wire import Compressor

__all__ = ["Lie", "Plan", "plan"]

HELD_OUT = 0.3
"""Share of the training groups that is kept for a screen that judges on it where the user has kept none."""


class Lie(NamedTuple):
    """What one Byzantine rank does."""

    attack: Attack | None
    poison: Poison | Borrowing | None


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
    conditions: Conditions
    """what is imposed on links and ranks"""
    changing: Changing | None
    """which links are in use in a round; None: all in all"""
    features: Callable[[Mat], Mat] | None
    """the map of rows that all ranks have in common; None: rows stay as they are"""
    shift: Shift | None
    """what each rank's features suffer in its own way"""
    compressor: Compressor | None
    """what makes messages shorter; None: they travel as they are"""

    @cached_property
    def data_identity(self) -> str:
        """Hexadecimal digest of all data, of the graph, of its schedule and of the user's own code."""
        mixed = hashlib.sha256(repr(sorted(map(repr, self.topology.graph.edges(data=True)))).encode())
        for array in (self.pool.x, self.pool.y, self.pool.task, self.pool.group, self.pool.test):
            if array is not None:
                mixed.update(np.ascontiguousarray(array).data)
        schedule = (self.config.time_varying or {}).get("path")
        for file in ([schedule] if schedule else []) + files(msgspec.to_builtins(self.config)):
            mixed.update(Path(file).read_bytes())
        return mixed.hexdigest()

    def dataset(self, rank: int) -> Dataset:
        """A rank's own data as its task sees them, poisoned if it is such a liar: what it falsifies is its rows."""
        data = self._true_data(rank)
        poison = self.lies[rank].poison if rank in self.lies else None
        if isinstance(poison, Borrowing):
            poison = poison.lent(self._true_data(poison.lender(rank, self.topology.size)))
        if poison:
            data = poison(data, stream(self.config.seed, Purpose.POISON, rank))
        return in_precision(mapped(data, self.features) if self.features else data, self.config.dtype)

    def _true_data(self, rank: int) -> Dataset:
        config = self.config
        data = share(self.pool, self.rows[rank], config.test, config.held_out, config.seed, rank)
        data = self.shift.shifted(data, rank, self.topology.size, config.seed) if self.shift else data
        return standardise(data) if config.standardise else data

    def node(self, rank: int) -> Node:
        """A rank's node; raises ConfigError or CompatibilityError where its data or task do not fit."""
        config = self.config
        lie = self.lies.get(rank)
        oracle = isinstance(self.screen, Knowing) and self.screen.needs_liars
        colluders = tuple(sorted(self.lies)) if lie or oracle else ()
        rushers = [r for r, other in self.lies.items() if other.attack and other.attack.rushing]
        view = self.topology.view(rank, config.seed, getattr(self.task, "batch", 0) > 0, colluders)
        task = self._bound_task(rank)
        if config.private:
            check_layers(task, rank, self.config)
        if not lie:
            check_node(self.algorithm, self.screen, task, rank, self.config)
        if config.stream:
            check_rows(task, rank)
        if self.compressor:
            check_vectors(self.algorithm, task, config)
        return Node(
            view,
            task,
            self._gathered[rank] if isinstance(self.algorithm, Gathering) else self.algorithm,
            self.screen,
            told(lie.attack, self._case(rank)) if lie and lie.attack else None,
            config.dtype,
            rushers,
            self.conditions.age if self.conditions.hides and not config.asynchronous else None,
            self.conditions.reach,
            self.changing,
            self.conditions.joins.get(rank, 0),
            self.compressor,
        )

    def _bound_task(self, rank: int) -> Any:
        task = self.task.build(self.dataset(rank))
        check_task(task, rank, self.config)
        return task

    @cached_property
    def _known_task(self) -> Callable[[int], Any]:
        """Any rank's task, bound once for all who ask: what messages are vectors of."""
        return cache(lambda rank: as_shared(self._bound_task(rank), self.config))

    @cached_property
    def _gathered(self) -> Sequence[Algorithm[Any]]:
        """Each rank's part of a central method."""
        tasks = [self._known_task(rank) for rank in range(self.topology.size)]
        return cast(Gathering, self.algorithm).gathered(tasks, chart(self.topology.graph))

    def _case(self, rank: int) -> Case:
        """What an omniscient attack on a rank is to know."""
        liars = tuple(sorted(self.lies))
        return Case(rank, self.topology, self.algorithm, self.screen, liars, self._known_task)

    def label(self, rank: int) -> str:
        """What a rank's task is called in the data."""
        natural = self.config.partition == {"name": "natural"}
        return self.pool.labels[rank] if natural and self.pool.labels else f"rank {rank}"


def plan(config: Config, ranks: int = 0) -> Plan:
    """Make and check everything that all ranks share; ``ranks`` is how many there are, 0 to find out from the rest.

    Raises ConfigError for wrong input and CompatibilityError for pieces that do not go together.
    """
    made = {kind: make(kind, getattr(config, kind)) for kind in ("topology", "data", "algorithm")}
    ranks = ranks or config.ranks or _own_size(made["topology"], config.seed)
    pool = made["data"].load(ranks or 8, config.seed)
    pool = choose_tasks(pool, config.tasks) if config.tasks else pool
    spread = config.partition or {"name": "natural" if task_count(pool) > 1 else "iid"}
    ranks = ranks or (task_count(pool) if spread == {"name": "natural"} else 8)
    made["partition"] = make("partition", spread)
    made["task"] = make("task", config.task or {"name": _task_for(pool.classes)})
    graph = made["topology"].graph(ranks, config.seed)
    check_connected(graph, f"topology {config.topology['name']!r}")
    topology = Topology(graph, find("weights", config.weights)(graph))
    for kind in ("time_varying", "features", "shift", "compressor"):
        if getattr(config, kind):
            made[kind] = make(kind.replace("_", "-"), getattr(config, kind))
    changing = Changing(graph, config.weights, made["time_varying"], config.seed) if config.time_varying else None
    rows = made["partition"].assign(pool, ranks, config.seed)
    features = made["features"].drawn(pool.x.shape[1], config.seed) if config.features else None
    config = _decided(config, spread["name"] == "natural" and task_count(pool) > 1)
    groups = [(group, _lie(group)) for group in _place(config.byzantine, ranks, config.seed)]
    lies = {rank: lie for group, lie in groups for rank in group.ranks}
    parts = _screens(config.screen)
    screen: Screen = Piped(tuple(parts[:-1]), parts[-1]) if len(parts) > 1 else parts[0]
    conditions = _conditions(config, ranks)
    algorithm, charted = made["algorithm"], cache(lambda: chart(graph))
    if isinstance(algorithm, Charted) and not graph.is_directed():  # of a directed one there is no chart
        algorithm = algorithm.charted(charted())
    warnings = check_graph(algorithm, screen, topology, lies, config)
    warnings += check_links(algorithm, conditions, config)
    warnings += check_changing(screen, changing, lies, config) if changing else []
    explicit = msgspec.structs.replace(
        config,
        ranks=ranks,
        eval_every=config.every,
        screen=[describe(kind, part) for kind, part in zip(_screen_kinds(parts), parts, strict=True)],
        byzantine=[_told(group, lie) for group, lie in groups],
        **{kind: describe(kind.replace("_", "-"), piece) for kind, piece in made.items()},
    )
    algorithm, more = in_mode(algorithm, config, conditions, lies, charted)
    warnings += [*more, *check_compressor(algorithm, made.get("compressor"), conditions, config)]
    maps = (features, made.get("shift"), made.get("compressor"))
    common = (pool, rows, made["task"], tuple(warnings), conditions, changing, *maps)
    return Plan(explicit, topology, algorithm, screen, lies, *common)


def _conditions(config: Config, ranks: int) -> Conditions:
    return Conditions(
        config.seed,
        parse_link(config.link),
        tuple(parse_split(text, ranks) for text in config.splits),
        parse_joins(config.join, ranks),
        parse_slow(config.slow, ranks),
        config.pace,
    )


def _own_size(piece: Any, seed: int) -> int:
    """The number of ranks that a topology brings along; 0 if it takes any number."""
    try:
        return len(piece.graph(None, seed))
    except ConfigError:
        return 0


def _task_for(classes: int) -> str:
    return {0: "least-squares", 2: "logistic"}.get(classes, "softmax")


def _screens(specs: list[Spec]) -> list[Any]:
    """The pre-screens in order, and the screen last."""
    return [make(kind, spec) for kind, spec in zip(_screen_kinds(specs), specs, strict=True)]


def _decided(config: Config, several: bool) -> Config:
    """The configuration with the screen 'auto' and the share for judging chosen; ``several``: ranks differ in task."""
    *before, last = config.screen
    if last == {"name": "auto"}:
        last = {"name": "gate-cap-anchor" if several else "cs-plus"}
    judge = make("screen", last)
    kept = HELD_OUT if isinstance(judge, Knowing) and judge.needs_held_out and not config.held_out else config.held_out
    return msgspec.structs.replace(config, screen=[*before, last], held_out=kept)


def _screen_kinds(parts: Sequence[Any]) -> list[str]:
    return ["pre-screen"] * (len(parts) - 1) + ["screen"]


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


def _told(group: Liars, lie: Lie) -> Liars:
    """A group of liars with every setting of what they do."""
    attack = describe("attack", lie.attack) if lie.attack else None
    poison = describe("poison", lie.poison) if lie.poison else None
    return msgspec.structs.replace(group, attack=attack, poison=poison)
