"""What people see of a run's progress: lines in a batch log, a bar on a terminal, nothing from quiet ranks."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import dmtl.progress
from dmtl.progress import Progress


def test_a_batch_log_gets_a_plain_line_every_few_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(dmtl.progress, "monotonic", lambda: now[0])
    with Progress(100, True) as bar:
        for round in range(1, 101):
            now[0] += 0.5
            bar.show(round, 1 / round)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "dmtl: round 11 of 100, loss 0.09091"
    assert len(lines) == 9
    assert not any("\r" in line for line in lines)


def test_a_quiet_rank_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(dmtl.progress, "monotonic", iter(range(0, 10000, 100)).__next__)
    with Progress(100, False) as bar:
        bar.show(50, 1.0)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_is_gone_afterwards():
    master, slave = pty.openpty()
    code = "from dmtl.progress import Progress\nwith Progress(4, True) as bar:\n    bar.show(4, 0.5)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(timeout=60) == 0
    assert "4/4" in seen.decode()
    assert "loss 0.5" in seen.decode()
