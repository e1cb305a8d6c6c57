"""Torch modules on MPI ranks: the models of the simulator, to the last bit, and modules that differ."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dmtl[torch]'")
pytestmark = pytest.mark.mpi

NETS = """
import os
from torch import nn

def dropping(features, classes):
    convolution = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(convolution, nn.Dropout(0.3), nn.Linear(144, classes))

def uneven(features, classes):
    hidden = 3 if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == "2" else 4
    return nn.Sequential(nn.Linear(features, hidden), nn.Linear(hidden, classes))
"""
RUN = ("-m", "dmtl", "run", "--data", "digits", "--algorithm", "diffusion:step_size=0.1", "--rounds", "12", "--quiet")


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    return str(tmp_path / "nets.py")


MODES = [("--dtype", "float32", "--screen", "median"), pytest.param(("--private", "2"), marks=pytest.mark.slow)]


@pytest.mark.parametrize("more", MODES)
def test_models_on_mpi_are_those_of_the_simulator_bit_for_bit(mpirun, nets, tmp_path, more):
    task = ("--task", f"torch:{nets}:dropping,batch=16", *more)
    done = mpirun(3, *RUN, *task, "--out", str(tmp_path / "mpi"))
    assert done.returncode == 0, done.stderr
    from dmtl.cli import cli

    assert not cli.main([*RUN[2:], *task, "--ranks", "3", "--out", str(tmp_path / "one")], standalone_mode=False)
    for rank in range(3):
        ours, theirs = (dict(np.load(tmp_path / name / f"rank-000{rank}.npz")) for name in ("mpi", "one"))
        assert ours.keys() == theirs.keys()
        assert all(ours[key].tobytes() == theirs[key].tobytes() for key in ours)


def test_modules_of_different_sizes_are_refused_before_round_0_and_it_is_said_once(mpirun, nets, tmp_path):
    done = mpirun(4, *RUN, "--task", f"torch:{nets}:uneven", "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    said = (
        "rank 2 would send messages of 235 numbers and rank 0 of 310: their tasks have different numbers of parameters"
    )
    assert done.stderr.count(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))
