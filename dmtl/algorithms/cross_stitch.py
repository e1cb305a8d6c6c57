"""Cross-stitch: each rank learns, layer by layer, how much of each neighbour's parameters to mix into its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmtl.capabilities import Layered
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["CrossStitch", "State"]


class State(NamedTuple):
    """The mixed model, what is said of it, and how it is mixed."""

    x: Vec
    """(d,) the model, after the last mixing"""
    u: Vec
    """(d,) x - mu grad f(x): what is sent"""
    logits: Mat
    """(layers, 1 + k) of the weights, the own first"""


@dataclass(frozen=True, slots=True)
class CrossStitch:
    r"""Cross-stitch: ranks mix their neighbours' layers with weights that they learn by their own loss.

    Problem: min over models and weights of f_t(x_t), at each rank t, x_t^l = sum_s A_ts^l u_s^l for every layer l,
    s over t and its neighbours; rows A_ts^l >= 0 with sum 1 are the softmax of logits b_ts^l. A task without layers is
    one layer.
    Update: x+ = sum_s A_ts u_s, layer by layer; g = grad f_t(x+); u+ = x+ - mu g;
    b_ts^l -= rate mu A_ts^l <g^l, u_s^l - x^l>, which is the slope of f_t along the logits.
    A_ts^l begins at ``own`` for s = t, and at shares of the rest as the mixing weights are. A neighbour that raises the
    own loss loses weight, in the layers in which it does. A_ts and A_st need not be the same. own=1 is 'local', bit
    for bit. rate=0, with the own mixing weight as ``own``, is 'diffusion'. Nothing is proven of what lies between: a
    rank takes what lowers its own training loss now, which is greedy and knows of no overfitting: with a large rate the
    own share goes to 1 and the method to 'local'.
    What is ours: parameters are mixed in place of activations, which are of different rows on different ranks; the
    softmax; and the mixed model becomes the own one. Otherwise, with own parameters that only move along
    A_tt g, weights that can be inverted do not couple the tasks at all: every x_t goes to where its own gradient is 0.
    A screen's trust in a neighbour multiplies its weight, and the rest is scaled up; 'average' trusts all.

    Message: u, f = 1.
    Misra, Shrivastava, Gupta and Hebert, "Cross-stitch networks for multi-task learning", CVPR 2016.
    """

    own: float = 0.9
    """share of the own parameters at the start, above 0 and at most 1"""
    rate: float = 1.0
    """step of the logits as a multiple of mu, at least 0; 0: weights stay what they are"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.EDGEWISE

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'cross-stitch' step_size")
        if not 0 < self.own <= 1:
            raise ConfigError(f"'cross-stitch' has own={self.own}. own is a share above 0 and at most 1.")
        if not (isfinite(self.rate) and self.rate >= 0):
            raise ConfigError(f"'cross-stitch' has rate={self.rate}. rate is a finite number of at least 0.")

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the adapted model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and adapt once."""
        others = view.weights[1:].astype(np.float64)
        rest = others.sum()
        shares = np.append(self.own, (1 - self.own) * others / rest) if rest > 0 else np.append(1.0, 0 * others)
        with np.errstate(divide="ignore"):  # a share of 0 stays 0
            logits = np.tile(np.log(shares), (len(_places(task)), 1))
        return State(x0, x0 - self._mu(task, view, 0) * task.grad(x0, view.batch()), logits)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The adapted model, to all."""
        return (state.u,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Mix, adapt, and learn the weights by the same gradient."""
        trust = np.append(1.0, np.where(inbox.valid, mix.trust(), 0))
        used = np.flatnonzero(trust)
        words, places = inbox.rows[0][used], _places(task)
        weights = softmax(state.logits[:, used]) * trust[used]
        weights /= weights.sum(axis=1, keepdims=True)
        x = np.concatenate([share @ words[:, place] for share, place in zip(weights, places, strict=True)])
        x = x.astype(state.x.dtype)
        g, mu, logits = task.grad(x, view.batch(1)), self._mu(task, view, 1), state.logits.copy()
        slopes = np.array([(words[:, place] - x[place]) @ g[place] for place in places], np.float64)
        logits[:, used] -= self.rate * mu * weights * slopes
        return State(x, x - mu * g, logits)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The weights by layer, the own first; and as trust their mean over layers in shares of the largest."""
        weights = softmax(state.logits)
        mean = weights.mean(axis=0)
        return {"weights": weights, "trust": mean[1:] / mean.max()}

    def _mu(self, task: Task, view: View, ahead: int) -> float:
        return step_size(self.step_size, view.round + ahead, task)


def _places(task: Task) -> list[slice]:
    """The parameters of each layer."""
    if isinstance(task, Layered):
        return [layer.where for layer in task.layers.values()]
    return [slice(0, task.dim)]


def softmax(logits: Mat) -> Mat:
    """Rows of weights (layers, 1 + k) that sum to one."""
    powers: Mat = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
