"""Sorted columns, for the screens that go coordinate by coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["ordered"]

_MOST = 32
"""rows beyond which a sorting network has too many comparators"""
_COLUMNS = 64
"""columns per row from which whole-row minima and maxima beat ``np.sort``, which sorts column after column"""


def ordered(rows: Mat, low: int, high: int) -> Sequence[Vec]:
    """The order statistics low .. high-1 of each column of ``rows`` (m, d), ``high - low`` vectors (d,)."""
    m, d = rows.shape
    if m < 2 or m > _MOST or d < _COLUMNS * m:
        return list(np.sort(rows, axis=0)[low:high])
    lines = list(rows.copy())
    spare = np.empty_like(lines[0])
    for i, j in _comparators(m, low, high):
        np.minimum(lines[i], lines[j], out=spare)
        np.maximum(lines[i], lines[j], out=lines[j])
        lines[i], spare = spare, lines[i]
    return lines[low:high]


@cache
def _comparators(m: int, low: int, high: int) -> list[tuple[int, int]]:
    """Batcher's network for ``m`` lines less the comparators that no line in low .. high-1 depends on."""
    live, needed = set(range(low, high)), []
    for pair in reversed(_batcher(m)):
        if not live.isdisjoint(pair):
            live.update(pair)
            needed.append(pair)
    return needed[::-1]


def _batcher(m: int) -> list[tuple[int, int]]:
    """Merge exchange sort (Batcher 1968; Knuth, volume 3, algorithm 5.2.2M) as a list of comparators."""
    pairs: list[tuple[int, int]] = []
    top = 1 << max(m - 1, 1).bit_length() - 1
    p = top
    while p:
        q, r, step = top, 0, p
        while step:
            pairs += [(i, i + step) for i in range(m - step) if i & p == r]
            step, q, r = q - p, q >> 1, p
        p >>= 1
    return pairs
