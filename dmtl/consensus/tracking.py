"""The average of vectors that change: dynamic average consensus."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Mask, Mat, Vec

__all__ = ["Tracking"]


class Tracking(NamedTuple):
    """An estimate of the average of what all ranks have now.

    Round: s_k <- s_k + sum_l w_kl (s_l - s_k) + q_k+ - q_k, with s = q at the start. The sum of s over the ranks is
    that of q in every round, for symmetric weights and no lost message. The distance from the average, over all ranks,
    is sigma times what it was plus the length of what q has changed by, sigma the second largest absolute eigenvalue of
    the weights: it goes to 0 if q comes to rest. A message that does not come counts as the own vector; if only one of
    two ends misses it the sum is lost, for good.
    A proximal map that is fed with a tracked sum may cycle on slow graphs: use ``Averaging`` there.

    Zhu and Martinez, "Discrete-time dynamic average consensus", Automatica 46, 2010.
    """

    s: Vec
    """(q,) what is said to all neighbours"""
    q: Vec
    """(q,) the own vector that is in it"""

    @classmethod
    def start(cls, q: Vec) -> Tracking:
        """Before its first round."""
        return cls(q, q)

    def heard(self, messages: Mat, valid: Mask, weights: Vec, q: Vec) -> Tracking:
        """One round on, with the neighbours' estimates (k, q), their weights (k,), and the own vector of now."""
        apart = np.where(valid[:, None], messages - self.s, self.s.dtype.type(0))
        return Tracking(self.s + weights @ apart + (q - self.q), q)
