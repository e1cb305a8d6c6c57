"""Watching: what is read, what state it is, and when it is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dmtl.cli import cli
from dmtl.commands import watch
from dmtl.commands.watch import RankState, Watcher, latest, watch_run
from dmtl.errors import ResultsError

START = {"event": "start", "byzantine": False, "sources": [], "targets": [], "message": [1, 2]}
END = {"event": "end", "round": 10, "seconds": 1.0}


def append(place: Path, rank: int, *lines: Any) -> None:
    with (place / f"rank-{rank:04d}.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def begun(place: Path, ranks: int = 2, **changes: Any) -> Path:
    text = f'name = "r"\nranks = {ranks}\nrounds = 10\neval_every = 2\n'
    (place / "config.toml").write_text(text)
    for rank in range(ranks):
        others = [other for other in range(ranks) if other != rank]
        append(place, rank, {**START, "rank": rank, "label": f"p{rank}", "sources": others, **changes})
    return place


def evaluation(number: int, error: float = 0.5, trust: tuple[float, ...] = (1.0,), refused: int = 0) -> Any:
    line = {"event": "round", "round": number, "loss": 1.5, "test_error": error, "trust": trust}
    return {**line, "age": [0] * len(trust), "refused": refused, "distance": [], "bytes": 0, "seconds": 0.1}


def states(place: Path) -> list[str]:
    return [state.state for state in latest(place)]


def test_a_rank_is_shown_as_it_last_wrote(tmp_path: Path) -> None:
    begun(tmp_path, 3)
    append(tmp_path, 0, evaluation(2, refused=1), evaluation(4, 0.25, (0.75, 0.5), refused=2))
    state = latest(tmp_path)[0]
    assert state[:8] == (0, "p0", False, 4, 1.5, 0.25, (2, 0.5), 3)
    assert state.state == "running"


def test_a_rank_more_than_one_evaluation_behind_is_late(tmp_path: Path) -> None:
    begun(tmp_path, 3)
    append(tmp_path, 0, evaluation(6))
    append(tmp_path, 1, evaluation(4))
    append(tmp_path, 2, evaluation(2))
    assert states(tmp_path) == ["running", "running", "late"]


def test_the_ends_of_ranks_are_told_apart(tmp_path: Path) -> None:
    begun(tmp_path, 3)
    append(tmp_path, 0, evaluation(10), END)
    append(tmp_path, 1, evaluation(2), {"event": "failed", "error": "E"})
    (tmp_path / "rank-0002.jsonl").unlink()
    assert states(tmp_path) == ["ended", "failed", "not begun"]


def test_only_what_was_appended_is_read_again(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    append(tmp_path, 0, evaluation(2))
    watcher = Watcher(tmp_path)
    assert watcher.look()[0].round == 2
    file = tmp_path / "rank-0000.jsonl"
    file.write_bytes(b"x" * file.stat().st_size)  # a second look from the start would find no run
    append(tmp_path, 0, evaluation(4))
    assert watcher.look()[0].round == 4


def test_a_line_that_comes_in_pieces_is_read_when_it_is_whole(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    watcher = Watcher(tmp_path)
    text = json.dumps(evaluation(2)) + "\n"
    for part, expected in ((text[:7], -1), (text[7:40], -1), (text[40:-1], -1), (text[-1:], 2)):
        with (tmp_path / "rank-0000.jsonl").open("a") as file:
            file.write(part)
        assert watcher.look()[0].round == expected


def test_a_torn_line_does_not_hide_the_next_one(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    with (tmp_path / "rank-0000.jsonl").open("ab") as file:
        file.write(b'{"event": "rou\xff\n[1]\n')
    append(tmp_path, 0, evaluation(8))
    assert latest(tmp_path)[0].round == 8


def test_a_run_that_starts_again_is_read_from_its_beginning(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    append(tmp_path, 0, evaluation(8, refused=4), evaluation(10), END)
    watcher = Watcher(tmp_path)
    assert watcher.look()[0].state == "ended"
    (tmp_path / "rank-0000.jsonl").unlink()
    append(tmp_path, 0, {**START, "rank": 0, "label": "again"})
    state = watcher.look()[0]
    assert (state.label, state.round, state.state, state.refused) == ("again", -1, "running", 0)


def test_once_says_that_nothing_was_written_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch_run(str(tmp_path), once=True)
    assert "no rank has written anything yet" in " ".join(capsys.readouterr().out.split())  # a long path wraps it


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not a run folder"):
        watch_run(str(tmp_path / "nowhere"), once=False)


def test_watching_waits_for_the_first_line_and_goes_on_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = iter(
        [
            lambda: begun(tmp_path),
            lambda: append(tmp_path, 0, evaluation(10), END),
            lambda: append(tmp_path, 1, evaluation(4), {"event": "failed", "error": "E"}),
        ]
    )
    monkeypatch.setattr(watch.time, "sleep", lambda _: next(steps)())
    watch_run(str(tmp_path), once=False)
    assert next(steps, None) is None
    assert "2 ranks, 1 ended, 1 failed" in " ".join(capsys.readouterr().out.split())


def test_ctrl_c_leaves_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupt)
    watch_run(str(begun(tmp_path)), once=False)
    assert "2 ranks, 2 running" in " ".join(capsys.readouterr().out.split())


def test_liars_are_marked_as_ranks_and_as_neighbours(tmp_path: Path) -> None:
    begun(tmp_path, 1)
    append(tmp_path, 1, {**START, "rank": 1, "label": "p1", "byzantine": True, "sources": [0]}, evaluation(2))
    (tmp_path / "rank-0000.jsonl").unlink()
    append(tmp_path, 0, {**START, "rank": 0, "label": "p0", "sources": [1]}, evaluation(2, trust=(0.25,)))
    text = CliRunner().invoke(cli, ["watch", "--once", str(tmp_path)]).output
    assert "p1 (liar)" in text
    assert "1 liar 0.25" in text


def test_of_many_ranks_only_the_slow_the_bad_and_the_failed_are_shown(tmp_path: Path) -> None:
    begun(tmp_path, 100, sources=[])
    for rank in range(100):
        append(tmp_path, rank, evaluation(2 if rank == 37 else 8, error=rank / 100, trust=()))
    append(tmp_path, 50, {"event": "failed", "error": "E"})
    result = CliRunner().invoke(cli, ["watch", "--once", str(tmp_path)])
    shown = {line.split()[0] for line in result.output.splitlines() if line.startswith("p")}
    assert {"p37", "p50", "p99", "p92"} <= shown
    assert len(shown) <= 3 * watch.FEW
    assert "100 ranks, 1 failed, 1 late, 98 running" in " ".join(result.output.split())


def test_a_rank_trusts_nobody_least_before_it_has_listened_or_where_it_trusts_all() -> None:
    assert watch._least([1, 2], [1.0, 1.0], 4) is None
    assert watch._least([1, 2], [0.0, 0.5], 0) is None
    assert watch._least([1, 2], [0.5, None], 4) == (1, 0.5)
    assert RankState._fields[-1] == "state"
