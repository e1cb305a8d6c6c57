"""Distributed online multitask classification, one task on each rank: gradients travel, and models stay at home."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.ball import into_ball
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["DMTC", "State", "check_coupling"]


class State(NamedTuple):
    """The model, and the last gradient."""

    x: Vec
    """(d,) the model"""
    g: Vec
    """(d,) the gradient of the last step: what is sent"""
    news: int
    """the round in which that gradient is news"""


@dataclass(frozen=True, slots=True)
class DMTC:
    r"""Online multitask learning by exchange of gradients: what moves a neighbour's model moves mine, a little.

    Update: w_i+ = w_i - (eta_t g_i + b eta_(t-1) sum_j S_ij g_j) / (1 + b sum_j S_ij), then onto the ball of radius R,
    b the coupling, S the graph's own edge weights, g_i the gradient of rank i at its own model on its own rows of
    round t, g_j that of a neighbour at the neighbour's model on the neighbour's rows of the round before.
    b = 0 is online gradient descent of each rank alone, bit for bit. On a complete graph of K tasks with S = 1 the
    coupling b = c / (K + c) has the weights of the interaction matrix (I + (c / K) 1 1') / (1 + c) of the multitask
    perceptron; b = 1 moves all neighbours alike. Tasks whose minimisers differ do not come to rest at them: a coupling
    is a bias, which pays where tasks are alike and rows are few.

    A gradient is used once. A rank whose rows have ended has no more to say and sends 0, not its last gradient.
    The screen sees what a neighbour would make of my model, w_i - eta g_j, beside my own step: the average of these
    with the weights above is the update, so any screen takes its place, and one that judges on own data judges them.
    The weight of a neighbour that is not heard, or refused, is the own gradient's.

    What is ours: the text of Zhang et al. was not at hand. This is a reconstruction from what their method is built on,
    for a network in which each rank has one task ('dmtc-joint' has all of them on every rank, as they have); the delay
    of a round, since a rank speaks before it sees the rows of the round; the screen.
    Message: g, f = 1.
    Zhang, Zhao, Hao, Soh, Lee, Miao and Hoi, "Distributed multi-task classification: a decentralized online learning
    approach", Machine Learning 107, 2018; Cavallanti, Cesa-Bianchi and Gentile, "Linear algorithms for online multitask
    classification", Journal of Machine Learning Research 11, 2010.
    """

    coupling: float = 0.1
    """b, the weight of a neighbour's gradient, before S, against that of the own one; at least 0"""
    step_size: Schedule = "0.1/sqrt(t)"
    """eta"""
    radius: float | None = None
    """R, the largest norm of a model; left out: any"""

    needs: ClassVar[Needs] = Needs.FRESH

    def __post_init__(self) -> None:
        check_coupling("dmtc", self.coupling, self.step_size, self.radius)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): a gradient."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with nothing to say."""
        return State(x0, np.zeros_like(x0), view.round)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The last gradient, where it has not been said yet."""
        return (state.g if state.news == view.round else np.zeros_like(state.g),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average my own step and those that the neighbours' gradients would make of my model."""
        g = task.grad(state.x, view.batch())
        valid = inbox.valid
        theirs = np.where(valid[:, None, None], inbox.messages, 0) * rate(self.step_size, max(view.round - 1, 0))
        weights = np.concatenate((np.ones(1, g.dtype), self.coupling * view.couplings))
        mix.instead(state.x - theirs, valid, weights / weights.sum())
        x = mix(0, state.x - rate(self.step_size, view.round) * g)
        return State(x if self.radius is None else into_ball(x, self.radius), g, view.round + 1)


def check_coupling(name: str, coupling: float, step: Schedule, radius: float | None) -> None:
    """Refuse settings that neither form can have."""
    check_schedule(step, f"'{name}' step_size")
    if not (math.isfinite(coupling) and coupling >= 0):
        raise ConfigError(f"'{name}' has coupling={coupling}. coupling is a finite number of at least 0.")
    if radius is not None and not radius > 0:
        raise ConfigError(f"'{name}' has radius={radius}. radius is the largest norm of a model, above 0.")
