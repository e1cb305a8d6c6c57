"""The program itself: exit codes, and that every way of starting it is the same program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = ([sys.executable, "-m", "dmtl"], [str(Path(sys.executable).with_name("dmtl"))])


@pytest.mark.parametrize("way", WAYS, ids=["module", "script"])
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--version"], 0, ""),
        (["run", "--rounds", "x"], 2, "'x' is not a valid integer"),
        (["run", "--attack", "alie"], 2, "dmtl: error: --attack and --poison say what liars do; add --byzantine"),
        (["run", "--byzantine", "two", "--attack", "alie"], 2, "--byzantine is 'two'."),
        (["report", "nowhere"], 5, "nowhere is not a run folder"),
        (["fly"], 2, "No such command 'fly'"),
    ],
)
def test_both_ways_of_starting_exit_alike(way, arguments, code, sentence, tmp_path):
    done = subprocess.run([*way, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_run_says_how_to_go_on_and_keeps_its_whole_lines(tmp_path):
    command = [*WAYS[0], "run", "--rounds", "100000000", "--eval-every", "1", "--ranks", "2", "--out", "out", "-q"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    lines = tmp_path / "out" / "rank-0001.jsonl"
    while not (lines.exists() and lines.stat().st_size > 2000):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"dmtl: stopped by SIGINT after \d+ rounds; go on with: dmtl run --resume out", said.strip())
    assert lines.read_text().endswith("}\n")


def test_one_blas_thread_unless_told_otherwise():
    code = (
        "import os, dmtl.__main__ as m, sys; sys.argv = ['dmtl', '--version']\ntry: m.main()\nexcept SystemExit: pass\n"
    )
    code += "print(os.environ['OPENBLAS_NUM_THREADS'])"
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    for extra, expected in (({}, "1"), ({"DMTL_THREADS": "3"}, "3"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")):
        done = subprocess.run([sys.executable, "-c", code], env={**clean, **extra}, capture_output=True, text=True)
        assert done.stdout.split()[-1] == expected
