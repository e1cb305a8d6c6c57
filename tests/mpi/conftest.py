"""Real MPI processes for tests: started with a time-out, and their whole output kept for the assertion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_AS_ROOT = {f"{prefix}_ALLOW_RUN_AS_ROOT{suffix}": "1" for prefix in ("OMPI", "PRTE") for suffix in ("", "_CONFIRM")}

_ROOT = str(Path(__file__).parents[2])
"""of the project, for workers that share something with the tests"""

Mpirun = Callable[..., Any]


@pytest.fixture(scope="session")
def mpirun() -> Mpirun:
    """``mpirun(n, *arguments)`` runs ``python arguments`` on n ranks; with ``wait=False`` it is still running.

    ``launcher`` are flags of mpirun, ``before`` what is put before the whole command.
    """
    beside = Path(sys.executable).with_name("mpirun")
    program = str(beside) if beside.exists() else shutil.which("mpirun")
    if program is None:
        pytest.skip("there is no mpirun: pip install 'dmtl[mpi]'")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    crowd = ["--oversubscribe"] if "Open MPI" in version else []

    def start(n: int, *arguments: str, timeout: float = 120, wait: bool = True, launcher=(), before=()):
        command = [*before, program, *crowd, *launcher, "-n", str(n), sys.executable, *arguments]
        pipes = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": {**os.environ, **_AS_ROOT, "PYTHONPATH": _ROOT},
        }
        if not wait:
            return subprocess.Popen(command, **pipes)
        return subprocess.run(command, timeout=timeout, **pipes)

    start.outlives = "Open MPI" in version and _has_ulfm(program)
    return start


def _has_ulfm(program: str) -> bool:
    """Whether this Open MPI's jobs can outlive their ranks."""
    info = Path(program).with_name("ompi_info")
    if not info.exists():
        return False
    return "FT MPI support: yes" in subprocess.run([info], capture_output=True, text=True, timeout=60).stdout
