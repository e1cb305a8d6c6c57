"""Two groups of what is alike: agglomerative clustering down to two."""

from __future__ import annotations

import numpy as np

from dmtl.types import Mask, Mat

__all__ = ["bipartition", "cosines"]


def cosines(rows: Mat) -> Mat:
    """(m, m) the cosine of each pair of rows (m, d), in double; 0 where a row is 0."""
    unit = rows.astype(np.float64)
    for order in (np.inf, 2):  # in two steps, so that no square is too large or too small
        sizes = np.linalg.norm(unit, order, axis=1, keepdims=True)
        unit = unit / np.where(sizes > 0, sizes, 1.0)
    found: Mat = unit @ unit.T
    return found


def bipartition(similarity: Mat, complete: bool = True) -> Mask:
    """(m,) who is in the group of member 0, of the two that are left when the most similar groups were merged.

    ``similarity`` (m, m) is symmetric, m at least 2. Two groups are as similar as their least similar pair
    (``complete`` linkage) or as their most similar one (single linkage); the latter has the least possible largest
    similarity between the two groups. Of equals the first in row order are merged, so who has the same matrix finds
    the same groups.
    """
    merge = np.minimum if complete else np.maximum
    group = np.arange(len(similarity))
    s = np.where(np.eye(len(similarity), dtype=np.bool_), -np.inf, similarity)
    for _ in range(len(similarity) - 2):
        first, second = sorted(divmod(int(s.argmax()), len(s)))
        s[first] = s[:, first] = merge(s[first], s[second])
        s[first, first] = s[second] = s[:, second] = -np.inf
        group[group == second] = first
    side: Mask = group == group[0]
    return side
