"""Symmetric matrices as the vectors that travel: the upper triangle, row by row."""

from __future__ import annotations

from math import isqrt

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["length", "order", "square", "triangle"]


def length(d: int) -> int:
    """d (d + 1) / 2, how many numbers the triangle of a matrix (d, d) has."""
    return d * (d + 1) // 2


def order(upper: Vec) -> int:
    """d, for a triangle."""
    return (isqrt(8 * len(upper) + 1) - 1) // 2


def triangle(matrix: Mat) -> Vec:
    """The upper triangle of a matrix (d, d)."""
    upper: Vec = matrix[np.triu_indices(len(matrix))]
    return upper


def square(upper: Vec) -> Mat:
    """The symmetric matrix (d, d) with that upper triangle."""
    d = order(upper)
    rows, columns = np.triu_indices(d)
    matrix = np.empty((d, d), upper.dtype)
    matrix[rows, columns] = matrix[columns, rows] = upper
    return matrix
