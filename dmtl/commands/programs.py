"""Other programs, asked what they are: none is waited for without an end, and none that is missing is an error."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dmtl.commands.diagnosis import family

__all__ = ["LIMIT", "ompi_info", "output", "run_program"]

LIMIT = 60.0
"""Seconds that another program may take."""


def ompi_info(mpirun: str, version: str) -> str:
    """What ``ompi_info`` beside an Open MPI's ``mpirun`` says; ``version`` is what that mpirun says of itself."""
    if family(version).name != "Open MPI":
        return ""
    return output([str(Path(mpirun).with_name("ompi_info"))])


def output(command: Sequence[str]) -> str:
    """What a program prints, to whichever stream; empty if it cannot be run."""
    try:
        done = run_program(command, LIMIT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def run_program(command: Sequence[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; raises OSError if there is none and TimeoutExpired after ``limit`` seconds."""
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.run(
        command, stdin=none, stdout=pipe, stderr=pipe, text=True, timeout=limit, errors="replace", check=False
    )
