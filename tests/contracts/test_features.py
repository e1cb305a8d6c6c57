"""What every map of features promises, over all registered names."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from dmtl.data.features import mapped
from dmtl.data.pool import Dataset
from dmtl.registry import find, names

P = 3


def make(dtype: type = np.float64) -> Dataset:
    rng = np.random.default_rng(0)
    arrays = []
    for rows in (12, 0, 5):  # nothing is held out
        arrays += [rng.standard_normal((rows, P)).astype(dtype), rng.standard_normal(rows)]
    for array in arrays:
        array.flags.writeable = False
    return Dataset(*arrays, label="a", truth=np.ones(P + 1), half=np.arange(12) < 6)


@pytest.mark.parametrize("name", names("features"))
def test_a_map_is_of_columns_and_seed_alone_and_is_drawn_again_as_it_was(name: str) -> None:
    piece, x = find("features", name)(), make().x
    assert np.array_equal(piece.drawn(P, 7)(x), piece.drawn(P, 7)(x))
    assert piece.drawn(P + 1, 7)(np.ones((2, P + 1))).shape[0] == 2


@pytest.mark.parametrize("name", names("features"))
def test_it_takes_row_by_row(name: str) -> None:
    rows, x = find("features", name)().drawn(P, 7), make().x
    one_by_one = np.concatenate([rows(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(rows(x), one_by_one, rtol=0, atol=1e-14)
    np.testing.assert_allclose(rows(x[::-1])[::-1], rows(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", names("features"))
def test_it_computes_in_double_precision(name: str) -> None:
    rows, data = find("features", name)().drawn(P, 7), make(np.float32)
    assert rows(data.x).dtype == np.float64
    assert np.array_equal(rows(data.x), rows(data.x.astype(np.float64)))


@pytest.mark.parametrize("name", names("features"))
def test_all_rows_of_a_rank_go_through_the_same_map_and_nothing_else_changes_but_the_truth(name: str) -> None:
    data, rows = make(), find("features", name)().drawn(P, 7)
    new = mapped(data, rows)
    for part in ("x", "held_x", "test_x"):
        assert np.array_equal(getattr(new, part), rows(getattr(data, part)))
    assert new.held_x.shape == (0, new.x.shape[1])
    assert new.truth is None
    for field in fields(data):
        if field.name not in ("x", "held_x", "test_x", "truth"):
            assert getattr(new, field.name) is getattr(data, field.name)
