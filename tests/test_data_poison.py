from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.data.poison import LabelFlip
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError


def make(y: np.ndarray, classes: int) -> Dataset:
    empty = np.empty((0, 1))
    return Dataset(np.zeros((len(y), 1)), y, empty, np.empty(0), empty, np.empty(0), classes=classes)


@given(share=st.floats(0, 1), classes=st.sampled_from([0, 2, 4]), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_exactly_the_share_of_rows_is_flipped(share: float, classes: int, seed: int) -> None:
    y = np.arange(40) % (classes or 40) + (0.5 if not classes else 0.0)
    flipped = LabelFlip(share)(make(y, classes), np.random.default_rng(seed)).y
    target = classes - 1 - y if classes else -y
    changed = flipped != y
    assert np.array_equal(flipped[changed], target[changed])
    assert changed.sum() == round(share * 40)


@pytest.mark.parametrize("classes", [0, 2, 10])
def test_flipping_all_rows_twice_gives_the_labels_back(classes: int) -> None:
    data = make(np.arange(20.0) % (classes or 20), classes)
    rng = np.random.default_rng(0)
    assert np.array_equal(LabelFlip()(LabelFlip()(data, rng), rng).y, data.y)


def test_which_rows_are_flipped_is_drawn() -> None:
    data = make(np.ones(50), 0)
    draws = [LabelFlip(0.5)(data, np.random.default_rng(seed)).y for seed in (0, 1)]
    assert not np.array_equal(*draws)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_no_part_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"'label-flip' has share=.*from 0 to 1"):
        LabelFlip(share)
