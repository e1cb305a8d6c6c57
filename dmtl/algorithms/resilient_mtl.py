"""Byzantine resilient multi-task learning: a neighbour counts as far as its model does well on the own data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar, Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from dmtl.algorithms.reputation import Comparing, Memory, Reputation, inverse, squares, without_worst
from dmtl.capabilities import Judging
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, rate
from dmtl.sums import weighted_sum
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["ResilientMTL", "State"]

Rule = Literal["loss", "average", "distance", "distance-f", "none"]
Score = Literal["next-batch", "paper", "held-out"]


class State(NamedTuple):
    """The model, what is said, and what is remembered of the neighbours."""

    x: Vec
    """(d,) the model: psi, which has learnt from every batch; w where the paper scores"""
    w: Vec
    """(d,) after combining"""
    psi: Vec
    """(d,) after the gradient step: what is sent"""
    weights: Vec
    """(1 + k,) a of the last round, the own one first"""
    known: Reputation


@dataclass(frozen=True, slots=True)
class ResilientMTL:
    r"""Resilient multi-task learning: each rank learns its own task and weighs neighbours by their loss on its data.

    Problem: each rank minimises its own risk f_k(w) = E loss(w; xi_k), online. Some neighbours have the same or a
    similar minimiser, nobody knows which, and any number of them lie, to each neighbour something else.
    Update, on a batch xi that no model in the comparison was fitted to:
    A_l <- (1 - gamma) A_l + gamma loss(psi_l; xi) for oneself and for all who are heard;  K = {l: A_l <= A_k};
    w = sum over K of a_l psi_l, a_l ~ 1 / A_l;  psi_k = w - mu grad loss(w; xi) is said.
    The weights are those that make sum a_l^2 A_l least, and the mean loss sum a_l A_l is the harmonic mean of the kept
    A, at most A_k. So for a convex loss what is combined is, as accumulated, no worse than the own model. No bound on
    the number of liars is asked for: as long as all neighbours have larger A, the rank learns alone, bit for bit as
    with rule=none. A lie whose cost is within the noise of A passes at times: over 20 seeds, 'drag' with r=0.002 made
    the error of the worst agent up to 1.9 times what it is alone where all neighbours lie, and 1.3 where a quarter do.
    Rules to compare with: 'average' of all, 'distance', a_l ~ 1 / (accumulated |psi_l - w|^2) without a filter, and
    'distance-f', that without the f neighbours with the largest a_l^2 A_l. None of these is a defence: 'drag' comes
    nearer than any honest neighbour.

    What is ours: the paper's text was not available, and this is a reconstruction from its authors' code. They score
    on the very batch that the own model was just fitted to (score=paper; here the neighbours' words are a round older
    than the own). There the own model looks too good, nobody is kept, and the rank learns alone. Own and neighbours'
    losses are taken on equal terms here, on the bytes that were received. score=held-out takes the task's held-out
    rows; without a stream and without mini-batches all rows are in every batch, and that is the score to use.
    'distance-f' judges by A, where its authors keep the last hundred samples.
    The model that is evaluated is psi, since w has not yet learnt from xi: alone, it is stochastic gradient descent.
    Accumulated figures are means of all words until gamma is the larger share, so that no first word weighs much.
    Warm-up: before ``warm_up`` of its words have been scored, a neighbour is not used; halfway its figures and the own
    ones begin anew, or a lie would live on that began nearer to the truth than a model that was not fitted yet.
    Guards: a neighbour with a good name could live on it and say one word of a loss up to 1 / gamma times the own.
    ``worst`` bounds its loss on this batch; a lie that one row does not see passes that. So ``guard`` bounds how far
    its words are from the mean of what it said before, in its accumulated squared moves: a good name is that of one
    place, and it moves slowly. A liar that follows its victim, as 'drag' does, then leaves its own place behind. Both
    can be left out with 0.
    A loss that is not finite counts 1e300. If the own one is not, nobody is used and nothing is remembered. A neighbour
    that is not heard is absent, and what is known of it rests; late words are scored like others. What a rank's data
    do not see, directions in which its loss is flat, is not bounded.

    Message: psi, f = 1. Memory: a mean (d,) for each neighbour. Cost: a loss for each neighbour and one gradient.
    Li, Abbas and Koutsoukos, "Byzantine resilient distributed multi-task learning", NeurIPS 2020; 'distance-f' in the
    manner of Li, Abbas and Koutsoukos, "Resilient distributed diffusion in networks with adversaries", IEEE
    Transactions on Signal and Information Processing over Networks, 2020.
    """

    rule: Rule = "loss"
    """how neighbours are weighed"""
    score: Score = "next-batch"
    """on which rows losses are taken: this round's, before the model is fitted to them, or after, or held-out ones"""
    gamma: float = 0.01
    """how much of an accumulated figure is of this round, above 0 and at most 1; small ones resist 'drag'"""
    warm_up: int | None = None
    """how many words of a neighbour are scored before any is used; left out: 2 / gamma, for other rules than loss 0"""
    start: float | None = None
    """the accumulated losses and distances before the first, at least 0; left out: means of all"""
    worst: float = 9.0
    """largest loss of this round that is used, in own accumulated losses; 0: any"""
    guard: float = 4.0
    """largest squared move of a neighbour's words from their mean, in its accumulated ones; 0: any"""
    f: int = 1
    """how many neighbours 'distance-f' leaves out"""
    step_size: Schedule = 0.02
    """mu"""

    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.EDGEWISE

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'resilient-mtl' step_size")
        for key, allowed in (("rule", get_args(Rule)), ("score", get_args(Score))):
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"'resilient-mtl' has {key}={getattr(self, key)!r}. It is one of {', '.join(allowed)}."
                )
        if not 0 < self.gamma <= 1:
            raise ConfigError(f"'resilient-mtl' has gamma={self.gamma}. It is a share, above 0 and at most 1.")
        for key in ("warm_up", "start", "worst", "guard", "f"):
            value = getattr(self, key)
            if value is not None and not (value >= 0 and np.isfinite(value)):
                raise ConfigError(f"'resilient-mtl' has {key}={value}. It must be a finite number of at least 0.")

    @property
    def needs_held_out(self) -> bool:
        """Whether it judges on held-out rows."""
        return self.score == "held-out" and self._judges

    @property
    def _judges(self) -> bool:
        return self.rule in ("loss", "distance-f")

    @property
    def _patience(self) -> int:
        """How many words of a neighbour are scored before any is used."""
        if self.warm_up is not None:
            return self.warm_up
        return ceil(2 / self.gamma) if self.rule == "loss" else 0

    @property
    def _memory(self) -> Memory:
        return Memory(self.gamma, self._patience // 2, self.start is not None)

    def exposure(self) -> str:
        """Nothing where losses filter; all where distances or nobody does."""
        found = {
            "average": "with rule=average has no defence: every lie is in the average.",
            "distance": "with rule=distance has no defence: a lie near the victim's own words weighs most.",
            "distance-f": "with rule=distance-f leaves out f neighbours, and what others say is not bounded.",
        }.get(self.rule, "")
        return f"{found} With liars use rule=loss." if found else ""

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the adapted model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``; no row is used, so that the first batch is new to everybody."""
        known = Reputation.blank(view, len(x0), x0.dtype, self.start or 0.0)
        return State(x0, x0, x0, _alone(len(view.sources)), known)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model, to all."""
        return (state.psi,)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The weights, the own one first; and as trust those of the neighbours in shares of the largest."""
        return {"weights": state.weights, "trust": state.weights[1:] / state.weights.max()}

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Score, accumulate, filter and combine; then adapt. Where the paper scores, adapt first."""
        own = self._adapted(state.w, task, view) if self.score == "paper" else state.psi
        state = self._combined(state, own, inbox, task, view)
        if self.score == "paper":
            return state._replace(x=state.w, psi=own)
        psi = self._adapted(state.w, task, view)
        return state._replace(x=psi, psi=psi)

    def _adapted(self, w: Vec, task: Task, view: View) -> Vec:
        moved: Vec = w - rate(self.step_size, view.round) * task.grad(w, view.batch())
        return moved

    def _combined(self, state: State, own: Vec, inbox: Inbox, task: Task, view: View) -> State:
        """The state with the new w, its weights and what is known after this round."""
        alone = _alone(len(view.sources))
        if self.rule == "none":
            return state._replace(w=own, weights=alone)
        valid = inbox.valid
        here = np.flatnonzero(np.concatenate(([True], valid)))
        words = np.concatenate((own[None], inbox.messages[valid, 0]))
        losses = self._losses(words, task, view)
        if not np.isfinite(losses[0]):  # then there is nothing to measure others by
            return state._replace(w=own, weights=alone)
        known = state.known.after(here, words, losses, squares(words - state.w), self._memory)
        a = self._weights(here, words, losses, state.known, known)
        w = weighted_sum(a[a > 0].astype(own.dtype), words[a > 0])[0] if (a[1:] > 0).any() else own
        weights = np.zeros_like(alone)
        weights[here] = a
        return state._replace(w=w, weights=weights, known=known)

    def _losses(self, words: Mat, task: Task, view: View) -> Vec:
        """(m,) losses of models on this round's rows, or on held-out ones; 0 where the rule asks for none."""
        if not self._judges:
            return np.zeros(len(words))
        with np.errstate(all="ignore"):  # a model that a liar sent may overflow
            if self.score == "held-out":
                found: Vec = cast(Judging, task).held_out_losses(words).mean(axis=1, dtype=np.float64)
            elif isinstance(task, Comparing):
                found = task.losses(words, view.batch()).astype(np.float64)
            else:
                found = np.array([task.loss(row, view.batch()) for row in words], np.float64)
        found[np.isnan(found)] = np.inf
        return found

    def _weights(self, here: NDArray[np.intp], words: Mat, losses: Vec, before: Reputation, known: Reputation) -> Vec:
        """(m,) a of those who are here, the own one first."""
        kept = known.heard[here] > self._patience
        kept[0] = True
        if self.rule == "average":
            return inverse(np.ones(len(here)), kept)
        if self.rule != "loss":
            a = inverse(known.distances[here], kept)
            if self.rule == "distance-f":
                a = inverse(known.distances[here], kept & without_worst(a, known.losses[here], self.f))
            return a
        kept[1:] &= known.losses[here[1:]] <= known.losses[0]
        if self.worst:
            kept[1:] &= losses[1:] <= self.worst * known.losses[0]
        if self.guard:
            kept[1:] &= before.moved(here, words) <= self.guard * before.spread[here[1:] - 1]
        return inverse(known.losses[here], kept)


def _alone(neighbours: int) -> Vec:
    """Weights (1 + k,) of one that listens to nobody."""
    return np.concatenate((np.ones(1), np.zeros(neighbours)))
