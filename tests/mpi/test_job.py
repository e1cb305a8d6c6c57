"""What breaks MPI programs for people: each is said once, says what to do, and hangs nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi

WORKER = str(Path(__file__).with_name("worker_task.py"))
SMALL = ("-m", "dmtl", "run", "--data", "synthetic:rows=20,features=4", "--rounds", "20")


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (("--data", "wach"), 2, "unknown data 'wach'. Did you mean 'watch'?"),
        (("--screen", "trimmed-mean:b=2"), 2, "needs 5 neighbours; rank 0 has 2 in ring. Lower b or add edges."),
        (("--ranks", "5"), 2, "--ranks is 5 and MPI started 4. Start: mpirun -n 5 dmtl run ..."),
        pytest.param(
            ("--transport", "simulated"),
            2,
            "the simulator is one process and MPI started several.",
            marks=pytest.mark.slow,
        ),
        (("--config", "missing.toml"), 2, "--config missing.toml: No such file or directory."),
        (("--rounds", "many"), 2, "'many' is not a valid integer"),
        pytest.param(
            ("--set", "algorithm.step=1"),
            2,
            "setting of algorithm 'diffusion': 'step'. Did you mean 'step_size'?",
            marks=pytest.mark.slow,
        ),
        pytest.param(("--data", "exam"), 2, "65 tasks", marks=pytest.mark.slow),
        pytest.param(
            ("--topology", "erdos-renyi:p=0.01,seed=1"),
            2,
            "is not connected: it falls into 4 components",
            marks=pytest.mark.slow,
        ),
        (("--out", "/dev/null/results"), 5, "/dev/null"),
    ],
)
def test_bad_input_ends_all_ranks_before_round_0_and_is_said_once(mpirun, tmp_path, flags, code, sentence):
    done = mpirun(4, *SMALL, "--out", str(tmp_path / "out"), *flags)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(sentence) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


def test_ranks_with_different_commands_are_told_so_once(mpirun, tmp_path):
    other = (":", "-n", "2", sys.executable, *SMALL, "--out", str(tmp_path / "out"), "--seed", "1")
    done = mpirun(2, *SMALL, "--out", str(tmp_path / "out"), *other)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("ranks 2, 3 are about to run something else than rank 0") == 1, done.stderr


def test_a_run_that_diverges_exits_3_and_names_rank_round_and_step_size_and_keeps_its_lines(mpirun, tmp_path):
    flags = ("--algorithm", "diffusion:step_size=1e9", "--rounds", "200", "--eval-every", "1", "--out", str(tmp_path))
    done = mpirun(3, *SMALL, *flags)
    assert done.returncode == 3, done.stderr
    said = re.search(r"rank \d diverged in round (\d+): Diffusion\(step_size=1000000000.0, momentum=0.0\)", done.stderr)
    assert said, done.stderr
    assert "RuntimeWarning" not in done.stderr
    for rank in range(3):
        lines = [json.loads(line) for line in (tmp_path / f"rank-000{rank}.jsonl").read_text().splitlines()]
        assert [line["round"] for line in lines if line["event"] == "round"][:3] == [0, 1, 2]


def test_a_rank_that_raises_shows_its_traceback_and_takes_the_job_down(mpirun):
    done = mpirun(4, WORKER, "raise", "2")
    assert done.returncode == 1, done.stderr
    assert "dmtl: rank 2 on " in done.stderr
    assert "RuntimeError: the sensor is on fire" in done.stderr
    assert "finished" not in done.stdout


def test_a_rank_that_waits_says_for_whom_and_in_which_round(mpirun, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = mpirun(4, WORKER, "wait", "2", str(fifo), wait=False)
    seen = ""
    for line in process.stderr:
        seen += line
        if re.search(r"rank [13] has waited \d+ s for rank 2 in round 3", line):
            break
    fifo.write_text("go on")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, seen + err
    assert "for rank 2 in round 3" in seen
    assert out.count("finished") == 4


def test_another_mpis_launcher_is_named(tmp_path):
    started = {"PMI_RANK": "0", "PMI_SIZE": "4"}
    command = [sys.executable, *SMALL, "--out", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, **started}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert "MPICH or Intel MPI started 4 processes, but the MPI library that was loaded is Open MPI" in done.stderr
    others = {**os.environ, "PMI_RANK": "3", "PMI_SIZE": "4"}
    done = subprocess.run(command, env=others, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (4, "")


def test_a_message_longer_than_mpi_can_count_is_refused_by_name(mpirun):
    code = (
        "from types import SimpleNamespace\n"
        "from dmtl.transports.mpi import world\n"
        "from dmtl.transports.sync import connect\n"
        "connect(world(), SimpleNamespace(form=((2, 2**30), None)))\n"
    )
    done = mpirun(2, "-c", code)
    assert done.returncode == 4
    assert "a message of 2 x 1073741824 numbers is too long: MPI carries 2147483647." in done.stderr


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_networks_run(mpirun, tmp_path, n):
    done = mpirun(n, *SMALL, "--out", str(tmp_path), "--topology", "path")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("rank-*.npz"))) == n


def test_the_trace_shows_neighbours_only_and_no_collective_inside_the_loop(mpirun, tmp_path):
    flags = ("--topology", "small-world:k=4,p=0.3,seed=2", "--byzantine", "2", "--attack", "alie", "--trace")
    done = mpirun(8, *SMALL, *flags, "--algorithm", "gradient-tracking", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    graph = json.loads((tmp_path / "graph.json").read_text())
    links = {(e["source"], e["target"]) for e in graph["edges"]} | {(e["target"], e["source"]) for e in graph["edges"]}
    talked = set()
    for rank in range(8):
        text = (tmp_path / f"rank-{rank:04d}.trace.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        loop = [i for i, line in enumerate(lines) if line["event"] == "loop"]
        inside = lines[loop[0] + 1 : loop[1]]
        asked = {line["name"] for line in inside if line["event"] == "call"}
        assert asked <= {"Iprobe", "Improbe"}  # a look at what has come, which asks nobody
        inside = [line for line in inside if line["event"] == "message"]
        assert all(line["source"] == rank and line["bytes"] == 2 * 5 * 8 for line in inside)
        talked |= {(line["source"], line["target"]) for line in inside}
        assert len(inside) == 20 * sum(source == rank for source, _ in links)
    assert talked == links


def test_mpis_own_monitoring_counts_the_same_collectives_for_10_rounds_and_for_60(mpirun, tmp_path):
    seen = {}
    for rounds in (10, 60):
        prefix = tmp_path / f"{rounds}-rounds"
        names = ("enable", "2"), ("enable_output", "3"), ("filename", str(prefix))
        monitor = [word for name, value in names for word in ("--mca", f"pml_monitoring_{name}", value)]
        flags = ("--rounds", str(rounds), "--out", str(tmp_path / str(rounds)))
        done = mpirun(4, *SMALL, *flags, launcher=tuple(monitor))
        assert done.returncode == 0, done.stderr
        files = sorted(tmp_path.glob(f"{rounds}-rounds.*.prof"))
        seen[rounds] = [sorted(re.findall(r"^.* msgs sent", file.read_text(), re.MULTILINE)) for file in files]
    if not seen[10]:
        pytest.skip("this MPI has no monitoring component")
    assert any(re.match(r"A2A\s+\d+\s+\d+ bytes\s+[1-9]", line) for lines in seen[10] for line in lines)
    assert seen[60] == seen[10]
