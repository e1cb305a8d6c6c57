"""Online multi-task learning that learns the relation of the tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from dmtl.algorithms.drom_exact import Exact
from dmtl.algorithms.drom_gossip import Gossip
from dmtl.algorithms.drom_local import Near
from dmtl.algorithms.dual_averaging import DualAveraging
from dmtl.consensus.chart import Chart
from dmtl.errors import ConfigError, unknown
from dmtl.schedules import Schedule, check_schedule
from dmtl.types import Needs

__all__ = ["DROM"]

Sums = Literal["exact", "gossip", "local"]

_FALLING = "2/(t+2)"
_USERS = {"rounds": "gossip", "threshold": "local", "clip": "local"}
"""settings that only one way of adding up has"""


@dataclass(frozen=True, slots=True)
class DROM:
    r"""Online multi-task learning with a relation that is learned by projection-free steps; DROM and DROM-D.

    Problem: min over W = [w_1 .. w_n] of sum_t sum_i phi(h_it(w_i)) + 1/(2 eta) |W|_*^2, h_it the loss of task i's row
    t and phi(h) = min(h^p, cap), so that rows that fit badly are let go. |W|_*^2 is the least of tr(W Om^-1 W') over
    positive semidefinite Om, n by n, of trace 1: Om is the relation of the tasks.
    Update, A = [a_1 .. a_n] from 0 and Om from I/n:
        w_i = x0 - eta_t n sum_j Om_ji a_j;   a_i+ = a_i + phi'(h) grad h(w_i)
        v+ = A'A v / |A'A v|, ``power`` times;   Om+ = (1 - g) Om + g v v'
    The last line goes towards the maximiser of tr(A Om A') among all Om, v the leading right singular vector of A: no
    projection and no decomposition. With g = 0 every rank learns alone by dual averaging, bit for bit.
    A power step asks one sum of the others, sum_j a_j v_j, with sum_j v_j^2 beside it. How it comes about:
    exact   an exact average: one round on the complete graph, n // 2 on a ring; all links in all rounds
    gossip  a tracked average, believed after ``rounds`` rounds of gossip, however far it is from the sum
    local   none: a rank knows its neighbours' a_j and learns a relation of its own, on itself and them
    A rank whose rows have ended keeps its model and takes its part in the sums.

    The paper's text was not available: this is a reconstruction from its abstract, and constants are ours. What else
    is ours, and what it costs:
    The rows do not wait for the sums. a_i grows in every round, and the relation is turned when a sum is complete, with
    the a_j of when it set out; then the next one sets out. A row is learnt with the model that this round's words
    complete, so on a complete graph Om is that of the loop above with v taken before the power step; what is scored
    on a stream is the model of before they came.
    A rank does not hold Om. v_i (sum_j a_j v_j) of each step is added up, d numbers for all of the past, with the own
    a_i kept as it is now; the others' are as they were at that step. Sums made anew for all the past would take as many
    vectors as there were steps, and would be worth something: the age of the sums costs a part of the gain.
    With a history of R pairs older ones are dropped and their shares go back to I/n; a short history can be worse than
    no relation at all. So the past is kept whole unless one asks for less.
    g is small for a reason: steps go towards rank one, and the tasks are not of rank one. 2/(t+2) needs no choice. On a
    graph where sums take long, steps are few and g may be larger.
    It has no defence against liars, but for sums=local with a clip: a neighbour's a_j is cut to the length clip |a_i|,
    and as |Om_ji| is at most 1/2, its term in w_i to eta_t (1 + k) clip |a_i| / 2, k the neighbours.

    Message: exact and gossip: a sum or its estimate, d + 1 numbers, f = 1; local: a_i, d numbers, f = 1.
    Yang and Li, AAAI 2020, arXiv 2004.01305.
    """

    step_size: Schedule = "0.1/sqrt(t)"
    """eta_t"""
    sums: Sums = "exact"
    """how ranks learn of each other"""
    g: float | str = 0.005
    """step of the relation, in [0, 1], or 2/(t+2)"""
    power: int = 1
    """power steps for a step of the relation, each with a sum of its own"""
    p: float = 1.0
    """power of the loss, above 0 and at most 2"""
    cap: float | None = None
    """a row with a larger loss, to the power p, teaches nothing; left out: none"""
    history: int = 0
    """R, how many steps of the relation are remembered; 0: all, at no cost"""
    period: int = 1
    """tau: a sum sets out, or a_i is told, in every tau-th round only, and old words are repeated in between"""
    rounds: int | None = None
    """J, rounds of gossip for a power step; left out: 4"""
    threshold: float | None = None
    """sums=local: a_i is told sooner if it has moved by more than this share of its length; left out: never"""
    clip: float | None = None
    """sums=local: how long a neighbour's a_j may be, in lengths of the own one; left out: any"""

    needs: ClassVar[Needs] = Exact.needs & Gossip.needs & Near.needs

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'drom' step_size")
        if self.sums not in get_args(Sums):
            raise unknown("sums of 'drom'", self.sums, get_args(Sums))
        known = self.g.replace(" ", "") == _FALLING if isinstance(self.g, str) else 0 <= self.g <= 1
        if not known:
            raise ConfigError(f"'drom' has g={self.g}. g is a number in [0, 1], or {_FALLING}.")
        if not 0 < self.p <= 2:
            raise ConfigError(f"'drom' has p={self.p}. p is above 0 and at most 2.")
        for name, least in (("power", 1), ("history", 0), ("period", 1), ("rounds", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"'drom' has {name}={value}. {name} is at least {least}.")
        for name in ("cap", "threshold", "clip"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ConfigError(f"'drom' has {name}={value}. {name} is at least 0; or leave it out.")
        for name, sums in _USERS.items():
            if getattr(self, name) is not None and self.sums != sums:
                raise ConfigError(f"'drom' has {name}={getattr(self, name)}, which is for sums={sums}. Leave it out.")
        if self.history and self.sums == "local":
            raise ConfigError(
                f"'drom' has history={self.history}, and sums=local holds its whole relation. Leave it out."
            )

    def charted(self, chart: Chart) -> Exact | Gossip | Near:
        """The method on that graph."""
        learner = DualAveraging(self.step_size, self.p, self.cap, self.g)
        if self.sums == "exact":
            return Exact(learner, chart, self.power, self.history, self.period)
        if self.sums == "gossip":
            return Gossip(learner, chart.ranks, self.rounds or 4, self.power, self.history, self.period)
        return Near(learner, self.power, self.period, self.threshold, self.clip)
