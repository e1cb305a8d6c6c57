"""Which pieces go together: found out before round 0, said in one sentence that names the way out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from sys import maxsize
from typing import Any

import numpy as np

from dmtl.algorithms.certified import CertifiedStop
from dmtl.capabilities import (
    Clipping,
    Curved,
    Dividing,
    Dual,
    Enduring,
    Exposed,
    Halving,
    Judging,
    Knowing,
    Limited,
    Proximable,
    Reweighting,
    Scoring,
    Smooth,
    Weighted,
)
from dmtl.changing import Changing
from dmtl.config import Config
from dmtl.consensus.chart import Gathering
from dmtl.errors import CompatibilityError
from dmtl.links import Conditions
from dmtl.modes import bare
from dmtl.screens.piped import Piped
from dmtl.topology import Topology
from dmtl.types import Algorithm, Needs, Screen, Task

__all__ = ["check_changing", "check_graph", "check_links", "check_node"]


def check_graph(
    algorithm: Algorithm[Any], screen: Screen, topology: Topology, liars: Collection[int], config: Config
) -> list[str]:
    """Check a method and a screen against graph and weights; return warnings, each one sentence."""
    name, graph = config.algorithm["name"], config.topology["name"]
    if Needs.UNDIRECTED in algorithm.needs and topology.graph.is_directed():
        raise CompatibilityError(
            f"{name!r} needs an undirected graph and {graph!r} is directed. Use 'diffusion', or make the links two-way."
        )
    # The uniform weights of a regular graph have such columns, those of the rounds of a changing one have not.
    uneven = config.time_varying is not None and config.weights == "uniform"
    if Needs.DOUBLY_STOCHASTIC in algorithm.needs and (uneven or not _columns_sum_to_one(topology)):
        raise CompatibilityError(
            f"{name!r} needs weights whose columns sum to one; {config.weights!r} on {graph!r} has others. "
            f"Use --weights metropolis."
        )
    forced = []
    if Needs.UNSCREENED not in algorithm.needs:
        forced = _raise_unless_forced(_screen_objections(algorithm, screen, topology, liars, config), config)
    return [*forced, *_warnings(algorithm, screen, liars, config)]


def check_links(algorithm: Algorithm[Any], conditions: Conditions, config: Config) -> list[str]:
    """Check a method against late and lost messages; return warnings, each one sentence."""
    name = config.algorithm["name"]
    fresh = Needs.FRESH in algorithm.needs or getattr(algorithm, "one", False)  # of one component a round
    if fresh and (config.asynchronous or conditions.link.age):
        what = f"transport {config.transport!r}" if config.asynchronous else f"link {config.link!r}"
        raise CompatibilityError(
            f"{name!r} needs every message in its own round, and {what} brings messages of earlier rounds. "
            f"Use 'amtl', 'laplacian' or 'diffusion', or --transport sync."
        )
    changes = {
        "a time-varying graph": config.time_varying,
        "a split": conditions.splits,
        "a late rank": conditions.joins,
        f"link {config.link!r}": conditions.link.drop,
    }
    if Needs.STATIC in algorithm.needs and any(changes.values()):
        what = next(what for what, there in changes.items() if there)
        raise CompatibilityError(
            f"{name!r} counts on every link in every round, and there is {what}. "
            f"Leave it out, or use 'laplacian' or 'diffusion'."
        )
    if config.time_varying and conditions.link.age:
        raise CompatibilityError(
            "link age and a time-varying graph do not go together: a late message may be of a round in which its link "
            "was not in use. Leave one of them out; link drop goes with both."
        )
    if config.seconds and not config.asynchronous:
        raise CompatibilityError(
            "--seconds stops ranks that do not wait for each other; who waits would wait for one that has stopped. "
            "Use --transport async or simulated-async, or --rounds."
        )
    if config.asynchronous and (conditions.joins or conditions.splits or conditions.link.age or config.time_varying):
        raise CompatibilityError(
            "join, split, time-varying and link age count common rounds, and asynchronous ranks have none. "
            "Use --transport sync, or link delay, jitter and drop."
        )
    # Links that both ends know to be closed do no harm.
    if fresh and conditions.link.drop and not (isinstance(algorithm, Enduring) and algorithm.endures_loss):
        return [f"{name!r} needs every message; where some are lost it ends somewhere else, and the error stays."]
    return []


def check_changing(screen: Screen, changing: Changing, liars: Collection[int], config: Config) -> list[str]:
    """Check a screen against a graph that changes; return warnings, each one sentence."""
    least, rounds = screen.least_neighbours(), min(config.rounds, 200)
    honest = set(range(changing.size)) - set(liars) if least and rounds else set[int]()
    most = dict.fromkeys(honest, 0)
    for round in range(rounds if honest else 0):  # all ranks of one round after the other: each is drawn only once
        for rank in honest:
            most[rank] = max(most[rank], int(changing.row(rank, round).hears.sum()))
    short = sorted(rank for rank, have in most.items() if have < least)
    if not short:
        return []
    piece = (config.time_varying or {})["name"]
    return [
        f"{config.screen[-1]['name']!r} asks for {least} neighbours, and {piece!r} gives rank {short[0]} at most "
        f"{most[short[0]]} in any of the first {rounds} rounds: it may offer no protection there. Lower b, or leave "
        f"out --time-varying."
    ]


def check_node(algorithm: Algorithm[Any], screen: Screen, task: Task, rank: int, config: Config) -> None:
    """Check a method and a screen against one rank's task."""
    _raise_unless_forced(_data_objections(algorithm, screen, task, rank, config), config)
    name = config.algorithm["name"]
    task_name = type(task).__name__.removesuffix("Task")
    if Needs.PROX in algorithm.needs and not isinstance(task, Proximable):
        raise CompatibilityError(
            f"{name!r} needs a task with a proximal map and rank {rank}'s {task_name} has none. "
            f"Use the task 'least-squares', 'logistic' or 'softmax', or the algorithm 'network-lasso'."
        )
    if Needs.SMOOTH in algorithm.needs and not isinstance(task, Smooth):
        raise CompatibilityError(
            f"{name!r} needs a task with a smooth gradient and rank {rank}'s {task_name} has none. "
            f"Use the task 'least-squares', 'logistic' or 'softmax'."
        )
    if Needs.CURVED in algorithm.needs and not isinstance(task, Curved):
        raise CompatibilityError(
            f"{name!r} needs a task that knows its Hessian and rank {rank}'s {task_name} does not. "
            f"Use the task 'least-squares', 'logistic' or 'softmax'."
        )
    method = bare(algorithm)
    if isinstance(method, Scoring) and method.needs_held_out and not (rows := _held_out(task)):
        raise CompatibilityError(
            f"{name!r} with score=held-out judges neighbours on held-out rows, and rank {rank} has {rows}. "
            f"Keep some: --held-out 0.3, or leave out score."
        )
    if isinstance(algorithm, CertifiedStop) and (lack := algorithm.lacks(task)):
        raise CompatibilityError(f"rank {rank} has no certificate for --stop, which needs {lack}; or leave it out.")
    if Needs.DUAL in algorithm.needs and not isinstance(task, Dual):
        raise CompatibilityError(
            f"{name!r} works on the dual of a task, a number per row, and rank {rank}'s {task_name} has none. "
            f"Use the task 'hinge', 'least-squares' or 'logistic'."
        )
    if Needs.WEIGHTED in algorithm.needs and not isinstance(task, Weighted):
        raise CompatibilityError(
            f"{name!r} weighs rows and blends predictions, and rank {rank}'s {task_name} cannot. "
            f"Use the task 'least-squares', 'logistic', 'mlp' or 'softmax'."
        )
    if getattr(algorithm, "epsilon", None) is not None and not isinstance(task, Clipping):
        raise CompatibilityError(
            f"{name!r} with an epsilon needs a task that clips each row's gradient, and rank {rank}'s {task_name} does "
            f"not. Use the task 'least-squares', 'logistic', 'softmax' or 'hinge', or leave epsilon out."
        )
    if getattr(algorithm, "reweighs", False) and not isinstance(task, Reweighting):
        raise CompatibilityError(
            f"{name!r} with a cap or p weighs rows by their losses, and rank {rank}'s {task_name} cannot. "
            f"Use the task 'hinge', 'least-squares', 'logistic' or 'softmax', or leave out cap and p."
        )
    if getattr(algorithm, "step_size", 0.0) is None and not isinstance(task, Smooth):
        raise CompatibilityError(
            f"{name!r} takes its step size from the task, and rank {rank}'s {task_name} has no smooth gradient. "
            f"Give one: {name}:step_size=0.1/sqrt(t)."
        )
    if Needs.UNSCREENED not in algorithm.needs:
        halves = isinstance(task, Halving) and not isinstance(algorithm, Dividing)
        _check_anchor(screen.screen if isinstance(screen, Piped) else screen, task, halves, rank, config)


def _check_anchor(screen: Screen, task: Task, halves: bool, rank: int, config: Config) -> None:
    """Check a screen that learns from the task itself for what it is to find out by itself."""
    name, task_name = config.screen[-1]["name"], type(task).__name__.removesuffix("Task")
    if getattr(screen, "step_size", 0.0) is None and not isinstance(task, Smooth):
        raise CompatibilityError(
            f"{name!r} takes its step size from the task, and rank {rank}'s {task_name} has no smooth gradient. "
            f"Give one: {name}:step_size=0.1/sqrt(t)."
        )
    if getattr(screen, "radius", 0.0) is None and not halves:
        what = f"rank {rank}'s {task_name} cannot be halved"
        if isinstance(task, Halving):
            what = f"a model of {config.algorithm['name']!r} is for a part of them that changes"
        raise CompatibilityError(
            f"{name!r} estimates its radius from two halves of the data, and {what}. Give one: {name}:radius=1."
        )


def _data_objections(algorithm: Algorithm[Any], screen: Screen, task: Task, rank: int, config: Config) -> Iterator[str]:
    """Why a screen that judges by own data cannot do so on a rank."""
    if Needs.UNSCREENED in algorithm.needs or not (isinstance(screen, Knowing) and screen.needs_held_out):
        return
    rows = _held_out(task)
    if not rows:
        yield (
            f"{config.screen[-1]['name']!r} judges neighbours on held-out rows, and rank {rank} has {rows}. "
            f"Keep some: --held-out 0.3, or give each rank more rows."
        )
    vectors = algorithm.message_shape(task)[0]
    if vectors != 1 and not isinstance(algorithm, Dividing):
        yield (
            f"{config.screen[-1]['name']!r} judges models, and a message of {config.algorithm['name']!r} has {vectors} "
            f"vectors, not all of which own rows can judge. Use 'diffusion', 'laplacian' or 'network-lasso'."
        )


def _held_out(task: Task) -> int:
    return task.held_out_rows if isinstance(task, Judging) else 0


def _columns_sum_to_one(topology: Topology) -> bool:
    return bool(np.allclose(topology.matrix.sum(axis=0), 1.0, rtol=0, atol=1e-9))


def _screen_objections(
    algorithm: Algorithm[Any], screen: Screen, topology: Topology, liars: Collection[int], config: Config
) -> Iterator[str]:
    """Why a screen cannot hold on some honest rank, the first of each kind."""
    spec, least = config.screen[-1], screen.least_neighbours()
    given = ", ".join(f"{key}={value}" for key, value in spec.items() if key != "name")
    piece, graph = f"{spec['name']!r} with {given or 'its settings'}", config.topology["name"]
    count = "f" if "f" in spec else "b"
    near = {rank: topology.sources(rank) for rank in range(topology.size) if rank not in liars}
    short = next((rank for rank, sources in near.items() if len(sources) < least), None)
    if short is not None:
        yield (
            f"{piece} needs {least} neighbours; rank {short} has {len(near[short])} in {graph}. "
            f"Lower {count} or add edges."
        )
    most = screen.most_neighbours() if isinstance(screen, Limited) else maxsize
    crowded = next((rank for rank, sources in near.items() if len(sources) > most), None)
    if crowded is not None:
        yield (
            f"{piece} takes {most} neighbours at most, or a round would last too long; rank {crowded} has "
            f"{len(near[crowded])} in {graph}. Lower f, use 'mda' or 'multi-krum', or remove edges."
        )
    if screen.linear or Needs.EDGEWISE in algorithm.needs:
        return
    for rank, sources in near.items():
        among, held = len(set(sources) & set(liars)), screen.capacity(len(sources))
        if among > held:
            yield (
                f"{piece} holds against {held} liars among {len(sources)} neighbours, and rank {rank} has {among}. "
                f"Raise its {count}, add edges, or place fewer liars; 'dmtl check' shows all ranks."
            )
            return


def _raise_unless_forced(objections: Iterable[str], config: Config) -> list[str]:
    """The objections as warnings where the user has said --force."""
    found = list(objections)
    if found and not config.force:
        raise CompatibilityError(f"{found[0]} Or run it as it is with --force.")
    return [f"forced: {objection}" for objection in found]


def _warnings(algorithm: Algorithm[Any], screen: Screen, liars: Collection[int], config: Config) -> Iterator[str]:
    name, plain = config.algorithm["name"], screen.linear
    if liars and (exposure := _exposure(algorithm)):
        yield f"{name!r} {exposure}"
    if Needs.UNSCREENED in algorithm.needs and not plain:
        yield f"{name!r} asks no screen, so {config.screen[-1]['name']!r} has no effect."
    if Needs.DOUBLY_STOCHASTIC in algorithm.needs and (liars or not plain) and not getattr(algorithm, "leak", 0.0):
        heals = f"Give it a leak and a cap, {name}:leak=0.1,cap=1, or use" if hasattr(algorithm, "leak") else "Use"
        yield (
            f"{name!r} keeps a sum over all ranks that a lie or a screen breaks, and the error stays. {heals} "
            f"'diffusion', 'laplacian' or 'network-lasso'."
        )


def _exposure(algorithm: Algorithm[Any]) -> str:
    """What a liar can do to a method that neither a screen nor its own rule bounds, as ``Exposed`` says it."""
    if isinstance(algorithm, Exposed):
        return algorithm.exposure()
    if isinstance(algorithm, Gathering):
        return (
            "is told the data of all ranks: lies in messages change nothing, and false data are in every model. "
            "With liars use 'diffusion' and a screen."
        )
    if Needs.STATIC in algorithm.needs:
        return "has no defence: a lie is in every average. With liars use 'diffusion' and a screen."
    if Needs.UNSCREENED in algorithm.needs:
        return "asks no screen and tells of no defence of its own. With liars use 'diffusion' and a screen."
    return ""
