from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dmtl.data.pool import Pool
from dmtl.data.split import share
from dmtl.data.watch import Watch, _features
from dmtl.errors import ConfigError


@pytest.fixture(scope="module")
def pool() -> Pool:
    pytest.importorskip("seglearn", reason="the recordings are in the optional package seglearn")
    return Watch().load(10, 0)


def test_ten_people_have_fourteen_recordings_each_two_of_every_exercise(pool: Pool) -> None:
    assert pool.x.shape == (4677, 111)
    assert pool.classes == 7
    assert pool.labels == tuple(str(person) for person in range(1, 11))
    _, first = np.unique(pool.group, return_index=True)
    assert np.array_equal(np.bincount(pool.task[first]), np.full(10, 14))
    for person in range(10):
        exercises = pool.y[first][pool.task[first] == person].astype(int)
        assert np.array_equal(np.bincount(exercises), np.full(7, 2))
    for group in (pool.task, pool.y):
        assert all(len(np.unique(group[pool.group == recording])) == 1 for recording in range(140))


def test_no_recording_is_in_two_parts_and_every_exercise_is_trained_and_tested(pool: Pool) -> None:
    row_of = {row.tobytes(): number for number, row in enumerate(pool.x)}
    assert len(row_of) == len(pool.x)
    for person in range(10):
        rows = np.flatnonzero(pool.task == person)
        data = share(pool, rows, 0.5, 0.2, 0, person)
        assert set(data.y) == set(data.test_y) == set(range(7))
        parts = [{int(pool.group[row_of[r.tobytes()]]) for r in x} for x in (data.x, data.held_x, data.test_x)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 14


def test_the_features_tell_the_exercises_of_a_person_apart(pool: Pool) -> None:
    errors = []
    for person in range(10):
        data = share(pool, np.flatnonzero(pool.task == person), 0.5, 0.0, 0, person)
        scale = data.x.std(axis=0) + 1e-12
        centres = np.stack([data.x[data.y == c].mean(axis=0) for c in range(7)]) / scale
        nearest = np.linalg.norm(data.test_x[:, None] / scale - centres, axis=2).argmin(axis=1)
        errors.append((nearest != data.test_y).mean())
    assert np.mean(errors) < 0.5  # guessing: 0.86; half the training is of the other arm


def test_features_are_what_their_names_say() -> None:
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((4, 8, 100)) + 2
    f = _features(windows)
    assert f.shape == (4, 111)
    np.testing.assert_allclose(f[:, 0], windows[:, 0].mean(axis=1))
    np.testing.assert_allclose(f[:, 8:16], windows.std(axis=2))
    np.testing.assert_allclose(f[:, 32:40], np.median(windows, axis=2))
    np.testing.assert_allclose(f[0, 96], np.corrcoef(windows[0])[0, 1])
    np.testing.assert_allclose(f[3, 110], np.corrcoef(windows[3])[4, 5])


def test_shifting_a_channel_moves_only_its_features_of_place() -> None:
    windows = np.random.default_rng(0).standard_normal((3, 8, 50))
    moved = windows.copy()
    moved[:, 0] += 10
    one, two = _features(windows), _features(moved)
    changed = np.flatnonzero(~np.isclose(one, two, atol=1e-9).all(axis=0))
    place = [0, 16, 24, 32, 40, 48, 64]  # mean, five quantiles, root mean square
    assert changed.tolist() == place
    np.testing.assert_allclose((two - one)[:, place[:-1]], 10)


def test_a_dead_sensor_gives_finite_features() -> None:
    assert np.isfinite(_features(np.zeros((2, 8, 100)))).all()


@pytest.mark.parametrize(
    ("window", "step", "match"),
    [(0, 1, "'watch' has window=0"), (float("nan"), 1, "window=nan"), (2, 0, "'watch' has step=0"), (2, -1, "step=-1")],
)
def test_windows_that_cannot_be_cut_are_refused(window: float, step: float, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Watch(window, step)


def test_a_window_longer_than_a_recording_is_refused(pool: Pool) -> None:
    with pytest.raises(ConfigError, match=r"window=60, and a recording has .* s\. Give a shorter window"):
        Watch(window=60).load(1, 0)


def test_loading_imports_neither_seglearn_nor_scikit_learn(pool: Pool) -> None:
    code = (
        "import sys; from dmtl.data.watch import Watch; from dmtl.data.digits import Digits; "
        "Watch(step=9.0).load(1, 0); Digits().load(1, 0); "
        "sys.exit(any(name in sys.modules for name in ('seglearn', 'sklearn', 'pandas', 'scipy')))"
    )
    pytest.importorskip("sklearn", reason="the digits are in the optional package scikit-learn")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
