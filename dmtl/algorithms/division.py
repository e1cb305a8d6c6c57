"""A task whose rows are divided among models: what each of them is judged by, and what it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import cast

import numpy as np

from dmtl.capabilities import Judging, Smooth, Weighted
from dmtl.types import Mat, Task, Vec

__all__ = ["Division", "Part"]


class Division:
    """The rows of a task among models; who has which is found when somebody asks, and once."""

    def __init__(self, task: Task, models: Mat, divide: Callable[[Mat], Mat]) -> None:
        """``divide`` makes of the losses (k, m) of ``models`` (k, d) on m rows the shares (k, m) that they have."""
        self.task, self.models, self.divide = task, models, divide

    @cached_property
    def training(self) -> Mat:
        """(k, m) of the training rows."""
        return self.divide(cast(Weighted, self.task).row_losses(self.models))

    @cached_property
    def held_out(self) -> Mat:
        """(k, m) of the held-out rows."""
        return self.divide(cast(Judging, self.task).held_out_losses(self.models))

    def parts(self, which: Iterable[int]) -> tuple[Part, ...]:
        """What the task is to these models."""
        return tuple(Part(self, model) for model in which)


class Part:
    """What a divided task is to one model: each row's loss counts as far as the row is this model's.

    Its objective is mean_i q_i l_i + l2/2 |.|^2, q_i in [0, 1] the model's share of row i, on training and on held-out
    rows alike; the parts of all models sum to the task, but for the ridge.
    """

    def __init__(self, division: Division, model: int) -> None:
        self.division, self.model = division, model

    @property
    def dim(self) -> int:
        """The task's."""
        return self.division.task.dim

    @property
    def smoothness(self) -> float:
        """That of the whole task, which is no less; tasks without one have none here."""
        return cast(Smooth, self.division.task).smoothness

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """On all training rows, whatever the batch; without the ridge."""
        losses = cast(Weighted, self.division.task).row_losses(w[None])[0]
        return float(np.mean(self.division.training[self.model] * losses))

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """Of the part, on a batch where there is one, (d,)."""
        shares = self.division.training[self.model].astype(w.dtype)
        return cast(Weighted, self.division.task).weighted_grad(w, shares, rng)

    def evaluate(self, w: Vec) -> Mapping[str, float]:
        """The figures of the whole task."""
        return self.division.task.evaluate(w)

    @property
    def held_out_rows(self) -> int:
        """How many rows the task can judge models on; 0 where it cannot."""
        return self.division.task.held_out_rows if isinstance(self.division.task, Judging) else 0

    def held_out_losses(self, models: Mat) -> Mat:
        """Of ``models`` (m, d), each row's times this model's share of it, (m, rows)."""
        losses: Mat = self.division.held_out[self.model] * cast(Judging, self.division.task).held_out_losses(models)
        return losses
