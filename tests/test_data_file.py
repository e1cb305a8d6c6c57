from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dmtl.data.file import File
from dmtl.data.pool import Pool

GOOD: dict[str, Any] = {
    "x": np.arange(12.0).reshape(6, 2),
    "y": np.array([0, 1, 0, 1, 0, 1]),
    "task": np.array(["b", "b", "b", "a", "a", "a"]),
}


def write_npz(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def write_frame(folder: Path, arrays: dict[str, Any], suffix: str) -> Path:
    pandas = pytest.importorskip("pandas", reason="tables are read by the optional package pandas")
    columns = {f"c{j}": column for j, column in enumerate(np.asarray(arrays["x"]).T)}
    frame = pandas.DataFrame(columns | {name: values for name, values in arrays.items() if name != "x"})
    if suffix == "csv":
        frame.to_csv(folder / "own.csv", index=False)
    else:
        pytest.importorskip("pyarrow", reason="parquet is read by the optional package pyarrow")
        frame.to_parquet(folder / "own.parquet")
    return folder / f"own.{suffix}"


def write(folder: Path, arrays: dict[str, Any], suffix: str) -> Path:
    return write_npz(folder, arrays) if suffix == "npz" else write_frame(folder, arrays, suffix)


def load(path: Path, **settings_: Any) -> Pool:
    return File(str(path), **settings_).load(1, 0)


finite = st.floats(-1e300, 1e300, width=64)
names = st.text(st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=3, max_size=6).filter(
    lambda s: s.lower() not in {"nan", "null", "none", "inf", "true", "false", "infinity"}
)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Any]:
    """Arrays of 2 to 4 tasks with 3 to 5 rows each, in shuffled order."""
    task = draw(
        st.lists(names, min_size=2, max_size=4, unique=True) | st.lists(st.integers(-9, 99), min_size=2, unique=True)
    )
    m = 5 * len(task)
    order = draw(st.permutations(range(m)))
    arrays = {
        "x": draw(hnp.arrays(np.float64, (m, draw(st.integers(1, 3))), elements=finite)),
        "y": draw(hnp.arrays(np.float64, m, elements=finite)) if draw(st.booleans()) else np.arange(m) % 3 - 1,
        "task": np.repeat(task, 5)[order],
    }
    if draw(st.booleans()):
        arrays["group"] = np.arange(m) // 2
    if draw(st.booleans()):
        arrays["test"] = np.arange(m) % 2 == 0
    return arrays


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
@given(arrays=contents())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_written_is_what_is_read(suffix: str, tmp_path: Path, arrays: dict[str, Any]) -> None:
    pool = load(write(tmp_path, arrays, suffix))
    np.testing.assert_allclose(pool.x, arrays["x"], rtol=1e-15)  # decimal text may cost the last bit
    assert [pool.labels[t] for t in pool.task] == [str(name) for name in arrays["task"]]
    assert sorted(arrays["task"].tolist()) == [
        type(arrays["task"].tolist()[0])(pool.labels[t]) for t in sorted(pool.task)
    ]
    if arrays["y"].dtype.kind == "f":
        assert pool.classes == 0
        np.testing.assert_allclose(pool.y, arrays["y"], rtol=1e-15)
    else:
        assert pool.classes == 3
        assert np.array_equal(pool.y, arrays["y"] + 1)
    assert np.array_equal(pool.group, arrays.get("group", np.arange(len(pool.y))))
    assert (pool.test is None) == ("test" not in arrays)
    assert pool.test is None or np.array_equal(pool.test, arrays["test"])


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_columns_of_other_names_are_found_when_named(suffix: str, tmp_path: Path) -> None:
    arrays = {"x": GOOD["x"], "label": ["yes", "no"] * 3, "person": [7] * 3 + [5] * 3, "take": list("uuvvww")}
    pool = load(write(tmp_path, arrays, suffix), target="label", task="person", group="take")
    assert pool.x.shape == (6, 2)
    assert pool.labels == ("5", "7")
    assert pool.y.tolist() == [1, 0] * 3
    assert pool.group.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("suffix", ["npz", "csv", "parquet"])
def test_a_folder_holds_one_task_a_file(suffix: str, tmp_path: Path) -> None:
    for number, name in enumerate(("two", "ten")):
        arrays = {"x": GOOD["x"] + number, "y": GOOD["y"] * 0.5 + number, "group": [0, 0, 0, 1, 1, 1]}
        write(tmp_path, arrays, suffix).rename(tmp_path / f"{name}.{suffix}")
    (tmp_path / "README.md").write_text("not data")
    pool = load(tmp_path)
    assert pool.labels == ("ten", "two")
    assert pool.task.tolist() == [0] * 6 + [1] * 6
    assert np.array_equal(pool.x, np.concatenate([GOOD["x"] + 1, GOOD["x"]]))
    assert pool.group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("y", "classes", "expected", "found"),
    [
        ([3, 5, 3, 5, 9, 9], -1, [0, 1, 0, 1, 2, 2], 3),
        ([3.0, 5, 3, 5, 9, 9], -1, [3, 5, 3, 5, 9, 9], 0),
        ([3, 5, 3, 5, 9, 9], 0, [3, 5, 3, 5, 9, 9], 0),
        ([1, 2, 1, 2, 1, 2], 3, [1, 2, 1, 2, 1, 2], 3),
        ([1, 2, 3, 1, 2, 3], 3, [0, 1, 2, 0, 1, 2], 3),
        ([-1.0, 1, -1, 1, 1, 1], 2, [0, 1, 0, 1, 1, 1], 2),
        ([True, False] * 3, -1, [1, 0] * 3, 2),
        (["no", "yes"] * 3, -1, [0, 1] * 3, 2),
        ([b"no", b"yes"] * 3, 4, [0, 1] * 3, 4),
    ],
)
def test_what_is_a_class(y: list[Any], classes: int, expected: list[float], found: int, tmp_path: Path) -> None:
    pool = load(write_npz(tmp_path, GOOD | {"y": np.array(y)}), classes=classes)
    assert (pool.y.tolist(), pool.classes) == (expected, found)


def test_more_than_a_hundred_whole_numbers_are_quantities(tmp_path: Path) -> None:
    m = 101
    path = write_npz(tmp_path, {"x": np.ones((m, 1)), "y": np.arange(m), "task": np.zeros(m, dtype=int)})
    assert load(path).classes == 0
    assert load(path, classes=m).classes == m
