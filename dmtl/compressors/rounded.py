"""Shorter numbers: all of a vector, in fewer bytes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from dmtl.compressors.numbers import Raw, put, take, width
from dmtl.types import Mat

__all__ = ["BFloat16", "Float32"]


@dataclass(frozen=True, slots=True)
class Float32:
    """Numbers of 32 bits on the way, whatever the precision of the run.

    C(v) is v rounded to nearest, ties to even: |C(v) - v| <= 2^-24 |v| within the range of float32. What is beyond it
    arrives as infinity and is refused. In a run with float32 nothing is lost.

    Message: 4 bytes a number.
    """

    feedback: bool = False
    """say the rounded difference from what was said before, so that rounding errors vanish where models come to rest"""

    draws: ClassVar[bool] = False
    gamma: ClassVar[float | None] = None
    step: ClassVar[float] = 1.0

    def size(self, d: int, dtype: DTypeLike) -> int:
        """Bytes of one vector."""
        return d * width("float32", dtype)

    def pack(self, vectors: Mat, rng: np.random.Generator | None = None) -> Raw:
        """(f, size) the bytes of ``vectors`` (f, d)."""
        return put(vectors, "float32")

    def unpack(self, raw: Raw, d: int, dtype: DTypeLike, rng: np.random.Generator | None = None) -> Mat:
        """(f, d) what is left of them."""
        return take(raw, "float32", dtype)


@dataclass(frozen=True, slots=True)
class BFloat16:
    """Numbers of 16 bits on the way, with the range of float32 and 8 bits of precision (bfloat16).

    C(v) is v rounded to nearest, ties to even: |C(v) - v| <= 2^-8 |v| in each number. What is beyond the range arrives
    as infinity and is refused.

    Message: 2 bytes a number.
    """

    feedback: bool = False
    """say the rounded difference from what was said before, so that rounding errors vanish where models come to rest"""

    draws: ClassVar[bool] = False
    gamma: ClassVar[float | None] = None
    step: ClassVar[float] = 1.0

    def size(self, d: int, dtype: DTypeLike) -> int:
        """Bytes of one vector."""
        return d * width("bfloat16", dtype)

    def pack(self, vectors: Mat, rng: np.random.Generator | None = None) -> Raw:
        """(f, size) the bytes of ``vectors`` (f, d)."""
        return put(vectors, "bfloat16")

    def unpack(self, raw: Raw, d: int, dtype: DTypeLike, rng: np.random.Generator | None = None) -> Mat:
        """(f, d) what is left of them."""
        return take(raw, "bfloat16", dtype)
