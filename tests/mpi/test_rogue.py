"""A rank in plain mpi4py that breaks the rules, and a network that loses its edges to it and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dmtl.algorithms.laplacian import Laplacian
from dmtl.mailbox import nothing
from dmtl.simulator import simulate
from tests.mpi import killing
from tests.mpi.killing import command
from tests.mpi.worker_rogue import GOOD, GRAPH, INTEGERS, Quadratic, words
from tests.mpi.worker_rogue_run import GOOD as GOOD_RUN
from tests.networks import network

pytestmark = pytest.mark.mpi

WORKER = str(Path(__file__).with_name("worker_rogue.py"))
RUN = str(Path(__file__).with_name("worker_rogue_run.py"))
ULFM = ("--with-ft", "ulfm")
TCP = ("--mca", "pml", "ob1", "--mca", "btl", "self,tcp")
NEIGHBOURS = (1, 2)
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Said:
    """What the rogue says in a mode, to those who still listen."""

    mode: str
    rushing: ClassVar[bool] = False
    knowledge: ClassVar[str] = "own"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        d = outbox.shape[2]
        if view.round < GOOD or self.mode in ("honest", "deaf", "more"):
            said = words(view.round, d)
        elif self.mode == "integers":
            said = np.full(d, INTEGERS).view(float)
        elif self.mode == "twice" or self.mode.startswith("flood"):
            said = np.ones(d)
        else:
            said = np.full(d, nothing(float))
        return np.broadcast_to(said, outbox.shape), ()


def told(place: Path) -> dict[int, dict]:
    """What each honest rank has written."""
    return {rank: json.loads((place / f"{rank}.json").read_text()) for rank in range(1, len(GRAPH))}


def judge(place: Path, mode: str, d: int, rounds: int, loses: bool) -> None:
    """Exactly the rogue's edges are lost, or none, and all models are a simulation's in which it falls silent there."""
    honest = told(place)
    lost = {rank: {int(who): round for who, (round, _) in one["lost"].items()} for rank, one in honest.items()}
    assert {rank: set(who) for rank, who in lost.items()} == {
        rank: {0} if loses and rank in NEIGHBOURS else set() for rank in honest
    }, honest

    def ageing(round: int, source: int, target: int) -> int:
        return -1 if source == 0 and round >= lost.get(target, {}).get(0, rounds) else 0

    tasks = [Quadratic(rank, d) for rank in range(len(GRAPH))]
    states = simulate(network(GRAPH, Laplacian(), tasks, liars={0: Said(mode)}, ageing=ageing), rounds)
    for rank in honest:
        assert np.array_equal(np.load(place / f"{rank}.npy"), states[rank].x), f"rank {rank}"


def launched(mpirun, how):
    if "--with-ft" in how and not mpirun.outlives:
        pytest.skip("this MPI cannot outlive its ranks")
    return {"launcher": how}


MODES = {
    "honest": (10, 100, False),
    "long": (10, 100, True),
    "huge": (10, 100, True),
    "complex": (10, 100, True),
    "short": (10, 100, False),
    "empty": (10, 100, False),
    "halves": (10, 100, False),
    "integers": (10, 100, False),
    "bytes": (10, 100, False),
    "tags": (10, 100, True),
    "twice": (10, 100, True),
    "more": (10, 100, True),
    "flood_right": (400, 100, True),
    "flood_same": (400, 100, True),
    "flood_other": (400, 100, True),
    "flood_pulses": (400, 100, True),
    "flood_large": (12_500, 100, True),
    "silent": (10, 100, True),
    "deaf": (10, 100, False),
}


ALIKE = ("complex", "empty", "halves", "integers", "flood_same", "flood_other")
"""modes in which nothing happens that does not happen in another one too"""
WITH_ULFM = ("honest", "long", "deaf", "silent", "flood_same")
"""modes in which MPI's own errors and the end of the job may come out otherwise"""


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        *(pytest.param(mode, (), marks=[pytest.mark.slow] * (mode in ALIKE)) for mode in MODES),
        *(pytest.param(mode, ULFM, marks=[pytest.mark.slow] * (mode in ("honest", "long"))) for mode in WITH_ULFM),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value)[-4:] or "plain",
)
def test_a_rogue_costs_its_neighbours_an_edge_and_no_more(mpirun, tmp_path, mode, how):
    d, rounds, loses = MODES[mode]
    done = mpirun(len(GRAPH), WORKER, str(tmp_path), mode, str(d), str(rounds), "1", "comes", **launched(mpirun, how))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all are here") == len(GRAPH) - 1
    judge(tmp_path, mode, d, rounds, loses)
    # A flood is of 640 MB for each neighbour, or of 1 GB in long messages; on a busy machine it is seen a little later.
    assert max(one["grown"] for one in told(tmp_path).values()) < 320 * MEBIBYTE


@pytest.mark.parametrize(
    ("mode", "d", "how"),
    [
        ("silent", 1_000_000, ()),
        pytest.param("silent", 1_000_000, TCP, marks=pytest.mark.slow),
        pytest.param("deaf", 1_000_000, (), marks=pytest.mark.slow),
        pytest.param("long", 8000, (), marks=pytest.mark.slow),
        *(("long", 10_000, how) for how in ((), TCP)),
        pytest.param("huge", 10, TCP, marks=pytest.mark.slow),
        ("huge", 100_000, ()),
        ("stalls", 1_000_000, ()),
        pytest.param("stalls", 1_000_000, TCP, marks=pytest.mark.slow),
    ],
    ids=lambda value: "-".join(value)[-12:] if isinstance(value, tuple) else str(value),
)
def test_long_messages_to_and_from_a_rogue(mpirun, tmp_path, mode, d, how):
    done = mpirun(len(GRAPH), WORKER, str(tmp_path), mode, str(d), "8", "2", "comes", launcher=how)
    assert done.returncode == 0, done.stdout + done.stderr
    judge(tmp_path, mode, d, 8, loses=True)


@pytest.mark.slow
def test_heartbeats_alone_cost_the_edge_to_who_sends_them_and_not_those_of_the_ranks_behind(mpirun, tmp_path):
    done = mpirun(len(GRAPH), WORKER, str(tmp_path), "beats", "10", "100", "1", "comes")
    assert done.returncode == 0, done.stdout + done.stderr
    judge(tmp_path, "beats", 10, 100, loses=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ULFM], ids=["plain", "ulfm"])
def test_a_rogue_that_never_comes_to_the_end_keeps_the_others_no_longer_than_their_limit(mpirun, tmp_path, how):
    arguments = (WORKER, str(tmp_path), "silent", "10", "100", "1", "never")
    process = mpirun(len(GRAPH), *arguments, wait=False, **launched(mpirun, how))
    if how:  # the launcher waits for the rogue when the others have gone; without it the first to go ends the job
        left = [process.stdout.readline() for _ in range(len(GRAPH) - 1)]
        assert all("not all are here" in line for line in left), left
        process.terminate()
    _, said = process.communicate(timeout=60)
    assert "MPI_ABORT was invoked" not in said
    judge(tmp_path, "silent", 10, 100, loses=True)


@pytest.mark.parametrize("how", [(), TCP], ids=["shared", "tcp"])
def test_a_receive_writes_to_its_row_and_nowhere_else(mpirun, tmp_path, how):
    said = tmp_path / "said"
    done = mpirun(2, str(Path(__file__).with_name("worker_bounds.py")), str(said), launcher=how)
    assert said.is_file(), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("mode", "transport", "how"),
    [
        *(("huge", "sync", how) for how in ((), TCP)),
        pytest.param("huge", "sync", ULFM, marks=pytest.mark.slow),
        ("silent", "sync", ULFM),
        pytest.param("tags", "sync", (), marks=pytest.mark.slow),
        ("flood", "sync", ()),
        pytest.param("flood", "async", (), marks=pytest.mark.slow),
        ("silent", "async", ULFM),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value)[-4:] or "plain",
)
def test_a_job_with_a_rogue_ends_well_for_all_others(mpirun, tmp_path, mode, transport, how):
    out = tmp_path / "out"
    arguments = (RUN, mode, *command(out, "--transport", transport, "--patience", "1")[2:])
    done = mpirun(5, *arguments, **launched(mpirun, how))
    outcome = killing.judge(done.returncode, out, {0})
    assert outcome.finished, done.stdout + done.stderr
    assert outcome.torn == 0
    assert set(outcome.missed) == {0}
    assert outcome.same or transport == "async"
    why = {"huge": "sent a message that is too long", "silent": "did not answer for 1 s"}.get(
        mode, "sent more than it was"
    )
    assert done.stderr.count(f"goes on without rank 0 from round {GOOD_RUN} on: it {why}") == 2 or transport == "async"
