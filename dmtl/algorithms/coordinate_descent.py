"""Personalised models by asynchronous block coordinate descent, private if asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

from dmtl.algorithms.peers import Words, average, check_peers, confidence, listened, silence
from dmtl.algorithms.privacy import noise, scale
from dmtl.capabilities import Clipping, Smooth
from dmtl.errors import ConfigError
from dmtl.rng import Purpose
from dmtl.schedules import Schedule, check_schedule, rate
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["PrivateCoordinateDescent", "State"]


class State(NamedTuple):
    """The model, what the neighbours said last, and how often this rank has used its data."""

    x: Vec
    """(d,) the model: what is sent"""
    words: Words
    """the neighbours' last models"""
    updates: int
    """updates made so far; so many times epsilon have been spent"""


@dataclass(frozen=True, slots=True)
class PrivateCoordinateDescent:
    r"""Block coordinate descent on a graph-regularised objective: one-way messages, late or lost, and private if asked.

    Problem: min over X of sum_k D_k c_k f_k(x_k) + (strength / 2) sum_{edges kl} S_kl |x_k - x_l|^2, S the graph's edge
    weights (1 if none), D_k = sum_l S_kl, c_k = min(1, m_k / full_rows) the confidence in a rank's m_k rows.
    Update of a rank that is awake: x_k+ = x_k - a (strength (x_k - sum_l (S_kl / D_k) x_l) + c_k grad f_k(x_k)),
    a = 1 / (strength + c_k L_k), the sum over the neighbours' last words. That is a gradient step on the rank's block,
    divided by the block's Lipschitz constant D_k (strength + c_k L_k); in the paper's letters strength is 1 / mu.
    Guarantee, for convex f_k without noise: where messages come in their own round the objective never rises, whoever
    is awake, all ranks at once included (its Hessian is at most twice the block diagonal of these constants). With
    f_k m_k-strongly convex the largest error of any model is multiplied by 1 - a c m or less in a round in which all
    are awake, so the limit is the exact minimiser however late, lost or out of order messages are, as long as words of
    every neighbour keep coming and every rank keeps waking (Bertsekas and Tsitsiklis, chapter 6).

    Private with ``epsilon``: the gradient of each row's loss is shortened to ``clip``, so replacing one row moves their
    mean by at most 2 clip / m_k. To the mean is added, per coordinate, Laplace noise of scale 2 clip / (m_k epsilon),
    lengths being 1-norms; or with delta > 0 Gaussian noise of deviation 2 clip sqrt(2 log(1.25 / delta)) /
    (m_k epsilon), lengths being 2-norms and epsilon below 1. Guaranteed: each update of a rank is
    (epsilon, delta)-differentially private for the replacement of one of its training rows, given all that it sent and
    heard before. All that a rank ever says is computed from its u updates, so it is (u epsilon, u delta)-private by
    basic composition, and (epsilon sqrt(2 u log(1 / s)) + u epsilon (e^epsilon - 1), u delta + s)-private for every s
    in (0, 1) by advanced composition; neighbours' words, true or not, change nothing in that. ``updates`` bounds u.
    The ridge depends on no row and is left as it is, mini-batches are not drawn, the step has to be given since L_k
    would tell of the rows, and m_k, ``full_rows`` and the start are taken as known to all. Not covered: what is written
    into files, how the rows were scaled beforehand, a screen that learns from or judges on own rows, and the rounding
    of the noise. The noise is drawn from the seed: who knows it can draw it again, so it has to be a secret.
    With noise a constant step leaves the models moving around the minimiser of the clipped problem.

    What is ours: rounds instead of clocks; c_k by a number that all know and not by a maximum over ranks. The sum
    is the screen's, of the last words with the weights S_kl / D_k; what it refuses is weight of the own model.

    Message: x, f = 1.
    Bellet, Guerraoui, Taziki and Tommasi, "Personalized and private peer-to-peer machine learning", AISTATS 2018;
    Dwork and Roth, "The algorithmic foundations of differential privacy", 2014 (mechanisms and composition).
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0; 0 learns alone"""
    full_rows: int = 0
    """rows from which on a rank is fully confident in its data; 0: all ranks are"""
    wake: float = 1.0
    """probability that a rank makes an update in a round, above 0 and at most 1"""
    epsilon: float | None = None
    """privacy of one update, above 0; left out: no clipping and no noise"""
    delta: float = 0.0
    """0: Laplace noise; above 0 and below 1: Gaussian noise, and the probability beyond epsilon"""
    clip: float = 1.0
    """longest gradient of a single row where there is an epsilon, above 0"""
    updates: int = 0
    """most updates that a rank makes, after which it stays as it is; 0: no limit"""
    step_size: Schedule | None = None
    """a; left out: 1 / (strength + c L), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED

    def __post_init__(self) -> None:
        name = "private-coordinate-descent"
        check_schedule(self.step_size, f"'{name}' step_size")
        check_peers(name, self.strength, self.full_rows)
        if not 0 < self.wake <= 1:
            raise ConfigError(f"'{name}' has wake={self.wake}. It is a probability above 0.")
        if self.updates < 0:
            raise ConfigError(f"'{name}' has updates={self.updates}. It is a number of updates, or 0 for no limit.")
        if self.epsilon is not None:
            self._check_privacy(name, self.epsilon)

    def _check_privacy(self, name: str, epsilon: float) -> None:
        if not (math.isfinite(epsilon) and epsilon > 0):
            raise ConfigError(f"'{name}' has epsilon={epsilon}. It must be above 0; leave it out for no privacy.")
        if not 0 <= self.delta < 1:
            raise ConfigError(f"'{name}' has delta={self.delta}. It is a probability below 1; 0 is Laplace noise.")
        if self.delta and epsilon >= 1:
            raise ConfigError(
                f"'{name}' has epsilon={epsilon} with delta={self.delta}. Gaussian noise of that formula is private "
                f"for epsilon below 1 only; lower it, or use delta=0."
            )
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise ConfigError(f"'{name}' has clip={self.clip}. It is the length of a gradient, above 0.")
        if self.step_size is None:
            raise ConfigError(
                f"'{name}' has epsilon={epsilon} and no step_size. The one that it would find by itself tells of the "
                f"data; give one: {name}:epsilon={epsilon},step_size=0.1."
            )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, knowing nobody's model."""
        return State(x0, silence(self.message_shape(task), x0, view), 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Listen, and if awake take a step on the own block."""
        words = listened(state.words, inbox)
        spent = 0 < self.updates <= state.updates
        if spent or (self.wake < 1 and view.rng(Purpose.WAKE).random() >= self.wake):
            return state._replace(words=words)
        own = confidence(task, self.full_rows)
        slope, strength = own * self._gradient(state.x, task, view), 0.0
        if view.couplings.any():
            strength = self.strength
            slope = slope + strength * (state.x - average(words, mix, view))
        return State(state.x - self._step(strength, own, task, view) * slope, words, state.updates + 1)

    def _gradient(self, x: Vec, task: Task, view: View) -> Vec:
        if self.epsilon is None:
            return task.grad(x, view.batch())
        rows = cast(Clipping, task)
        width = scale(self.clip, rows.training_rows, self.epsilon, self.delta)
        clipped = rows.clipped_grad(x, self.clip, 2 if self.delta else 1)
        return clipped + noise(view.rng(Purpose.PRIVACY), width, self.delta, x)

    def _step(self, strength: float, own: float, task: Task, view: View) -> float:
        if self.step_size is not None:
            return rate(self.step_size, view.round)
        return 1 / (strength + own * cast(Smooth, task).smoothness)
