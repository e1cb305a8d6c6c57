"""Feature shift: what a rank sees of the same images, and where in a run it is applied."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.build import Plan, plan
from dmtl.cli import cli
from dmtl.config import digest, identity, load, to_toml
from dmtl.data.pool import Dataset
from dmtl.data.shift import Noise, Rotation
from dmtl.data.split import share, standardise
from dmtl.errors import ConfigError


def of(x: np.ndarray) -> Dataset:
    m = len(x)
    return Dataset(x, np.zeros(m), x[:0], np.zeros(0), x[: m // 2], np.zeros(m // 2))


def images(side: int, count: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, side, side))


def turned(piece: Rotation, pictures: np.ndarray, rank: int = 0, seed: int = 0) -> np.ndarray:
    x = pictures.reshape(len(pictures), -1)
    return piece.shifted(of(x), rank, 8, seed).x.reshape(pictures.shape)


# rotation


@given(side=st.integers(1, 9), quarters=st.integers(-5, 5), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=50)
def test_a_quarter_turn_moves_pixel_by_pixel_anticlockwise(side: int, quarters: int, seed: int) -> None:
    pictures = images(side, seed=seed)
    expected = pictures
    for _ in range(quarters % 4):  # the pixel in row i, column j goes to row side-1-j, column i
        moved = np.empty_like(expected)
        for i in range(side):
            for j in range(side):
                moved[:, side - 1 - j, i] = expected[:, i, j]
        expected = moved
    assert np.array_equal(turned(Rotation(str(90 * quarters)), pictures), expected)


@pytest.mark.parametrize("angle", [30.0, -45.0, 10.5, 137.0])
@pytest.mark.parametrize("side", [5, 8])
def test_other_angles_are_bilinear_about_the_centre_in_the_same_sense(angle: float, side: int) -> None:
    pictures = images(side, 2)
    got, a, centre = turned(Rotation(str(angle)), pictures), np.deg2rad(angle), (side - 1) / 2
    for i in range(side):
        for j in range(side):
            right, up = j - centre, centre - i
            # what is seen at a place was, before an anticlockwise turn, a turn clockwise from there
            was_right, was_up = right * np.cos(a) + up * np.sin(a), up * np.cos(a) - right * np.sin(a)
            row, column = centre - was_up, centre + was_right
            expected = np.zeros(2)
            for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                    weight = max(0.0, 1 - abs(row - r)) * max(0.0, 1 - abs(column - c))
                    expected += weight * pictures[:, np.clip(r, 0, side - 1), np.clip(c, 0, side - 1)]
            np.testing.assert_allclose(got[:, i, j], expected, atol=1e-9)


def test_a_turn_is_nearly_a_quarter_turn_beside_one_and_keeps_the_range() -> None:
    smooth = np.add.outer(np.arange(12.0), 2 * np.arange(12.0))[None] / 33
    near = turned(Rotation("90.001"), smooth)
    np.testing.assert_allclose(near, turned(Rotation("90"), smooth), atol=1e-3)
    wild = turned(Rotation("33"), smooth)
    assert 0 <= wild.min() < wild.max() <= smooth.max() + 1e-12


def test_nothing_held_out_stays_nothing() -> None:
    assert Rotation("33").shifted(of(images(3)[0].reshape(1, 9)), 0, 4, 0).held_x.shape == (0, 9)


def test_angles_are_dealt_in_turn_and_degrees_are_drawn() -> None:
    assert [Rotation().angle(rank, 3) for rank in range(6)] == [0, 90, 180, 270, 0, 90]
    assert [Rotation("15x-30.5").angle(rank, 3) for rank in range(3)] == [15, -30.5, 15]
    drawn = np.array([Rotation(degrees=45.0).angle(rank, 3) for rank in range(400)])
    assert np.abs(drawn).max() <= 45
    assert drawn.std() == pytest.approx(45 / np.sqrt(3), rel=0.1)
    assert abs(drawn.mean()) < 5
    assert Rotation(degrees=45.0).angle(0, 4) != drawn[0]


# noise


def test_noise_grows_with_the_rank_and_is_fresh_in_every_part() -> None:
    x = np.random.default_rng(0).standard_normal((400, 25))
    for rank in range(4):
        new = Noise(0.8).shifted(of(x), rank, 4, 1)
        added = new.x - x
        assert added.std() == pytest.approx(0.8 * (rank + 1) / 4, rel=0.05)
        assert abs(added.mean()) < 0.04
        assert np.abs(np.corrcoef(added[:200].ravel(), (new.test_x - x[:200]).ravel())[0, 1]) < 0.06


def test_other_seeds_and_ranks_add_other_noise() -> None:
    x = np.zeros((50, 4))
    one, seed, rank = (Noise().shifted(of(x), r, 4, s).x * 4 / (r + 1) for r, s in ((0, 0), (0, 1), (1, 0)))
    for other in (seed, rank):
        assert np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


def test_without_sigma_nothing_changes() -> None:
    x = images(3)[0]
    assert np.array_equal(Noise(0.0).shifted(of(x), 3, 4, 0).x, x)


# in a run


def made(**more: Any) -> Plan:
    return plan(load({"data": "synthetic:rows=20,features=9", "ranks": 4, **more}))


def test_it_comes_before_the_units_of_the_rank_and_poison_after_both() -> None:
    job = made(shift="rotation", byzantine=[{"ranks": [1], "poison": "label-flip"}])
    for rank in range(4):
        raw = share(job.pool, job.rows[rank], 0.3, 0.0, 0, rank)
        expected = standardise(Rotation().shifted(raw, rank, 4, 0))
        data = job.dataset(rank)
        assert np.array_equal(data.x, expected.x)
        assert np.array_equal(data.test_x, expected.test_x)
        assert np.array_equal(data.y, -expected.y if rank == 1 else expected.y)
        assert np.array_equal(data.test_y, expected.test_y)


def test_a_liar_borrows_the_data_as_the_other_sees_them() -> None:
    job = made(shift="noise:0.5", byzantine=[{"ranks": [1], "poison": "wrong-task:whose=2"}])
    assert np.array_equal(job.dataset(1).x, job.dataset(2).x)


def test_a_run_without_is_the_run_that_it_was_and_one_with_is_another() -> None:
    plain, shifted, other = (made(**more).config for more in ({}, {"shift": "noise"}, {"shift": "noise:0.2"}))
    assert "shift" not in identity(plain)
    assert len({digest(config) for config in (plain, shifted, other)}) == 3
    assert shifted.shift == {"name": "noise", "sigma": 0.1}
    assert load(tomllib.loads(to_toml(shifted))) == shifted


def test_a_run_from_the_command_line_says_it_in_its_files(tmp_path: Path) -> None:
    words = ["run", "--data", "synthetic:rows=20,features=9", "--ranks", "4", "--shift", "rotation:0x180", "-q"]
    done = CliRunner().invoke(cli, [*words, "--rounds", "3", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert 'angles = "0x180"' in (tmp_path / "out" / "config.toml").read_text("utf-8")


def test_a_report_does_not_take_shifted_data_for_the_same(tmp_path: Path) -> None:
    words = ["run", "--data", "synthetic:rows=20,features=9", "--ranks", "4", "--rounds", "3", "-q"]
    for folder, more in (("alone", ["--algorithm", "local"]), ("seen", ["--shift", "noise"])):
        assert CliRunner().invoke(cli, [*words, *more, "--out", str(tmp_path / folder)]).exit_code == 0
    done = CliRunner().invoke(cli, ["report", str(tmp_path / "alone"), str(tmp_path / "seen"), "--json"])
    assert "differ in shift: their errors are not of the same data" in done.output


# refusals


def test_images_that_are_not_square_are_refused_in_a_sentence(tmp_path: Path) -> None:
    words = ["run", "--data", "synthetic:features=10", "--ranks", "4", "--shift", "rotation"]
    done = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ConfigError)
    assert "turns square images, and the data have 10 features, which is no square. Use" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("piece", "match"),
    [
        (lambda: Rotation("0x"), r"'rotation' has angles='0x'\. Write them in degrees"),
        (lambda: Rotation("ninety"), "'rotation' has angles='ninety'"),
        (lambda: Rotation("nan"), "'rotation' has angles='nan'"),
        (lambda: Rotation(degrees=-1.0), "'rotation' has degrees=-1.0"),
        (lambda: Rotation(degrees=181.0), "'rotation' has degrees=181.0"),
        (lambda: Rotation("0x90", 45.0), "give one of them"),
        (lambda: Noise(-0.1), "'noise' has sigma=-0.1"),
        (lambda: Noise(float("inf")), "'noise' has sigma=inf"),
    ],
)
def test_settings_out_of_range_are_refused(piece: Callable[[], object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        piece()
