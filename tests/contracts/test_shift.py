"""What every shift of features promises, over all registered names."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from dmtl.data.pool import Dataset
from dmtl.registry import find, names

X = ("x", "held_x", "test_x")


def make(held: int = 4) -> Dataset:
    rng = np.random.default_rng(0)
    arrays = []
    for rows in (12, held, 5):
        arrays += [rng.standard_normal((rows, 9)), rng.standard_normal(rows)]
    for array in arrays:
        array.flags.writeable = False
    return Dataset(*arrays, label="a", truth=np.ones(10), half=np.arange(12) < 6)


@pytest.mark.parametrize("name", names("shift"))
@pytest.mark.parametrize("held", [0, 4])
def test_features_change_and_nothing_else_but_the_truth(name: str, held: int) -> None:
    data = make(held)
    new = find("shift", name)().shifted(data, 1, 4, 7)
    for field in fields(data):
        if field.name in X:
            old, now = getattr(data, field.name), getattr(new, field.name)
            assert now.shape == old.shape
            assert not len(old) or not np.isclose(now, old).all(axis=1).any()
            assert np.isfinite(now).all()
        elif field.name != "truth":
            assert getattr(new, field.name) is getattr(data, field.name)
    assert new.truth is None


@pytest.mark.parametrize("name", names("shift"))
def test_a_rank_has_the_same_change_each_time_and_another_than_the_next(name: str) -> None:
    piece, data = find("shift", name)(), make()
    for part in X:
        one, again, next_one = (getattr(piece.shifted(data, rank, 4, 7), part) for rank in (1, 1, 2))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, next_one)
