"""Features made of features: kernels as inner products, and what linear methods learn on them."""

from __future__ import annotations

import json
from math import comb, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from dmtl.build import Plan, plan
from dmtl.cli import cli
from dmtl.config import identity, load, to_toml
from dmtl.data.features import MOST, RBF, Polynomial
from dmtl.errors import ConfigError
from dmtl.simulator import simulate

RANKS = 5
ROUNDS = 4
"""more than enough for the exact average on a ring of five"""


def gaussian(x: np.ndarray, z: np.ndarray, width: float) -> np.ndarray:
    """exp(-|x - z|^2 / (2 width^2)) of all pairs of rows."""
    squares = ((x[:, None] - z[None]) ** 2).sum(axis=-1)
    return np.exp(-squares / (2 * width**2))


def points(count: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, columns))


def inner(piece: RBF | Polynomial, x: np.ndarray, seed: int = 0) -> np.ndarray:
    phi = piece.drawn(x.shape[1], seed)(x)
    return phi @ phi.T


# rbf


@pytest.mark.parametrize(("count", "columns", "width"), [(100, 1, 0.5), (1000, 4, 1.5), (4000, 10, 3.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_features_are_as_near_to_the_kernel_as_hoeffding_says(
    count: int, columns: int, width: float, seed: int
) -> None:
    x = points(30, columns, seed)
    pairs = comb(30, 2)
    bound = sqrt(4 * log(2 * pairs / 1e-3) / count)  # for all pairs together with a probability of 0.999
    for orthogonal in (False, True):  # the bound is for independent draws, and the others vary less
        error = inner(RBF(count, width, orthogonal), x, seed) - gaussian(x, x, width)
        assert 0 < np.abs(error).max() < bound
        assert np.abs(np.diag(error)).max() < 1e-12


@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_mean_over_draws_is_the_kernel(orthogonal: bool) -> None:
    x = points(6, 3)
    found = np.array([inner(RBF(10, 1.5, orthogonal), x, seed) for seed in range(4000)])
    error, spread = found.mean(axis=0) - gaussian(x, x, 1.5), found.std(axis=0) / sqrt(4000)
    off = ~np.eye(6, dtype=bool)
    assert (np.abs(error) < 4.5 * spread)[off].all()
    assert spread[off].max() < 0.01


@pytest.mark.parametrize(("columns", "most"), [(4, 0.8), (10, 0.5), (30, 0.3)])
def test_right_angles_lower_the_variance_more_where_columns_are_many(columns: int, most: float) -> None:
    x = points(6, columns) / sqrt(2 * columns)  # about 1 apart
    exact = gaussian(x, x, 1.0)
    squares = [
        np.mean([(inner(RBF(4 * columns, 1.0, orthogonal), x, seed) - exact) ** 2 for seed in range(200)])
        for orthogonal in (True, False)
    ]
    assert squares[0] < most * squares[1]


def test_without_a_width_it_is_the_root_of_the_number_of_columns() -> None:
    x = points(8, 9)
    assert np.array_equal(inner(RBF(20), x), inner(RBF(20, width=3.0), x))
    assert not np.array_equal(inner(RBF(20), x), inner(RBF(20, width=2.9), x))


def test_other_seeds_draw_other_features() -> None:
    x = points(8, 3)
    assert not np.isclose(RBF(20).drawn(3, 0)(x), RBF(20).drawn(3, 1)(x)).all(axis=0).any()


# polynomial


@given(
    columns=st.integers(1, 6),
    degree=st.sampled_from([2, 3]),
    offset=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_are_the_polynomial_kernel(columns: int, degree: int, offset: float, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1, 1, (7, columns))
    exact = (offset + x @ x.T) ** degree
    np.testing.assert_allclose(
        inner(Polynomial(degree, offset), x), exact, rtol=0, atol=1e-12 * (offset + columns) ** degree
    )


@pytest.mark.parametrize("degree", [2, 3])
def test_each_product_is_there_once(degree: int) -> None:
    for offset, count in ((0.0, comb(4 + degree - 1, degree)), (1.0, comb(4 + degree, degree))):
        phi = Polynomial(degree, offset).drawn(4, 0)(points(50, 4))
        assert phi.shape == (50, count)
        assert np.linalg.matrix_rank(phi) == count
        assert bool((np.ptp(phi, axis=0) == 0).any()) == (offset > 0)


def test_too_many_products_are_refused_and_as_many_as_allowed_are_not() -> None:
    assert comb(198 + 2, 2) <= MOST < comb(199 + 2, 2)
    assert Polynomial().drawn(198, 0)(np.ones((1, 198))).shape == (1, comb(200, 2))
    with pytest.raises(
        ConfigError, match=r"^'polynomial' with degree=2 makes 20100 features of 199, more than 20000\."
    ):
        Polynomial().drawn(199, 0)


# in a run


def curved(place: Path, seed: int = 0) -> str:
    """A file with a task per rank: sin(2 x_1) x_2 and a bend of the task's own, which no line follows."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(RANKS), 90)
    x = rng.uniform(-2, 2, (len(task), 2))
    y = np.sin(2 * x[:, 0]) * x[:, 1] + 0.3 * np.cos(x[:, 0] + task) + 0.05 * rng.standard_normal(len(task))
    np.savez(place / "curved.npz", x=x, y=y, task=task)
    return f"file:{place}/curved.npz"


def job(data: str, features: str | None, l2: float = 0.0, bias: bool = False, **more) -> Plan:
    task = f"least-squares:l2={l2},bias={str(bias).lower()}"
    raw = {"data": data, "algorithm": "dinuzzo:strength=0.01,share=0.6", "task": task, "test": 0.3, **more}
    return plan(load({**raw, "features": features} if features else raw))


def predicted(run: Plan) -> list[np.ndarray]:
    """Predictions of each rank's model on its own test rows."""
    nodes = [run.node(rank) for rank in range(run.topology.size)]
    states = simulate(nodes, ROUNDS)
    return [node.task.parts.test.x @ state.x for node, state in zip(nodes, states, strict=True)]


def exact(run: Plan, kernel, l2: float = 0.0, strength: float = 0.01, share: float = 0.6) -> list[np.ndarray]:
    """The same of (K o C + strength diag(n_t)) c = y over the rows of all ranks; ``run`` has no map."""
    parts = [run.dataset(rank) for rank in range(run.topology.size)]
    sizes = [len(part.y) for part in parts]
    owner = np.repeat(np.arange(len(parts)), sizes)
    x, y = (np.concatenate([getattr(part, key) for part in parts]) for key in "xy")
    tasks = share + (1 - share) * np.eye(len(parts))
    tasks = np.linalg.solve(np.eye(len(parts)) + l2 / strength * tasks, tasks)  # C (I + l2 / strength C)^-1
    c = np.linalg.solve(kernel(x, x) * tasks[np.ix_(owner, owner)] + strength * np.diag(np.repeat(sizes, sizes)), y)
    return [(kernel(part.test_x, x) * tasks[t, owner]) @ c for t, part in enumerate(parts)]


@pytest.mark.parametrize(("l2", "bias"), [(0.0, False), (0.0, True), (0.02, True)])
@pytest.mark.parametrize(("degree", "offset"), [(2, 1.0), (3, 0.5), (3, 0.0)])
def test_dinuzzo_on_polynomials_is_kernel_ridge_regression_over_all_rows(
    tmp_path: Path, degree: int, offset: float, l2: float, bias: bool
) -> None:
    data = curved(tmp_path)
    ours = predicted(job(data, f"polynomial:degree={degree},offset={offset}", l2, bias))
    theirs = exact(job(data, None), lambda x, z: (offset + x @ z.T) ** degree + bias, l2)
    for one, other in zip(ours, theirs, strict=True):
        assert np.ptp(other) > 0.1
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)


def test_random_features_learn_what_no_line_follows_and_come_to_the_exact_kernel(tmp_path: Path) -> None:
    data = curved(tmp_path)
    line = job(data, None, bias=True)
    wanted = [line.dataset(rank).test_y for rank in range(RANKS)]
    width = 0.7
    kernel = np.concatenate(exact(line, lambda x, z: gaussian(x, z, width)))

    def far(models: list[np.ndarray]) -> float:
        return float(np.sqrt(np.mean((np.concatenate(models) - np.concatenate(wanted)) ** 2)))

    apart = {}
    for count in (20, 100, 500):
        found = predicted(job(data, f"rbf:count={count},width={width}"))
        apart[count] = float(np.sqrt(np.mean((np.concatenate(found) - kernel) ** 2)))
    assert far(found) < far(predicted(line)) / 2
    assert apart[20] > 1.5 * apart[100] > 1.5**2 * apart[500]
    assert apart[500] < 0.07


@pytest.mark.parametrize("features", ["rbf:count=12", "polynomial"])
def test_every_rank_has_the_same_map_wherever_it_works_it_out(features: str) -> None:
    raw = {"data": "synthetic:features=4,rows=20", "held_out": 0.2, "algorithm": "dinuzzo", "seed": 5}
    plain = plan(load({**raw, "ranks": 4}))
    others = [plan(load({**raw, "features": features}), ranks) for ranks in (4, 4, 2)]  # as MPI ranks do, one by one
    for rank in range(4):
        rows = plain.dataset(rank)
        for other in others:
            assert other.features is not None
            assert np.array_equal(other.features(rows.x), others[0].dataset(rank).x)
            assert np.array_equal(other.features(rows.test_x), others[0].dataset(rank).test_x)
        assert len(rows.held_x) > 0


def test_the_map_comes_after_the_units_and_the_poison_and_before_the_precision() -> None:
    raw = {"data": "synthetic:features=4,rows=20", "ranks": 4, "dtype": "float32"}
    liars = [{"ranks": [2], "poison": "noise-features"}]
    lied = plan(load({**raw, "dtype": "float64", "byzantine": liars}))
    run = plan(load({**raw, "features": "rbf:count=6", "byzantine": liars}))
    assert run.features is not None
    for rank in (0, 2):
        x = run.dataset(rank).x
        assert x.dtype == np.float32
        assert np.array_equal(x, run.features(lied.dataset(rank).x).astype(np.float32))
        assert run.dataset(rank).truth is None


# what a user meets


@pytest.mark.parametrize(
    ("piece", "wrong"),
    [
        (RBF, {"count": 0}),
        (RBF, {"count": 7}),
        (RBF, {"width": 0.0}),
        (RBF, {"width": np.inf}),
        (Polynomial, {"degree": 1}),
        (Polynomial, {"offset": -1.0}),
        (Polynomial, {"offset": np.nan}),
    ],
)
def test_settings_out_of_range_are_refused(piece: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"^'\w+' has {next(iter(wrong))}="):
        piece(**wrong)


def test_an_unknown_map_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown features 'rbff'\. Did you mean 'rbf'\?"):
        plan(load({"features": "rbff"}))


def test_a_run_without_a_map_is_the_run_that_it_was_before_there_were_any() -> None:
    plain, other = (plan(load({"ranks": 4, **more})) for more in ({}, {"features": "polynomial"}))
    assert plain.features is None
    assert "features" not in to_toml(plain.config).replace("features = 20", "")
    assert "features" not in identity(plain.config)
    assert identity(other.config)["features"] == {"name": "polynomial", "degree": 2, "offset": 1.0}


def dmtl(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_run_check_and_report_know_it(tmp_path: Path) -> None:
    flags = ("--algorithm", "dinuzzo", "--ranks", "4", "--rounds", "3")
    plain, other = str(tmp_path / "plain"), str(tmp_path / "mapped")
    dmtl("run", "-q", *flags, "--out", plain)
    dmtl("run", "-q", *flags, "--features", "rbf:count=10,width=2", "--out", other)
    again = plan(load({"features": {"name": "rbf", "count": 10, "width": 2}, "ranks": 4, "algorithm": "dinuzzo"}))
    config = (tmp_path / "mapped" / "config.toml").read_text()
    assert '[features]\nname = "rbf"\ncount = 10\nwidth = 2.0\northogonal = true\n' in config
    assert dmtl("run", "--config", f"{other}/config.toml", "--print-config") == config
    with np.load(tmp_path / "mapped" / "rank-0001.npz") as state:
        assert len(state["model.x"]) == again.node(1).task.dim == 11
    runs = json.loads(dmtl("report", plain, other, "--json"))["runs"]
    assert [run["features"] for run in runs] == ["", "rbf:count=10,width=2.0,orthogonal=True"]
    assert "dinuzzo on rbf" in " ".join(dmtl("report", plain, other).split())
    shown = json.loads(dmtl("check", *flags, "--features", "rbf:count=10", "--json"))["run"]
    assert shown["features"]["name"] == "rbf"
    assert shown["parameters"] == [11, 11]


def test_gains_are_against_the_run_alone_on_the_same_features(tmp_path: Path) -> None:
    folders, maps = [], {"linear": (), "mapped": ("--features", "polynomial")}
    for method in ("local", "dinuzzo"):
        for name, features in maps.items():
            folders.append(str(tmp_path / f"{method}-{name}"))
            flags = ("--algorithm", method, "--ranks", "4", "--rounds", "3", "--data", "synthetic:features=3")
            dmtl("run", "-q", *flags, *features, "--name", f"{method}-{name}", "--out", folders[-1])
    document = json.loads(dmtl("report", *folders, "--json"))
    assert [run["alone"] for run in document["runs"]] == [None, None, "local-linear", "local-mapped"]
    assert document["warnings"] == []
