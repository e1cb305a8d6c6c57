"""Sketches of gradients: a few numbers of each task, from which all ranks know all inner products."""

from __future__ import annotations

from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmtl.rng import Purpose, stream
from dmtl.types import Mask, Mat, Vec, View

__all__ = ["Table", "merged", "padded", "sketch", "table", "table_products"]

Table = NDArray[np.floating[Any]]
"""(T, 1 + m) a row per task: 1 where its numbers are known, else 0, and the numbers"""


def padded(d: int) -> int:
    """The next power of two, from ``d`` on."""
    return 1 << max(d - 1, 0).bit_length()


def sketch(g: Vec, m: int, number: int, view: View, first: int) -> Vec:
    """(m,) coordinates ``number`` m .. of a random rotation of ``g`` (d,) that all ranks draw alike, in double.

    The rotation is a change of signs, a Walsh-Hadamard transform and a permutation: its inner products with m of the
    coordinates are the true ones times m / n on average, n the power of two from d on, and all coordinates together
    have the true ones. Where m is n already, the sketch is ``g`` itself. ``first`` is the round in which the first
    sketch of this gradient was taken. Coordinates beyond the last are 0.

    Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform and approximate nearest neighbors", SIAM J. Comput.
    39, 2009 (with other samples); Tropp, "Improved analysis of the subsampled randomized Hadamard transform", Advances
    in Adaptive Data Analysis 3, 2011.
    """
    n = padded(len(g))
    turned = np.zeros(n)
    turned[: len(g)] = g
    found = np.zeros(m)
    if m >= n:
        found[:n] = turned
        return found
    rng = stream(view.seed, Purpose.INIT, round=first)
    turned *= rng.choice((-1.0, 1.0), n)
    order = rng.permutation(n)
    taken = _hadamard(turned)[order[number * m : (number + 1) * m]]
    found[: len(taken)] = taken
    return found


def table(row: Vec, rank: int, ranks: int) -> Table:
    """Only the own ``row`` (m,) known."""
    found = np.zeros((ranks, 1 + len(row)), row.dtype)
    found[rank, 0], found[rank, 1:] = 1, row
    return found


def merged(own: Table, said: Mat, valid: Mask) -> Table:
    """With the rows that the neighbours' tables (k, T (1 + m)) know and the own one does not."""
    found = own.copy()
    for other in said[valid].reshape(-1, *own.shape):
        fresh = (found[:, 0] != 1) & (other[:, 0] == 1)
        found[fresh] = other[fresh]
    return found


def table_products(rows: Table) -> Mat:
    """The inner products of the tasks' numbers (T, T), in double: the same bits in whatever order sums are taken.

    Each row is rounded to whole numbers times a power of two, so few bits that no product and no sum of products
    is rounded any more: 22 bits for up to 512 numbers.
    """
    numbers = rows[:, 1:].astype(np.float64)
    bits = (52 - ceil(log2(max(numbers.shape[1], 2)))) // 2
    _, powers = np.frexp(np.abs(numbers).max(axis=1))
    whole = np.rint(np.ldexp(numbers, (bits - powers)[:, None]))
    products: Mat = np.ldexp(whole @ whole.T, (powers[:, None] + powers[None, :]) - 2 * bits)
    return products


def _hadamard(x: Vec) -> Vec:
    """The orthonormal Walsh-Hadamard transform of ``x`` (n,), n a power of two."""
    n = len(x)
    half = 1
    while half < n:
        x = x.reshape(-1, 2, half)
        x = np.stack((x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]), axis=1).reshape(n)
        half *= 2
    x /= np.sqrt(n)
    return x
