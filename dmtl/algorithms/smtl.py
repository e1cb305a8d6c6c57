"""Synchronous proximal multi-task learning without its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.replicated import NEEDS, Replicated, replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.penalty import Penalty
from dmtl.penalties.spectral import LowRank
from dmtl.types import Needs

__all__ = ["SMTL"]

_LOW_RANK = LowRank()


@dataclass(frozen=True, slots=True)
class SMTL:
    """Synchronous proximal multi-task learning: the server's proximal step, made by every rank for itself.

    Problem: min over W = [w_1 .. w_T] of sum_t f_t(w_t) + g(W), g any penalty that needs one sum over tasks.
    Update: v_t = w_t - eta grad f_t(w_t) at every rank; W <- prox_{eta g}(V), which in the paper the server computes
    when the last v_t has come. Here every rank finds its own column of it from an exact average of what the penalty
    sums up (``dmtl list penalty``), so the iterates are those of the server, to rounding; the objective never rises.
    With ``accelerate`` they are those of 'central-fista', without those of 'central-ista'. eta = 1 / max_t L_t.
    An iteration takes as many rounds as the graph's Laplacian has distinct eigenvalues but 0.
    Its asynchronous sister is 'amtl', with the graph's own regulariser.

    Message: the sum on its way, d numbers for l21, d (d + 1) / 2 for penalties of singular values, and one more.
    Baytas, Yan, Jain and Zhou, "Asynchronous multi-task learning", ICDM 2016 (where it is the baseline).
    """

    penalty: Penalty = _LOW_RANK
    """what couples the tasks, with its settings in brackets: penalty=(l21:strength=0.2)"""
    accelerate: bool = False
    """whether to take Nesterov's steps"""

    needs: ClassVar[Needs] = NEEDS

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph."""
        return replicated("smtl", self.penalty, chart, self.accelerate)
