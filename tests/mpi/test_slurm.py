"""Jobs on a real Slurm: submitted, spread over nodes, queued again when their time is over or a node is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.mpi.slurm_cluster import Cluster, missing, slurm_cluster

REASON = missing()

pytestmark = [pytest.mark.mpi, pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.prefix, "bin")
DATA = ("--data", "synthetic:rows=20,features=4")
LONG = (*DATA, "--rounds", "6000", "--eval-every", "100")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if not (BIN / "mpirun").exists():
        pytest.skip("there is no mpirun beside this Python: pip install 'dmtl[mpi]'")
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        running.environment["PYTHONPATH"] = str(ROOT)
        yield running


def program(folder: Path, name: str, before: str = ":") -> None:
    """Put a program of this Python's environment into another folder, with something to do before it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\n{before}\nexec {BIN / name} "$@"\n')
    (folder / name).chmod(0o755)


def submit(cluster: Cluster, place: Path, *run: str) -> str:
    """Submit the script that dmtl writes for six ranks on three nodes; return the number of the job."""
    program(place / "env" / "bin", "dmtl", f'echo "$SLURMD_NODENAME" >> {place}/nodes')
    size = ("--nodes", "3", "--ranks", "6", "--time", "10", "--checkpoint-every", "50")
    where = ("--launcher", str(BIN / "mpirun"), "--venv", str(place / "env"), "--out", str(place / "job.sh"))
    command = [sys.executable, "-m", "dmtl", "slurm", *size, *where, "--", "--out", "out", *run]
    subprocess.run(command, check=True, cwd=place, env=cluster.environment, timeout=60)
    return cluster.ask("sbatch", "--parsable", f"--output={place}/said", str(place / "job.sh"))


def ended(cluster: Cluster, number: str) -> dict[str, str]:
    cluster.until(lambda: cluster.job(number)["JobState"] in ("COMPLETED", "FAILED", "CANCELLED"))
    return cluster.job(number)


def begun(cluster: Cluster, place: Path) -> None:
    """Wait until the run is past its first checkpoints."""
    lines = place / "out" / "rank-0005.jsonl"
    cluster.until(lambda: lines.exists() and '"round": 200' in lines.read_text())


def check_as_in_one_process(cluster: Cluster, place: Path, *run: str) -> None:
    """All ranks have ended, with the models of a run without MPI that nothing has stopped."""
    command = [sys.executable, "-m", "dmtl", "run", "-q", "--ranks", "6", "--out", "alone", *run]
    subprocess.run(command, check=True, cwd=place, env=cluster.environment, timeout=120)
    for rank in range(6):
        name = f"rank-{rank:04d}"
        assert '{"event": "end"' in (place / "out" / f"{name}.jsonl").read_text().splitlines()[-1]
        with np.load(place / "out" / f"{name}.npz") as got, np.load(place / "alone" / f"{name}.npz") as expected:
            assert got["model.x"].tobytes() == expected["model.x"].tobytes()


def check_queued_again(cluster, tmp_path, number):
    """The job comes back once, ends, and leaves what one process leaves that nothing stopped."""
    cluster.until(lambda: cluster.job(number)["Restarts"] == "1")
    job = ended(cluster, number)
    said = (tmp_path / "said").read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "1"), said
    check_as_in_one_process(cluster, tmp_path, *LONG)


def test_a_job_runs_on_all_nodes_and_gives_what_one_process_gives(cluster, tmp_path):
    job = ended(cluster, submit(cluster, tmp_path, *DATA))
    said = (tmp_path / "said").read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "0"), said
    assert sorted((tmp_path / "nodes").read_text().split()) == ["n1", "n1", "n2", "n2", "n3", "n3"]
    check_as_in_one_process(cluster, tmp_path, *DATA)


def test_a_job_whose_time_is_over_is_queued_again_and_ends_as_if_nothing_had_been(cluster, tmp_path):
    number = submit(cluster, tmp_path, *LONG)
    begun(cluster, tmp_path)
    cluster.ask("scancel", "--batch", "--signal=USR1", number)  # as Slurm does --warn-before the limit
    check_queued_again(cluster, tmp_path, number)


def test_a_job_that_loses_a_node_is_queued_again_and_ends_as_if_nothing_had_been(cluster, tmp_path):
    number = submit(cluster, tmp_path, *LONG)
    begun(cluster, tmp_path)
    cluster.kill("n2")
    check_queued_again(cluster, tmp_path, number)


def test_a_cancelled_job_does_not_come_back(cluster, tmp_path):
    number = submit(cluster, tmp_path, *LONG)
    begun(cluster, tmp_path)
    cluster.ask("scancel", number)
    job = ended(cluster, number)
    cluster.until(lambda: not cluster.ask("squeue", "--noheader"))
    assert (job["JobState"], job["Restarts"]) == ("CANCELLED", "0")


def test_run_mpi_in_an_allocation_takes_its_tasks_and_crowds_them_only_if_told(cluster, tmp_path):
    for name in ("run_mpi.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("python", "dmtl", "mpirun", "ompi_info"):
        program(tmp_path / ".venv" / "bin", name, f'echo "{name} $*" >> {tmp_path}/called')
    total = subprocess.run("cksum < pyproject.toml", shell=True, capture_output=True, text=True, cwd=tmp_path)
    for extras in ("data,report", "data,report,mpi"):  # what is there need not be installed
        (tmp_path / ".venv" / f".dmtl-{total.stdout.split()[0]}-{extras}").touch()
    flags = " ".join((*DATA, "--quiet"))
    job = f"cd {tmp_path} && ./run_mpi.sh {flags} --out plain && ./run_mpi.sh -n 8 {flags} --out crowded"
    size = ("--nodes=3", "--ntasks-per-node=2")
    number = cluster.ask("sbatch", "--parsable", *size, f"--output={tmp_path}/said", f"--wrap={job}")
    assert ended(cluster, number)["ExitCode"] == "0:0", (tmp_path / "said").read_text()
    assert len(list(tmp_path.glob("plain/rank-*.npz"))) == 6
    assert len(list(tmp_path.glob("crowded/rank-*.npz"))) == 8
    started = [line for line in (tmp_path / "called").read_text().splitlines() if " -n " in line]
    assert ["--oversubscribe" in line for line in started] == [False, True]


def test_nothing_of_a_cluster_is_left_when_a_test_in_it_fails(tmp_path):
    with pytest.raises(KeyError, match="failed"), slurm_cluster(tmp_path, nodes=2) as cluster:  # noqa: PT012
        number = cluster.ask("sbatch", "--parsable", f"--output={tmp_path}/said", "--nodes=2", "--wrap=srun sleep 600")
        cluster.until(lambda: len(cluster.processes()) >= 8)
        assert cluster.job(number)["JobState"] == "RUNNING"
        raise KeyError("failed")
    assert cluster.processes() == []
