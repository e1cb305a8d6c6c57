"""Learned task relations without a master."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.forms import NEEDS, Form, check_form, formed
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.replicated import NEEDS as REPLICATED
from dmtl.algorithms.replicated import Replicated
from dmtl.algorithms.replicated import State as Inner
from dmtl.consensus.chart import Chart
from dmtl.penalties.spectral import Relationship as Penalty
from dmtl.penalties.symmetric import square, triangle
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Related", "Relationship", "State"]


class State(NamedTuple):
    """What the replicated method holds, and what it knows of the relations."""

    x: Vec
    """(d,) the model"""
    inner: Inner
    moment: Vec
    """(d (d + 1) / 2,) upper triangle of W W' after the last step; 0 before the first"""
    heard: Mat
    """(k, d) the models that the neighbours said last; 0 before"""


@dataclass(frozen=True, slots=True)
class Relationship:
    """Multi-task relationship learning (MTRL): the covariance of the tasks is learnt along with the models.

    Problem: min over W and Omega of sum_t f_t(w_t) + ridge/2 |W|_F^2 + strength/2 tr(W Omega^-1 W'), Omega >= 0 with
    trace 1. The paper alternates: models for a fixed Omega, then Omega = (W'W)^(1/2) / tr, T x T, at a master.
    Derivation of the form without one: with the best Omega the last term is strength/2 |W|_*^2, so the problem is
    convex in W alone, and its minimiser is that of the alternation. The proximal map of the squared trace norm
    shortens singular values, so rank t finds its own column of it from V V' = sum_t v_t v_t', an exact average.
    Update (replicated master): FISTA as 'central-fista' does it, to rounding, on every graph.
    Relations: after a step a rank knows the singular values and left vectors of W, so D = (W W')^(1/2), and with a
    neighbour's model w_s, which comes with each message, Omega_ts = w_t' D^+ w_s / tr D, because
    (W'W)^(1/2) = W' D^+ W. Each rank so has the row of Omega of its own neighbourhood, in the rank files as
    'relations': above 0 learns the same, below 0 the opposite. They hold once the models have settled.

    form=lifted: A (d, d) that all ranks agree on, min sum_t [f_t(w_t) + ridge/2 |w_t|^2 + strength/2 w_t' A_t^-1 w_t],
    A_t >= 0 with trace at most 1, equal on all edges; the best A is D / tr D. The engine solves it, see 'nids',
    'pg-extra' and 'dadmm'. No relations are told then: Omega_ts = w_t' A^+ w_s / (tr D)^2 needs tr D and the
    neighbours' models, and neither travels.

    'dmtrl' and 'mocha' learn with relations that are given.
    Message: replicated: the upper triangle of V V' on its way, one number for the restart, and the model,
    d (d + 3) / 2 + 1, f = 1; lifted: the upper triangle of A, d (d + 1) / 2, f = 1.
    Zhang and Yeung, "A convex formulation for learning task relationships in multi-task learning", UAI 2010; Liu, Pan
    and Ho, "Distributed multi-task relationship learning", KDD 2017.
    """

    strength: float = 0.1
    """weight of the relations, at least 0"""
    ridge: float = 0.0
    """weight of the ridge, at least 0"""
    form: Form = "replicated"
    """how the coupling is computed"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_form("relationship", Penalty(self.strength, self.ridge), self.form, self.engine)

    def charted(self, chart: Chart) -> Related | Lifted:
        """The method on that graph."""
        penalty = Penalty(self.strength, self.ridge)
        method = formed(penalty, self.form, self.engine, chart)
        return Related(penalty, method) if isinstance(method, Replicated) else method


@dataclass(frozen=True, slots=True)
class Related:
    """The replicated method, with the models added to its messages."""

    penalty: Penalty
    method: Replicated = field(repr=False)

    needs: ClassVar[Needs] = REPLICATED

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, q + d): the replicated method's message, and the model."""
        return 1, self.method.message_shape(task)[1] + task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Nothing is known of the relations."""
        moment = np.zeros(self.penalty.length(task.dim), x0.dtype)
        heard = np.zeros((len(view.sources), task.dim), x0.dtype)
        return State(x0, self.method.init(x0, task, view), moment, heard)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """What is on its way to the average, and the model."""
        return (np.concatenate((*self.method.send(state.inner, view), state.x)),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """The replicated method's step; the neighbours' models are kept."""
        words, models = inbox.messages[:, :, : -task.dim], inbox.messages[:, 0, -task.dim :]
        inner = self.method.step(state.inner, inbox._replace(messages=words), mix, task, view)
        moment = state.moment
        if inner.x is not state.x:  # the average of V V' was complete in this round
            moment = self._moment(state.inner, inbox, inner)
        heard = np.where(inbox.valid[:, None], models, state.heard)
        return State(inner.x, inner, moment, heard)

    def lacks(self, task: Task) -> str:
        """As the replicated method."""
        return self.method.lacks(task)

    def certificate(self, state: State, task: Task, view: View) -> float:
        """As the replicated method."""
        return self.method.certificate(state.inner, task, view)

    def vouched(self, state: State) -> Vec:
        """The model of now."""
        return state.x

    def tell(self, state: State, view: View) -> dict[str, Any]:
        """The row of Omega that this rank knows, for the rank files: its own entry, then its neighbours'."""
        return {"relations": _row(state.x, np.concatenate((state.x[None], state.heard)), state.moment)}

    def _moment(self, before: Inner, inbox: Inbox, after: Inner) -> Vec:
        """W W' from V V': the same vectors, the squares of what is left of the singular values."""
        chart, mean = self.method.chart, before.mean
        if not mean.complete(chart.spectrum):
            mean = mean.heard(inbox.messages[:, 0, : len(mean.x)], inbox.valid, chart.spectrum)
        values, vectors = np.linalg.eigh(square(mean.x[:-1] * chart.ranks))
        sigma = np.sqrt(np.maximum(values[::-1], 0))
        left = sigma * self.penalty.leaves(sigma, self.method.rate(after))
        falling = vectors[:, ::-1]
        return triangle((falling * left**2) @ falling.T)


def _row(own: Vec, models: Mat, moment: Vec) -> Vec:
    """w_t' D^+ w_s / tr D for each of ``models`` (m, d), D the root of the matrix with that upper triangle."""
    values, vectors = np.linalg.eigh(square(moment))
    root = np.sqrt(np.maximum(values, 0))
    solid = root > root.max(initial=0.0) * 1e-7  # the rank of W, up to the rounding of a root
    if not solid.any():
        return np.zeros(len(models), own.dtype)
    axes = vectors[:, solid] / np.sqrt(root[solid])
    row: Vec = models @ axes @ (axes.T @ own) / root.sum()
    return row
