"""Asynchronous runs from the command line, on links that delay and lose: where they end, and how they are stopped."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.config import load, read_file
from dmtl.registry import find, names
from dmtl.results import read_log
from dmtl.simulator import simulate
from dmtl.types import Needs
from tests.mpi.killing import kill_when

pytestmark = pytest.mark.mpi

DATA = ("--data", "synthetic:rows=30,features=4", "--task", "least-squares:l2=0.1", "--topology", "ring")
ASYNC = ("-m", "dmtl", "run", *DATA, "--transport", "async")
BAD = ("--link", "jitter=0.01,drop=0.1", "--pace", "0.0005")
"""Messages are up to 20 rounds late and a tenth of them is lost."""
PATIENT = [name for name in names("algorithm") if Needs.FRESH not in find("algorithm", name).needs]
FRESH = [name for name in names("algorithm") if name not in PATIENT]


def events(out: Path, rank: int) -> list[str]:
    return [line["event"] for line in read_log(out / f"rank-{rank:04d}.jsonl")[0]]


def objective(job, x: np.ndarray) -> float:
    """The method's own: the joint one where ranks are drawn together, else the sum of the losses."""
    total = sum(job.node(rank).task.loss(row) for rank, row in enumerate(x))
    if job.config.algorithm["name"] in ("laplacian", "amtl"):
        apart = ((x[:, None] - x[None]) ** 2).sum(axis=2)
        total += job.algorithm.strength / 4 * (job.topology.matrix * apart).sum()
    return total


@pytest.mark.parametrize(
    "name", [name if name in ("amtl", "laplacian") else pytest.param(name, marks=pytest.mark.slow) for name in PATIENT]
)
def test_every_method_that_takes_late_messages_ends_where_those_who_wait_do(mpirun, tmp_path, name):
    out = tmp_path / "out"
    done = mpirun(4, *ASYNC, *BAD, "--algorithm", name, "--rounds", "4000", "--slow", "2:2x", "--out", str(out))
    assert done.returncode == 0, done.stderr
    job = plan(load(read_file(str(out / "config.toml"))))
    ours = np.array([np.load(out / f"rank-{rank:04d}.npz")["model.x"] for rank in range(4)])
    calm = plan(load({**read_file(str(out / "config.toml")), "link": "", "transport": "simulated"}))
    theirs = np.array([state.x for state in simulate([calm.node(rank) for rank in range(4)], 4000)])
    assert objective(job, ours) == pytest.approx(objective(job, theirs), rel=0, abs=1e-6)
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(
    "name", [name if name in ("joint-sparse", "pdmm") else pytest.param(name, marks=pytest.mark.slow) for name in FRESH]
)
def test_methods_that_need_every_message_are_refused_once(mpirun, tmp_path, name):
    done = mpirun(2, *ASYNC, "--algorithm", name, "--topology", "path", "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(f"'{name}' needs every message in its own round, and transport 'async'") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_with_an_end_in_seconds_ends_with_models_though_its_rounds_are_not_done(mpirun, tmp_path):
    flags = ("--slow", "3:10x", "--seconds", "1", "--rounds", "1000000000", "--eval-every", "100", *BAD)
    done = mpirun(4, *ASYNC, *flags, "--link", "delay=0.002,jitter=0.002,drop=0.2", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    for rank in range(4):
        assert events(tmp_path / "out", rank)[-1] == "end"
        assert (tmp_path / "out" / f"rank-{rank:04d}.npz").exists()
        lines, torn = read_log(tmp_path / "out" / f"rank-{rank:04d}.jsonl")
        assert torn == 0
        assert 0 < lines[-1]["round"] < 1_000_000_000


def test_a_signal_stops_it_and_leaves_a_checkpoint_of_each_rank_from_which_it_goes_on(mpirun, tmp_path):
    out = tmp_path / "out"
    process = mpirun(4, *ASYNC, *BAD, "--rounds", "100000000", "--eval-every", "50", "--out", str(out), wait=False)
    first = out / "rank-0000.jsonl"
    while not (first.exists() and events(out, 0).count("round") > 2):
        assert process.poll() is None, process.communicate()
        os.sched_yield()
    process.send_signal(signal.SIGUSR1)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1, said
    found = re.findall(r"stopped by SIGUSR1 after (\d+) rounds; go on with: mpirun -n 4 dmtl run --resume", said)
    assert len(found) == 1, said
    saved = [next(iter(out.glob(f"rank-{rank:04d}.ckpt-*.npz"))).name for rank in range(4)]
    ends = [int(re.findall(r"ckpt-(\d+)", name)[0]) for name in saved]
    assert ends[0] == int(found[0])
    more = str(max(ends) + 100)
    settings = (out / "config.toml").read_text()
    (out / "config.toml").write_text(re.sub(r"(?m)^rounds = \d+$", f"rounds = {more}", settings))
    done = mpirun(4, "-m", "dmtl", "run", "--resume", str(out))
    assert done.returncode == 0, done.stderr
    logs = [read_log(out / f"rank-{rank:04d}.jsonl")[0] for rank in range(4)]
    assert [log[-1]["round"] for log in logs] == [int(more)] * 4
    again = [next(line for line in log if line["event"] == "start" and "resumed" in line) for log in logs]
    assert [line["resumed"] for line in again] == ends


def test_survivors_of_a_killed_rank_finish_and_one_of_them_says_who_died(mpirun, tmp_path):
    if not mpirun.outlives:
        pytest.skip("this MPI ends the job with its first rank: Open MPI 5 with ULFM is needed")
    out = tmp_path / "out"
    flags = ("--rounds", "3000", "--eval-every", "50", "--out", str(out))
    process = mpirun(4, *ASYNC, *BAD, *flags, launcher=("--with-ft", "ulfm"), wait=False)
    kill_when(process, out, 2, 100)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 0, said
    assert [events(out, rank)[-1] for rank in (0, 1, 3)] == ["end"] * 3
    assert len(re.findall(r"dmtl: warning: rank 2 died( in round \d+)?; the others went on without it", said)) == 1, (
        said
    )
    assert [events(out, rank).count("lost") for rank in (0, 1, 3)] == [0, 1, 1]
