from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.data.pool import Pool
from dmtl.data.synthetic import Synthetic
from dmtl.errors import ConfigError

SHAPES = ("low-rank", "clustered", "graph-smooth")


def truth(pool: Pool) -> np.ndarray:
    """(T, p) without the bias, which is 0."""
    assert pool.truth is not None
    assert not pool.truth[:, -1].any()
    return pool.truth[:, :-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares_recovers_the_truth_from_noiseless_data(shape: str) -> None:
    pool = Synthetic(shape, noise=0.0).load(8, 3)
    for task, w in enumerate(truth(pool)):
        rows = pool.task == task
        assert rows.sum() == 60
        a = np.column_stack([pool.x[rows], np.ones(60)])
        np.testing.assert_allclose(np.linalg.lstsq(a, pool.y[rows])[0], np.append(w, 0), atol=1e-8)


@given(rank=st.integers(1, 6), seed=st.integers(0, 2**32), shape=st.sampled_from(["low-rank", "graph-smooth"]))
@settings(max_examples=30, deadline=None)
def test_the_parameters_have_the_promised_rank(rank: int, seed: int, shape: str) -> None:
    w = truth(Synthetic(shape, tasks=15, rank=rank, rows=3).load(2, seed))
    values = np.linalg.svd(w, compute_uv=False)
    assert values[rank - 1] > 1e-6 * values[0] > 1e6 * values[rank:].max(initial=0)


@given(clusters=st.integers(1, 4), spread=st.floats(0, 1), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_tasks_of_a_cluster_are_as_far_apart_as_spread_says(clusters: int, spread: float, seed: int) -> None:
    p = 400
    w = truth(Synthetic(clusters=clusters, spread=spread, features=p, rows=3).load(3 * clusters, seed))
    distance = np.linalg.norm(w[:, None] - w, axis=2)
    same = np.arange(3 * clusters)[:, None] % clusters == np.arange(3 * clusters) % clusters
    apart = ~np.eye(3 * clusters, dtype=bool)
    # |N(0, s^2 I / p)| is s to within a few parts in sqrt(2 p)
    np.testing.assert_allclose(distance[same & apart], np.sqrt(2) * spread, rtol=0.25, atol=1e-12)
    np.testing.assert_allclose(distance[~same], np.sqrt(2 + 2 * spread**2), rtol=0.25)


@given(rank=st.integers(1, 7), tasks=st.integers(8, 40), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_graph_smooth_parameters_turn_no_faster_than_their_highest_mode(rank: int, tasks: int, seed: int) -> None:
    w = truth(Synthetic("graph-smooth", tasks=tasks, rank=rank, rows=3).load(2, seed))
    bound = 4 * np.sin(np.pi * (rank // 2) / tasks) ** 2 * (w**2).sum()
    assert ((w - np.roll(w, -1, axis=0)) ** 2).sum() <= bound + 1e-12


@pytest.mark.parametrize(("shape", "square"), [("low-rank", 1.0), ("clustered", 1.04), ("graph-smooth", 1.0)])
def test_parameters_have_about_unit_length(shape: str, square: float) -> None:
    w = truth(Synthetic(shape, tasks=60, rank=12, clusters=12, features=100, rows=3).load(1, 0))
    assert (w**2).sum(axis=1).mean() == pytest.approx(square, rel=0.15)


@pytest.mark.parametrize("shape", ["low-rank", "clustered"])
def test_a_task_does_not_depend_on_how_many_there_are(shape: str) -> None:
    few, many = (Synthetic(shape).load(ranks, 3) for ranks in (4, 9))
    m = len(few.y)
    assert np.array_equal(few.x, many.x[:m])
    assert np.array_equal(few.y, many.y[:m])
    assert np.array_equal(truth(few), truth(many)[:4])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_seed_changes_everything_and_the_ranks_only_the_number(shape: str) -> None:
    one, other, told = Synthetic(shape).load(5, 0), Synthetic(shape).load(5, 1), Synthetic(shape, tasks=5).load(2, 0)
    assert not np.isclose(one.x, other.x).any()
    assert not np.isclose(truth(one), truth(other)).any()
    assert np.array_equal(one.y, told.y)


def test_the_noise_has_the_deviation_asked_for() -> None:
    pool = Synthetic(tasks=4, rows=5000, noise=0.7).load(1, 0)
    residual = pool.y - (pool.x * truth(pool)[pool.task]).sum(axis=1)
    assert residual.std() == pytest.approx(0.7, rel=0.03)
    assert abs(residual.mean()) < 0.03


def test_labels_are_drawn_by_the_logistic_model_of_the_truth() -> None:
    pool = Synthetic(tasks=4, rows=5000, noise=0.5, classes=2).load(1, 0)
    margin = (pool.x * truth(pool)[pool.task]).sum(axis=1)
    probability = 1 / (1 + np.exp(-margin))
    for low in np.arange(0, 1, 0.1):
        inside = (low <= probability) & (probability < low + 0.1)
        sigma = 0.5 / np.sqrt(inside.sum())
        assert abs(pool.y[inside].mean() - probability[inside].mean()) < 4 * sigma


def test_noiseless_labels_are_the_sign_of_the_truth() -> None:
    pool = Synthetic(noise=0.0, classes=2).load(3, 0)
    assert np.array_equal(pool.y, (pool.x * truth(pool)[pool.task]).sum(axis=1) > 0)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("shape", "cluster", "unknown shape of 'synthetic' 'cluster'. Did you mean 'clustered'"),
        ("tasks", -1, "'synthetic' has tasks=-1. tasks is at least 0"),
        ("features", 0, "features is at least 1"),
        ("rows", 2, "rows is at least 3"),
        ("rank", 0, "rank is at least 1"),
        ("clusters", 0, "clusters is at least 1"),
        ("noise", -0.1, "noise is a number, at least 0"),
        ("spread", float("nan"), "spread is a number, at least 0"),
        ("classes", 3, "classes is 0 for regression, or 2"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: object, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        replace(Synthetic(), **{field: value})


def test_a_rank_above_the_features_is_refused_where_it_counts() -> None:
    with pytest.raises(ConfigError, match="rank is at most the features"):
        Synthetic("low-rank", features=2)
    assert Synthetic("clustered", features=2).load(2, 0).x.shape == (120, 2)
