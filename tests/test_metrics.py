"""The numbers of a run, on folders written by hand whose numbers are known."""

from __future__ import annotations

import json
from dataclasses import fields
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from dmtl.errors import ResultsError
from dmtl.report.metrics import compare, summarise
from dmtl.report.reading import Run, read_run
from dmtl.report.summary import Summary

CONFIG: dict[str, Any] = {
    "name": "small",
    "data": {"name": "watch"},
    "algorithm": {"name": "diffusion", "step_size": 0.5},
    "screen": [{"name": "nnm", "f": 1}, {"name": "trimmed-mean", "b": 1}],
    "rounds": 10,
    "eval_every": 5,
    "seed": 0,
    "ranks": 4,
    "test": 0.5,
}
LIE = {"byzantine": [{"count": 0, "ranks": [3], "attack": {"name": "sign-flip", "scale": 3.0}}]}


def start(rank: int, others: list[int], **changes: Any) -> dict[str, Any]:
    line = {"event": "start", "rank": rank, "label": f"p{rank}", "byzantine": rank == 3, "sources": others}
    return {**line, "targets": others, "message": [1, 2], "host": "h", **changes}


def evaluation(number: int, error: float | None, trust: list[float], distance: list[float], **changes: Any) -> Any:
    line = {"event": "round", "round": number, "loss": 2 * (error or 0), "test_error": error, "trust": trust}
    rest = {"age": [0] * len(trust), "refused": 1, "distance": distance, "bytes": 48 * number, "seconds": number / 10}
    return {**line, **rest, **changes}


def write(place: Path, rank: int, lines: list[Any], model: list[float] | None = None) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / f"rank-{rank:04d}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if model is not None:
        np.savez(place / f"rank-{rank:04d}.npz", **{"model.x": np.array(model)})


def config(place: Path, **changes: Any) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.toml").write_text(tomli_w.dumps({**CONFIG, **changes}))


def liar_run(place: Path) -> Path:
    """Four ranks, each linked to all; rank 3 lies. Errors .1 .2 .6, trust .5 in honest and .25 in the liar."""
    config(place, **LIE)
    distances = {0: [3.0, 4.0, 99.0], 1: [3.0, 0.0, 99.0], 2: [4.0, 0.0, 99.0]}
    for rank, error in enumerate((0.1, 0.2, 0.6)):
        others = [other for other in range(4) if other != rank]
        lines = [
            start(rank, others),
            evaluation(0, 0.9, [1, 1, 1], [], refused=0, age=[-1, -1, -1]),
            evaluation(5, error + 0.1, [1, 1, 0.5], [1.0, 1.0, 50.0]),
            evaluation(10, error, [0.25, 0.75, 0.25], distances[rank]),
            {"event": "end", "round": 10, "seconds": 1.0 + rank},
        ]
        write(place, rank, lines, [float(rank), 0.0])
    lies = [start(3, [0, 1, 2]), evaluation(10, 0.0, [0, 0, 0], [7.0, 7.0, 7.0], refused=100, bytes=1e9)]
    write(place, 3, [*lies, {"event": "end", "round": 10, "seconds": 9.0}], [1e6, 1e6])
    return place


def alone_run(place: Path, errors: tuple[float | None, ...] = (0.4, 0.2, 0.3, 0.9), **changes: Any) -> Path:
    config(place, **{"name": "alone", "algorithm": {"name": "local"}, **changes})
    for rank, error in enumerate(errors):
        others = [other for other in range(4) if other != rank]
        first = start(rank, others, byzantine=False, message=[0, 2])
        ones = evaluation(10, error, [1, 1, 1], [], bytes=0, refused=0)
        write(place, rank, [first, ones, {"event": "end", "round": 10, "seconds": 0.5}], [0.0, 0.0])
    return place


def test_every_number_of_a_run_is_what_its_files_say(tmp_path: Path) -> None:
    summary = summarise(read_run(liar_run(tmp_path / "run")))
    assert (summary.ranks, summary.liars, summary.missing, summary.rounds, summary.reached) == (4, 1, 0, 10, 10)
    assert (summary.algorithm, summary.screen) == ("diffusion:step_size=0.5", "nnm:f=1+trimmed-mean:b=1")
    assert (summary.attack, summary.metric) == ("sign-flip:scale=3.0", "test_error")
    assert summary.error == pytest.approx(0.3)
    assert (summary.worst, summary.worst_rank) == (0.6, 2)
    assert summary.loss == pytest.approx(0.6)
    assert summary.disagreement == pytest.approx(sqrt((9 + 16 + 9 + 0 + 16 + 0) / 6))
    assert summary.consensus == pytest.approx(sqrt(2 / 3))  # models 0, 1, 2 about their mean 1
    assert summary.trust_honest == pytest.approx(0.5)
    assert summary.trust_liars == pytest.approx(0.25)
    assert (summary.refused, summary.bytes_per_rank, summary.bytes_per_link) == (6, 480, 16)
    assert summary.seconds == 9.0
    assert (summary.alone, summary.gain, summary.gained, summary.lost) == (None, None, None, None)


def test_series_are_means_over_honest_ranks_and_links(tmp_path: Path) -> None:
    series = summarise(read_run(liar_run(tmp_path / "run"))).series
    assert series.rounds == (0, 5, 10)
    assert series.error == pytest.approx((0.9, 0.4, 0.3))
    assert series.loss == pytest.approx((1.8, 0.8, 0.6))
    assert isnan(series.disagreement[0])
    assert series.disagreement[1:] == pytest.approx((1.0, sqrt(50 / 6)))


def test_a_byzantine_rank_changes_nothing_by_what_it_writes(tmp_path: Path) -> None:
    before = summarise(read_run(liar_run(tmp_path / "run"))).plain()
    lies = [start(3, [0, 1, 2]), evaluation(10, 77.0, [1, 1, 1], [0.0] * 3, refused=5)]
    write(tmp_path / "run", 3, [*lies, {"event": "end", "round": 10, "seconds": 9.0}], [-5.0, 3.0])
    after = summarise(read_run(tmp_path / "run")).plain()
    for summary in (before, after):
        assert summary["outcomes"].pop()["byzantine"]
    assert before == after


def test_gain_is_against_alone_over_ranks_honest_in_the_run(tmp_path: Path) -> None:
    runs = [read_run(alone_run(tmp_path / "alone")), read_run(liar_run(tmp_path / "run"))]
    (reference, summary), warnings = compare(runs)
    assert warnings == []
    assert reference.gain is None
    assert summary.alone == "alone"
    assert [outcome.gain for outcome in summary.outcomes] == [pytest.approx(0.3), 0.0, pytest.approx(-0.3), None]
    assert summary.gain == pytest.approx(0.0)
    assert (summary.gained, summary.lost) == (1, 1)  # rank 1 is as before, rank 2 is negative transfer


def test_a_rank_that_has_no_number_any_more_has_lost(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    end = {"event": "end", "round": 10, "seconds": 1.0}
    write(place, 0, [start(0, [1, 2, 3]), evaluation(10, None, [1, 1, 1], [1.0] * 3), end], [0.0, 0.0])
    (_, summary), _ = compare([read_run(alone_run(tmp_path / "alone")), read_run(place)])
    assert (summary.gained, summary.lost, summary.worst_rank) == (0, 2, 0)
    assert summary.plain()["error"] is None
    assert summary.plain()["worst"] is None


def test_runs_of_other_data_are_compared_with_a_warning(tmp_path: Path) -> None:
    runs = [read_run(alone_run(tmp_path / "alone", seed=1, test=0.2)), read_run(liar_run(tmp_path / "run"))]
    _, warnings = compare(runs)
    assert len(warnings) == 1
    assert "small and alone differ in test, seed" in warnings[0]


def test_each_run_is_held_against_the_run_alone_of_its_own_seed(tmp_path: Path) -> None:
    other = alone_run(tmp_path / "other", (9.0, 9.0, 9.0, 9.0), seed=1)
    same = alone_run(tmp_path / "same")
    summaries, _ = compare([read_run(other), read_run(same), read_run(liar_run(tmp_path / "run"))])
    assert summaries[2].alone == "same"
    assert summaries[2].gain == pytest.approx(0.0)


def test_runs_of_one_name_go_by_their_folders(tmp_path: Path) -> None:
    places = [liar_run(tmp_path / "a" / "x"), liar_run(tmp_path / "y"), alone_run(tmp_path / "alone")]
    summaries, _ = compare([read_run(place) for place in places])
    assert [summary.name for summary in summaries] == ["x", "y", "alone"]


def test_a_torn_last_line_is_skipped_and_named(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    before = summarise(read_run(place)).plain()
    with (place / "rank-0001.jsonl").open("a") as file:
        file.write('{"event": "round", "round": 15, "lo')
    run = read_run(place)
    assert summarise(run).plain() == before
    assert [warning for warning in run.warnings if "rank-0001.jsonl: 1 torn line" in warning]


def test_bytes_that_are_no_text_and_lines_that_are_no_objects_are_torn_too(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    before = summarise(read_run(place)).plain()
    with (place / "rank-0000.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\x00\n17\n["event"]\n{"round": 3}\n')
    run = read_run(place)
    assert summarise(run).plain() == before
    assert "4 torn lines" in run.warnings[0]


def test_missing_ranks_are_named_and_the_rest_counts(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    (place / "rank-0002.jsonl").unlink()
    (place / "rank-0003.jsonl").unlink()
    run = read_run(place)
    summary = summarise(run)
    assert "no file of ranks 2, 3" in run.warnings[0]
    assert (summary.missing, summary.ranks, summary.liars) == (2, 4, 1)  # config.toml still says that 3 lies
    assert summary.error == pytest.approx(0.15)
    assert summary.disagreement == pytest.approx(sqrt((9 + 16 + 9 + 0) / 4))


@pytest.mark.parametrize("first", ["", "{}", '{"event": "start", "rank": 1}', '{"event": "start", "sour'])
def test_a_rank_without_a_whole_first_line_is_left_out(tmp_path: Path, first: str) -> None:
    place = liar_run(tmp_path / "run")
    (place / "rank-0001.jsonl").write_text(first)
    run = read_run(place)
    assert [rank.rank for rank in run.ranks] == [0, 2, 3]
    assert any("rank 1 is left out" in warning for warning in run.warnings)
    assert summarise(run).error == pytest.approx(0.35)


def test_a_torn_model_costs_the_consensus_of_that_rank_only(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    whole = (place / "rank-0002.npz").read_bytes()
    (place / "rank-0002.npz").write_bytes(whole[: len(whole) // 2])
    run = read_run(place)
    assert summarise(run).consensus == pytest.approx(0.5)  # models 0 and 1
    assert any("final model of rank 2" in warning for warning in run.warnings)


def test_a_run_that_failed_counts_as_far_as_it_came(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    lines = [start(2, [0, 1, 3]), evaluation(5, 0.5, [1, 1, 1], [1.0] * 3), {"event": "failed", "error": "Diverged: x"}]
    write(place, 2, lines)
    run = read_run(place)
    summary = summarise(run)
    assert summary.reached == 5
    assert summary.error == pytest.approx((0.1 + 0.2 + 0.5) / 3)
    assert any("rank 2 failed" in warning and "Diverged: x" in warning for warning in run.warnings)


def test_many_ranks_that_fail_are_one_warning(tmp_path: Path) -> None:
    config(tmp_path / "run", ranks=30)
    for rank in range(30):
        write(tmp_path / "run", rank, [start(rank, []), {"event": "failed", "error": "E"}])
    warnings = read_run(tmp_path / "run").warnings
    assert len(warnings) == 1
    assert "22 more" in warnings[0]


def test_a_method_that_never_talks_has_no_trust_and_no_disagreement(tmp_path: Path) -> None:
    summary = summarise(read_run(alone_run(tmp_path / "alone")))
    assert (summary.trust_honest, summary.trust_liars, summary.disagreement) == (None, None, None)
    assert (summary.bytes_per_rank, summary.bytes_per_link, summary.consensus) == (0, 0, 0)


def test_links_on_which_nothing_came_are_in_no_disagreement(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    end = {"event": "end", "round": 10, "seconds": 1.0}
    silent = evaluation(10, 0.1, [0, 1, 1], [1e9, 4.0, 99.0], age=[-1, 0, 0])
    write(place, 0, [start(0, [1, 2, 3]), silent, end], [0.0, 0.0])
    assert summarise(read_run(place)).disagreement == pytest.approx(sqrt((16 + 9 + 0 + 16 + 0) / 5))


def test_regression_is_judged_by_its_rmse(tmp_path: Path) -> None:
    config(tmp_path, ranks=1)
    line = {**evaluation(1, 0.0, [], []), "test_rmse": 3.5, "test_r2": 0.1}
    del line["test_error"]
    write(tmp_path, 0, [start(0, []), line])
    summary = summarise(read_run(tmp_path))
    assert (summary.metric, summary.error, summary.worst) == ("test_rmse", 3.5, 3.5)


def test_a_run_without_test_data_has_no_error_and_still_its_loss(tmp_path: Path) -> None:
    config(tmp_path, ranks=1)
    line = evaluation(1, 0.0, [], [], loss=1.25)
    del line["test_error"]
    write(tmp_path, 0, [start(0, []), line])
    summary = summarise(read_run(tmp_path))
    assert (summary.metric, summary.error, summary.worst, summary.loss) == ("", None, None, 1.25)


def test_numbers_that_are_not_finite_are_null_for_programs(tmp_path: Path) -> None:
    summary = summarise(read_run(liar_run(tmp_path / "run")))
    assert isnan(summary.series.disagreement[0])
    text = json.dumps(summary.plain(), allow_nan=False)
    assert json.loads(text)["series"]["disagreement"][0] is None


def test_a_lost_configuration_is_a_warning(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    (place / "config.toml").write_text("name = ")
    run = read_run(place)
    assert "config.toml is missing or torn" in run.warnings[0]
    assert summarise(run).error == pytest.approx(0.3)  # the ranks say themselves who lies


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is not a run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="has no rank files"):
        read_run(tmp_path)
    assert ResultsError.exit_code == 5


def test_traces_and_checkpoints_are_not_taken_for_ranks(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    (place / "rank-0009.trace.jsonl").write_text("{}")
    (place / "rank-0009.ckpt-000005.npz").write_text("")
    assert read_run(place).size == 4


def test_evaluations_written_twice_count_once(tmp_path: Path) -> None:
    place = liar_run(tmp_path / "run")
    lines = (place / "rank-0000.jsonl").read_text().splitlines()
    (place / "rank-0000.jsonl").write_text("\n".join([*lines[:3], *lines[2:]]) + "\n")
    before: Run = read_run(liar_run(tmp_path / "other"))
    assert summarise(read_run(place)).plain()["series"] == summarise(before).plain()["series"]


def test_every_key_of_the_json_is_a_field_of_the_summary(tmp_path: Path) -> None:
    plain = summarise(read_run(liar_run(tmp_path / "run"))).plain()
    assert set(plain) == {field.name for field in fields(Summary)}
