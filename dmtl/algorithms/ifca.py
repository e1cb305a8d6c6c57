"""Clusters of ranks, each with a model of its own, without a server: every rank takes the model that fits it best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.mixture import check_mixture, starts, trained
from dmtl.capabilities import Weighted
from dmtl.schedules import Schedule, step_size
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["IFCA", "State"]


class State(NamedTuple):
    """The models of all clusters, and which one is this rank's."""

    x: Vec
    """(d,) the own cluster's, after combining"""
    psi: Mat
    """(M, d) all clusters', the own one after its steps: what is sent"""
    cluster: int
    """the own one"""


@dataclass(frozen=True, slots=True)
class IFCA:
    r"""Iterative federated clustering: ranks fall into M clusters that nobody knows, and each cluster learns one model.

    Problem: min over theta_1 .. theta_M of the sum over ranks of min_m f_k(theta_m).
    Update of rank k: theta_m = sum_l a_kl psi_lm for every m; m_k is the m with the least training loss
    mean_i l_i(theta_m), of equal ones the first; psi_m = theta_m after steps of size mu on f_k for m = m_k, and
    psi_m = theta_m for all others.
    The sums are the screen's, so any screen takes their place, model by model. All ranks average all models and each
    trains one, so doubly stochastic weights keep the mean over ranks of each; on a complete graph with equal weights
    and one step a round it is the published method in its form that averages gradients, theta_m - mu / n times the
    sum of the gradients of the ranks that chose m. The other form, the mean of the models of those who chose m alone,
    is left out: a rank whose neighbours chose otherwise would have nothing to average with, and it is no fixed average.
    With components=1 it is 'diffusion', bit for bit where the step is one gradient.
    A model that fits nobody best is trained by nobody and stays so: starts must differ, the same on all ranks as with
    'fedem', which divides rows where this divides ranks.

    What is ours: averages of neighbours in place of a server; the first choice and step happen before round 0.
    Message: psi_1 .. psi_M, f = M.
    Ghosh, Chung, Yin and Ramchandran, "An efficient framework for clustered federated learning", NeurIPS 2020.
    """

    components: int = 3
    """M, how many clusters there may be, at least 1"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""
    epochs: int = 1
    """how many times a round goes over the rows, a gradient step for each mini-batch, at least 1"""
    spread: float = 0.3
    """how far apart models start where the task begins at zero: standard deviation times sqrt(d), above 0"""

    needs: ClassVar[Needs] = Needs.WEIGHTED

    def __post_init__(self) -> None:
        check_mixture("ifca", self.components, self.step_size, self.epochs, self.spread)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(M, d): the models of all clusters."""
        return self.components, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start the first model at ``x0`` and the others near it; choose and adapt once."""
        return self._adapted(starts(x0, self.components, self.spread, task, view), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """All models, to all."""
        return tuple(state.psi)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then choose and adapt for the next round."""
        return self._adapted(np.array([mix(row) for row in range(self.components)]), task, view, 1)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The own cluster."""
        return {"cluster": state.cluster}

    def _adapted(self, thetas: Mat, task: Task, view: View, ahead: int) -> State:
        losses = cast(Weighted, task).row_losses(thetas)
        own = int(losses.mean(axis=1).argmin())
        mu = step_size(self.step_size, view.round + ahead, task)
        psi = trained(thetas, [own], np.ones_like(losses), mu, self.epochs, task, view, ahead)
        return State(thetas[own], psi, own)
