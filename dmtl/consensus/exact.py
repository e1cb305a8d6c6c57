"""The exact average in finitely many rounds: an all-reduce in which everybody talks to neighbours only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Mask, Mat, Vec

__all__ = ["Averaging", "apart"]


class Averaging(NamedTuple):
    """A vector on its way to the average of all ranks' vectors.

    Round i: x <- x - sum_j (x - x_j) / lambda_i, lambda_i the i-th of the distinct nonzero eigenvalues of the
    Laplacian. After all of them the product of the factors I - L / lambda_i is 11'/n, so x is the average, up to
    rounding: 1e-14 on a ring of 100 in Leja order. Ring of n: n // 2 rounds; complete graph: 1; star: 2; hypercube:
    log2 n. Sums are kept by every round. A message that does not come counts as the own vector: the average is then
    near and not exact, and if only one of the two ends misses it the sum is lost as well.

    Kibangou, "Finite-time average consensus based protocol for distributed estimation over AWGN channels", CDC 2011;
    Safavi and Khan, "Revisiting finite-time distributed algorithms via successive nulling of eigenvalues", IEEE SPL
    22, 2015.
    """

    x: Vec
    """(q,) what is said to all neighbours"""
    done: int = 0
    """rounds that it has gone through"""

    def heard(self, messages: Mat, valid: Mask, spectrum: tuple[float, ...]) -> Averaging:
        """One round on, with the neighbours' vectors (k, q)."""
        return Averaging(self.x - apart(self.x, messages, valid) / spectrum[self.done], self.done + 1)

    def complete(self, spectrum: tuple[float, ...]) -> bool:
        """Whether ``x`` is the average; at once with one rank."""
        return self.done >= len(spectrum)


def apart(x: Vec, messages: Mat, valid: Mask) -> Vec:
    """sum_j (x - x_j) over the neighbours' vectors ``messages`` (k, q): a row of the Laplacian with unit weights."""
    rows = messages if valid.all() else messages[valid]
    difference: Vec = len(rows) * x - np.add.reduce(rows, axis=0)
    return difference
