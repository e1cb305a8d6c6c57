"""Jobs that are stopped or killed and taken up again: bit for bit the simulator's run that nothing has stopped."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.checkpoints import saved_rounds
from dmtl.cli import cli
from dmtl.config import load, read_file
from dmtl.results import flatten, portable, read_log
from dmtl.simulator import simulate

pytestmark = pytest.mark.mpi

RANKS = 4
ENDLESS = 10_000_000
ULFM = ("--with-ft", "ulfm")
COMMAND = (
    *("-m", "dmtl", "run", "--data", "synthetic:rows=20,features=4", "--task", "least-squares:batch=3"),
    *("--algorithm", "gradient-tracking", "--byzantine", "1,2", "--attack", "alie", "--eval-every", "20"),
)
"""Two rushing liars beside each other, mini-batches, and a state of several vectors."""


def pids(place: Path) -> list[int]:
    return [read_log(place / f"rank-{rank:04d}.jsonl")[0][0]["pid"] for rank in range(RANKS)]


def begun(place: Path, round: int) -> bool:
    """Whether every rank has written down a round as late as this."""
    logs = [place / f"rank-{rank:04d}.jsonl" for rank in range(RANKS)]
    last = [(read_log(path)[0] or [{}])[-1].get("round", -1) for path in logs if path.exists()]
    return len(last) == RANKS and min(last) >= round


def stopped(mpirun, place: Path, stop: Callable[..., None], *flags: str, launcher=(), round: int = 40):
    """Start an endless job, let ``stop`` do its work once all are past a round; return exit code and words."""
    command = (*COMMAND, "--rounds", str(ENDLESS), "--out", str(place), *flags)
    process = mpirun(RANKS, *command, launcher=launcher, wait=False)
    while process.poll() is None and not begun(place, round):
        os.sched_yield()
    stop(process)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def newest(place: Path) -> int:
    """The last round that any rank has saved."""
    return max(round for rank in range(RANKS) for round in saved_rounds(place, rank)[:1])


def shorten(place: Path, rounds: int) -> None:
    """Make the endless run one of so many rounds."""
    config = place / "config.toml"
    config.write_text(config.read_text().replace(f"rounds = {ENDLESS}\n", f"rounds = {rounds}\n"))


def check_resumed(mpirun, place: Path, rounds: int = 0, launcher=()) -> str:
    """Take the run up, some rounds further; all ranks must end as in a simulation of the whole."""
    rounds = rounds or newest(place) + 9
    shorten(place, rounds)
    done = mpirun(RANKS, "-m", "dmtl", "run", "--resume", str(place), launcher=launcher)
    assert done.returncode == 0, done.stderr
    check_whole(place, rounds)
    return done.stderr


def check_whole(place: Path, rounds: int) -> None:
    job = plan(load(read_file(str(place / "config.toml"))))
    assert job.config.rounds == rounds
    whole = simulate([job.node(rank) for rank in range(RANKS)], rounds)
    for rank, state in enumerate(whole):
        with np.load(place / f"rank-{rank:04d}.npz") as arrays:
            ours = {key: value.tobytes() for key, value in arrays.items()}
        assert ours == {key: value.tobytes() for key, value in flatten(portable(state)).items()}
    assert not list(place.glob(".rank-*"))


def check_stopped_together(place: Path, said: str, name: str) -> None:
    """All ranks have saved the same round, and one has said how to go on."""
    (round,) = {saved_rounds(place, rank)[0] for rank in range(RANKS)}
    last = [read_log(place / f"rank-{rank:04d}.jsonl")[0][-1] for rank in range(RANKS)]
    assert {(line["event"], line["round"], line["signal"]) for line in last} == {("stopped", round, name)}
    (done,) = re.findall(r"after (\d+) rounds; go on with", said)
    assert int(done) <= round  # less, where it was said in haste, before all had voted
    command = f"go on with: mpirun -n {RANKS} dmtl run --resume {place}\n"
    assert f"dmtl: stopped by {name} after {done} rounds; {command}" in said


@pytest.mark.parametrize("launcher", [(), ULFM], ids=["plain", "ulfm"])
def test_mpirun_passes_sigusr1_on_and_all_stop_in_one_round(mpirun, tmp_path, launcher):
    if launcher and not mpirun.outlives:
        pytest.skip("this MPI has no ULFM")
    place = tmp_path / "out"
    code, said = stopped(mpirun, place, lambda job: job.send_signal(signal.SIGUSR1), launcher=launcher)
    assert code == 128 + signal.SIGUSR1, said
    check_stopped_together(place, said, "SIGUSR1")
    check_resumed(mpirun, place, launcher=launcher)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_rank_at_once_stops_all_in_one_round(mpirun, tmp_path, number):
    """As Slurm does it, which knows all processes of a step."""
    place = tmp_path / "out"

    def stop(job):
        for pid in pids(place):
            os.kill(pid, number)

    code, said = stopped(mpirun, place, stop)
    assert code == 128 + number, said
    check_stopped_together(place, said, number.name)
    check_resumed(mpirun, place)


@pytest.mark.parametrize("victim", [0, 3])
def test_a_signal_to_one_rank_is_passed_on_and_stops_all_in_one_round(mpirun, tmp_path, victim):
    place = tmp_path / "out"
    code, said = stopped(mpirun, place, lambda job: os.kill(pids(place)[victim], signal.SIGTERM))
    assert code == 128 + signal.SIGTERM, said
    check_stopped_together(place, said, "SIGTERM")
    check_resumed(mpirun, place)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_mpirun_kills_its_ranks_they_have_saved_a_round_that_all_have(mpirun, tmp_path, number):
    """mpirun leaves them a quarter of a second, and no longer forwards what they say."""
    place = tmp_path / "out"
    code, said = stopped(mpirun, place, lambda job: job.send_signal(number))
    assert code != 0, said
    assert all(saved_rounds(place, rank) for rank in range(RANKS)), said
    check_resumed(mpirun, place)


def kill(place: Path, victim: int) -> Callable[..., None]:
    return lambda job: os.kill(pids(place)[victim], signal.SIGKILL)


def test_a_job_that_lost_a_rank_goes_on_from_its_checkpoints(mpirun, tmp_path):
    """Every round is saved, so that ranks are killed while they write."""
    place = tmp_path / "out"
    code, _ = stopped(mpirun, place, kill(place, 2), "--checkpoint-every", "1", round=20)
    assert code != 0
    (place / ".rank-0001.ckpt-000999.npz.4711").write_bytes(b"half of it")
    check_resumed(mpirun, place)


def test_a_job_falls_back_to_the_newest_round_that_all_have_and_the_simulator_can_take_it_over(mpirun, tmp_path):
    place = tmp_path / "out"
    code, said = stopped(mpirun, place, lambda job: job.send_signal(signal.SIGUSR1), "--checkpoint-every", "7")
    assert code == 128 + signal.SIGUSR1, said
    (last,) = {saved_rounds(place, rank)[0] for rank in range(RANKS)}
    (place / f"rank-0001.ckpt-{last:06d}.npz").unlink()
    torn = place / f"rank-0002.ckpt-{last:06d}.npz"
    torn.write_bytes(torn.read_bytes()[:-1])
    before = max(set.intersection(*({*saved_rounds(place, rank)} for rank in range(RANKS))))
    assert before % 7 == 0
    said = check_resumed(mpirun, place, last + 5)
    assert said.count(f"dmtl: {place} goes on from round {before}\n") == 1, said
    refused = mpirun(RANKS, "-m", "dmtl", "run", "--resume", str(place), "--seed", "5")
    assert refused.returncode == 5
    assert refused.stderr.count(f"dmtl: error: --resume {place}: that run has seed = 0, not 5.") == 1, refused.stderr
    cli(["run", "-q", "--resume", str(place), "--rounds", str(last + 9)], standalone_mode=False)
    check_whole(place, last + 9)


def test_a_run_of_the_simulator_goes_on_under_mpi(mpirun, tmp_path):
    place = tmp_path / "out"
    cli([*COMMAND[2:], "-q", "--ranks", str(RANKS), "--rounds", "11", "--out", str(place)], standalone_mode=False)
    more = mpirun(RANKS, "-m", "dmtl", "run", "--resume", str(place), "--rounds", "17")
    assert more.returncode == 0, more.stderr
    check_whole(place, 17)


def test_what_survivors_have_finished_without_a_rank_is_finished(mpirun, tmp_path):
    if not mpirun.outlives:
        pytest.skip("this MPI has no ULFM")
    place = tmp_path / "out"
    flags = ("--rounds", "1500", "--checkpoint-every", "700")
    code, said = stopped(mpirun, place, kill(place, 3), *flags, launcher=ULFM)
    assert code == 0, said
    assert re.search(r"warning: rank 3 died in round \d+; the others went on without it\.", said)
    done = mpirun(RANKS, "-m", "dmtl", "run", "--resume", str(place), launcher=ULFM)
    sentence = "all 1500 rounds are done; rank 3 died on the way, start a new run to have all"
    assert (done.returncode, done.stderr) == (0, f"dmtl: {place} is finished already: {sentence}\n")
