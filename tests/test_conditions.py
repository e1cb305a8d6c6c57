"""Conditions from the command line: runs under each, what is refused and warned of, and what is told beforehand."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dmtl.build import plan
from dmtl.changing import coverage
from dmtl.cli import cli
from dmtl.config import digest, load, to_toml
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.registry import find, names
from dmtl.simulator import simulate
from dmtl.types import Needs
from dmtl.virtual import simulate_async

DATA = ("--data", "synthetic:rows=20,features=4", "--ranks", "6", "--rounds", "30")
BASE = {"data": "synthetic:rows=20,features=4", "ranks": 6, "rounds": 30}
FRESH = [name for name in names("algorithm") if Needs.FRESH in find("algorithm", name).needs]
CHARTED = [name for name in names("algorithm") if not hasattr(find("algorithm", name), "step")]
FLAGS = {
    "link": ("--link", "age=4,drop=0.1"),
    "lossy": ("--link", "drop=0.2"),
    "split": ("--split", "0-2|3-5@10-20"),
    "join": ("--join", "3@15"),
    "slow": ("--slow", "3:10x"),
    "pace": ("--pace", "0.5"),
    "delay": ("--link", "delay=0.01,jitter=0.02"),
    "matching": ("--time-varying", "matching"),
    "activation": ("--time-varying", "activation:p=0.4"),
    "together": ("--time-varying", "matching", "--join", "1@5", "--split", "0-2|3-5@10-20", "--link", "drop=0.1"),
    "not waiting": ("--transport", "simulated-async", "--slow", "3:10x", "--link", "delay=0.002,drop=0.1"),
}
every = pytest.mark.parametrize("flags", FLAGS.values(), ids=list(FLAGS))


def dmtl(*arguments: str):
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def run(out: Path, *flags: str):
    done = dmtl("run", *DATA, *flags, "-q", "--out", str(out))
    assert done.exit_code == 0, done.output
    return [read(out / f"rank-{rank:04d}.jsonl") for rank in range(6)]


def read(path: Path) -> list[dict]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if line["event"] == "round"]


def models(out: Path) -> np.ndarray:
    return np.array([np.load(path)["model.x"] for path in sorted(out.glob("rank-*.npz"))])


def report(*arguments: str) -> dict:
    return json.loads(dmtl("check", *DATA, *arguments, "--json").output)


# runs


@every
def test_a_run_is_what_its_own_config_toml_and_its_printed_one_give_again(tmp_path, flags):
    run(tmp_path / "out", *flags)
    config = load(tomllib.loads((tmp_path / "out" / "config.toml").read_text()))
    job = plan(config)
    nodes = [job.node(rank) for rank in range(6)]
    late = config.asynchronous
    states = simulate_async(nodes, 30, job.conditions, config.max_age) if late else simulate(nodes, 30)
    assert np.array_equal(models(tmp_path / "out"), [state.x for state in states])
    printed = dmtl("run", *DATA, *flags, "--print-config").stdout
    again = plan(load(tomllib.loads(printed))).config
    assert (to_toml(again), digest(again)) == (printed, digest(config))


@every
def test_what_hides_or_delays_messages_in_rounds_changes_the_models_and_what_takes_seconds_does_not(tmp_path, flags):
    lines, plain = run(tmp_path / "out", *flags), run(tmp_path / "plain")
    timed = flags[0] in ("--slow", "--pace") or "delay" in flags[1]
    assert np.array_equal(models(tmp_path / "out"), models(tmp_path / "plain")) == timed
    assert all(("clock" in line) == (timed or "simulated-async" in flags) for rank in lines for line in rank)
    assert not any("clock" in line for rank in plain for line in rank)


def test_the_age_of_what_was_heard_is_in_the_files(tmp_path):
    lines = run(tmp_path / "a", "--split", "0-2|3-5@10-20", "--eval-every", "1")
    assert [line["round"] for line in lines[3] if line["round"] and -1 in line["age"]] == [*range(11, 21)]
    assert [line["refused"] for line in lines[3]][9:13] == [0, 0, 1, 1]
    lines = run(tmp_path / "b", "--join", "3@15", "--eval-every", "1")
    assert {line["loss"] for line in lines[3][:16]} == {lines[3][0]["loss"]}
    assert lines[3][16]["loss"] != lines[3][0]["loss"]


def test_a_partition_with_an_at_sign_is_a_split_and_another_is_one_of_data(tmp_path):
    run(tmp_path / "a", "--partition", "0-2|3-5@10-20", "--partition", "iid")
    run(tmp_path / "b", "--split", "0-2|3-5@10-20", "--partition", "iid")
    config = tomllib.loads((tmp_path / "a" / "config.toml").read_text())
    assert config["splits"] == ["0-2|3-5@10-20"]
    assert config["partition"]["name"] == "iid"
    assert np.array_equal(models(tmp_path / "a"), models(tmp_path / "b"))


def test_the_clock_of_ranks_that_wait_is_the_slowest_and_of_those_that_do_not_their_own(tmp_path):
    waiting = run(tmp_path / "a", "--slow", "3:10x", "--pace", "2", "--topology", "complete", "--link", "delay=1")
    assert [rank[-1]["clock"] for rank in waiting] == [600.0 + (rank != 3) for rank in range(6)]
    alone = run(tmp_path / "d", "--slow", "3:10x", "--pace", "2", "--link", "delay=1", "--algorithm", "local")
    assert [rank[-1]["clock"] for rank in alone] == [60.0 + 540 * (rank == 3) for rank in range(6)]
    going = run(tmp_path / "b", "--slow", "3:10x", "--pace", "2", "--transport", "simulated-async")
    assert [rank[-1]["clock"] for rank in going] == [60.0 + 540 * (rank == 3) for rank in range(6)]
    short = run(tmp_path / "c", "--slow", "3:10x", "--pace", "2", "--transport", "simulated-async", "--seconds", "45")
    assert [rank[-1]["round"] for rank in short] == [22, 22, 22, 2, 22, 22]


def test_a_run_under_every_counted_condition_that_is_resumed_ends_as_if_it_had_gone_straight(tmp_path):
    flags = ("--link", "age=4,drop=0.1", "--split", "0-2|3-5@10-20", "--join", "3@15", "--checkpoint-every", "7")
    run(tmp_path / "straight", *flags)
    out = tmp_path / "out"
    dmtl("run", *DATA, *flags, "--rounds", "14", "-q", "--out", str(out))
    assert dmtl("run", "--resume", str(out), "--rounds", "30", "-q").exit_code == 0
    assert np.array_equal(models(out), models(tmp_path / "straight"))


def test_reports_and_pictures_of_runs_with_a_clock_are_made(tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    run(tmp_path / "waiting", "--slow", "3:10x", "--link", "delay=0.01,jitter=0.01")
    run(tmp_path / "going", *FLAGS["not waiting"], "--seconds", "0.01")
    both = [str(tmp_path / name) for name in ("waiting", "going")]
    assert dmtl("report", *both).exit_code == 0
    assert len(json.loads(dmtl("report", *both, "--json").stdout)["runs"]) == 2
    assert dmtl("report", *both, "--html", "--out", str(tmp_path / "page")).exit_code == 0
    assert (tmp_path / "page" / "report.html").stat().st_size > 1000


# identity


def identity(**settings) -> str:
    return digest(plan(load({**BASE, **settings})).config)


def test_the_identity_is_that_of_the_numbers():
    base = identity()
    quiet = [
        *({"link": "delay=3,jitter=2"}, {"link": "drop=0"}, {"slow": "3:10x"}, {"pace": 2.0}, {"max_age": 3}),
        {"transport": "simulated"},
    ]
    loud = [
        *({"link": "drop=0.1"}, {"link": "age=3"}, {"splits": ["0-2|3-5@1-2"]}, {"join": "3@4"}),
        *({"time_varying": "matching"}, {"transport": "simulated-async"}),
    ]
    assert {identity(**same) for same in quiet} == {base}
    assert len({base, *(identity(**other) for other in loud)}) == 1 + len(loud)
    assert identity(link="drop=0.1,age=3") == identity(link=" age=3 , drop=.1,delay=4")


def test_where_ranks_do_not_wait_seconds_are_part_of_the_identity():
    base = {"transport": "simulated-async", "slow": "3:10x"}
    others = [
        *({"slow": "3:9x"}, {"link": "delay=1"}, {"link": "jitter=1"}, {"pace": 1.0}, {"max_age": 3}, {"seconds": 5.0}),
        {"transport": "async"},
    ]
    assert len({identity(**base), *(identity(**{**base, **other}) for other in others)}) == 1 + len(others)


# refusals and warnings


REFUSED = [
    *(
        ({"algorithm": name, **stale}, f"{name!r} needs every message in its own round")
        for name in FRESH
        for stale in ({"link": "age=5"}, {"transport": "async"}, {"transport": "simulated-async"})
    ),
    *(
        ({"transport": "simulated-async", **counted}, "count common rounds, and asynchronous ranks have none")
        for counted in ({"join": "3@4"}, {"splits": ["0|1-5@1-2"]}, {"link": "age=2"}, {"time_varying": "matching"})
    ),
    ({"time_varying": "matching", "link": "age=2"}, "link age and a time-varying graph do not go together"),
    ({"seconds": 3.0}, "--seconds stops ranks that do not wait for each other"),
    (
        {"algorithm": "gradient-tracking", "weights": "uniform", "time_varying": "matching"},
        "needs weights whose columns sum to one",
    ),
]


@pytest.mark.parametrize(("settings", "reason"), REFUSED, ids=str)
def test_what_does_not_go_together_is_refused_in_a_sentence_and_its_way_out(settings, reason):
    with pytest.raises(CompatibilityError, match=reason) as caught:
        plan(load({**BASE, **settings}))
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in said
    assert said.count(". ") == 1
    assert said.endswith(".")


def test_there_are_methods_that_need_fresh_messages():
    assert {"gradient-tracking", "network-lasso", "pdmm", "pairwise-gossip"} <= {*FRESH}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--link", "drop=2"), "link has drop=2. It is a probability"),
        (("--link", "age=x"), "link is 'age=x': 'age=x' is not understood."),
        (("--split", "0-2|3-6@1-2"), "split is '0-2|3-6@1-2': '6' is no rank."),
        (("--partition", "0-2|3-4@1-2"), "rank 5 is in no group."),
        (("--join", "3"), "join is '3': '3' is not RANK@ROUND"),
        (("--slow", "9:2x"), "slow is '9:2x': '9' is no rank."),
        (("--link", "age=3", "--algorithm", "pdmm"), "'pdmm' needs every message in its own round"),
        (("--pace", "-1"), "pace is -1.0. It must be at least 0."),
    ],
)
def test_the_program_says_it_once_and_exits_2(flags, sentence, tmp_path):
    command = [sys.executable, "-m", "dmtl", "run", *DATA, *flags, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert not (tmp_path / "out").exists()


def warnings(**settings) -> tuple[str, ...]:
    return plan(load({**BASE, **settings})).warnings


def test_lost_messages_are_warned_of_where_the_error_stays_and_closed_links_are_not():
    for name in sorted({*FRESH} - {*CHARTED}):
        said = warnings(algorithm=name, link="drop=0.1")
        assert any("where some are lost it ends somewhere else" in line for line in said) == (
            name not in ("pdmm", "collaborative", "fedspd")
        )
        assert warnings(algorithm=name, splits=["0-2|3-5@1-2"], join="1@5", time_varying="matching") == ()
    assert warnings(algorithm="laplacian", link="drop=0.1") == ()


def test_a_changing_graph_that_can_give_a_screen_too_few_neighbours_only_is_warned_of(tmp_path):
    least = {"topology": "complete", "screen": "trimmed-mean:b=1"}
    said = warnings(**least, time_varying="matching")
    assert len(said) == 1
    assert (
        "'trimmed-mean' asks for 3 neighbours, and 'matching' gives rank 0 at most 1 in any of the first 30" in said[0]
    )
    assert warnings(**least, time_varying="activation:p=0.9") == ()
    assert warnings(**{**least, "screen": "median"}, time_varying="matching") == ()
    schedule = tmp_path / "schedule.txt"
    schedule.write_text("0: 0-1 0-2 0-3\n1: 1-2 1-3\n2: 2-3 2-4 3-5\n3: 4-5\n")
    said = warnings(**least, time_varying=f"file:{schedule}")
    assert "gives rank 0 at most 3" not in said[0]
    assert "gives rank 1 at most 2" in said[0]


# beforehand


def test_check_tells_how_long_links_that_take_turns_need():
    found = report("--time-varying", "matching", "--topology", "ring")["links and ranks"]
    ways = plan(load({**BASE, "time_varying": "matching", "topology": "ring"})).changing
    expected = coverage(ways)
    assert found["time_varying"] == {"name": "matching"}
    assert (found["connected_after"], found["rounds_to_1e6"]) == expected[1:]
    text = dmtl("check", *DATA, "--time-varying", "matching").stdout
    assert f"{expected.connected_after} rounds, by the links used until then" in text
    assert f"{expected.rounds_to_1e6} shrink a disagreement to a millionth" in text


def test_check_says_of_a_schedule_that_leaves_a_rank_alone_that_it_does(tmp_path):
    schedule = tmp_path / "schedule.txt"
    schedule.write_text("0: 0-1 1-2\n1: 3-4\n2: 2-3\n")
    flags = ("--time-varying", f"file:{schedule}", "--topology", "path")
    found = report(*flags)["links and ranks"]
    assert (found["connected_after"], found["rounds_to_1e6"]) == (None, None)
    text = dmtl("check", *DATA, *flags).stdout
    assert "warning: not within 200 rounds, so some ranks may never hear of each other" in text
    assert "never, as 200 rounds look" in text


def test_check_tells_every_condition_and_that_there_is_none():
    flags = ("--link", "delay=0.05,jitter=0.02,drop=0.01", "--split", "0,2,4|1,3,5@10-20", "--join", "3@15")
    flags += ("--slow", "3:10x", "--pace", "0.5")
    found = report(*flags)["links and ranks"]
    assert found["link"] == {"delay": 0.05, "jitter": 0.02, "drop": 0.01, "age": 0}
    assert found["splits"] == [{"groups": [[0, 2, 4], [1, 3, 5]], "first": 10, "end": 20}]
    assert (found["joins"], found["slow"], found["pace"]) == ({"3": 15}, {"3": 10.0}, 0.5)
    text = dmtl("check", *DATA, *flags).stdout
    for words in (
        "a message takes 0.05 s, up to 0.02 s more, 1 % are lost",
        "0, 2, 4 | 1, 3, 5 in rounds 10 .. 19",
        "rank 3 from round 15",
        "rank 3 10 times",
        "a round takes 0.5 s at least",
    ):
        assert words in text
    calm = dmtl("check", *DATA).stdout
    for words in ("no: all links are in use in all rounds", "sound", "all ranks are there from the start"):
        assert words in calm


def test_check_says_whether_the_mpi_at_hand_outlives_its_dead_as_the_doctor_does():
    found = report()["transport"]["fault_tolerance"]
    doctor = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)["checks"]
    same = {check["name"]: check["value"] for check in doctor}
    if not same["mpirun"]:
        pytest.skip("there is no mpirun")
    assert found == same["fault tolerance"]
    assert "without: a dead rank ends the job; resume from checkpoints" in dmtl("check", *DATA).stdout


def test_a_command_line_without_a_launcher_has_no_fault_tolerance_to_tell_of(monkeypatch):
    monkeypatch.setattr("dmtl.commands.check.find_mpirun", lambda: "")
    assert report()["transport"]["fault_tolerance"] is False


def test_both_config_errors_and_bad_texts_are_found_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="is no rank"):
        dmtl("run", *DATA, "--join", "7@3", "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
