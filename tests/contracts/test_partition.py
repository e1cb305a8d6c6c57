"""What every partition promises, over all registered names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.registry import find, names


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, int]:
    """Groups of 1 to 4 rows, each of one class and one task, and as many ranks as tasks."""
    ranks = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = draw(st.integers(12 * ranks, 60))
    group = rng.permutation(np.repeat(np.arange(groups), rng.integers(1, 5, groups)))
    label, task = rng.integers(0, 3, groups), np.concatenate([np.arange(ranks), rng.integers(0, ranks, groups - ranks)])
    y = label[group].astype(np.float64)
    return Pool(np.zeros((len(group), 1)), y, task=task[group], group=group, classes=3), ranks


def spread(name: str, pool: Pool, ranks: int, seed: int) -> list[np.ndarray]:
    try:
        return find("partition", name)().assign(pool, ranks, seed)
    except ConfigError as error:
        assume("100 draws" not in str(error))  # an unlucky skew may be given up, and nothing else
        raise


@pytest.mark.parametrize("name", names("partition"))
@given(drawn=pools(), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_shares_are_disjoint_complete_ascending_and_never_empty(name: str, drawn: tuple[Pool, int], seed: int) -> None:
    pool, ranks = drawn
    shares = spread(name, pool, ranks, seed)
    assert len(shares) == ranks
    assert np.array_equal(np.sort(np.concatenate(shares)), np.arange(len(pool.y)))
    for rows in shares:
        assert len(rows) > 0
        assert (np.diff(rows) > 0).all()
        assert rows.dtype == np.int64


@pytest.mark.parametrize("name", names("partition"))
@given(drawn=pools(), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_a_group_is_on_one_rank_only(name: str, drawn: tuple[Pool, int], seed: int) -> None:
    pool, ranks = drawn
    shares = spread(name, pool, ranks, seed)
    seen = np.concatenate([np.unique(pool.group[rows]) for rows in shares])
    assert len(np.unique(seen)) == len(seen)


@pytest.mark.parametrize("name", names("partition"))
def test_the_seed_decides_and_nothing_else(name: str) -> None:
    y = np.repeat(np.arange(4.0), 50)
    pool = Pool(np.zeros((200, 1)), y, task=np.arange(200) % 4, group=np.arange(200), classes=4)
    piece = find("partition", name)()
    one, again, other = (piece.assign(pool, 4, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)) == (name == "natural")
