"""Federated averaging without a server: local epochs, then an average with the neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.algorithms.local_steps import Training, check_training
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["FedAvgGossip", "State"]


class State(NamedTuple):
    """Model and trained model."""

    x: Vec
    """(d,) after averaging: the model"""
    psi: Vec
    """(d,) after local training: what is sent"""


@dataclass(frozen=True, slots=True)
class FedAvgGossip:
    r"""Federated averaging by gossip: several local epochs between two averages, all ranks learn one model.

    Problem: min sum_k f_k(x), one x for all ranks, with fewer exchanges than gradients.
    Update: psi_k = x_k after local steps v+ = momentum v + grad f_k(w; next batch) + weight_decay w, w+ = w - mu v;
    x_k+ = sum_l a_lk psi_l. An epoch is ceil(rows / batch) steps, and one step where the batch is all rows. v begins at
    zero in every round, since the average that follows is none of its steps.
    The sum is the screen's, so any screen takes its place. With one local step this is 'diffusion', bit for bit.
    On tasks that differ, many steps drift: with a constant mu the limit is not the minimiser of sum f_k. For quadratics
    of Hessians H_k and minimisers b_k on a complete graph it solves sum_k [I - (I - mu H_k)^E] (x - b_k) = 0, E the
    steps; for E -> infinity that is the plain mean of the b_k. A schedule that falls removes the drift.
    What is ours: the neighbours' average in place of the server's, with the weights of the graph and not by numbers of
    rows. The first training happens before round 0. Batches are drawn anew, so an epoch need not see every row.

    Message: psi, f = 1.
    McMahan, Moore, Ramage, Hampson and Aguera y Arcas, "Communication-efficient learning of deep networks from
    decentralized data", AISTATS 2017; by gossip: Lian et al., "Can decentralized algorithms outperform centralized
    algorithms?", NIPS 2017, and Koloskova, Loizou, Boreiri, Jaggi and Stich, "A unified theory of decentralized SGD
    with changing topology and local updates", ICML 2020.
    """

    epochs: int = 1
    """passes over the own rows in a round, at least 1"""
    steps: int | None = None
    """local steps in a round, at least 1; left out: as many as the epochs have"""
    step_size: Schedule | None = None
    """mu, by rounds; left out: 1 / (L + weight_decay), L the Lipschitz constant of the task's gradient"""
    momentum: float = 0.0
    """how much of the last local step stays, in [0, 1)"""
    weight_decay: float = 0.0
    """weight of |w|^2 / 2 in local training, at least 0"""

    needs: ClassVar[Needs] = Needs.NOTHING

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'fedavg-gossip' step_size")
        check_training("fedavg-gossip", self.epochs, self.steps, self.momentum, self.weight_decay)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the trained model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` and train."""
        return State(x0, self._training.after(x0, task, view, 0))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The trained model, to all."""
        return (state.psi,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Average, then train for the next round."""
        x = mix()
        return State(x, self._training.after(x, task, view, 1))

    @property
    def _training(self) -> Training:
        return Training(self.step_size, self.epochs, self.steps, self.momentum, self.weight_decay)
