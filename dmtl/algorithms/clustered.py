"""Clusters and hierarchies of tasks without a master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmtl.algorithms.forms import NEEDS, Form, check_form, formed
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.replicated import NEEDS as REPLICATED
from dmtl.algorithms.replicated import Replicated, replicated
from dmtl.consensus.chart import Chart
from dmtl.penalties.spectral import Clustered
from dmtl.penalties.tree import Tree
from dmtl.types import Needs

__all__ = ["ClusteredMTL", "Hierarchical"]


@dataclass(frozen=True, slots=True)
class ClusteredMTL:
    """Clustered multi-task learning (convex CMTL): tasks fall into k clusters that nobody knows.

    Problem: min over W and M of sum_t f_t(w_t) + strength eta (1 + eta) tr(W (eta I + M)^-1 W'), tr M = k, 0 <= M <= I.
    Derivation of the form without a master, which is ours, since no parallel one was published. M (T, T) needs all
    models in one place. But for fixed singular values sigma of W the best M has the right singular vectors of W, so the
    minimum over M is c sum_i sigma_i^2 / (eta + m_i), m the water-filling of k over sigma: a function of the singular
    values alone. Its proximal map keeps the singular vectors of V and takes sigma_i to
    sigma_i (eta + m_i) / (eta + m_i + 2 c step), m the water-filling with eta + 2 c step. And for such a map rank t has
    its own column from V V' = sum_t v_t v_t', which is d x d and an average: w_t = Q diag(shares) Q' v_t. The same with
    M (d, d) is convex alternating structure optimisation (cASO), so this is both.
    Update (replicated master): FISTA as 'central-fista' does it, to rounding, on every graph.
    form=lifted: A = eta I + M (d, d) that all ranks agree on, min sum_t [f_t(w_t) + c w_t' A_t^-1 w_t], eta I <= A <=
    (1 + eta) I, tr A <= eta d + k, A_t equal on all edges. The engine solves it, see 'nids', 'pg-extra' and 'dadmm'.

    Message: replicated: the upper triangle of V V' on its way and one number for the restart, d (d + 1) / 2 + 1, f = 1;
    lifted: that of A, d (d + 1) / 2, f = 1.
    Jacob, Bach and Vert, "Clustered multi-task learning: a convex formulation", NIPS 2008; Zhou, Chen and Ye,
    "Clustered multi-task learning via alternating structure optimization", NIPS 2011.
    """

    k: int = 2
    """clusters, at least 1"""
    strength: float = 0.1
    """weight, at least 0"""
    eta: float = 0.1
    """ratio of the costs of a difference between and within clusters, above 0"""
    form: Form = "replicated"
    """how the coupling is computed"""
    engine: str | None = None
    """what solves the lifted form: nids, pg-extra or dadmm; left out: nids"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_form("clustered", self._penalty(), self.form, self.engine)

    def charted(self, chart: Chart) -> Replicated | Lifted:
        """The method on that graph."""
        return formed(self._penalty(), self.form, self.engine, chart)

    def _penalty(self) -> Clustered:
        return Clustered(self.k, self.strength, self.eta)


@dataclass(frozen=True, slots=True)
class Hierarchical:
    """Hierarchical multi-task learning: a known taxonomy of tasks, each group with a part in common.

    Problem: min of sum_t f_t(w_t) + own/2 sum_t |u_t|^2 + group/2 sum_g |u_g|^2 + common/2 |u_0|^2, where
    w_t = u_t + sum_{groups g with t} u_g + u_0.
    Derivation of the form without a master, which is ours, since no parallel one was published. For given models the
    best parts leave 1/2 tr(W K^-1 W'), K = I / own + sum_g 1_g 1_g' / group + 1 1' / common, with the proximal map
    V K (K + step I)^-1. All ranks know the taxonomy and so this T x T matrix. Its entries are the same for all tasks of
    a finest group, but for the diagonal, so a column needs the sum of the v_t of each such group and nothing else:
    one average of d numbers per finest group, in which a rank fills the place of its own.
    Update (replicated master): FISTA as 'central-fista' does it, to rounding, on every graph. That groups are near each
    other in the graph is not needed.

    Message: the sums of all finest groups on their way and one number for the restart, f = 1.
    Widmer, Leiva, Altun and Ratsch, "Leveraging sequence classification by taxonomy-based multitask learning", RECOMB
    2010 (the problem).
    """

    groups: str = ""
    """ranks that belong together, levels apart by /, from coarse to fine: 0-3|4-7/0-1|2-3; empty: all are one"""
    own: float = 1.0
    """ridge on what a task has for itself, above 0"""
    group: float = 0.1
    """ridge on what a group has in common, above 0"""
    common: float = 0.01
    """ridge on what all have in common, above 0"""

    needs: ClassVar[Needs] = REPLICATED

    def __post_init__(self) -> None:
        self._tree()

    def charted(self, chart: Chart) -> Replicated:
        """The method on that graph; ConfigError for a group with a rank that is not there."""
        return replicated("hierarchical", self._tree(), chart)

    def _tree(self) -> Tree:
        return Tree(self.groups, self.own, self.group, self.common)
