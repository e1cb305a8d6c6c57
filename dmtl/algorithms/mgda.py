"""Multiple-gradient descent: all tasks share one model, which goes down for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

from dmtl.algorithms.forms import refuse_unused
from dmtl.algorithms.mgda_exact import ExactMGDA
from dmtl.algorithms.mgda_neighbours import NeighbourhoodMGDA
from dmtl.algorithms.mgda_sketched import SketchedMGDA
from dmtl.algorithms.normalisers import Normalise, check_normalise
from dmtl.algorithms.power import check_count
from dmtl.capabilities import Layered
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError, unknown
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Needs, Task

__all__ = ["MGDA", "MGDAUB"]

Form = Literal["exact", "sketch", "neighbourhood"]


@dataclass(frozen=True, slots=True)
class MGDA:
    r"""Multiple-gradient descent (MGDA): one model for all tasks, each step of which goes down for every task.

    Problem: Pareto stationary points of (f_1(x) .. f_T(x)): where no direction goes down for all tasks. With
    --private head x is what the tasks share, and each rank has a head of its own, which follows its own gradient.
    Update: alpha = argmin over alpha >= 0 with sum 1 of |sum_t alpha_t g_t|, g_t = grad f_t(x); x+ = x - mu u,
    u = sum_t alpha_t g_t. Then <g_t, u> >= |u|^2 for all t; u = 0 just where x is Pareto stationary. With
    mu <= 1 / L, L the largest Lipschitz constant of the gradients, no task's loss rises: each falls by mu/2 |u|^2.
    No rank sees all gradients in one place, unless it has to:
    exact: of all tasks, the one whose gradient is shortest sends it to everybody, then in turn the one with the least
    <g_t, u>, u the shortest average of those that have been sent; until the least one is not below |u|^2. Each takes as
    many rounds as the diameter, and usually far fewer than T tasks are asked. All ranks have the same bits of alpha and
    of x.
    sketch: every task's sketch of ``m`` numbers goes to everybody; all ranks make the same Gram matrix and the same
    alpha of it, and u is an exact average. Whether <g_t, u> >= 0 for all t is found out by the least of them; where it
    is not, ``m`` numbers more of each gradient are added, up to ``sketches`` times, and then the step is taken as it
    is (``common`` in the rank files says which). A step takes 2 diameter + s rounds, s the number of distinct
    eigenvalues of the Laplacian.
    neighbourhood: u is of the gradients of a rank and its neighbours, one round a step, and models are averaged, by a
    screen if one is named. Where all models are the same point and it rests there, that is Pareto stationary for every
    neighbourhood, which is more than for all; on the way u goes down for the neighbourhood only.
    With a normaliser c_t, alpha is of g_t / c_t, and u = sum_t w_t g_t, w_t the shares of alpha_t / c_t in their sum:
    the direction is the same, so it still goes down for all, and its weights sum to one.
    What is ours: the three forms, and these w, where the published code weighs g_t by alpha_t. The exact form is
    Wolfe's method for the shortest point with its vectors spread over ranks: where spread Frank-Wolfe steps converge
    slowly it ends. Sketches are parts of one random rotation, so they end at the exact Gram matrix, and are rounded so
    that all its sums are exact. On mini-batches alpha is of the batches' gradients, and none of this is of the whole
    losses. Exact and sketch have no defence against liars.

    Message: exact (<g, u>, rank, g, c, L), d + 4 numbers; sketch the sketches or u, max(d, T (m + 2)) + 1 numbers; both
    f = 1. neighbourhood (x, g) in one, f = 2.
    Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus Mathematique
    350, 2012; Sener and Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018 (for networks);
    Wolfe, "Finding the nearest point in a polytope", Mathematical Programming 11, 1976 (the shortest average).
    """

    form: Form = "exact"
    """exact, sketch, or neighbourhood"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the largest Lipschitz constant of all tasks' gradients; of its own in a neighbourhood"""
    m: int = 64
    """numbers of a sketch"""
    sketches: int = 4
    """sketches of a step, at most"""
    normalise: Normalise = "none"
    """what gradients are divided by: none, l2 (their length), loss, or loss+ (both); not in a neighbourhood"""

    needs: ClassVar[Needs] = ExactMGDA.needs & NeighbourhoodMGDA.needs

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'mgda' step_size")
        if self.form not in get_args(Form):
            raise unknown("form of 'mgda'", self.form, get_args(Form))
        check_count("mgda", "m", self.m)
        check_count("mgda", "sketches", self.sketches)
        check_normalise("mgda", self.normalise)
        if self.form == "neighbourhood":
            refuse_unused("mgda", "normalise", None if self.normalise == "none" else self.normalise, "exact or sketch")

    def charted(self, chart: Chart) -> ExactMGDA | SketchedMGDA | NeighbourhoodMGDA:
        """The form on that graph."""
        if self.form == "neighbourhood":
            return NeighbourhoodMGDA(self.step_size)
        if self.form == "sketch":
            return SketchedMGDA(self.step_size, self.m, self.sketches, True, _whole, self.normalise, chart)
        return ExactMGDA(self.step_size, self.normalise, chart)


@dataclass(frozen=True, slots=True)
class MGDAUB:
    r"""Multiple-gradient descent by an upper bound (MGDA-UB): tasks are weighed by one layer's gradients.

    Problem and update: as those of 'mgda', alpha of the gradients h_t of one layer of the shared model, by default its
    last: alpha = argmin over alpha >= 0 with sum 1 of |sum_t alpha_t h_t|; x+ = x - mu sum_t alpha_t g_t.
    Every task sends its h_t, or a sketch of ``m`` numbers of it, to everybody; all ranks make the same alpha of them,
    bit for bit; the direction is an exact average. A step takes diameter + s rounds, s the number of distinct
    eigenvalues of the Laplacian, whatever the number of tasks.
    The layer's part of the step goes down for all tasks, where ``m`` is no less than the layer has parameters; a sketch
    says so nearly. The whole step need not go down for all.
    With a normaliser c_t the weights w_t are the shares of alpha_t / c_t, as with 'mgda', and the task that is nearest
    to its end has most; ``published`` takes alpha_t itself. Then the layer's part need not go down for all, and with
    loss+ tasks with larger losses then weigh more: as the squares of the losses where gradients are at right angles.
    On mini-batches the task whose batch happens to have the shorter gradient gets more weight, so hard batches count
    for less, and the mean step is not the step of the mean gradients. ``smooth`` s takes s w_before + (1 - s) w in
    place of the batches' w, and equal weights before the first step; then nothing need go down in one step.
    What is ours: the paper weighs by the gradients of the representation Z, for one batch that all tasks share, and
    |sum alpha_t grad f_t| <= |dZ/dx| |sum alpha_t grad_Z f_t|, which is the upper bound. Between peers there is no such
    batch: each has its own rows, and representations of different rows cannot be added. The gradient of the last shared
    layer's weights is that of its output, summed over the own rows with what came in, and is of the same parameters on
    all ranks. It has no defence against liars.

    Message: all sketches or the direction, max(d, T (m + 2)) + 1 numbers, f = 1.
    Sener and Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018; smooth weights after Zhou,
    Zhang, Jiang, Zhong, Gu and Zhu, "On the convergence of stochastic multi-objective gradient manipulation and
    beyond", NeurIPS 2022.
    """

    last: str = ""
    """the layer, by its name; left out: the last of those that are shared, or all of a task without layers"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the largest Lipschitz constant of all tasks' gradients"""
    m: int = 256
    """numbers of a sketch"""
    normalise: Normalise = "none"
    """what the layer's gradients are divided by: none, l2 (their length), loss, or loss+ (both)"""
    published: bool = False
    """with a normaliser: take the weights of the scaled gradients for the gradients, as the published code does"""
    smooth: float = 0.0
    """how much of the last weights stays in the next, at least 0 and below 1"""

    needs: ClassVar[Needs] = ExactMGDA.needs

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'mgda-ub' step_size")
        check_count("mgda-ub", "m", self.m)
        check_normalise("mgda-ub", self.normalise)
        if self.published and self.normalise == "none":
            raise ConfigError(
                "'mgda-ub' has published=true and no normaliser, without which both are one. Give normalise=loss+, or "
                "leave it out."
            )
        if not 0 <= self.smooth < 1:
            raise ConfigError(
                f"'mgda-ub' has smooth={self.smooth}. It is how much of the last weights stays in the next: at least "
                f"0, as 0.9, and below 1."
            )

    def charted(self, chart: Chart) -> SketchedMGDA:
        """The method on that graph."""
        part = _Layer(self.last)
        return SketchedMGDA(self.step_size, self.m, 1, False, part, self.normalise, chart, self.published, self.smooth)


def _whole(task: Task) -> slice:
    """All parameters."""
    return slice(0, task.dim)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The parameters of one layer."""

    name: str

    def __call__(self, task: Task) -> slice:
        if not isinstance(task, Layered):
            if self.name:
                raise ConfigError(
                    f"'mgda-ub' has last={self.name}, and the task has no layers. "
                    f"Leave last out, or use the task 'mlp'."
                )
            return slice(0, task.dim)
        layers = cast(Layered, task).layers
        if not self.name:
            return list(layers.values())[-1].where
        if self.name not in layers:
            raise unknown("layer", self.name, layers)
        return layers[self.name].where
