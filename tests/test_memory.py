"""What the C library is told to keep, seen in a process's memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

SCRIPT = """
import sys
import numpy as np
from dmtl.memory import keep_pages

def resident():
    words = open("/proc/self/status").read().split()
    return int(words[words.index("VmRSS:") + 1]) / 1024

assert keep_pages(*map(int, sys.argv[1:]))
before = resident()
rows = [np.ones(1 << 20) for _ in range(8)]  # 64 MiB
del rows
print(resident() - before)
"""


def left(*sparing: int) -> float:
    """MiB that a process has more than before, after it has made and freed 64."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, sparing)], capture_output=True, text=True, timeout=60
    )
    assert not done.stderr
    return float(done.stdout)


def test_freed_blocks_are_kept_for_the_next_round_unless_memory_is_dearer():
    assert left() > 48
    assert left(1) < 16
