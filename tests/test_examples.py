"""The files under examples/ and the commands that the README gives for them: they run, and they learn."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.cli import cli
from dmtl.config import load
from dmtl.report.reading import read_run
from dmtl.simulator import simulate
from tests.test_mlp import differences

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def commands() -> list[list[str]]:
    """The README's commands that name a file of examples."""
    lines = [shlex.split(line) for line in README.splitlines() if line.startswith("dmtl run ") and "examples/" in line]
    assert len(lines) == 3
    return lines


@pytest.mark.parametrize("name", ["huber.py", "stations", "cnn.py"])
def test_a_command_of_the_readme_runs_and_its_ranks_learn(name, tmp_path):
    if name == "cnn.py":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'dmtl[torch]'")
    (command,) = [words for words in commands() if any(f"examples/{name}" in word for word in words)]
    assert command[0] == "dmtl"
    assert not cli.main([*command[1:], "--out", str(tmp_path / "run"), "--quiet"], standalone_mode=False)
    run = read_run(tmp_path / "run")
    losses = np.array([rank.table["loss"] for rank in run.ranks])
    assert (losses[:, -1] < 0.7 * losses[:, 0]).all()
    assert all(any(key.startswith("test_") for key in rank.table) for rank in run.ranks)
    if name == "stations":
        assert [rank.label for rank in run.ranks] == ["coast", "forest", "peak", "valley"]


def test_the_readme_shows_the_first_example_as_it_is_and_it_is_short():
    text = (ROOT / "examples" / "huber.py").read_text("utf-8")
    assert f"```python\n{text}```" in README
    code = [line for line in text.splitlines() if line.strip()]
    assert len(code) <= 20


@pytest.mark.parametrize("width", [0.3, 1.0, 1e6])
def test_the_first_example_is_hubers_loss(width):
    raw = {"data": "synthetic", "task": f"examples/huber.py:Huber:width={width}", "ranks": 2}
    task = plan(load({**raw, "algorithm": "diffusion:step_size=0.2"})).node(1).task
    w = np.random.default_rng(0).standard_normal(task.dim)
    np.testing.assert_allclose(task.grad(w), differences(task.loss, w), atol=1e-7)
    rest = np.abs(task.data.y - task.data.x @ w[:-1] - w[-1])
    pieces = np.where(rest <= width, rest**2 / 2, width * (rest - width / 2))
    assert task.loss(w) == pytest.approx(pieces.mean() + 0.001 / 2 * w @ w)


def test_any_task_learns_from_a_folder_of_files():
    raw = {"data": "file:examples/stations,target=ozone", "task": "examples/huber.py:Huber"}
    job = plan(load({**raw, "algorithm": "diffusion:step_size=0.5"}))
    nodes = [job.node(rank) for rank in range(4)]
    states = simulate(nodes, 100)
    assert all(
        node.task.loss(state.x) < 0.5 * node.task.loss(0 * state.x) for node, state in zip(nodes, states, strict=True)
    )
