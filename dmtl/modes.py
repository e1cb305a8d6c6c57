"""What a method must be able to do to be stopped by a bound, or to learn from a stream: found out before round 0."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dmtl.capabilities import Certified, Gathering, Windowed
from dmtl.config import Config
from dmtl.errors import CompatibilityError
from dmtl.links import Conditions
from dmtl.types import Algorithm, Needs, Task

__all__ = ["check_rows", "check_stop", "check_stream"]


def check_stop(algorithm: Algorithm[Any], conditions: Conditions, liars: Collection[int], config: Config) -> list[str]:
    """Check that a method can be stopped by a bound on its objective; return warnings, each one sentence."""
    if not isinstance(algorithm, Certified) or Needs.UNSCREENED not in algorithm.needs:
        raise CompatibilityError(
            f"{config.algorithm['name']!r} has no certificate: its ranks cannot bound how far the objective is above "
            f"its least. Leave out --stop, or use 'mocha', 'dmtrl' or a replicated form, as of plain 'joint-sparse'."
        )
    what = {
        f"transport {config.transport!r}": config.asynchronous,
        "a time-varying graph": config.time_varying,
        "a split": conditions.splits,
        "a late rank": conditions.joins,
        f"link {config.link!r}": conditions.hides,
    }
    if unsteady := next((name for name, there in what.items() if there), ""):
        raise CompatibilityError(
            f"--stop adds up what all ranks say in the same round, and there is {unsteady}. Leave one of them out."
        )
    return (
        [f"--stop believes every rank: rank {min(liars)}, a liar, may end the run too soon or never."] if liars else []
    )


def check_stream(algorithm: Algorithm[Any], config: Config) -> None:
    """Check that a method can learn from rows that come a few at a time."""
    name = config.algorithm["name"]
    whole = Needs.STATIC | Needs.SMOOTH | Needs.PROX | Needs.DUAL | Needs.CURVED
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
