"""Rows fall into common clusters, a round exchanges the model of one, and each rank ends with one merged model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.division import Division, Part
from dmtl.algorithms.mixture import check_mixture, starts, trained, turn
from dmtl.capabilities import Weighted
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, step_size
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["FedSPD", "State"]


class State(NamedTuple):
    """The models of all clusters, and what the rank makes of them."""

    x: Vec
    """(d,) sum_m s_m theta_m; once merged, that sum after steps of its own"""
    psi: Mat
    """(M, d) all clusters', the drawn one after its steps: one of them is sent"""
    share: Vec
    """(M,) s, which share of the rows each cluster has"""


@dataclass(frozen=True, slots=True)
class FedSPD:
    r"""FedSPD: every row belongs to one of M clusters that all ranks have in common; a round is about one of them.

    Update of rank k in a round about cluster c: theta_c = sum_l a_kl psi_lc, and theta_m = psi_m for all others; row i
    falls to z_i, the m with the least loss l_i(theta_m), of equal ones the first; s_m is the share of rows with
    z_i = m; of the cluster c' of the next round, psi_c' = theta_c' after steps of size mu on mean_i [z_i = c'] l_i and
    the ridge. The rank's model is the mean of parameters x = sum_m s_m theta_m. From round ``merge_from`` on clusters
    rest, and x takes steps on the rank's own loss alone: without them the mean of two opposite models, in shares that
    rows which fit both have blurred, can be worse than one model for all.
    It is what 'fedem' with ``one`` would be with all of a row given to one component and parameters averaged in place
    of predictions: one model to keep and to use. The sum is the screen's, so any screen takes its place,
    and one that judges models counts the cluster's rows alone.

    What is ours: all ranks draw the cluster of a round alike, so that every link is of use in every round, where in the
    paper each rank draws its own and hears those that drew the same; the mean is over all rows and not over those of
    the cluster, which keeps mu = 1 / L safe and gives each row the same weight; all ranks start a cluster at the same
    vector, so that clusters have the same number everywhere and need not be aligned between ranks from time to time.
    Message: psi_c, f = 1.
    Lin, Yagan and Joe-Wong, "FedSPD: a soft-clustering approach for personalized decentralized federated learning",
    UAI 2025.
    """

    components: int = 3
    """M, how many clusters there may be, at least 1"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""
    epochs: int = 1
    """how many times a round goes over the rows, a gradient step for each mini-batch, at least 1"""
    merge_from: int = 0
    """the round from which on ranks learn alone from their merged models; 0: never"""
    spread: float = 0.3
    """how far apart models start where the task begins at zero: standard deviation times sqrt(d), above 0"""

    needs: ClassVar[Needs] = Needs.WEIGHTED | Needs.FRESH

    def __post_init__(self) -> None:
        check_mixture("fedspd", self.components, self.step_size, self.epochs, self.spread)
        if self.merge_from < 0:
            raise ConfigError(f"'fedspd' has merge_from={self.merge_from}. It is a round, or 0: never.")

    @property
    def endures_loss(self) -> bool:
        """Whatever is lost has no part in one average."""
        return True

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model of the round's cluster."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start the first model at ``x0`` and the others near it; adapt once."""
        return self._adapted(starts(x0, self.components, self.spread, task, view), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model of the round's cluster, to all."""
        return (state.psi[turn(self.components, view)],)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then adapt for the next round; once merged, a step alone."""
        if self.merge_from and view.round >= self.merge_from:
            mu = step_size(self.step_size, view.round + 1, task)
            ones = np.ones((1, cast(Weighted, task).training_rows))
            return state._replace(x=trained(state.x[None], [0], ones, mu, self.epochs, task, view, 1)[0])
        thetas, about = state.psi.copy(), turn(self.components, view)
        thetas[about] = mix()
        return self._adapted(thetas, task, view, 1)

    def parts(self, state: State, task: Task, view: View) -> tuple[Part, ...]:
        """For the round's cluster, its rows."""
        return Division(task, state.psi, self._assigned).parts([turn(self.components, view)])

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The shares."""
        return {"mixture": state.share}

    def _adapted(self, thetas: Mat, task: Task, view: View, ahead: int) -> State:
        q = self._assigned(cast(Weighted, task).row_losses(thetas)).astype(thetas.dtype)
        share = q.mean(axis=1)
        mu, about = step_size(self.step_size, view.round + ahead, task), turn(self.components, view, ahead)
        psi = trained(thetas, [about], q, mu, self.epochs, task, view, ahead)
        return State(share @ thetas, psi, share)

    def _assigned(self, losses: Mat) -> Mat:
        """(M, m) each row's whole to the model with the least loss on it."""
        shares: Mat = np.equal.outer(np.arange(self.components), losses.argmin(axis=0)).astype(losses.dtype)
        return shares
