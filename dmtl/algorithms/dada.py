"""Personalised models and the graph between them, learnt together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.edge_weights import best_weights
from dmtl.algorithms.peers import check_peers, confidence
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mask, Mix, Needs, Task, Vec, View

__all__ = ["Dada", "State"]


class State(NamedTuple):
    """The model, the weights of this rank's edges, and what its loss costs."""

    x: Vec
    """(d,) the model"""
    weights: Vec
    """(k,) S_kl of each neighbour, the same numbers at both ends"""
    price: Vec
    """(1,) c_k f_k(x_k) where the next round learns the graph, else 0"""


@dataclass(frozen=True, slots=True)
class Dada:
    r"""Dada: personalised models and the weights of the graph between them, learnt in turns.

    Problem: min over X and S >= 0 on the edges of the graph of J(X, S) = sum_k d_k c_k f_k(x_k) + (strength / 2)
    sum_{edges kl} S_kl |x_k - x_l|^2 + barrier ((spread / 2) sum_{edges kl} S_kl^2 - sum_k log d_k), d_k = sum_l S_kl,
    c_k = min(1, m_k / full_rows) the confidence in a rank's m_k rows. The logarithm isolates nobody, ``spread`` shares
    the weight among edges, and the less two models differ the more weight their edge gets; edges between different
    tasks go to 0. J is convex in X and in S, and not in both.
    Update: after ``warm_up`` rounds in which each rank learns alone, ``pace`` rounds of the models and then one of the
    graph, again and again.
    Models: x_k+ = x_k - a (strength (x_k - sum_l (S_kl / d_k) x_l) + c_k grad f_k(x_k)), a = 1 / (strength + c_k L_k),
    the step of 'private-coordinate-descent'.
    Graph: S_kl+ = S_kl + t_kl (w_kl - S_kl), t_kl = 1 / max(k's neighbours, l's neighbours), w_kl the weight
    that is best for J while all else stays. Its slope needs c_k f_k + c_l f_l + (strength / 2) |x_k - x_l|^2 and the
    two degrees, which both ends know, so they find the same number to the last bit and no weight travels.
    Guarantee: J never rises after the warm-up, for convex f_k. The t_kl of a rank's edges sum to at most 1 and J is
    convex in S, so all edges at once do not do worse than each alone; the models as said there. Where it stops, S is
    the best graph for X and X the best models for S. What can be said of a start is that of a method for a problem that
    is not convex: learning alone first tells apart what is different.
    What is ours: linear models on the whole vector in place of boosting over a shared dictionary; weights on the
    edges of the graph alone, where the paper draws peers from all; exact steps without a step size in place of a
    projected gradient whose step depends on the objective of all; the three weights of J as numbers of their own.
    A message that does not come leaves that edge as it is, in that round the own model stands in. One that is lost in
    one direction parts the two ends' weights; once messages come again the ends meet, since each step forgets a share
    of what was (measured, to 1e-9). It asks no screen and has no defence: a liar that says what a rank says itself
    gets weight, and the logarithm forces ranks to keep some neighbour.

    Message: (x, c f(x), d, number of neighbours) in one, d + 3 numbers, f = 1.
    Zantedeschi, Bellet and Tommasi, "Fully decentralized joint learning of personalized models and collaboration
    graphs", AISTATS 2020.
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0"""
    barrier: float = 1.0
    """weight of the terms that keep the graph alive, above 0"""
    spread: float = 1.0
    """how evenly weight is shared among edges, above 0: a small one makes few and strong edges"""
    pace: int = 5
    """rounds of the models between two of the graph, at least 1"""
    warm_up: int = 20
    """rounds before that in which each rank learns alone, at least 0"""
    full_rows: int = 0
    """rows from which on a rank is fully confident in its data; 0: all ranks are"""
    step_size: Schedule | None = None
    """step of the models; left out: a, from the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.EDGEWISE | Needs.UNSCREENED | Needs.UNDIRECTED | Needs.FRESH

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'dada' step_size")
        check_peers("dada", self.strength, self.full_rows)
        for name, value in (("barrier", self.barrier), ("spread", self.spread)):
            if not (value > 0 and np.isfinite(value)):
                raise ConfigError(f"'dada' has {name}={value}. It must be a finite number above 0.")
        if self.pace < 1 or self.warm_up < 0:
            raise ConfigError(
                f"'dada' has pace={self.pace} and warm_up={self.warm_up}. They are numbers of rounds, at least 1 and 0."
            )

    def exposure(self) -> str:
        """Everything: lies about models and about what they cost."""
        return "has no bound on what a liar does to it. With liars use 'model-propagation' and a screen."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 3): model, price of the loss, degree, number of neighbours."""
        return 1, task.dim + 3

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with the graph's own weights."""
        return self._priced(x0, view.couplings.astype(x0.dtype), task, view.round)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, and what the neighbours need for the weights of their edges."""
        return (_said(state),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """A step of the graph or of the model."""
        if self._graphs(view.round):
            weights = self._weighed(state, inbox, inbox.valid)
            return self._priced(state.x, weights, task, view.round + 1)
        return self._priced(self._learnt(state, inbox, task, view), state.weights, task, view.round + 1)

    def _graphs(self, round: int) -> bool:
        """Whether that round is one of the graph."""
        return round >= self.warm_up and (round - self.warm_up) % (self.pace + 1) == self.pace

    def _priced(self, x: Vec, weights: Vec, task: Task, round: int) -> State:
        price = confidence(task, self.full_rows) * task.loss(x) if self._graphs(round) else 0.0
        return State(x, weights, np.array([price], x.dtype))

    def _learnt(self, state: State, inbox: Inbox, task: Task, view: View) -> Vec:
        """The model after a gradient step; the own model stands in for those who said nothing."""
        x, weights = state.x, state.weights
        own, strength, total = confidence(task, self.full_rows), 0.0, weights.sum()
        slope = own * task.grad(x, view.batch())
        if view.round >= self.warm_up and total > 0:
            strength, heard = self.strength, inbox.valid
            near = weights[heard] @ (x - inbox.messages[heard, 0, :-3])
            slope = slope + strength / total * near
        if self.step_size is None:
            return x - step_size(None, view.round, task, strength / own) / own * slope
        return x - step_size(self.step_size, view.round, task) * slope

    def _weighed(self, state: State, inbox: Inbox, heard: Mask) -> Vec:
        """The weights after a step, of the edges that spoke."""
        said, own, weights = inbox.messages[heard, 0], _said(state), state.weights.copy()
        old = weights[heard]
        apart = said[:, :-3] - own[:-3]
        price = said[:, -3] + own[-3] + self.strength / 2 * np.vecdot(apart, apart)
        here, there = np.maximum(own[-2] - old, 0), np.maximum(said[:, -2] - old, 0)
        best = best_weights(price, here, there, self.barrier, self.spread)
        weights[heard] = old + (best - old) / np.maximum(np.maximum(said[:, -1], own[-1]), 1)
        return weights


def _said(state: State) -> Vec:
    """What a rank says of itself."""
    weights = state.weights
    rest = np.array([weights.sum(), len(weights)], state.x.dtype)
    return np.concatenate((state.x, state.price, rest))
