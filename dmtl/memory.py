"""Keeping freed memory: a large array that is made anew in every round would be paged in anew in every round."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_pages"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST, _SMALL = 32 * 1024 * 1024, 1024 * 1024
"""glibc's own limit for blocks that come from the heap; what is kept where memory is dearer than time"""


def keep_pages(sparing: bool = False) -> bool:
    """Tell the C library to keep freed blocks of up to 32 MiB, or 1 MiB; return whether it could be told.

    Without this, glibc maps and unmaps every array above its threshold, and at 100,000 parameters the page faults
    cost more than the arithmetic. A network's gradient takes a hundred times as long as they do, and what is kept of
    its many vectors can be as much as all that are needed: there, be ``sparing``.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library without mallopt, such as musl
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _SMALL if sparing else _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
