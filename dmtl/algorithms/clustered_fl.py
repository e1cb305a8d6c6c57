"""Clustered federated learning without a server: ranks whose updates point apart part company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np

from dmtl.algorithms.bipartition import bipartition, cosines
from dmtl.algorithms.local_steps import Training, check_training
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Inbox, Mask, Mix, Needs, Task, Vec, View

__all__ = ["ClusteredFL", "Clusters", "State"]

Linkage = Literal["complete", "single"]


class State(NamedTuple):
    """Model, trained model, and who is still in the own cluster."""

    x: Vec
    """(d,) after averaging in the cluster: the model"""
    psi: Vec
    """(d,) after local training: sent"""
    update: Vec
    """(d,) psi - x: sent as well"""
    linked: Mask
    """(k,) the neighbours with whom it has not parted"""
    sizes: Vec
    """(2,) the norm of the mean update of the cluster, as far as it was heard, and the largest norm of any"""


@dataclass(frozen=True, slots=True)
class ClusteredFL:
    r"""Clustered federated learning by gossip: one model for all, until tasks prove to differ; then one per cluster.

    Problem: groups of ranks have tasks that one model can serve, and nobody knows the groups.
    Update: psi_k = x_k after local epochs, as in 'fedavg-gossip'; D_k = psi_k - x_k; both are sent. If
    |mean D| < tol1 and max |D| > tol2 over those that the rank is linked with and itself, the common model is as good
    as it gets and yet somebody is far from content. Then they are split in two by the cosines of their D, and the rank
    cuts its links to the other half, for ever. x_k+ is the average of psi over the links that are left, the screen's.
    On a complete graph all ranks of a cluster see the same D and run the same rule on the same numbers, so they agree,
    bit for bit, as long as no message is lost; and each cluster takes its plain mean, as with the server. The weight of
    a link that is cut goes to the others there; elsewhere it goes to the own model, which keeps the cluster's mean.
    linkage=complete is the rule of published code; linkage=single finds the two groups whose most similar members
    across are least similar, which is the paper's optimum.
    tol1 and tol2 are lengths of updates, so they depend on the task, the step and the local steps; the defaults are
    those of published code for deep networks. The rank files tell what they are compared with. With tol1 above tol2
    ranks that agree are split as well.
    What is ours: on other graphs a rank splits its own neighbourhood, which is a heuristic: updates are taken at models
    that differ, a group may fall into more parts than needed, and of two ends one may cut a link and the other not.
    What a liar can do: models are the screen's, and updates are believed. One that tells of an update longer than tol2
    and shorter than tol1 times the members starts a split when it likes, and honest ranks part; at worst each ends
    alone. Nor is it bounded which cluster it joins. Who has parted from a liar is rid of it.

    Message: psi and D, f = 2.
    Sattler, Mueller and Samek, "Clustered federated learning: model-agnostic distributed multitask optimization under
    privacy constraints", IEEE Transactions on Neural Networks and Learning Systems 32(8), 2021.
    """

    tol1: float = 0.4
    """the mean update of a cluster that may split is shorter than this, above 0; the rank files tell its length"""
    tol2: float = 1.6
    """and the longest of its updates is longer than this, at least 0; the rank files tell its length"""
    linkage: Linkage = "complete"
    """by which pair two groups are compared: the least similar one (complete) or the most similar one (single)"""
    epochs: int = 1
    """passes over the own rows in a round, at least 1"""
    steps: int | None = None
    """local steps in a round, at least 1; left out: as many as the epochs have"""
    step_size: Schedule | None = None
    """step by rounds; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'clustered-fl' step_size")
        check_training("clustered-fl", self.epochs, self.steps)
        if not (self.tol1 > 0 and np.isfinite(self.tol1)):
            raise ConfigError(f"'clustered-fl' has tol1={self.tol1}. It must be a finite number above 0.")
        if not self.tol2 >= 0:
            raise ConfigError(f"'clustered-fl' has tol2={self.tol2}. It must be at least 0.")
        if self.linkage not in get_args(Linkage):
            raise ConfigError(f"'clustered-fl' has linkage={self.linkage!r}. It is complete or single.")

    def charted(self, chart: Chart) -> Clusters:
        """The method on that graph."""
        return Clusters(self, len(chart.edges) == chart.ranks * (chart.ranks - 1) // 2)


@dataclass(frozen=True, slots=True)
class Clusters:
    """The method where it is known whether all see all; see ``ClusteredFL``."""

    settings: ClusteredFL
    complete: bool
    """whether each rank is a neighbour of each"""

    needs: ClassVar[Needs] = ClusteredFL.needs

    @property
    def step_size(self) -> Schedule | None:
        """The method's."""
        return self.settings.step_size

    def exposure(self) -> str:
        """Cuts."""
        return (
            "believes what neighbours say of their updates: a liar can part honest ranks, all of them at worst. "
            "With liars use 'fedavg-gossip' and a screen."
        )

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(2, d): the trained model and its update."""
        return 2, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, linked with all, and train."""
        linked = np.ones(len(view.sources), np.bool_)
        return self._trained(State(x0, x0, x0, linked, np.zeros(2)), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """Trained model and update, to all."""
        return state.psi, state.update

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The cluster, by the lowest rank known to be in it, and what the tolerances are compared with."""
        members = [view.rank, *np.array(view.sources)[state.linked].tolist()]
        return {"cluster": min(members), "mean_update": state.sizes[0], "largest_update": state.sizes[1]}

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Part if it is time, average with who is left, then train for the next round."""
        state = self._parted(state, inbox, view)
        return self._trained(state._replace(x=self._average(state.linked, inbox, mix, view)), task, view, 1)

    def _parted(self, state: State, inbox: Inbox, view: View) -> State:
        here = np.flatnonzero(inbox.valid & state.linked)
        own = int(np.searchsorted(np.array(view.sources)[here], view.rank))  # in order of ranks, the same for all
        updates = np.insert(inbox.messages[here, 1].astype(np.float64), own, state.update, axis=0)
        sizes = np.array([np.linalg.norm(updates.mean(axis=0)), np.linalg.norm(updates, axis=1).max()])
        state = state._replace(sizes=sizes)
        if len(updates) < 2 or not (sizes[0] < self.settings.tol1 and sizes[1] > self.settings.tol2):
            return state
        side = bipartition(cosines(updates), self.settings.linkage == "complete")
        linked = state.linked.copy()
        linked[here[np.delete(side != side[own], own)]] = False
        return state._replace(linked=linked)

    def _average(self, linked: Mask, inbox: Inbox, mix: Mix, view: View) -> Vec:
        """Over the links that are left."""
        if self.complete and not linked.all():
            left = np.concatenate(([True], linked)) * view.weights
            mix.instead(inbox.messages, inbox.valid & linked, (left / left.sum()).astype(left.dtype))
        else:
            mix.refuse(~linked)
        return mix()

    def _trained(self, state: State, task: Task, view: View, ahead: int) -> State:
        training = Training(self.settings.step_size, self.settings.epochs, self.settings.steps)
        psi = training.after(state.x, task, view, ahead)
        return state._replace(psi=psi, update=psi - state.x)
