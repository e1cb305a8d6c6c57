"""The bytes of one message that travels: what they must look like to be believed."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Parcel"]

_FRONT, _LAST, _CHECK, _BACK = 0, 1, -2, -1
_AROUND = 2
"""64-bit words before the payload, and after it"""


class Parcel:
    """The bytes of one message: counter, mark of the last, payload, checksum, counter."""

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        size = shape[0] * shape[1] * np.dtype(dtype).itemsize
        filled = -(-size // 8)
        self.words = np.zeros(filled + 2 * _AROUND, np.int64)
        """what is sent"""
        self.payload: NDArray[Any] = self.words[_AROUND:-_AROUND].view(np.uint8)[:size].view(dtype).reshape(shape)
        """(f, d)"""

    def seal(self, count: int, last: bool) -> None:
        """Write everything but the payload."""
        self.words[_FRONT] = self.words[_BACK] = count
        self.words[_LAST] = last
        self.words[_CHECK] = self._sum()

    def open(self) -> int:
        """Its counter; 0 if anything about it is wrong."""
        count = int(self.words[_FRONT])
        whole = count == self.words[_BACK] and self.words[_CHECK] == self._sum()
        return count if whole else 0

    @property
    def last(self) -> bool:
        """Whether its sender says no more."""
        return bool(self.words[_LAST])

    def _sum(self) -> int:
        return zlib.crc32(self.words[:_CHECK].data)
