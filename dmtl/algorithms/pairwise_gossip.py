"""Randomised pairwise gossip, with or without learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.rng import Purpose, stream
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["PairwiseGossip", "State", "proposal"]


class State(NamedTuple):
    """Model and adapted model."""

    x: Vec
    """(d,) after averaging: the model"""
    psi: Vec
    """(d,) after adapting: what is sent"""


@dataclass(frozen=True, slots=True)
class PairwiseGossip:
    r"""Randomised pairwise gossip: in every round some neighbours pair off and both take their mean.

    Update: psi_i = x_i - mu grad f_i(x_i);  x_i+ = (psi_i + psi_j) / 2 where i and j have paired, else psi_i.
    With ``step_size=0`` nothing is learnt and the mean of all x_i is kept, to rounding. A constant mu > 0 leaves
    the models at a distance O(mu) from the minimiser of sum f_i, and as they pair at random they never quite settle.

    Pairing (ours, as rounds have no clock that wakes one rank alone): both ends of an edge draw the same number for it
    from a stream that edge and round name. A rank proposes to the neighbour with the greatest draw and says so beside
    its model; where two propose to each other they pair. So an edge pairs if its draw is the greatest among the edges
    that share an end with it: with probability p_ij = 1 / (deg_i + deg_j - 1). Pairs are a matching, and the edge with
    the greatest draw of all always is one. Hence E[W] = I - 1/2 sum_{edges ij} p_ij (e_i - e_j)(e_i - e_j)', and
    E |x(t) - mean|^2 <= lambda_2(E[W])^t |x(0) - mean|^2 with mu = 0, because each W is a projection.

    A liar need not keep to the draws: it says to each neighbour that it proposes to it. So it pairs with neighbour i in
    every round in which i proposes to it, with probability 1 / deg_i, and moves it by half of any distance it likes. No
    screen stands in between and nothing bounds this; only what is not finite or beyond the cap is refused, and the
    sum is then lost as well. The attacks of this package change the proposal along with the model, so they seldom pair
    and look more harmless here than a liar is. With liars use a method that screens.

    Message: (psi, the rank proposed to, -1 for none) in one, f = 1, d + 1 numbers; at most one neighbour uses it.
    Boyd, Ghosh, Prabhakar and Shah, "Randomized gossip algorithms", IEEE Transactions on Information Theory 52(6),
    2006; with learning: Ormandi, Hegedus and Jelasity, "Gossip learning with linear models on fully distributed data",
    Concurrency and Computation: Practice and Experience 25(4), 2013.
    """

    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient; 0: average only"""

    needs: ClassVar[Needs] = Needs.FRESH | Needs.UNDIRECTED | Needs.EDGEWISE | Needs.UNSCREENED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'pairwise-gossip' step_size")

    def exposure(self) -> str:
        """Everything: half of any distance."""
        return "takes its mean with a liar as with anybody. With liars use 'diffusion' and a screen."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + 1): the adapted model and the proposal."""
        return 1, task.dim + 1

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and adapt once."""
        return State(x0, self._adapt(x0, task, view, 0))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model and whom this rank would pair with, to all."""
        return (np.append(state.psi, state.psi.dtype.type(proposal(view))),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average with the neighbour that proposed back, if it did, then adapt for the next round."""
        mine = inbox.rows[0][0, -1]
        paired = (np.asarray(view.sources) == mine) & (inbox.messages[:, 0, -1] == view.rank) & inbox.valid
        x = state.psi
        for row in np.flatnonzero(paired):
            x = (x + inbox.messages[row, 0, :-1]) / 2
        return State(x, self._adapt(x, task, view, 1))

    def _adapt(self, x: Vec, task: Task, view: View, ahead: int) -> Vec:
        mu = step_size(self.step_size, view.round + ahead, task)
        return x - mu * task.grad(x, view.batch(ahead)) if mu else x


def proposal(view: View) -> int:
    """The neighbour whose edge has this round's greatest draw; -1 for a rank that has none."""
    return max(view.sources, key=lambda other: _draw(view, other), default=-1)


def _draw(view: View, other: int) -> float:
    """In [0, 1), the same at both ends of an edge and unlike that of any other edge or round."""
    low, high = sorted((view.rank, other))
    edge = high * high + low  # counts the pairs low < high, each once
    return float(stream(view.seed, Purpose.GRAPH, edge, view.round).random())
