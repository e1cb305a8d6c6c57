from __future__ import annotations

from itertools import product
from math import erf

import numpy as np
import pytest

from dmtl.data.mixture import Mixture, Recipe
from dmtl.data.pool import Pool
from dmtl.data.split import share
from dmtl.errors import ConfigError


def made(piece: Mixture, ranks: int = 4, seed: int = 0) -> tuple[Pool, Recipe]:
    return piece.load(ranks, seed), piece.recipe(ranks, seed)


def votes(pool: Pool, recipe: Recipe) -> np.ndarray:
    """(m, M) what each component says of each row, without noise."""
    return (pool.x @ recipe.components.T > 0).astype(float)


def test_sizes_are_those_of_the_recipe() -> None:
    pool, recipe = made(Mixture(features=2, test_rows=3), 5000, 1)
    assert recipe.rows.min() >= 50
    assert recipe.rows.max() == 1000
    # log l ~ N(4, 2^2): a half below e^4 = 54.6, and P(l >= 950) = P(N(0, 1) > (log 950 - 4) / 2) = 0.0767
    assert np.mean(recipe.rows < 50 + 54.6) == pytest.approx(0.5, abs=0.03)
    assert np.mean(recipe.rows == 1000) == pytest.approx(0.0767, abs=0.015)
    assert np.mean(recipe.rows - 50 < np.exp(4 - 2)) == pytest.approx(0.1587, abs=0.03)
    assert pool.test is not None
    assert np.array_equal(np.bincount(pool.task[~pool.test]), recipe.rows)
    assert (np.bincount(pool.task[pool.test]) == 3).all()


def test_a_split_tests_on_the_fixed_rows_and_holds_out_of_the_others() -> None:
    pool, recipe = made(Mixture(test_rows=70))
    for task in range(4):
        rows = np.flatnonzero(pool.task == task)
        data = share(pool, rows, 0.3, 0.25, 0, task)
        assert pool.test is not None
        assert np.array_equal(data.test_x, pool.x[rows][pool.test[rows]])
        assert len(data.y) + len(data.held_y) == recipe.rows[task]
        assert len(data.held_y) == pytest.approx(recipe.rows[task] / 4, abs=1)


def test_shares_and_components_have_the_moments_of_their_laws() -> None:
    m, alpha = 3, 0.4
    recipe = Mixture(3000, m, 4000, alpha).recipe(1, 2)
    np.testing.assert_allclose(recipe.shares.sum(axis=1), 1)
    assert recipe.shares.min() >= 0
    np.testing.assert_allclose(recipe.shares.mean(axis=0), 1 / m, atol=0.03)
    assert recipe.shares.var() == pytest.approx((1 / m) * (1 - 1 / m) / (m * alpha + 1), rel=0.06)
    assert recipe.components.shape == (m, 4000)
    assert np.abs(recipe.components).max() <= 1
    assert recipe.components.var() == pytest.approx(1 / 3, rel=0.05)


def test_features_are_uniform_and_tell_nothing_of_the_component() -> None:
    pool, _ = made(Mixture(features=20))
    assert np.abs(pool.x).max() <= 1
    assert pool.x.var() == pytest.approx(1 / 3, rel=0.02)
    for task in range(4):
        assert np.abs(pool.x[pool.task == task].mean(axis=0)).max() < 5 / np.sqrt(3 * (pool.task == task).sum())


def test_with_one_component_labels_are_its_sign_but_for_the_noise() -> None:
    noiseless, recipe = made(Mixture(components=1, noise=0.0))
    assert np.array_equal(noiseless.y, votes(noiseless, recipe)[:, 0])
    pool, recipe = made(Mixture(components=1, noise=3.0, features=30))
    z = pool.x @ recipe.components[0]
    for low in np.arange(-3, 3, 1.0):
        inside = (low <= z) & (z < low + 1)
        # P(y = 1) = P(N(0, 3^2) > -z), by its values at the two ends
        ends = [0.5 * (1 + erf(edge / 3 / np.sqrt(2))) for edge in (low, low + 1)]
        slack = 4 * 0.5 / np.sqrt(inside.sum())
        assert ends[0] - slack < pool.y[inside].mean() < ends[1] + slack


def test_each_row_agrees_with_some_component_and_components_with_their_shares() -> None:
    pool, recipe = made(Mixture(noise=0.0, test_rows=4000), 6, 3)
    said = votes(pool, recipe)
    assert (said == pool.y[:, None]).any(axis=1).all()  # no row is labelled by nobody
    for task in range(6):
        rows = (pool.task == task) & (np.ptp(said, axis=1) > 0)  # where components differ
        for m in range(3):
            others = [k for k in range(3) if k != m]
            alone = rows & (said[:, m] != said[:, others[0]]) & (said[:, others[0]] == said[:, others[1]])
            found = np.mean(pool.y[alone] == said[alone, m])  # these rows are of m exactly where they agree with it
            pi = recipe.shares[task, m]
            assert abs(found - pi) < 4.5 * np.sqrt(pi * (1 - pi) / alone.sum()) + 2e-3


def test_every_prefix_of_a_task_has_the_same_mix() -> None:
    pool, recipe = made(Mixture(noise=0.0, test_rows=6000, alpha=100.0), 1, 0)
    said = votes(pool, recipe)
    rows = np.flatnonzero(pool.test)
    first, last = rows[:2000], rows[-2000:]
    for m in range(3):  # unshuffled, the first rows would all be of component 0
        share_first, share_last = (np.mean(said[part, m] == pool.y[part]) for part in (first, last))
        assert abs(share_first - share_last) < 0.06


@pytest.mark.parametrize("seed", [0, 1])
def test_the_true_mixture_predicts_as_well_as_its_shares_and_the_noise_allow(seed: int) -> None:
    pool, recipe = made(Mixture(test_rows=4000), 8, seed)
    said = votes(pool, recipe)
    accuracies = []
    for task, pi in enumerate(recipe.shares):
        rows = pool.task == task
        right = np.mean((said[rows] @ pi > 0.5) == pool.y[rows])
        # the larger side of every way in which components can vote; each way has the frequency found in these rows
        ways = np.array(list(product((0.0, 1.0), repeat=3)))
        frequency = [np.mean((said[rows] == way).all(axis=1)) for way in ways]
        allowed = sum(f * max(way @ pi, 1 - way @ pi) for f, way in zip(frequency, ways, strict=True))
        assert right == pytest.approx(allowed, abs=0.03)
        accuracies.append(right)
        best = max(np.mean(said[rows, m] == pool.y[rows]) for m in range(3))
        assert right > best - 0.01  # no single component is better
    assert np.mean(accuracies) > 0.8


def test_the_seed_decides_and_the_number_of_tasks_is_that_of_the_ranks() -> None:
    one, again, other, told = (
        Mixture(tasks=tasks, features=5).load(ranks, seed)
        for tasks, ranks, seed in ((0, 3, 0), (0, 3, 0), (0, 3, 1), (3, 9, 0))
    )
    for same in (again, told):
        assert np.array_equal(one.x, same.x)
        assert np.array_equal(one.y, same.y)
    m = min(len(one.x), len(other.x))
    assert not np.isclose(one.x[:m], other.x[:m]).all(axis=1).any()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tasks": -1}, "'mixture' has tasks=-1. tasks is at least 0"),
        ({"components": 0}, "components is at least 1"),
        ({"features": 0}, "features is at least 1"),
        ({"test_rows": 0}, "test_rows is at least 1"),
        ({"alpha": 0.0}, "'mixture' has alpha=0.0"),
        ({"alpha": float("nan")}, "'mixture' has alpha=nan"),
        ({"noise": -1.0}, "'mixture' has noise=-1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Mixture(**settings)  # type: ignore[arg-type]
