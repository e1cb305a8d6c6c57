from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmtl.data.file import File
from dmtl.data.pool import Pool
from dmtl.errors import ConfigError

GOOD: dict[str, Any] = {
    "x": np.arange(12.0).reshape(6, 2),
    "y": np.array([0, 1, 0, 1, 0, 1]),
    "task": np.array(["b", "b", "b", "a", "a", "a"]),
}


def write_npz(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def load(path: Path, **settings_: Any) -> Pool:
    return File(str(path), **settings_).load(1, 0)


def changed(**arrays: Any) -> Callable[[Path], Path]:
    kept = {name: value for name, value in (GOOD | arrays).items() if value is not None}
    return lambda folder: write_npz(folder, kept)


def text(content: str | bytes, name: str = "own.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        if name.endswith("csv"):
            pytest.importorskip("pandas", reason="tables are read by the optional package pandas")
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return make


def cut(folder: Path) -> Path:
    path = write_npz(folder, GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def flipped(folder: Path) -> Path:
    path = write_npz(folder, GOOD)
    path.write_bytes(path.read_bytes().replace(GOOD["x"].tobytes(), bytes(96)))
    return path


HOLE, ENDLESS = GOOD["x"].copy(), GOOD["x"].copy()
HOLE[3, 1], ENDLESS[5, 0] = np.nan, np.inf
BAD: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "missing file": (lambda folder: folder / "no.npz", {}, r"there is no file '.*no\.npz'\. Give path=FILE"),
    "suffix": (text("", "own.txt"), {}, r"own\.txt' is no kind of file.* Allowed: \.npz, \.csv, \.parquet"),
    "no x": (changed(x=None, z=GOOD["x"]), {}, r"own\.npz' has no array 'x' or 'X' .*It has: y, task, z"),
    "near name": (
        changed(),
        {"task": "tsk"},
        r"no array 'tsk'\. Did you mean 'task'\? It has: x, y, task\. Name the task",
    ),
    "no target": (changed(y=None), {}, r"has no array 'y'\. .*Name the target with target=NAME"),
    "no group": (changed(), {"group": "g"}, r"has no array 'g'\. .*Name the group with group=NAME"),
    "nan": (changed(x=HOLE), {}, r"own\.npz', array 'x\[:, 1\]', row 4 is nan"),
    "inf": (changed(x=None, X=ENDLESS), {}, r"own\.npz', array 'X\[:, 0\]', row 6 is inf"),
    "nan target": (changed(y=HOLE[:, 1]), {}, r"array 'y', row 4 is nan"),
    "nan task": (changed(task=HOLE[:, 1]), {}, r"array 'task', row 4 is nan"),
    "short target": (changed(y=GOOD["y"][:4]), {}, r"array 'y' has 4 rows and the features have 6"),
    "short task": (changed(task=GOOD["task"][:4]), {}, r"array 'task' has 4 rows"),
    "short group": (changed(group=np.arange(2)), {}, r"array 'group' has 2 rows"),
    "short test": (changed(test=np.ones(2, dtype=bool)), {}, r"array 'test' has 2 rows"),
    "wrong test": (changed(test=np.arange(6)), {}, r"array 'test', row 3 is 2\. Allowed: 0, 1"),
    "objects": (changed(y=np.array([None] * 6)), {}, r"array 'y' cannot be read: Object arrays.*numpy\.savez"),
    "complex": (changed(x=GOOD["x"] * 1j), {}, r"array 'x\[:, 0\]' holds complex128, not numbers"),
    "dates": (changed(task=np.zeros(6, dtype="M8[s]")), {}, r"array 'task' holds datetime64\[s\], not numbers"),
    "text features": (changed(x=GOOD["x"].astype(str)), {}, r"array 'x\[:, 0\]' holds <U.*, not numbers"),
    "flat x": (changed(x=np.ones(6)), {}, r"array 'x' has 1 axes; it needs two"),
    "deep y": (changed(y=np.ones((6, 1))), {}, r"array 'y' has 2 axes; it needs one"),
    "empty": (changed(x=np.ones((0, 2)), y=np.ones(0), task=np.ones(0)), {}, r"own\.npz' has no rows"),
    "no features": (changed(x=np.ones((6, 0))), {}, r"own\.npz' has no features"),
    "small task": (changed(task=np.array([7, 7, 7, 7, 8, 8])), {}, r"task '8' has 2 rows, and needs 3.*1 of 2 tasks"),
    "cut": (cut, {}, r"own\.npz' cannot be read: it is no \.npz file"),
    "flipped": (flipped, {}, r"own\.npz', array 'x' cannot be read: Bad CRC-32"),
    "junk": (text(b"junk", "own.npz"), {}, r"own\.npz' cannot be read: it is no \.npz file"),
    "junk parquet": (text(b"PAR1", "own.parquet"), {}, r"own\.parquet' cannot be read|needs pyarrow|needs pandas"),
    "one class": (changed(y=np.ones(6, dtype=int)), {}, r"the number of different values is 1; allowed are 2 to 100"),
    "many classes": (changed(y=np.arange(6) + 5), {"classes": 3}, r"different values is 6; allowed are 2 to 3"),
    "fractions": (changed(y=np.arange(6) / 2), {"classes": 3}, r"target 'y' has fractions such as 0\.5"),
    "text regression": (changed(y=GOOD["task"]), {"classes": 0}, r"holds text, and classes=0 is regression"),
    "csv text": (text("a,b,y,task\n" + "1,u,0,1\n" * 3), {}, r"own\.csv', column 'b' holds text"),
    "csv near name": (text("a,y,taks\n" + "1,0,1\n" * 3), {}, r"no column 'task'\. Did you mean 'taks'\?"),
    "csv hole": (text("a,y,task\n1,0,1\n,0,1\n1,1,1\n"), {}, r"column 'a', row 2 is NaN or missing"),
    "csv inf": (text("a,y,task\n1,0,1\n2,0,1\ninf,1,1\n"), {}, r"column 'a', row 3 is inf"),
    "csv empty": (text(""), {}, r"own\.csv' cannot be read: No columns to parse"),
    "csv header": (text("a,y,task\n"), {}, r"own\.csv' has no rows"),
    "csv no features": (text("y,task\n" + "0,1\n" * 3), {}, r"own\.csv' has no features"),
    "csv ragged": (text("a,y,task\n1,0,1\n1,2,3,4,5\n"), {}, r"own\.csv' cannot be read: .*line 3"),
    "csv shifted": (text("a,y,task\n" + "1,0,1,9\n" * 3), {}, r"its rows are longer than its header"),
    "csv index": (text(",a,y,task\n" + "0,1,0,1\n" * 3), {}, r"column without a name.*index=False"),
    "csv bytes": (text(bytes(range(256))), {}, r"own\.csv' cannot be read"),
}


@pytest.mark.parametrize("fault", BAD)
def test_each_fault_is_one_sentence_that_names_the_place(fault: str, tmp_path: Path) -> None:
    make, settings_, match = BAD[fault]
    with pytest.raises(ConfigError, match=match) as caught:
        load(make(tmp_path), **settings_)
    assert "\n" not in str(caught.value)


@given(data=st.binary(max_size=300), suffix=st.sampled_from(["npz", "csv"]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_bytes_of_any_kind_give_a_pool_or_a_sentence(data: bytes, suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="tables are read by the optional package pandas")
    (tmp_path / f"own.{suffix}").write_bytes(data)
    with pytest.raises(ConfigError):
        load(tmp_path / f"own.{suffix}")


def test_a_damaged_archive_gives_the_pool_or_a_sentence(tmp_path: Path) -> None:
    path = write_npz(tmp_path, GOOD)
    whole, expected = path.read_bytes(), load(path)
    refused = 0
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            assert np.array_equal(load(path).x, expected.x)
        except ConfigError:
            refused += 1
    assert refused > len(whole) / 7 / 4


def test_a_folder_of_unlike_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no files of \.npz, \.csv, \.parquet"):
        load(tmp_path)
    write_npz(tmp_path, {"x": GOOD["x"], "y": GOOD["y"]}).rename(tmp_path / "a.npz")
    write_npz(tmp_path, {"x": GOOD["x"][:, :1], "y": GOOD["y"]}).rename(tmp_path / "b.npz")
    with pytest.raises(ConfigError, match=r"b\.npz' has other columns than '.*a\.npz'"):
        load(tmp_path)
    write_npz(tmp_path, GOOD).rename(tmp_path / "b.npz")
    with pytest.raises(ConfigError, match=r"b\.npz', array 'task': in a folder each file is one task"):
        load(tmp_path)
    (tmp_path / "a.csv").write_text("a,y\n1,2\n")
    with pytest.raises(ConfigError, match="two files of the same name but for the suffix"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("settings_", "match"),
    [
        ({"classes": 1}, "'file' has classes=1. Allowed: -1"),
        ({"classes": -2}, "'file' has classes=-2"),
        ({"task": "y"}, "'file' has one name twice among y, y and test"),
        ({"group": "test"}, "'file' has one name twice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings_: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        File("own.npz", **settings_)
