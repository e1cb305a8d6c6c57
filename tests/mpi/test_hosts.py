"""One job across three hosts: the same bits, also over a slow and lossy network, and a whole host that dies."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.mpi.hosts import ADDRESSES, PLACES, across

pytestmark = pytest.mark.mpi

HOSTS = sorted(ADDRESSES)
RANKS = range(6)
COMMON = ("-m", "dmtl", "run", "--data", "synthetic:rows=20,features=4", "--eval-every", "1", "--quiet")


@pytest.fixture(scope="module", autouse=True)
def _hosts_can_be_made():
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"hosts are made with {', '.join(missing)}, not found here")
    done = subprocess.run([*across(), "true"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"hosts cannot be made here: {'; '.join(done.stderr.strip().splitlines()[-2:])}")


def events(folder: Path, rank: int) -> list[dict]:
    """What a rank has written so far; a line that is still being written is left out."""
    path = folder / f"rank-{rank:04d}.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def final_bits(folder: Path, rank: int) -> dict[str, bytes]:
    with np.load(folder / f"rank-{rank:04d}.npz") as state:
        return {name: state[name].tobytes() for name in state.files}


@pytest.mark.parametrize(("delay", "loss"), [(0.0, 0.0), (0.002, 0.01)], ids=["prompt", "slow and lossy"])
def test_three_hosts_end_in_the_simulators_bits_over_any_network(mpirun, tmp_path, delay, loss):
    flags = (*COMMON, "--rounds", "50", "--algorithm", "gradient-tracking", "--byzantine", "1", "--attack", "alie")
    done = mpirun(6, *flags, "--out", str(tmp_path / "mpi"), launcher=PLACES, before=across(delay, loss))
    assert done.returncode == 0, done.stderr
    packets, lost = map(int, re.search(r"hosts: (\d+) packets, (\d+) lost", done.stderr).groups())
    assert packets > 50
    assert (lost > 0) == (loss > 0)
    alone = [sys.executable, *flags, "--ranks", "6", "--out", str(tmp_path / "simulated")]
    subprocess.run(alone, check=True, capture_output=True, timeout=60)
    for rank in RANKS:
        ours = final_bits(tmp_path / "mpi", rank)
        assert ours == final_bits(tmp_path / "simulated", rank), f"rank {rank}"
        assert "x" in " ".join(ours)
    starts = [events(tmp_path / "mpi", rank)[0]["host"] for rank in RANKS]
    assert starts == [host for host in HOSTS for _ in range(2)]


def test_when_a_whole_host_dies_the_other_hosts_ranks_finish_and_one_line_names_the_dead(mpirun, tmp_path):
    rounds, victims = 600, [2, 3]
    flags = (*COMMON, "--rounds", str(rounds), "--topology", "ring", "--out", str(tmp_path))
    job = mpirun(6, *flags, launcher=("--with-ft", "ulfm", *PLACES), before=across(delay=0.001), wait=False)
    try:
        _wait_for_round(job, tmp_path, 20)
        starts = [events(tmp_path, rank)[0] for rank in victims]
        assert {start["host"] for start in starts} == {HOSTS[1]}
        for start in starts:
            os.kill(start["pid"], signal.SIGKILL)
        _, said = job.communicate(timeout=60)
    finally:
        job.kill()
        job.communicate()
    assert job.returncode == 0, said
    warnings = re.findall(r"dmtl: warning: .*", said)
    assert len(warnings) == 1, said
    assert [int(rank) for rank in re.findall(r"rank (\d+)", warnings[0])] == victims, said
    for rank in RANKS:
        last = events(tmp_path, rank)[-1]
        if rank in victims:
            assert last["event"] == "round", last
            assert last["round"] < rounds, "it was killed too late"
        else:
            assert (last["event"], last["round"]) == ("end", rounds), last
            assert final_bits(tmp_path, rank)


def _wait_for_round(job: subprocess.Popen, folder: Path, round: int) -> None:
    """Return when rank 0 has written that round; fail if the job ends before."""
    while (lines := events(folder, 0)) == [] or lines[-1].get("round", 0) < round:
        try:
            pytest.fail(f"ended with {job.wait(timeout=0.01)}: {job.communicate()[1]}")
        except subprocess.TimeoutExpired:
            continue
