from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.data.pool import Pool
from dmtl.data.skews import DirichletGroups, QuantitySkew
from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream


def make(classes: int = 10, each: int = 100, group: int = 1) -> Pool:
    """Classes of equal size in shuffled order; ``group`` rows one after the other belong together."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(float(classes)), each))
    m = len(y)
    return Pool(np.zeros((m, 1)), y, task=np.zeros(m, dtype=np.int64), group=np.arange(m) // group, classes=classes)


def table(pool: Pool, shares: list[np.ndarray]) -> np.ndarray:
    """Rows of each class on each rank (n, classes)."""
    return np.stack([np.bincount(pool.y[rows].astype(int), minlength=pool.classes) for rows in shares])


# dirichlet-groups


def sets_of(counts: np.ndarray, groups: int) -> set[frozenset[int]]:
    """Which classes go together, found from who has them: their columns point the same way."""
    likeness = np.corrcoef(counts.T)
    found = {frozenset(np.flatnonzero(row > 0.9).tolist()) for row in likeness}
    assert len(found) == groups
    return found


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_classes_of_one_set_go_together_and_sets_do_not(groups: int) -> None:
    pool = make(classes=10, each=2000)
    counts = table(pool, DirichletGroups(groups, alpha=0.4).assign(pool, 30, 1))
    found = sets_of(counts, groups)
    assert sorted(each for one in found for each in one) == list(range(10))
    assert {len(one) for one in found} <= {10 // groups, -(-10 // groups)}


def test_the_seed_shuffles_the_classes() -> None:
    pool = make(classes=10, each=1000)
    found = [sets_of(table(pool, DirichletGroups(5).assign(pool, 30, seed)), 5) for seed in (1, 2)]
    assert found[0] != found[1]
    assert found[0] != {frozenset({2 * k, 2 * k + 1}) for k in range(5)}


def test_parts_of_a_set_have_the_mean_and_variance_of_a_dirichlet_multinomial() -> None:
    n, alpha, each = 4, 0.4, 50
    pool = make(classes=400, each=each)
    parts = table(pool, DirichletGroups(alpha=alpha).assign(pool, n, 3)) / each
    of_p = (1 / n) * (1 - 1 / n) / (n * alpha + 1)
    of_counts = (1 / n * (1 - 1 / n) - of_p) / each  # E p (1 - p) / each
    assert parts.mean() == pytest.approx(1 / n)
    # 1600 numbers, of which 1200 are free: the standard error of a variance is about 4 %
    assert parts.var() == pytest.approx(of_p + of_counts, rel=0.12)


def test_counts_are_drawn_and_not_cut_at_p() -> None:
    pool, huge = make(classes=2, each=5000), 1e9  # p is 1/n to many digits, so all that is left is the multinomial
    counts = np.concatenate([table(pool, DirichletGroups(alpha=huge).assign(pool, 50, seed)).T for seed in range(4)])
    assert counts.var() == pytest.approx(5000 / 50 * (1 - 1 / 50), rel=0.3)
    assert (counts.sum(axis=1) == 5000).all()


def test_with_one_set_all_ranks_have_the_same_classes_and_other_sizes() -> None:
    pool = make(classes=4, each=5000)
    counts = table(pool, DirichletGroups(1, alpha=1.0, least=200).assign(pool, 5, 0))
    sizes = counts.sum(axis=1, keepdims=True)
    assert sizes.max() > 2 * sizes.min()
    assert np.abs(counts / sizes - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / sizes.min())


@given(least=st.integers(1, 40), groups=st.sampled_from([-1, 1, 3, 10]), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_label_groups_leave_no_rank_with_fewer_rows_than_asked(least: int, groups: int, seed: int) -> None:
    pool = make()
    shares = DirichletGroups(groups, 1.0, least).assign(pool, 4, seed)
    assert min(len(rows) for rows in shares) >= least


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (DirichletGroups(11), r"has groups=11, and the data have 10 classes\. Lower groups"),
        (DirichletGroups(least=300), r"alpha=0.4 .* least=300 .*100 draws\. Raise alpha, lower least"),
    ],
)
def test_groups_that_cannot_be_are_refused(piece: DirichletGroups, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        piece.assign(make(), 4, 0)


def test_label_groups_refuse_regression() -> None:
    pool = Pool(np.zeros((9, 1)), np.zeros(9), task=np.zeros(9, dtype=np.int64), group=np.arange(9))
    with pytest.raises(ConfigError, match=r"the data are for regression\. Use iid"):
        DirichletGroups().assign(pool, 2, 0)


# quantity-skew


def sizes(alpha: float, ranks: int, seed: int, pool: Pool | None = None, least: int = 5) -> np.ndarray:
    return np.array([len(rows) for rows in QuantitySkew(alpha, least).assign(pool or make(), ranks, seed)])


def test_sizes_spread_more_as_alpha_falls() -> None:
    spread = [np.mean([sizes(alpha, 8, seed).std() for seed in range(20)]) for alpha in (1e6, 10.0, 1.0, 0.1, 0.01)]
    assert spread[0] < 1
    assert all(2 * one < other for one, other in pairwise(spread[:4]))
    assert spread[3] < spread[4] <= np.sqrt(7) * 120 + 1  # one rank with all that is above 5 rows each


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_parts_of_what_is_dealt_have_the_variance_of_the_law(alpha: float) -> None:
    n, seeds = 5, 400
    parts = np.concatenate([(sizes(alpha, n, seed) - 5) / 975 for seed in range(seeds)])
    assert parts.mean() == pytest.approx(1 / n)
    assert parts.var() == pytest.approx((1 / n) * (1 - 1 / n) / (n * alpha + 1), rel=0.15)


def test_classes_are_the_same_on_all_ranks_up_to_chance() -> None:
    pool = make(classes=4, each=5000)
    counts = table(pool, QuantitySkew(1.0, least=300).assign(pool, 5, 0))
    share = counts / counts.sum(axis=1, keepdims=True)
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / counts.sum(axis=1).min())


@given(
    alpha=st.sampled_from([1e-3, 0.1, 1.0, 100.0]),
    least=st.integers(1, 60),
    ranks=st.integers(1, 9),
    group=st.integers(1, 5),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_every_alpha_has_a_split_with_enough_on_each_rank(
    alpha: float, least: int, ranks: int, group: int, seed: int
) -> None:
    got = sizes(alpha, ranks, seed, make(group=group), least)
    assert got.min() >= least
    assert got.sum() == 1000


@given(
    largest=st.integers(1, 12),
    ranks=st.integers(1, 6),
    alpha=st.sampled_from([0.1, 1.0, 50.0]),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=60)
def test_sizes_are_met_to_within_the_largest_group(largest: int, ranks: int, alpha: float, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(1, largest + 1, 150)
    m = int(counts.sum())
    pool = Pool(np.zeros((m, 1)), np.zeros(m), np.zeros(m, dtype=np.int64), np.repeat(np.arange(150), counts))
    rng = stream(seed, Purpose.PARTITION)
    rng.permutation(150)
    part = rng.dirichlet(np.full(ranks, alpha))
    first = np.array([5, 5 + largest])[:, None]  # what each rank has before the parts are dealt lies between these
    low, high = first + part * (m - ranks * first[::-1])
    got = sizes(alpha, ranks, seed, pool)
    assert (got > low - largest - 1).all()
    assert (got < high + largest + 1).all()
    assert got.min() >= 5


def test_too_few_rows_for_all_are_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"cannot give each of 4 ranks least=300 rows: the data have 1000 rows in 10"):
        QuantitySkew(least=300).assign(make(), 4, 0)


def test_it_spreads_regression_too() -> None:
    pool = Pool(np.zeros((90, 1)), np.zeros(90), task=np.zeros(90, dtype=np.int64), group=np.arange(90))
    assert sum(len(rows) for rows in QuantitySkew().assign(pool, 4, 0)) == 90


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda: DirichletGroups(0), "'dirichlet-groups' has groups=0"),
        (lambda: DirichletGroups(-2), "'dirichlet-groups' has groups=-2"),
        (lambda: DirichletGroups(alpha=0), "'dirichlet-groups' has alpha=0"),
        (lambda: DirichletGroups(alpha=float("nan")), "'dirichlet-groups' has alpha=nan"),
        (lambda: DirichletGroups(least=0), "'dirichlet-groups' has least=0"),
        (lambda: QuantitySkew(0), "'quantity-skew' has alpha=0"),
        (lambda: QuantitySkew(float("inf")), "'quantity-skew' has alpha=inf"),
        (lambda: QuantitySkew(least=0), "'quantity-skew' has least=0"),
    ],
)
def test_settings_out_of_range_are_refused(piece: Callable[[], object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        piece()
