"""The asynchronous exchange on real ranks: through shared memory, as if between machines, and both at once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

WORKER = str(Path(__file__).with_name("worker_async.py"))
WAYS = pytest.mark.parametrize("way", ["shared", "network", "mixed"])
ULFM = ("--with-ft", "ulfm")
TCP = ("--mca", "pml", "ob1", "--mca", "btl", "self,tcp")


def reads(done) -> list[tuple[int, int, int]]:
    """(new rows, torn rows, steps back) of each reader and size."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [tuple(map(int, line)) for line in re.findall(r"^read (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)]


@pytest.mark.slow
def test_no_torn_row_is_accepted_among_more_than_100_000_of_one_number_to_a_million(mpirun):
    done = mpirun(3, WORKER, "torn", "shared", "", "1:25000", "10:25000", "1000:25000", "100000:2000", "1000000:200")
    lines = reads(done)
    assert sum(new for new, _, _ in lines) >= 100_000
    assert [(torn, back) for _, torn, back in lines] == [(0, 0)] * 10


def test_a_reader_without_the_second_look_is_caught_by_that_test(mpirun):
    assert [torn for _, torn, _ in reads(mpirun(2, WORKER, "torn", "shared", "blind", "1000000:0"))] == [1]


@pytest.mark.parametrize("launcher", [(), TCP], ids=["any", "tcp"])
def test_rows_that_travel_come_whole_and_in_order(mpirun, launcher):
    done = mpirun(
        3, WORKER, "torn", "network", "", "1:1000", "1000:1000", "100000:100", "1000000:20", launcher=launcher
    )
    assert [(torn, back) for _, torn, back in reads(done)] == [(0, 0)] * 8


@WAYS
def test_a_rank_that_stands_still_keeps_nobody_from_finishing(mpirun, tmp_path, way):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = mpirun(4, WORKER, "stop", way, str(fifo), wait=False)
    ran = [process.stdout.readline() for _ in range(3)]
    fifo.write_text("go on")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sorted(ran) == [f"ran {rank} 500\n" for rank in (0, 1, 3)], err
    assert out == "ran 2 500\n"


@WAYS
@pytest.mark.parametrize("dead", [(2,), (0, 3)])
def test_killed_neighbours_are_noticed_and_the_others_finish(mpirun, way, dead):
    done = mpirun(6, WORKER, "kill", way, *map(str, dead), launcher=ULFM)
    if "unrecognized" in done.stderr or "unknown option" in done.stderr.lower():
        pytest.skip("this MPI ends the job when a rank dies")
    assert done.returncode == 0, done.stdout + done.stderr
    lost = dict(re.findall(r"^survived (\d)(.*)$", done.stdout, re.MULTILINE))
    missed = {str(r): [d for d in dead if (r - d) % 6 in (1, 5)] for r in range(6) if r not in dead}
    assert {rank: sorted(map(int, who.split())) for rank, who in lost.items()} == missed


CASES = [
    (1, "converge", ["shared"], "converged"),
    (2, "ages", ["shared", "network"], "ages are right"),
    (5, "kinds", ["shared", "network"], "all kinds ran"),
    (8, "edges", ["shared", "network", "mixed"], "every edge has its own words"),
    (8, "converge", ["shared", "network", "mixed"], "converged"),
]


@pytest.mark.parametrize(
    ("ranks", "mode", "way", "sentence"),
    [(ranks, mode, way, sentence) for ranks, mode, ways, sentence in CASES for way in ways],
)
def test_every_rank_sees_what_it_must(mpirun, ranks, mode, way, sentence):
    done = mpirun(ranks, WORKER, mode, way)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(sentence) == (1 if mode == "ages" else ranks), done.stdout
