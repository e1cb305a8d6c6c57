"""Numbers as bytes: as they are, as float32 or as bfloat16; and the settings that several compressors share."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.errors import ConfigError
from dmtl.types import Mat

__all__ = ["Format", "Raw", "bfloat16", "check_gamma", "check_share", "kept", "put", "take", "wide", "width"]

Format = Literal["same", "float32", "bfloat16"]
"""How numbers travel; 'same': in the precision of the run"""
Raw = NDArray[np.uint8]
"""(f, b) the bytes of f vectors"""

_QUIET = 0x7FC1
"""NaN as bfloat16; not the first half of the mark of a message that says nothing."""


def width(numbers: Format, dtype: DTypeLike) -> int:
    """Bytes of one number."""
    return {"same": np.dtype(dtype).itemsize, "float32": 4, "bfloat16": 2}[numbers]


def put(values: Mat, numbers: Format) -> Raw:
    """(f, b) the bytes of ``values`` (f, n), rounded to nearest, ties to even."""
    if numbers == "bfloat16":
        return as_bytes(bfloat16(values))
    with np.errstate(over="ignore", invalid="ignore"):  # beyond the largest number is infinity, which is refused
        return as_bytes(values.astype(np.float32) if numbers == "float32" else values)


def take(raw: Raw, numbers: Format, dtype: DTypeLike) -> Mat:
    """(f, n) the numbers in ``raw``, in the precision of the run."""
    bare = wide(from_bytes(raw, np.uint16)) if numbers == "bfloat16" else None
    if bare is None:
        bare = from_bytes(raw, np.float32 if numbers == "float32" else dtype)
    with np.errstate(invalid="ignore"):  # a liar's NaN may be of the kind that signals
        return bare.astype(dtype)


def bfloat16(values: Mat) -> NDArray[np.uint16]:
    """The nearest bfloat16, ties to even, as the 16 bits that it is.

    A double goes through a float whose last bit is set wherever it is not exact: so nothing is rounded twice.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.ascontiguousarray(values, np.float32)
    bits = single.view(np.uint32).copy()
    if values.dtype == np.float64:
        inexact = (single != values) & (bits & 1 == 0) & ~np.isnan(values)
        further = np.abs(values) > np.abs(single)
        bits += np.where(inexact, np.where(further, 1, -1), 0).astype(np.int32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), _QUIET, rounded).astype(np.uint16)


def wide(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16 as float32, which holds each of them exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_bytes(values: NDArray[Any]) -> Raw:
    """(f, b) the bytes of the rows of ``values`` (f, n)."""
    return np.ascontiguousarray(values).view(np.uint8)


def from_bytes(raw: Raw, dtype: DTypeLike) -> NDArray[Any]:
    """(f, n) numbers of that type, in memory of their own."""
    return np.frombuffer(raw.tobytes(), dtype).reshape(len(raw), -1)


def kept(share: float, d: int) -> int:
    """How many of ``d`` numbers a share of them is; at least one."""
    return min(d, max(1, round(share * d)))


def check_share(name: str, share: float) -> None:
    """Refuse what is no share."""
    if not 0 < share <= 1:
        raise ConfigError(f"{name!r} has share={share}. share is the part of the numbers that travel, in (0, 1].")


def check_gamma(name: str, gamma: float | None) -> None:
    """Refuse what is no step towards an average."""
    if gamma is not None and not 0 < gamma <= 1:
        raise ConfigError(f"{name!r} has gamma={gamma}. gamma is a step towards the average, in (0, 1].")
