from __future__ import annotations

import numpy as np
import pytest

from dmtl.data.digits import Digits, DigitsOneVsRest
from dmtl.errors import ConfigError

sklearn = pytest.importorskip("sklearn.datasets", reason="the digits are in the optional package scikit-learn")


def test_the_file_read_is_what_scikit_learn_loads() -> None:
    pool, oracle = Digits().load(1, 0), sklearn.load_digits()
    assert np.array_equal(pool.x, oracle.data / 16)
    assert np.array_equal(pool.y, oracle.target)
    assert pool.classes == 10
    assert np.array_equal(pool.group, np.arange(1797))
    assert not pool.task.any()


@pytest.mark.parametrize("rows", [0, 20, 33, 179])
def test_tasks_have_images_of_their_own_with_all_digits_alike(rows: int) -> None:
    pool, whole = DigitsOneVsRest(rows).load(10, 5), Digits().load(1, 0)
    assert len(np.unique(pool.group)) == len(pool.group) == (10 * rows or 1797)
    assert np.array_equal(pool.x, whole.x[pool.group])
    digit = whole.y[pool.group].astype(int)
    assert np.array_equal(pool.y, digit == pool.task)
    counts = np.stack([np.bincount(digit[pool.task == task], minlength=10) for task in range(10)])
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1  # between tasks
    assert np.ptp(counts.sum(axis=1)) <= 1
    assert rows == 0 or (counts.sum(axis=1) == rows).all()


def test_the_seed_deals_the_images() -> None:
    one, two = (DigitsOneVsRest().load(10, seed) for seed in (0, 1))
    assert not np.array_equal(one.task, two.task)


@pytest.mark.parametrize("rows", [-1, 5, 180])
def test_a_share_that_cannot_be_dealt_is_refused(rows: int) -> None:
    with pytest.raises(ConfigError, match=rf"'digits-one-vs-rest' has rows={rows}\. rows is 20 to 179"):
        DigitsOneVsRest(rows)
