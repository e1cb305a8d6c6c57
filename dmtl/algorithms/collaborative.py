"""Collaborative learning: personalised models by an ADMM on the edges, all at once or in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.pairwise_gossip import proposal
from dmtl.algorithms.peers import check_peers, confidence
from dmtl.capabilities import Proximable
from dmtl.errors import ConfigError
from dmtl.types import Block, Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["Collaborative", "State"]


class State(NamedTuple):
    """The model, this rank's copies of its neighbours' models, and what ties the copies of one model together."""

    x: Vec
    """(d,) the model"""
    copies: Mat
    """(k, d) this rank's copy of each neighbour's model"""
    anchors: Block
    """(k, 2, d) for each edge what this rank's copies are drawn to, Z - Lambda / rho: of its own model, of the other"""


@dataclass(frozen=True, slots=True)
class Collaborative:
    r"""Collaborative learning (CL-ADMM): each rank learns its model and copies of its neighbours', by local solves.

    Problem: min over X of sum_k D_k c_k f_k(x_k) + (strength / 2) sum_{edges kl} S_kl |x_k - x_l|^2, that of
    'private-coordinate-descent': S the graph's edge weights (1 if none), D_k = sum_l S_kl, c_k = min(1, m_k /
    full_rows). Every edge has copies of its two models at either end; each end has half of the edge's energy.
    Update: rank k minimises D_k c_k f_k(x) + sum_l [(strength S_kl / 4) |x - y_l|^2 + (rho / 2) (|x - v_kl|^2 +
    |y_l - v'_kl|^2)] over its model x and copies y_l. The copies fall out, y_l = (strength S_kl / 2 x + rho v'_kl) /
    (strength S_kl / 2 + rho), and a proximal map of f_k is left. Then it tells l the reflections 2 x - v_kl and
    2 y_l - v'_kl, and both ends move their anchors v, v' towards the other's by the share theta.
    theta = 1/2 is the ADMM of the paper with Z = (x + y) / 2 at either end and v = Z - Lambda / rho, Lambda the duals,
    which sum to 0 over the ends of an edge. It converges to the exact minimiser for every convex f_k and rho > 0.
    Where an edge is silent its anchors stay; so a graph on which random links are in use, or ``gossip``, is the paper's
    asynchronous form: then only pairs of ranks that propose to each other talk, as with 'pairwise-gossip'. The limit
    is the same (Wei and Ozdaglar, 2013), and so it is measured to be, to 1e-8, with single messages lost.
    What is ours: the proximal map in place of the paper's local solver, reflections in place of copies and duals,
    half as much to say, pairs in rounds, and c_k. It asks no screen: a lie about a copy moves a model by its share of
    any length, and nothing bounds it.

    Message: the reflections of x and of the copy of the other's model, one message per edge, f = 2; with gossip one
    number more in each, whether this is whom the rank proposes to.
    Vanhaesebrouck, Bellet and Tommasi, "Decentralized collaborative learning of personalized models over networks",
    AISTATS 2017; Wei and Ozdaglar, "On the O(1/k) convergence of asynchronous distributed alternating direction method
    of multipliers", GlobalSIP 2013 (edges at random).
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0"""
    full_rows: int = 0
    """rows from which on a rank is fully confident in its data; 0: all ranks are"""
    rho: float = 1.0
    """how strongly copies are held together, above 0: any value converges"""
    theta: float = 0.5
    """how far anchors move, above 0 and at most 1; 0.5: the ADMM"""
    gossip: bool = False
    """whether ranks only talk in pairs that are drawn in each round"""

    needs: ClassVar[Needs] = Needs.PROX | Needs.EDGEWISE | Needs.UNSCREENED | Needs.UNDIRECTED | Needs.FRESH
    endures_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_peers("collaborative", self.strength, self.full_rows)
        if not (self.rho > 0 and np.isfinite(self.rho)):
            raise ConfigError(f"'collaborative' has rho={self.rho}. It must be a finite number above 0.")
        if not 0 < self.theta <= 1:
            raise ConfigError(f"'collaborative' has theta={self.theta}. It must be above 0 and at most 1.")

    def exposure(self) -> str:
        """Everything: lies about models and about copies."""
        return "has no bound on what a liar does to it. With liars use 'model-propagation' and a screen."

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(2, d): the reflections of both models of an edge, the sender's first; with a mark each for gossip."""
        return 2, task.dim + self.gossip

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """All copies are drawn to ``x0``; one local solve."""
        return self._solved(x0, np.tile(x0, (len(view.sources), 2, 1)), task, view)

    def send(self, state: State, view: View) -> Block:
        """For each neighbour the reflections of the own model and of its model."""
        models = np.stack((np.broadcast_to(state.x, state.copies.shape), state.copies), axis=1)
        said = 2 * models - state.anchors
        if not self.gossip:
            return said
        chosen = np.equal(view.targets, proposal(view)).astype(said.dtype)
        marks = np.broadcast_to(chosen[:, None, None], (len(said), 2, 1))
        return np.concatenate((said, marks), axis=2)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Move the anchors of the edges that spoke, then solve."""
        heard, said = inbox.valid, inbox.messages
        if self.gossip:
            heard = heard & np.equal(view.sources, proposal(view)) & (said[:, 0, -1] == 1)
            said = said[:, :, :-1]
        anchors = state.anchors.copy()
        # What the neighbour calls its own model is the other's here, and the other way round.
        anchors[heard] += self.theta * (said[heard, ::-1] - anchors[heard])
        return self._solved(state.x, anchors, task, view)

    def _solved(self, x: Vec, anchors: Block, task: Task, view: View) -> State:
        """The local solve: first the model, the copies having fallen out, then the copies."""
        prox = cast(Proximable, task).prox
        if not view.couplings.any():
            return State(prox(x, self.rho), anchors[:, 1], anchors)
        half = self.strength * view.couplings / 2
        # (k,) how strongly the model is drawn to the other's anchor, by way of the copy
        through = half * self.rho / (half + self.rho)
        weight = float(through.sum()) + self.rho * len(anchors)
        centre = (through @ anchors[:, 1] + self.rho * anchors[:, 0].sum(axis=0)) / weight
        own = float(view.couplings.sum()) * confidence(task, self.full_rows)
        x = prox(centre.astype(x.dtype, copy=False), weight / own)
        mine = (half / (half + self.rho))[:, None]
        return State(x, mine * x + (1 - mine) * anchors[:, 1], anchors)
