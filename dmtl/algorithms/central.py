"""Central proximal gradient methods: what a network's answer is compared with. They see all tasks, in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import numpy as np

from dmtl.capabilities import Smooth
from dmtl.consensus.chart import Chart
from dmtl.penalties.momentum import momentum
from dmtl.penalties.penalty import Linked, Penalty, columns
from dmtl.penalties.spectral import LowRank
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["LOW_RANK", "Central", "CentralFISTA", "CentralISTA", "Method", "Problem", "State", "Whole", "problem"]


LOW_RANK = LowRank()
"""what couples the tasks where nothing is said"""


class Whole(NamedTuple):
    """All variables of all tasks."""

    w: Mat
    """(D, T) the iterate"""
    z: Mat
    """(D, T) where the next gradient is taken"""
    t: float
    """momentum: 1 is none"""
    turn: float
    """<z - w+, w+ - w> of the last step: above 0 the momentum has gone too far"""


class State(NamedTuple):
    """One task's model, and everything."""

    x: Vec
    """(d,) the task's column"""
    whole: Any
    """what the method holds of all tasks"""


class Method(Protocol):
    """A central method: pure functions of all that it holds, a NamedTuple whose field ``w`` (D, T) is the iterate."""

    def begin(self, here: Problem, w: Mat) -> Any:
        """What it holds at the start ``w``."""

    def move(self, here: Problem, whole: Any) -> Any:
        """What it holds one step later."""


@dataclass(frozen=True, slots=True)
class Problem:
    """min over W of sum_t f_t(w_t) + g(W), the sum of a column's parts being the model."""

    tasks: Sequence[Task] = field(repr=False)
    penalty: Penalty

    @property
    def steepness(self) -> float:
        """Lipschitz constant of the sum's gradient: the largest of the tasks', twice where a model has two parts."""
        return self.penalty.copies * max(cast(Smooth, task).smoothness for task in self.tasks)

    def loss(self, w: Mat) -> float:
        """sum_t f_t."""
        models = columns(w, self.penalty.copies)
        return sum(task.loss(model) for task, model in zip(self.tasks, models.T, strict=True))

    def objective(self, w: Mat) -> float:
        """Loss and penalty."""
        return self.loss(w) + self.penalty.value(w)

    def grad(self, w: Mat) -> Mat:
        """(D, T) gradient of the loss: the same for both parts of a model."""
        models = columns(w, self.penalty.copies)
        grads = np.stack([task.grad(model) for task, model in zip(self.tasks, models.T, strict=True)], axis=1)
        return np.concatenate([grads] * self.penalty.copies)


def problem(tasks: Sequence[Task], penalty: Penalty, chart: Chart) -> Problem:
    """The problem of these tasks on that graph."""
    known = penalty.linked(chart.edges, chart.couplings, chart.ranks) if isinstance(penalty, Linked) else penalty
    return Problem(tasks, known)


class _Shared:
    """One step of all tasks, made once for all ranks of a process that ask for it.

    The state is explicit; this only remembers the last answer, for all whose state is the same, number by number.
    """

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: tuple[Any, ...] | None = None
        self.after: Any = None

    def step(self, method: Method, here: Problem, whole: Any) -> Any:
        """What the method holds one step after ``whole``."""
        known = self.before
        if known is None or not (known is whole or all(map(np.array_equal, known, whole))):
            self.before, self.after = whole, method.move(here, whole)
        return self.after


@dataclass(frozen=True, slots=True)
class Central:
    """A central method that knows all tasks, on one rank."""

    here: Problem
    rank: int
    method: Method
    shared: _Shared = field(repr=False)

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.SMOOTH

    @classmethod
    def on_each_rank(cls, method: Method, tasks: Sequence[Task], penalty: Penalty, chart: Chart) -> Sequence[Central]:
        """A central method as the ranks' algorithms."""
        here, shared = problem(tasks, penalty, chart), _Shared()
        return [cls(here, rank, method, shared) for rank in range(len(tasks))]

    def message_shape(self, task: Task) -> tuple[int, int]:
        """It never talks."""
        return 0, 0

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """All tasks start where this one does; the lower of two parts at 0."""
        w = np.zeros((self.here.penalty.copies * len(x0), len(self.here.tasks)), x0.dtype)
        w[: len(x0)] = x0[:, None]
        return State(x0, self.method.begin(self.here, w))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Nothing."""
        return ()

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """One step of all tasks, of which this rank shows its own."""
        after = self.shared.step(self.method, self.here, state.whole)
        return State(columns(after.w, self.here.penalty.copies)[:, self.rank].copy(), after)


@dataclass(frozen=True, slots=True)
class CentralISTA:
    """Central proximal gradient (ISTA): all tasks in one process, for comparison.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + g(W), g the penalty.
    Update: W <- prox_{eta g}(W - eta [grad f_t(w_t)]_t), eta = 1 / max_t L_t. The objective never rises.
    It is the oracle that a network's answer is measured by, and no method for networks: it reads everybody's data, so
    it runs in the simulator alone. For models W = P + Q, P above Q, the step is half as long.

    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", SIAM J. Imaging
    Sciences 2, 2009.
    """

    penalty: Penalty = LOW_RANK
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2)"""

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.SMOOTH

    def gathered(self, tasks: Sequence[Task], chart: Chart) -> Sequence[Central]:
        """The method of each rank."""
        return Central.on_each_rank(self, tasks, self.penalty, chart)

    def begin(self, here: Problem, w: Mat) -> Whole:
        """At ``w``, without momentum."""
        return Whole(w, w, 1.0, 0.0)

    def move(self, here: Problem, whole: Whole) -> Whole:
        """One step."""
        step = 1 / here.steepness
        w = here.penalty.prox(whole.w - step * here.grad(whole.w), step)
        return Whole(w, w, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class CentralFISTA:
    """Central accelerated proximal gradient (FISTA with restart): all tasks in one process, for comparison.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + g(W), g the penalty.
    Update: W+ = prox_{eta g}(Z - eta [grad f_t(z_t)]_t), eta = 1 / max_t L_t; Z+ = W+ + ((t - 1) / t+) (W+ - W),
    t+ = (1 + sqrt(1 + 4 t^2)) / 2; t is 1 again where <Z - W+, W+ - W> > 0.
    It is the oracle that a network's answer is measured by, and no method for networks: it reads everybody's data, so
    it runs in the simulator alone.
    What is ours: a restart comes one step late, so that a network that needs an exchange to know of it can make
    exactly the same steps. For models W = P + Q, P above Q, the step is half as long.

    Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009; O'Donoghue and Candes, "Adaptive restart for accelerated
    gradient schemes", Found. Comput. Math. 15, 2015 (the restart).
    """

    penalty: Penalty = LOW_RANK
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2)"""

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.SMOOTH

    def gathered(self, tasks: Sequence[Task], chart: Chart) -> Sequence[Central]:
        """The method of each rank."""
        return Central.on_each_rank(self, tasks, self.penalty, chart)

    def begin(self, here: Problem, w: Mat) -> Whole:
        """At ``w``, without momentum."""
        return Whole(w, w, 1.0, 0.0)

    def move(self, here: Problem, whole: Whole) -> Whole:
        """One step."""
        step = 1 / here.steepness
        w = here.penalty.prox(whole.z - step * here.grad(whole.z), step)
        ahead, t = momentum(whole.t, whole.turn > 0)
        turn = float(np.sum((whole.z - w) * (w - whole.w)))
        return Whole(w, w + ahead * (w - whole.w), t, turn)
