"""Regret: the best fixed models against independent solvers, and what is said where there are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from dmtl.build import plan
from dmtl.config import load
from dmtl.launch import start
from dmtl.report.hindsight import hindsight, least, rows_of
from dmtl.report.metrics import compare, summarise
from dmtl.report.reading import read_run
from dmtl.report.stream import online
from tests.test_metrics import config, evaluation, liar_run, write
from tests.test_metrics import start as first_line

CLASSES = "synthetic:rows=60,features=3,classes=2,noise=0.5"
BASE: dict[str, Any] = {"ranks": 4, "stream": 3, "rounds": 8, "algorithm": "dmtc", "seed": 1, "eval_every": 4}
KINDS = {
    "least-squares": {"data": "synthetic:rows=60,features=3", "task": "least-squares"},
    "logistic": {"data": CLASSES, "task": "logistic"},
    "hinge": {"data": CLASSES, "task": "hinge"},
    "softmax": {"data": CLASSES, "task": "softmax"},
    "many": {"data": f"{CLASSES},tasks=2", "task": "many:hinge", "partition": "iid"},
}


def made(place: Path, **settings: Any) -> Path:
    assert start(lambda: {**BASE, **settings, "out": str(place)}) == 0
    return place


def value(kind: str, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The sum of losses, by definition."""
    if kind == "softmax":
        scores = x @ w.reshape(x.shape[1], -1)
        return float(np.sum(np.log(np.exp(scores).sum(axis=1)) - (scores * y).sum(axis=1)))
    z = x @ w
    if kind == "least-squares":
        return float(np.sum((z - y) ** 2) / 2)
    return float(np.sum(np.log1p(np.exp(-y * z)) if kind == "logistic" else np.maximum(0, 1 - y * z)))


def best(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    """The least of it, by a solver that knows nothing of this package."""
    if kind != "hinge":
        d = x.shape[1] * (y.shape[1] if y.ndim == 2 else 1)
        return float(minimize(lambda w: value(kind, w, x, y), np.zeros(d), method="BFGS", options={"gtol": 1e-7}).fun)
    m, d = x.shape
    cost = np.concatenate([np.zeros(d), np.ones(m)])
    bounds = [(None, None)] * d + [(0, None)] * m
    return float(linprog(cost, -np.hstack([y[:, None] * x, np.eye(m)]), -np.ones(m), bounds=bounds).fun)


@pytest.mark.parametrize("kind", KINDS)
def test_regret_is_what_was_lost_less_what_the_best_fixed_models_would_have_lost(kind: str, tmp_path: Path) -> None:
    run = read_run(made(tmp_path / "run", **KINDS[kind]))
    job, loss = plan(load({**BASE, **KINDS[kind]})), "hinge" if kind == "many" else kind
    parts = [job.node(rank).task.parts.train for rank in range(4)]
    shown = [(x[:24].astype(float), y[:24]) for x, y in parts]
    found = hindsight(run, rows_of(run.honest))
    assert found.lack == ""
    own = sum(best(loss, x, y) for x, y in shown)
    common = best(loss, *(np.concatenate(rows) for rows in zip(*shown, strict=True)))
    assert found.own == pytest.approx(own, abs=0.1 if loss == "hinge" else 1e-2)
    assert found.common == pytest.approx(common, abs=0.1 if loss == "hinge" else 1e-3)
    assert own < common
    told = summarise(run).online
    assert told is not None
    assert told.rows == sum(len(y) for _, y in shown)
    lost = sum(_last(run.place, rank)["online_loss"] for rank in range(4))
    assert told.loss == pytest.approx(lost)
    assert told.regret == pytest.approx(lost - found.common)  # type: ignore[operator]
    assert told.regret_own == pytest.approx(lost - found.own)  # type: ignore[operator]


def _last(place: Path, rank: int) -> dict[str, Any]:
    lines = [json.loads(line) for line in (place / f"rank-{rank:04d}.jsonl").read_text().splitlines()]
    last: dict[str, Any] = next(line for line in reversed(lines) if line["event"] == "round")
    return last


def test_the_least_loss_of_rows_that_can_be_told_apart_is_near_0_and_never_below(tmp_path: Path) -> None:
    for task in ("hinge", "logistic", "softmax"):
        job = plan(
            load(
                {
                    "data": "synthetic:rows=40,features=3,classes=2,noise=0",
                    "task": f"{task}:l2=0",
                    "algorithm": "dmtc",
                    "ranks": 1,
                }
            )
        )
        assert 0 <= least(job.node(0).task) < 0.1


def test_errors_are_means_and_worst_over_honest_ranks_and_the_liar_is_in_none(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    for rank in range(4):
        told = [(0, 0, None, None), (5, 10, 0.4 - 0.1 * rank, 0.5), (10, 20, 0.3 + 0.1 * rank, 0.1 * rank)]
        lines = [
            evaluation(number, 0.1, [1] * 3, [1.0] * 3, online_rows=rows, online_error=error, recent_error=recent)
            for number, rows, error, recent in told
        ]
        others = [other for other in range(4) if other != rank]
        write(place, rank, [first_line(rank, others), *lines, {"event": "end", "round": 10, "seconds": 1.0}])
    found = online(read_run(place))
    assert found is not None
    assert (found.rows, found.worst, found.worst_rank) == (60, 0.5, 2)
    assert found.error == pytest.approx(0.4)
    assert found.recent == pytest.approx(0.1)
    assert found.cumulative.rounds == (5, 10)
    assert found.cumulative.mean == pytest.approx((0.3, 0.4))
    assert found.cumulative.low == pytest.approx((0.2, 0.3))
    assert found.cumulative.high == pytest.approx((0.4, 0.5))
    assert found.loss is None
    assert found.regret is None
    assert found.lack


def test_a_run_without_a_stream_says_nothing_of_one(tmp_path: Path) -> None:
    assert summarise(read_run(liar_run(tmp_path / "run"))).online is None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ({"data": {"name": "file", "path": "gone.csv"}}, "the data cannot be made again"),
        ({"data": {"name": "synthetic", "rows": 61, "features": 3}}, "others than those of the run"),
        ({"algorithm": {"name": "from elsewhere"}}, "the data cannot be made again"),
        ({"seed": "x"}, "the data cannot be made again"),
        ({"task": {"name": "hinge", "l2": -1.0}}, "the data cannot be made again"),
    ],
)
def test_data_that_cannot_be_made_again_cost_the_regret_and_no_more(
    spoil: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    import tomllib

    import tomli_w

    place = made(tmp_path / "run", **KINDS["least-squares"])
    plain = tomllib.loads((place / "config.toml").read_text())
    (place / "config.toml").write_text(tomli_w.dumps({**plain, **spoil}))
    (summary,), warnings = compare([read_run(place)])
    assert summary.online is not None
    assert summary.online.regret is None
    assert summary.online.error is not None
    assert any("no regret, because" in warning and sentence in warning for warning in warnings)


def test_a_task_whose_best_model_is_not_known_has_no_regret_and_is_named(tmp_path: Path) -> None:
    run = read_run(made(tmp_path / "run", data="localisation:rows=40", task="bearing", standardise=False))
    assert "the best model of 'bearing' in hindsight is not known" in hindsight(run, rows_of(run.honest)).lack


def test_wild_numbers_in_the_files_break_nothing(tmp_path: Path) -> None:
    whole = made(tmp_path / "run", **KINDS["least-squares"])
    for wild in (None, float("nan"), float("inf"), -3, 1e300, "many", [1]):
        place = tmp_path / "wild"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        file = place / "rank-0001.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for key in ("online_rows", "online_error", "online_loss", "recent_error"):
            changed = [{**line, key: wild} if line["event"] == "round" else line for line in lines]
            file.write_text("".join(json.dumps(line) + "\n" for line in changed))
            (summary,), _ = compare([read_run(place)])
            assert summary.online is not None
            json.dumps(summary.plain(), allow_nan=False)


def test_a_torn_configuration_is_no_regret(tmp_path: Path) -> None:
    place = made(tmp_path / "run", **KINDS["least-squares"])
    (place / "config.toml").unlink()
    assert summarise(read_run(place)).online.lack == "config.toml is missing or torn"  # type: ignore[union-attr]
    config(place, data={"name": "synthetic"})
    assert summarise(read_run(place)).online.regret is None  # type: ignore[union-attr]
