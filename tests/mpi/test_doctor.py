"""The doctor under a real launcher."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.mpi


def test_under_a_real_mpirun_the_doctor_speaks_once_and_finds_two_ranks(mpirun):
    done = mpirun(2, "-m", "dmtl", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)  # two reports would be no JSON
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["MPI library"]["value"]["size"] == 2
    assert checks["launcher"]["value"]["size"] == 2
    assert report["problems"] == 0
