"""Names: built in, third-party, wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dmtl import registry
from dmtl.errors import ConfigError
from dmtl.pieces import BUILTIN
from dmtl.registry import find, kinds, names, where


def test_a_wrong_name_is_answered_with_the_nearest_right_one():
    with pytest.raises(
        ConfigError, match=r"unknown screen 'trimed-mean'. Did you mean 'trimmed-mean'\? Allowed: average"
    ):
        find("screen", "trimed-mean")
    with pytest.raises(ConfigError, match="unknown kind 'skreen'"):
        names("skreen")


def test_every_line_leads_somewhere():
    for kind in kinds():
        for name in BUILTIN[kind]:
            assert find(kind, name) is not None, where(kind, name)


def test_each_kind_has_a_group_of_entry_points_with_one_s_at_its_end(monkeypatch):
    asked = {}
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.setdefault(group, ()))
    for kind in kinds():
        assert registry._foreign.__wrapped__(kind) == {}
    assert {"dmtl.features", "dmtl.weights", "dmtl.screens", "dmtl.pre_screens", "dmtl.algorithms"} <= set(asked)
    assert len(asked) == len(kinds())


def plugin(folder: Path, name: str) -> None:
    """An installed package, as far as Python's metadata are concerned, with one screen."""
    (folder / "theirs.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Own:\n"
        "    'Listen to nobody.'\n"
        "    linear = False\n"
        "    def least_neighbours(self): return 0\n"
        "    def capacity(self, neighbours): return neighbours\n"
        "    def init(self, task, view): return ()\n"
        "    def __call__(self, rows, weights, memory, task, view):\n"
        "        from dmtl import Mixed\n"
        "        return Mixed(rows[0].copy(), weights[1:] * 0)\n"
    )
    meta = folder / "theirs-1.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (meta / "entry_points.txt").write_text(f"[dmtl.screens]\n{name} = theirs:Own\n")


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from dmtl.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=folder
    )


def test_a_third_partys_screen_is_a_piece_like_any_other(tmp_path):
    plugin(tmp_path, "listen-to-nobody")
    done = command(tmp_path, "run", "--screen", "listen-to-nobody", "--rounds", "3", "--ranks", "4", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert '"trust": [0.0, 0.0]' in (tmp_path / "out" / "rank-0001.jsonl").read_text()


def test_a_third_party_cannot_take_a_name_that_is_taken(tmp_path):
    plugin(tmp_path, "median")
    done = command(tmp_path, "run", "--screen", "median", "--out", "out")
    assert done.returncode == 2
    assert "the screen 'median' of theirs:Own has a name that is taken" in done.stderr
    assert "Traceback" not in done.stderr
