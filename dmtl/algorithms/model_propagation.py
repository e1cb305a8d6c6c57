"""Model propagation: models that were learnt alone, smoothed over the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dmtl.algorithms.peers import Words, average, check_peers, confidence, listened, silence
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mix, Needs, Task, Vec, View

__all__ = ["ModelPropagation", "State"]


class State(NamedTuple):
    """The model, the one learnt alone, and what the neighbours said last."""

    x: Vec
    """(d,) the model: what is sent"""
    alone: Vec
    """(d,) what this rank has learnt from its own data alone"""
    words: Words
    """the neighbours' last models"""


@dataclass(frozen=True, slots=True)
class ModelPropagation:
    r"""Model propagation: each rank learns alone, and where its data are few its neighbours' models fill in.

    Problem: min over X of sum_k D_k c_k |x_k - s_k|^2 / 2 + (strength / 2) sum_{edges kl} S_kl |x_k - x_l|^2, s_k the
    minimiser of f_k, S the graph's edge weights (1 if none), D_k = sum_l S_kl, c_k in (0, 1] the confidence in a rank's
    own data: c_k = min(1, m_k / full_rows), m_k its rows.
    Update: x_k+ = (strength sum_l (S_kl / D_k) x_l + c_k s_k) / (strength + c_k), the sum over the last words of the
    neighbours. In the paper's letters strength is alpha / (1 - alpha) = 1 / mu.
    Limit: X = (C + strength (I - P))^-1 C S*, C = diag c, P = D^-1 S. The largest error of any model, as a vector's
    length, is multiplied by strength / (strength + c) in every round, c the least confidence. So messages may be late,
    out of order or lost, and ranks may talk in pairs at random as in the paper: the limit stays exact as long as words
    of every neighbour keep coming (Bertsekas and Tsitsiklis, chapter 6).

    What is ours: s_k is learnt on the way, by one gradient step in each round, and what it still lacks vanishes from
    the models as well. The sum is the screen's, so any screen takes its place; it sees the last words and the weights
    S_kl / D_k. What a screen refuses is weight of the own model. The paper's c_k is m_k / max_l m_l, a maximum over
    all ranks, which a liar could set; give that number as full_rows.

    Message: x, f = 1.
    Vanhaesebrouck, Bellet and Tommasi, "Decentralized collaborative learning of personalized models over networks",
    AISTATS 2017; Bertsekas and Tsitsiklis, "Parallel and distributed computation", 1989 (late messages).
    """

    strength: float = 1.0
    """how strongly neighbours are drawn together, at least 0; 0 learns alone"""
    full_rows: int = 0
    """rows from which on a rank is fully confident in its data; 0: all ranks are"""
    step_size: Schedule | None = None
    """step of the learning alone; left out: 1 / L, L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = Needs.UNDIRECTED

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'model-propagation' step_size")
        check_peers("model-propagation", self.strength, self.full_rows)

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d): the model."""
        return 1, task.dim

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0``, knowing nobody's model."""
        return State(x0, x0, silence(self.message_shape(task), x0, view))

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model, to all."""
        return (state.x,)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """Learn alone, then average that with the neighbours."""
        alone = state.alone - step_size(self.step_size, view.round, task) * task.grad(state.alone, view.batch())
        words = listened(state.words, inbox)
        own = confidence(task, self.full_rows)
        if not view.couplings.any():
            return State(alone, alone, words)
        x = (self.strength * average(words, mix, view) + own * alone) / (self.strength + own)
        return State(x, alone, words)
