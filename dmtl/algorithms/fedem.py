"""Federated expectation-maximisation without a server: a few models that all share, mixed differently on each rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from dmtl.algorithms.division import Division, Part
from dmtl.algorithms.mixture import check_mixture, responsibilities, settled, starts, trained, turn
from dmtl.capabilities import Weighted
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, step_size
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["FedEM", "State"]


class State(NamedTuple):
    """The components and how they are mixed."""

    x: Vec
    """(d,) sum_m pi_m theta_m: the report's one vector, and not what the rank predicts with"""
    thetas: Mat
    """(M, d) the components after combining: with ``pi`` they are the predictor"""
    psi: Mat
    """(M, d) the components after the M step: what is sent"""
    pi: Vec
    """(M,) the shares, which never leave the rank"""


@dataclass(frozen=True, slots=True)
class FedEM:
    r"""D-FedEM: every rank's data are a mixture of M sources that all ranks have in common, in shares of its own.

    Problem: min over theta_1 .. theta_M and the shares pi_k of each rank k of the sum over ranks of
    -mean_i log sum_m pi_km exp(-l_i(theta_m)) + l2/2 sum_m |theta_m|^2, l_i the loss of row i, a log-likelihood. A rank
    predicts with the mean, by its shares, of the M predictions; of classes that is a mean of probabilities.
    Update of rank k: theta_m = sum_l a_kl psi_lm for every m; then on its own rows
    E step: q_i(m) = pi_m exp(-l_i(theta_m)) / sum_m' pi_m' exp(-l_i(theta_m'));
    M step: pi_m = mean_i q_i(m), and psi_m = theta_m after steps of size mu on mean_i q_i(m) l_i + l2/2 |.|^2.
    The sums are the screen's, so any screen takes their place, component by component; one that judges models or learns
    a model of its own counts each row as far as it is that component's, q_i(m) at the present shares. Doubly
    stochastic weights keep the mean over ranks of each component. Without neighbours, with all rows and mu at most
    1 / L, the problem's value never rises. With components=1 it is 'diffusion', bit for bit where the step is one
    gradient. On a complete graph with equal weights it is FedEM with a server that gives all ranks the same weight,
    whatever their rows.

    All ranks start a component at the same vector, drawn from the seed and the component's number: otherwise component
    1 of one rank is component 2 of another, and averages mix unlike things. And components start at different
    vectors: of equal ones every row belongs to all alike, for ever. But not far apart, or the one that happens to be
    best at the start takes all rows before the others have learnt, and a share of 0 stays 0. A ``spread`` of 0.3 found
    known shares more often than one of 1.
    With ``one`` a round is about one component, drawn by all ranks alike: it alone is sent, combined and trained, so
    messages are as long as those of 'diffusion'; shares follow in every round. All messages are then of their round.
    With ``learners`` = K the ranks K, K + 1 .. have never been part of the training: they make no gradient, pass on
    what they combined, and settle their shares by the E step and pi alone until these stay as they are.
    With ``sparse`` responsibilities below it count as 0 wherever a gradient is made, and 'mlp' and 'torch' leave such
    rows out: where rows are clearly of one component or two, the M step goes through each as often and not M times. The
    E step is whole, so a row can come back.

    What is ours: the first E and M steps happen before round 0, so that a round is one exchange and then these; shares
    of a new rank are settled and not improved once; ``one`` trains what it sends, which measured better than to train
    all. The published code mixes with a matrix without self-weights, by which camps of a bipartite graph swap their
    models for ever; the weights here have them.
    Message: psi_1 .. psi_M, f = M; with ``one`` f = 1.
    Marfoq, Neglia, Bellet, Kameni and Vidal, "Federated multi-task learning under a mixture of distributions", NeurIPS
    2021; one component a round as in Lin, Yagan and Joe-Wong, "FedSPD", UAI 2025; sparse steps after Neal and Hinton,
    "A view of the EM algorithm that justifies incremental, sparse, and other variants", 1998.
    """

    components: int = 3
    """M, how many models are mixed, at least 1"""
    step_size: Schedule | None = None
    """mu; left out: 1 / L, L the Lipschitz constant of the task's gradient"""
    epochs: int = 1
    """how many times a round goes over the rows, a gradient step for each mini-batch, at least 1"""
    one: bool = False
    """whether a round sends one component and not all"""
    learners: int = 0
    """how many ranks learn, the first ones; all later ones only adapt their shares. 0: all learn"""
    sparse: float = 0.0
    """responsibilities below this make no gradient, at least 0 and below 1"""
    spread: float = 0.3
    """how far apart components start where the task begins at zero: standard deviation times sqrt(d), above 0"""

    needs: ClassVar[Needs] = Needs.WEIGHTED

    def __post_init__(self) -> None:
        check_mixture("fedem", self.components, self.step_size, self.epochs, self.spread)
        if self.learners < 0:
            raise ConfigError(f"'fedem' has learners={self.learners}. It is a number of ranks, or 0: all learn.")
        if not 0 <= self.sparse < 1:
            raise ConfigError(
                f"'fedem' has sparse={self.sparse}. It is the responsibility below which a row makes no gradient: at "
                f"least 0, as 0.01, and below 1."
            )

    @property
    def endures_loss(self) -> bool:
        """Whatever is lost has no more part in one average."""
        return True

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(M, d): the components; with ``one`` (1, d)."""
        return 1 if self.one else self.components, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start the first component at ``x0`` and the others near it, in equal shares; adapt once."""
        thetas = starts(x0, self.components, self.spread, task, view)
        return self._adapted(thetas, np.full(self.components, 1 / self.components), task, view, 0)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The components, to all."""
        return (state.psi[turn(self.components, view)],) if self.one else tuple(state.psi)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Combine, then adapt for the next round."""
        if self.one:
            thetas = state.psi.copy()
            thetas[turn(self.components, view)] = mix()
        else:
            thetas = np.array([mix(row) for row in range(self.components)])
        return self._adapted(thetas, state.pi, task, view, 1)

    def evaluate(self, state: State, task: Task) -> Mapping[str, float]:
        """The figures of the mixture."""
        return cast(Weighted, task).blend(state.thetas, state.pi)

    def parts(self, state: State, task: Task, view: View) -> tuple[Part, ...]:
        """For each component that is sent, the rows as far as they are its own: q_i(m) at the present shares."""
        division = Division(task, state.thetas, lambda losses: self._kept(responsibilities(losses, state.pi)))
        return division.parts(self._about(view, 0))

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """The shares."""
        return {"mixture": state.pi}

    def _adapted(self, thetas: Mat, pi: Vec, task: Task, view: View, ahead: int) -> State:
        """E and M step; of a rank that does not learn, its shares alone."""
        losses = cast(Weighted, task).row_losses(thetas)
        if self.learners and view.rank >= self.learners:
            pi = settled(losses).astype(thetas.dtype)
            return State(pi @ thetas, thetas, thetas, pi)
        q = responsibilities(losses, pi)
        pi = q.mean(axis=1).astype(thetas.dtype)
        mu = step_size(self.step_size, view.round + ahead, task)
        psi = trained(thetas, self._about(view, ahead), self._kept(q), mu, self.epochs, task, view, ahead)
        return State(pi @ thetas, thetas, psi, pi)

    def _kept(self, q: Mat) -> Mat:
        """(M, m) the responsibilities that make gradients."""
        return np.where(q < self.sparse, 0, q) if self.sparse else q

    def _about(self, view: View, ahead: int) -> Sequence[int]:
        """The components that the round ``view.round + ahead`` is about."""
        return [turn(self.components, view, ahead)] if self.one else range(self.components)
