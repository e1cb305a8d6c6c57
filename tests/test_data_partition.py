from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.data.partition import IID, Dirichlet, Natural, Shards
from dmtl.data.pool import Pool
from dmtl.errors import ConfigError


def make(classes: int = 10, each: int = 100, tasks: int = 1) -> Pool:
    """Classes of equal size in shuffled order, each row a group."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(float(classes)), each))
    m = len(y)
    return Pool(np.zeros((m, 1)), y, task=np.arange(m) % tasks, group=np.arange(m), classes=classes)


def classes_seen(pool: Pool, shares: list[np.ndarray]) -> list[int]:
    return [len(np.unique(pool.y[rows])) for rows in shares]


def test_natural_gives_rank_r_the_rows_of_task_r() -> None:
    pool = make(tasks=7)
    for rank, rows in enumerate(Natural().assign(pool, 7, 0)):
        assert np.array_equal(rows, np.flatnonzero(pool.task == rank))


def test_natural_says_what_to_do_with_more_tasks_than_ranks() -> None:
    with pytest.raises(ConfigError) as caught:
        Natural().assign(make(tasks=65), 10, 0)
    assert str(caught.value) == "data has 65 tasks and there are 10 ranks. Give --tasks 0-9, or start 65 ranks."


def test_natural_says_what_to_do_with_fewer_tasks_than_ranks() -> None:
    with pytest.raises(ConfigError) as caught:
        Natural().assign(make(tasks=1), 4, 0)
    expected = "data has 1 task and there are 4 ranks. Start 1 rank, or choose --partition iid, dirichlet or shards."
    assert str(caught.value) == expected


def test_natural_refuses_a_task_without_rows() -> None:
    pool = Pool(np.zeros((2, 1)), np.zeros(2), task=np.array([0, 2]), group=np.arange(2))
    with pytest.raises(ConfigError, match="task 1 of the data has no rows"):
        Natural().assign(pool, 3, 0)


@given(sizes=st.lists(st.integers(1, 9), min_size=8, max_size=40), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_iid_sizes_differ_by_no_more_than_the_largest_group(sizes: list[int], seed: int) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)
    pool = Pool(np.zeros((len(group), 1)), np.zeros(len(group)), task=np.zeros_like(group), group=group)
    got = [len(rows) for rows in IID().assign(pool, 8, seed)]
    assert max(got) - min(got) <= max(sizes)


def test_iid_ranks_see_every_class_in_proportion() -> None:
    pool = make()
    for rows in IID().assign(pool, 5, 0):
        assert len(rows) == 200
        # 20 +- 5 standard deviations of a hypergeometric draw
        assert np.abs(np.bincount(pool.y[rows].astype(int)) - 20).max() <= 5 * np.sqrt(20 * 0.9 * 0.8)


def test_dirichlet_approaches_iid_as_alpha_grows_and_separation_as_it_shrinks() -> None:
    pool = make()
    even = Dirichlet(alpha=1e6).assign(pool, 5, 0)
    assert all(np.abs(np.bincount(pool.y[rows].astype(int), minlength=10) - 20).max() <= 1 for rows in even)
    skewed = [np.bincount(pool.y[rows].astype(int), minlength=10) for rows in Dirichlet(alpha=0.02).assign(pool, 3, 0)]
    assert np.max(skewed, axis=0).mean() > 95


def test_dirichlet_shares_have_the_mean_and_variance_of_the_law() -> None:
    n, alpha = 4, 0.5
    pool = make(classes=200, each=50)
    parts = (
        np.stack([np.bincount(pool.y[rows].astype(int), minlength=200) for rows in Dirichlet(alpha).assign(pool, n, 3)])
        / 50
    )
    variance = (1 / n) * (1 - 1 / n) / (n * alpha + 1)
    assert abs(parts.mean() - 1 / n) < 1e-12
    assert parts.var() == pytest.approx(variance, rel=0.15)


@given(least=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_dirichlet_leaves_no_rank_with_fewer_rows_than_asked(least: int, seed: int) -> None:
    pool = make()
    shares = Dirichlet(alpha=0.5, least=least).assign(pool, 4, seed)
    assert min(len(rows) for rows in shares) >= least


def test_dirichlet_gives_up_with_a_sentence_that_helps() -> None:
    with pytest.raises(ConfigError, match=r"alpha=0.5 .* least=300 .*100 draws\. Raise alpha, lower least"):
        Dirichlet(least=300).assign(make(), 4, 0)


def test_dirichlet_refuses_regression() -> None:
    pool = Pool(np.zeros((9, 1)), np.zeros(9), task=np.zeros(9, dtype=np.int64), group=np.arange(9))
    with pytest.raises(ConfigError, match=r"the data are for regression\. Choose iid"):
        Dirichlet().assign(pool, 2, 0)


@given(ranks=st.sampled_from([2, 5, 10]), per_rank=st.integers(1, 3), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_a_rank_sees_few_classes_in_shards_of_equal_size(ranks: int, per_rank: int, seed: int) -> None:
    pool = make()
    shares = Shards(per_rank).assign(pool, ranks, seed)
    touched = int(np.ceil(10 / (ranks * per_rank))) + 1  # classes that one shard can touch
    assert max(classes_seen(pool, shares)) <= per_rank * touched
    sizes = [len(rows) for rows in shares]
    assert max(sizes) - min(sizes) <= per_rank


def test_shards_of_exactly_one_class_give_at_most_that_many_classes() -> None:
    pool = make()
    assert max(classes_seen(pool, Shards(2).assign(pool, 5, 0))) == 2


@pytest.mark.parametrize(
    ("partition", "ranks", "match"),
    [
        (IID(), 11, r"partition 'iid' needs 11 groups of rows and the data have 10.*at most 10 ranks"),
        (Shards(2), 6, r"partition 'shards' needs 12 groups of rows and the data have 10.*Lower per_rank"),
    ],
)
def test_too_few_groups_are_refused(partition: IID | Shards, ranks: int, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        partition.assign(make(classes=5, each=2), ranks, 0)


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda: Dirichlet(alpha=0), "'dirichlet' has alpha=0"),
        (lambda: Dirichlet(alpha=float("nan")), "'dirichlet' has alpha=nan"),
        (lambda: Dirichlet(least=0), "'dirichlet' has least=0"),
        (lambda: Shards(0), "'shards' has per_rank=0"),
    ],
)
def test_settings_out_of_range_are_refused(piece: Callable[[], object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        piece()
