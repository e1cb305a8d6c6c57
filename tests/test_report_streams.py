"""What the report says and draws of runs on streams, and trust as a matrix over time."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from dmtl.cli import cli
from dmtl.report.figures import png, streams
from dmtl.report.matrices import arranged, matrices, trust_at
from dmtl.report.metrics import summarise
from dmtl.report.reading import read_run
from dmtl.report.summary import Online, Spread
from dmtl.report.trust_map import given
from tests.test_metrics import config, evaluation, liar_run, start, write
from tests.test_report import summary_of
from tests.test_report_verdicts import judged_run

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

STREAM = ("--data", "synthetic:rows=30,features=4,classes=2", "--ranks", "5", "--topology", "complete")
MORE = ("--rounds", "25", "--stream", "1", "--eval-every", "5", "-q", "--algorithm", "dmtc", "--byzantine", "4,")


def dmtl(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "lied-to"
    dmtl("run", *STREAM, *MORE, "--attack", "sign-flip", "--screen", "median", "--name", "lied-to", "--out", str(place))
    return place


def test_the_table_the_json_and_the_page_tell_of_the_stream(run: Path, tmp_path: Path) -> None:
    text = dmtl("report", str(run), "--html", "--out", str(tmp_path))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110  # numbers, such as the seconds, differ in length from run to run
    place = next(number for number, line in enumerate(lines) if line.startswith("on new rows rows"))
    told = json.loads(dmtl("report", str(run), "--json"))["runs"][0]["online"]
    row = lines[place + 2].split()
    assert row[:2] == ["lied-to", str(told["rows"])]
    assert float(row[-1]) == pytest.approx(told["regret_own"], rel=0.01)
    assert float(row[-2]) == pytest.approx(told["regret"], rel=0.01)
    assert told["lack"] == ""
    assert told["loss"] > told["regret_own"] > told["regret"]
    page = (tmp_path / "report.html").read_text("utf-8")
    for words in ("On new rows", "How did they do on new rows?", "Who listened to whom?"):
        assert words in page
    assert {"stream.png", "matrix-1-lied-to.png"} <= {path.name for path in tmp_path.glob("*.png")}


def test_without_its_data_a_run_is_told_without_regret(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "moved"
    place.mkdir()
    for file in run.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    plain = tomllib.loads((run / "config.toml").read_text())
    (place / "config.toml").write_text(tomli_w.dumps({**plain, "data": {"name": "file", "path": "gone.csv"}}))
    done = CliRunner().invoke(cli, ["report", str(place), "--html", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "no regret, because the data cannot be made again" in done.stderr
    assert "none: the data cannot be made again" in (tmp_path / "report.html").read_text("utf-8")


def test_runs_without_a_stream_have_no_table_and_no_picture_of_one(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    assert "on new rows" not in dmtl("report", str(place))
    assert streams([summarise(read_run(place))]) is None


def stream_of(*values: float) -> Online:
    spread = Spread(tuple(range(len(values))), values, values, values)
    return Online(3, nan, None, None, inf, None, None, None, "lost", spread, spread)


def test_streams_that_came_apart_or_said_nothing_are_drawn_all_the_same() -> None:
    runs = [
        replace(summary_of([0.5], name), online=stream_of(*values))
        for name, values in (("wild", (1e300, 1.0)), ("nothing", ()), ("calm", (0.5, 0.4)), ("zero", (0.0,)))
    ]
    for some in (runs, runs[:1], runs[1:2], [summary_of([0.5], "whole"), *runs]):
        figure = streams(some)
        assert figure is not None
        assert len(png(figure)) > 4000


def test_the_picture_of_streams_has_the_mean_and_the_range(run: Path) -> None:
    summary = summarise(read_run(run))
    figure = streams([summary])
    assert figure is not None
    assert summary.online is not None
    for axes, spread in zip(figure.axes, (summary.online.cumulative, summary.online.windowed), strict=True):
        (line,) = axes.get_lines()
        assert tuple(line.get_ydata()) == spread.mean
        corners = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert (corners.min(), corners.max()) == (min(spread.low), max(spread.high))


def test_the_matrix_has_the_listeners_trust_in_the_speaker_at_the_rounds_that_were_judged(tmp_path: Path) -> None:
    rounds, trust = trust_at(read_run(judged_run(tmp_path / "run")))
    assert rounds == [5, 10]  # before the first round nobody was judged
    for listener in range(3):
        speakers = [rank for rank in range(4) if rank != listener]
        assert trust[0, listener, speakers].tolist() == [1, 1, 0.5]
        assert trust[1, listener, speakers].tolist() == [0.25, 0.75, 0.25]
        assert np.isnan(trust[:, listener, listener]).all()
    assert np.isnan(trust[:, 3]).all()  # what a liar says of others is nothing


def test_at_most_five_rounds_are_drawn_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    place = tmp_path / "run"
    config(place)
    for rank in range(4):
        others = [other for other in range(4) if other != rank]
        lines = [evaluation(round, 0.1, [1 / round] * 3, [1.0] * 3) for round in range(1, 30)]
        write(place, rank, [start(rank, others, byzantine=False), *lines])
    rounds, trust = trust_at(read_run(place))
    assert rounds == [1, 8, 15, 22, 29]
    assert trust[:, 0, 1] == pytest.approx([1 / round for round in rounds])


def labelled(place: Path, labels: list[str], **changes: Any) -> Any:
    config(place, **{"ranks": len(labels), **changes})
    for rank, label in enumerate(labels):
        others = [other for other in range(len(labels)) if other != rank]
        first = start(rank, others, label=label, byzantine=rank == 3 and "byzantine" in changes)
        write(place, rank, [first, evaluation(5, 0.1, [0.5] * len(others), [1.0] * len(others))])
    return read_run(place)


def test_ranks_of_one_kind_are_side_by_side_and_liars_last(tmp_path: Path) -> None:
    lie = {"byzantine": [{"ranks": [3], "attack": {"name": "sign-flip"}}]}
    numbered = [f"rank {rank}" for rank in range(6)]
    synthetic = {"data": {"name": "synthetic", "shape": "clustered", "clusters": 2}}
    run = labelled(tmp_path / "a", numbered, **synthetic, **lie)
    assert arranged(run) == ([0, 2, 4, 1, 5, 3], [3, 5])
    assert arranged(labelled(tmp_path / "b", ["y", "x", "y", "x", "y"])) == ([1, 3, 0, 2, 4], [2])
    assert arranged(labelled(tmp_path / "c", ["d", "c", "b", "a"])) == ([0, 1, 2, 3], [])
    assert arranged(labelled(tmp_path / "d", numbered)) == (list(range(6)), [])
    mixed = {**synthetic, "partition": {"name": "iid"}}
    assert arranged(labelled(tmp_path / "e", numbered, **mixed)) == (list(range(6)), [])


@pytest.mark.parametrize(
    "data", [None, {"name": "synthetic", "clusters": "many"}, {"name": "synthetic", "clusters": 0}]
)
def test_a_strange_configuration_is_drawn_all_the_same(data: Any, tmp_path: Path) -> None:
    run = labelled(tmp_path / "run", ["rank 0", "rank 1", "rank 2"], **({"data": data} if data else {}))
    run = run if data else replace(run, config={})
    figure = matrices(run, "strange $1^$")
    assert figure is not None
    assert len(png(figure)) > 4000


def test_where_nothing_was_judged_or_ranks_are_too_many_there_is_no_matrix(tmp_path: Path) -> None:
    run = labelled(tmp_path / "run", ["a", "b"])
    assert matrices(run, "few") is not None
    assert matrices(replace(run, size=61), "many") is None
    silent = [replace(rank, talks=False) for rank in run.ranks]
    assert matrices(replace(run, ranks=tuple(silent)), "silent") is None
    assert matrices(replace(run, ranks=()), "lost") is None


def test_who_has_no_more_rows_judges_nobody_and_its_last_trust_stands(run: Path) -> None:
    """Fewer rows than rounds, one a round: after the last row a rank does not listen."""
    found = read_run(run)
    for rank in found.honest:
        rounds = rank.table["round"]
        trust = rank.table["trust"]
        last = int(rank.last("online_rows") or 0)
        assert last < 25
        assert np.isnan(trust[rounds > last]).all()
        assert np.isfinite(trust[rounds <= last]).all()
        assert not any(words for round, words in zip(rounds, rank.verdicts, strict=True) if round > last)
        assert given(rank) == trust[rounds <= last][-1].tolist()
    summary = summarise(found)
    assert summary.trust_liars is not None
    assert np.isfinite(summary.trust_liars)
