"""Ranks that are killed, and a network that goes on without them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mpi.killing import command, describe, judge, kill_when

pytestmark = pytest.mark.mpi

WORKER = str(Path(__file__).with_name("worker_crash.py"))
FAILING = str(Path(__file__).with_name("worker_failing.py"))
ULFM = ("--with-ft", "ulfm")
SMALL = ("-m", "dmtl", "run", "--data", "synthetic:rows=20,features=4")


@pytest.fixture(autouse=True)
def _needs_ulfm(mpirun):
    if not mpirun.outlives:
        pytest.skip("this MPI ends the job with its first rank: Open MPI 5 with ULFM is needed")


@pytest.mark.parametrize(
    ("d", "deaths"),
    [
        ("10", ["3@7"]),
        ("10", ["0@0"]),
        ("200000", ["2@5", "4@5"]),
        ("10", ["0@3", "1@9", "2@12", "3@20", "4@30"]),
    ],
    ids=["one", "rank 0 in round 0", "two at once, long messages", "all but one"],
)
def test_survivors_of_deaths_in_known_rounds_end_bit_for_bit_as_if_the_dead_had_fallen_silent(mpirun, d, deaths):
    done = mpirun(6, WORKER, d, *deaths, launcher=ULFM)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"rank (\d): (\w+); dead (.*)", done.stdout)
    dead = {int(text.split("@")[0]) for text in deaths}
    assert sorted(int(rank) for rank, _, _ in lines) == sorted(set(range(6)) - dead), done.stdout + done.stderr
    for _, verdict, noticed in lines:
        assert verdict == "equal"
        assert {int(rank) for rank in re.findall(r"\((\d),", noticed)} == dead


@pytest.mark.parametrize("victim", [0, *(pytest.param(rank, marks=pytest.mark.slow) for rank in (1, 4, 7))])
def test_any_rank_may_be_killed_at_any_moment(mpirun, tmp_path, victim):
    """Every second job writes a checkpoint in each round, so that some are killed while they write."""
    writing = ("--checkpoint-every", "1") if victim % 2 else ()
    process = mpirun(8, *command(tmp_path / "out", *writing), launcher=ULFM, wait=False)
    kill_when(process, tmp_path / "out", victim, 50 * (victim + 1))
    _, said = process.communicate(timeout=100)
    outcome = judge(process.returncode, tmp_path / "out", {victim})
    assert outcome.finished, said
    assert outcome.torn == 0
    assert outcome.same, describe(outcome)
    assert said.count("dmtl: warning: ") == 1, said
    assert f"dmtl: warning: rank {victim} died in round {outcome.missed[victim]}; the others went on" in said


def test_without_ulfm_the_job_ends_and_says_how_to_go_on(mpirun, tmp_path):
    out = tmp_path / "out"
    process = mpirun(4, *command(out, "--rounds", "1000000", "--checkpoint-every", "50"), wait=False)
    kill_when(process, out, 2, 200)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count(f"go on with: mpirun -n 4 dmtl run --resume {out}") == 1, said


@pytest.mark.parametrize(("policy", "code", "ends"), [("abort", 1, 0), ("continue", 0, 3)])
def test_an_exception_on_one_rank_ends_the_job_or_only_that_rank(mpirun, tmp_path, policy, code, ends):
    done = mpirun(4, FAILING, str(tmp_path / "out"), "2", policy, launcher=ULFM)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("RuntimeError: the sensor is on fire") == 1, done.stderr
    logs = [(tmp_path / "out" / f"rank-000{rank}.jsonl").read_text() for rank in range(4)]
    assert sum('"event": "end"' in log for log in logs) == ends
    assert '"event": "failed"' in logs[2]
    assert ("rank 2 died" in done.stderr) == (policy == "continue")


def test_going_on_after_an_exception_needs_an_mpi_that_can(mpirun, tmp_path):
    done = mpirun(2, *SMALL, "--on-failure", "continue", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("--on-failure continue needs an MPI that outlives its ranks.") == 1, done.stderr


def test_a_death_before_round_0_is_said_once_and_hangs_nobody(mpirun, tmp_path):
    done = mpirun(4, FAILING, str(tmp_path / "out"), "1", "early", launcher=ULFM)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("rank 1 died before round 0") == 1, done.stderr
