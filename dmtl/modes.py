"""Ways to run a method: on a part of the model, on a stream, until a bound. What that asks of it, before round 0."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from dmtl.algorithms.certified import CertifiedStop, parse_stop
from dmtl.algorithms.personal import Personal, Shared, starting
from dmtl.algorithms.streamed import Serving, Streamed
from dmtl.capabilities import Agreeing, Certified, Layered, Windowed
from dmtl.config import Config
from dmtl.consensus.chart import Chart, Gathering
from dmtl.errors import CompatibilityError, ConfigError, unknown
from dmtl.links import Conditions
from dmtl.own import is_place
from dmtl.starts import first_model
from dmtl.types import Algorithm, Needs, Task
from dmtl.wire import Compressor

__all__ = [
    *("as_shared", "bare", "check_compressor", "check_layers", "check_rows", "check_stop"),
    *("check_task", "check_vectors", "in_mode"),
]


def in_mode(
    algorithm: Any,
    config: Config,
    conditions: Conditions,
    liars: Collection[int],
    charted: Callable[[], Chart],
) -> tuple[Any, list[str]]:
    """The method as it is to be run, and warnings, each one sentence."""
    warnings = []
    if config.private:
        _check_private(algorithm, config)
        algorithm = Personal(algorithm, layers(config))
    if config.stream:
        check_stream(algorithm, config)
        algorithm = Streamed(algorithm, config.stream)
    if config.stop:
        gap = parse_stop(config.stop)
        warnings = check_stop(algorithm, conditions, liars, config)
        algorithm = CertifiedStop(algorithm, charted(), gap)
    return algorithm, warnings


def bare(algorithm: Any) -> Any:
    """The method itself."""
    while isinstance(algorithm, Personal | Streamed):
        algorithm = algorithm.inner
    return algorithm


def layers(config: Config) -> tuple[str, ...]:
    """The names of the layers that are private."""
    return tuple(part.strip() for part in config.private.split(","))


def as_shared(task: Any, config: Config) -> Any:
    """A rank's task as others may suppose it: private layers are where they start."""
    return starting(task, layers(config), config.seed) if config.private else task


def _check_private(algorithm: Algorithm[Any], config: Config) -> None:
    name = config.algorithm["name"]
    whole = Needs.SMOOTH | Needs.PROX | Needs.DUAL | Needs.CURVED | Needs.WEIGHTED
    if algorithm.needs & whole or isinstance(algorithm, Gathering):
        raise CompatibilityError(
            f"{name!r} works on the whole of a task, and --private keeps layers at home. "
            f"Use 'diffusion', 'gradient-tracking' or 'laplacian', or leave out --private."
        )
    if config.stream and isinstance(algorithm, Serving):
        raise CompatibilityError(f"{name!r} takes --stream or --private, and not both. Leave one of them out.")
    if getattr(algorithm, "step_size", None) is None:
        raise CompatibilityError(
            f"private layers move by the step of the method, and {name!r} was given none. "
            f"Give it one, {name}:step_size=0.1, or use 'diffusion:step_size=0.1'."
        )
    if config.stop:
        raise CompatibilityError(
            "--stop is for a convex objective, and --private is for layers. Leave one of them out."
        )
    if config.stream and isinstance(algorithm, Serving):
        raise CompatibilityError(f"{name!r} takes --stream or --private, and not both. Leave one of them out.")


def check_layers(task: Task, rank: int, config: Config) -> None:
    """Check that a rank's task has the layers that are to be private, and others."""
    private, kind = layers(config), (config.task or {}).get("name", "the task")
    if not isinstance(task, Layered):
        raise CompatibilityError(
            f"--private keeps layers at home, and {kind!r} of rank {rank} has none. Use the task 'mlp' or 'torch'."
        )
    for name in private:
        if name not in task.layers:
            raise unknown("layer", name, task.layers)
    if set(private) == set(task.layers):
        raise ConfigError("--private names all layers, and nothing is left to share. Use the algorithm 'local'.")


def _unsteady(conditions: Conditions, config: Config) -> str:
    """Why not every message comes in its own round; empty where all do."""
    what = {
        f"transport {config.transport!r}": config.asynchronous,
        "a time-varying graph": config.time_varying,
        "a split": conditions.splits,
        "a late rank": conditions.joins,
        f"link {config.link!r}": conditions.hides,
    }
    return next((name for name, there in what.items() if there), "")


def check_stop(algorithm: Algorithm[Any], conditions: Conditions, liars: Collection[int], config: Config) -> list[str]:
    """Check that a method can be stopped by a bound on its objective; return warnings, each one sentence."""
    if not isinstance(algorithm, Certified) or Needs.UNSCREENED not in algorithm.needs:
        raise CompatibilityError(
            f"{config.algorithm['name']!r} has no certificate: its ranks cannot bound how far the objective is above "
            f"its least. Leave out --stop, or use 'mocha', 'dmtrl' or a replicated form, as of plain 'joint-sparse'."
        )
    if unsteady := _unsteady(conditions, config):
        raise CompatibilityError(
            f"--stop adds up what all ranks say in the same round, and there is {unsteady}. Leave one of them out."
        )
    return (
        [f"--stop believes every rank: rank {min(liars)}, a liar, may end the run too soon or never."] if liars else []
    )


def check_stream(algorithm: Algorithm[Any], config: Config) -> None:
    """Check that a method can learn from rows that come a few at a time."""
    name = config.algorithm["name"]
    whole = Needs.SMOOTH | Needs.PROX | Needs.DUAL | Needs.CURVED
    if not isinstance(algorithm, Serving):  # who counts on every link works on all rows, unless it says otherwise
        whole |= Needs.STATIC
    if algorithm.needs & whole or isinstance(algorithm, Gathering):
        raise CompatibilityError(
            f"{name!r} works on all of a rank's rows at once, and --stream shows it a few at a time. "
            f"Use 'diffusion', 'laplacian' or 'network-lasso', or leave out --stream."
        )
    if getattr(algorithm, "step_size", 0.0) is None:
        raise CompatibilityError(
            f"{name!r} takes its step from the curvature of all rows, and --stream shows it a few at a time. "
            f"Give it a step, {name}:step_size=0.1/sqrt(t)."
        )
    if config.stop:
        raise CompatibilityError(
            "--stop is for an objective that stays the same, and --stream shows new rows all along."
        )


def check_rows(task: Task, rank: int) -> None:
    """Check that a rank's task can be shown its rows a few at a time."""
    if not isinstance(task, Windowed):
        name = type(task).__name__.removesuffix("Task")
        raise CompatibilityError(
            f"--stream shows a task its rows a few at a time, and rank {rank}'s {name} has no windows. "
            f"Use the task 'least-squares', 'logistic', 'softmax' or 'hinge'."
        )


def check_compressor(
    algorithm: Algorithm[Any], compressor: Compressor | None, conditions: Conditions, config: Config
) -> list[str]:
    """Check that a method and the links bear compressed messages; return warnings, each one sentence."""
    if compressor is None:
        return []
    name, piece = config.algorithm["name"], (config.compressor or {})["name"]
    if Needs.STATIC in algorithm.needs:
        raise CompatibilityError(
            f"{name!r} counts on exact sums over all ranks, and {piece!r} makes messages inexact. "
            f"Leave out --compress, or use 'diffusion', 'gradient-tracking' or 'laplacian'."
        )
    if isinstance(algorithm, Gathering) or name == "local":
        return [f"{name!r} sends nothing, so --compress has no effect."]
    if getattr(compressor, "gamma", None) is not None and not (isinstance(algorithm, Agreeing) and algorithm.agrees):
        raise CompatibilityError(
            f"{name!r} does not average to agree, and a gamma would change what it computes. Leave out gamma."
        )
    if not compressor.feedback:
        return []
    if unsteady := _unsteady(conditions, config):
        raise CompatibilityError(
            f"{piece!r} says differences from what was said before, of which none may be missing, and there is "
            f"{unsteady}. Leave it out, or use --compress bfloat16 or quantise:bits=8,feedback=false."
        )
    return []


def check_vectors(algorithm: Any, task: Task, config: Config) -> None:
    """Check that a method says vectors of its task, and no other numbers that have to be exact."""
    dim, (f, d) = task.dim, algorithm.message_shape(task)
    if isinstance(algorithm, Streamed):
        algorithm = algorithm.inner
    if isinstance(algorithm, Personal):
        dim = Shared(task, algorithm.private, np.zeros(0)).dim
    if f and d != dim:
        raise CompatibilityError(
            f"{config.algorithm['name']!r} says more than vectors of its task, and --compress would falsify that. "
            f"Leave out --compress, or use 'diffusion', 'laplacian' or 'network-lasso'."
        )


def check_task(task: Any, rank: int, config: Config) -> None:
    """Check that what a rank learns is a task; one of the user's own is tried, once."""
    place = (config.task or {}).get("name", "")
    lacks = [name for name in ("dim", "loss", "grad", "evaluate") if not hasattr(task, name)]
    if lacks:
        raise ConfigError(f"the task {place!r} lacks {', '.join(lacks)}. It has dim, loss, grad and evaluate.")
    if not is_place(place):
        return
    w = np.asarray(first_model(task, config.seed), config.dtype)
    loss, gradient = task.loss(w), task.grad(w)
    if np.shape(loss) != ():
        raise ConfigError(f"the task {place!r} of rank {rank} has a loss of shape {np.shape(loss)}, not one number.")
    shape, kind = np.shape(gradient), np.asarray(gradient).dtype
    if not isinstance(gradient, np.ndarray) or shape != (task.dim,) or kind != config.dtype:
        raise ConfigError(
            f"the task {place!r} of rank {rank} has a gradient of shape {shape} and {kind}; it is to be a numpy array "
            f"({task.dim},), dim numbers, of {config.dtype}."
        )
