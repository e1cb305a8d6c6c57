"""Distributed online multitask classification, all tasks on every rank: share between tasks, then between ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.ball import into_ball
from dmtl.algorithms.dmtc import check_coupling
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, rate
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["DMTCJoint", "State", "interaction", "learned"]

FLOOR = 1e-3
"""the least eigenvalue of a learned relation, as a share of the mean one"""


class State(NamedTuple):
    """The models of all tasks, and what is sent of them."""

    x: Vec
    """(d,) after phase 2: the models, task after task"""
    psi: Vec
    """(d,) after phase 1: what is sent"""
    relation: Mat
    """(K, K) the inverse of the interaction matrix"""


@dataclass(frozen=True, slots=True)
class DMTCJoint:
    r"""Decentralised online multitask classification: every rank learns all K tasks and sees rows of all of them.

    Rank j has W_j, a row w_k for each task, as one vector. A row of data is of one task and gives a gradient to its w_k
    alone; task 'many' makes such a loss of others.
    Phase 1, between tasks: V_j = W_j - eta_t A^-1 G_j, then onto the ball |W| <= R; A = (1 + b) I - (b / K) 1 1' is the
    interaction matrix, so A^-1 = (I + (b / K) 1 1') / (1 + b): a gradient moves its own task by (1 + b / K) / (1 + b)
    of what it would, and every other by b / K / (1 + b). Phase 2, between ranks: W_j = sum_l c_jl V_l.
    b = 0 is a common online gradient descent of independent tasks; with b to infinity all tasks get the mean gradient.
    One task is 'diffusion'. With doubly stochastic weights phase 2 keeps the mean over ranks. Where all ranks see the
    same rows they have the same models, those of one rank alone. A step of order 1 / sqrt(t) and convex losses give a
    regret of order sqrt(T) against the best W in hindsight.
    With ``relearn`` = tau the relation is learned: every tau rounds A^-1 = (W W')^(1/2), with a floor of 0.001 of
    the mean eigenvalue and scaled to the trace of the fixed one, from the rank's own W and without a message.

    The sum of phase 2 is the screen's, so any screen takes its place.
    What is ours: the text of Zhang et al. was not at hand; this is a reconstruction on the grounds of Cavallanti et al.
    and of what is known of the two phases. Phase 1 of the first rows happens before round 0, so that a round is
    one exchange and then one gradient. The learned A^-1 is the minimiser over A^-1 of trace 1 of tr(W' A W), by which a
    root stands for the inverse of A and not for A: large models that point the same way are to move together.
    Message: V, f = 1, d = K p.
    Zhang, Zhao, Hao, Soh, Lee, Miao and Hoi, "Distributed multi-task classification: a decentralized online learning
    approach", Machine Learning 107, 2018; Cavallanti, Cesa-Bianchi and Gentile, "Linear algorithms for online multitask
    classification", Journal of Machine Learning Research 11, 2010; the learned relation as in Argyriou, Evgeniou and
    Pontil, "Convex multi-task feature learning", Machine Learning 73, 2008.
    """

    tasks: int = 1
    """K, how many tasks there are: the model is so many blocks of the same length"""
    coupling: float = 1.0
    """b, how strongly tasks are drawn together, at least 0"""
    step_size: Schedule = "0.1/sqrt(t)"
    """eta"""
    radius: float | None = None
    """R, the largest norm of all models together; left out: any"""
    relearn: int = 0
    """tau, rounds after which the relation is learned anew; 0: never"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_coupling("dmtc-joint", self.coupling, self.step_size, self.radius)
        if self.tasks < 1:
            raise ConfigError(f"'dmtc-joint' has tasks={self.tasks}. It must be at least 1.")
        if self.relearn < 0:
            raise ConfigError(f"'dmtc-joint' has relearn={self.relearn}. It must be at least 0.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): all models; raises ConfigError where they are not so many blocks."""
        if task.dim % self.tasks:
            raise ConfigError(
                f"'dmtc-joint' has tasks={self.tasks}, and a model of {task.dim} numbers is not so many blocks. Use "
                f"the task 'many', which has a block for each natural task of the data, and give their number."
            )
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with the fixed relation, and make phase 1 once."""
        relation = interaction(self.tasks, self.coupling).astype(x0.dtype)
        return self._adapted(x0, relation, task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """All models after phase 1, to all."""
        return (state.psi,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Phase 2, then phase 1 of the next round."""
        x, relation = mix(), state.relation
        if self.relearn and (view.round + 1) % self.relearn == 0:
            trace = (self.tasks + self.coupling) / (1 + self.coupling)
            relation = trace * learned(x.reshape(self.tasks, -1)).astype(x.dtype)
        return self._adapted(x, relation, task, view, 1)

    def _adapted(self, x: Vec, relation: Mat, task: Task, view: View, ahead: int) -> State:
        eta = rate(self.step_size, view.round + ahead)
        g = task.grad(x, view.batch(ahead))
        if self.tasks > 1:
            g = (relation @ g.reshape(self.tasks, -1)).ravel()
        psi = x - eta * g
        return State(x, psi if self.radius is None else into_ball(psi, self.radius), relation)


def interaction(tasks: int, coupling: float) -> Mat:
    """A^-1 (K, K)."""
    return (np.eye(tasks) + coupling / tasks) / (1 + coupling)


def learned(w: Mat) -> Mat:
    """(W W')^(1/2) (K, K) of trace 1, no eigenvalue below the floor; a share of I where ``w`` (K, p) is 0."""
    values, vectors = np.linalg.eigh(w.astype(np.float64) @ w.T.astype(np.float64))
    roots = np.sqrt(np.maximum(values, 0.0))
    if not roots.sum() > 0:
        return np.eye(len(w)) / len(w)
    roots = np.maximum(roots, FLOOR * roots.mean())
    root: Mat = (vectors * (roots / roots.sum())) @ vectors.T
    return root
