"""The run folder: nothing is overwritten unasked, nothing written is lost, a failure to write is said."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtl.errors import ResultsError
from dmtl.results import RankLog, flatten, restore, save_state

COMMAND = [sys.executable, "-m", "dmtl", "run", "--data", "synthetic:rows=12,features=3", "--ranks", "4"]


def run(*flags: str, cwd, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=120, cwd=cwd, **options)


def test_a_run_writes_the_configuration_the_graph_and_every_ranks_own_files(tmp_path):
    assert run("--rounds", "30", "--name", "first", cwd=tmp_path).returncode == 0
    (place,) = (tmp_path / "runs").iterdir()
    assert place.name.startswith("first-")
    assert len(place.name) == len("first-") + 8
    names = {path.name for path in place.iterdir()}
    assert names == {"config.toml", "graph.json"} | {
        f"rank-000{r}.{kind}" for r in range(4) for kind in ("jsonl", "npz")
    }
    lines = [json.loads(line) for line in (place / "rank-0002.jsonl").read_text().splitlines()]
    assert lines[0]["event"] == "start"
    assert lines[0]["versions"]["numpy"] == np.__version__
    assert lines[-1]["event"] == "end"
    last = lines[-2]
    assert last["round"] == 30
    assert last["bytes"] == 30 * 2 * 4 * 8
    assert len(last["trust"]) == len(last["age"]) == len(last["distance"]) == 2


def test_a_second_run_of_the_same_name_is_refused_until_told_to_overwrite(tmp_path):
    flags = ("--rounds", "3", "--out", "here")
    assert run(*flags, cwd=tmp_path).returncode == 0
    before = (tmp_path / "here" / "rank-0000.npz").read_bytes()
    again = run(*flags, "--seed", "1", cwd=tmp_path)
    assert again.returncode == 5
    assert again.stderr == "dmtl: error: here has results already. Give --overwrite, or another --name or --out.\n"
    assert (tmp_path / "here" / "rank-0000.npz").read_bytes() == before
    assert run(*flags, "--seed", "1", "--overwrite", cwd=tmp_path).returncode == 0
    assert (tmp_path / "here" / "rank-0000.npz").read_bytes() != before


def test_overwriting_leaves_no_file_of_the_run_before(tmp_path):
    assert run("--rounds", "3", "--out", "here", cwd=tmp_path).returncode == 0
    (tmp_path / "here" / "notes.txt").write_text("mine")
    assert run("--rounds", "3", "--out", "here", "--overwrite", "--ranks", "3", cwd=tmp_path).returncode == 0
    assert {path.name for path in (tmp_path / "here").glob("rank-*.jsonl")} == {f"rank-000{r}.jsonl" for r in range(3)}
    assert (tmp_path / "here" / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_exits_5_and_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    for out in ("file", "file/deeper"):
        done = run("--rounds", "3", "--out", out, cwd=tmp_path)
        assert done.returncode == 5
        assert done.stderr.startswith("dmtl: error: ")
        assert out in done.stderr
        assert "Traceback" not in done.stderr


def limit_files() -> None:
    """From here on no file of this process may grow beyond 4 kB: a real failing write, like a full disk's."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_disk_that_is_full_exits_5_and_every_whole_line_stays(tmp_path):
    flags = ("--rounds", "300", "--eval-every", "1", "--out", "out")
    done = run(*flags, cwd=tmp_path, preexec_fn=limit_files, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 5, done.stderr
    assert "cannot write to out: " in done.stderr
    assert "Traceback" not in done.stderr
    for file in (tmp_path / "out").glob("rank-*.jsonl"):
        whole = [json.loads(line) for line in file.read_text().splitlines()[:-1]]
        assert [line["round"] for line in whole[1:]] == list(range(len(whole) - 1))
    assert len((tmp_path / "out" / "rank-0000.jsonl").read_text().splitlines()) > 5


def test_numbers_that_json_lacks_become_null(tmp_path):
    with RankLog(tmp_path, 7) as log:
        log.write("round", loss=float("nan"), trust=np.array([1.0, np.inf]), age=np.array([-1]), ok=np.bool_(True))
    line = (tmp_path / "rank-0007.jsonl").read_text()
    assert json.loads(line) == {"event": "round", "loss": None, "trust": [1.0, None], "age": [-1], "ok": True}


Inner = namedtuple("Inner", "a b")
Outer = namedtuple("Outer", "inner count nothing pair")


@given(st.integers(0, 5), st.integers(-(2**40), 2**40), st.floats(allow_nan=False))
def test_a_state_taken_apart_and_put_together_is_the_state(size, count, number):
    state = Outer(Inner(np.arange(size, dtype=np.float32), np.ones((2, size))), count, (), (np.array([number]), 0.5))
    back = restore(state, flatten(state))
    assert back.inner.a.dtype == np.float32
    assert np.array_equal(back.inner.b, state.inner.b)
    assert (back.count, back.nothing, back.pair[1]) == (count, (), 0.5)
    assert back.pair[0].tobytes() == state.pair[0].tobytes()


def test_a_state_of_another_method_is_refused():
    with pytest.raises(ResultsError, match=r"the checkpoint has no 'b'"):
        restore(Inner(np.ones(2), np.ones(2)), {"a": np.ones(2)})


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    place = tmp_path / "rank-0000.npz"
    save_state(place, Inner(np.ones(3), np.zeros(1)))
    before = place.read_bytes()

    class Unwritable:
        def __array__(self, dtype=None, copy=None):
            raise OSError(28, "No space left on device")

    with pytest.raises(ResultsError, match="No space left on device"):
        save_state(place, Inner(np.ones(4), Unwritable()))
    assert place.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["rank-0000.npz"]
