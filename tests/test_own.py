"""Pieces of the user's own, named by their place: found, given settings, described, refused in a sentence."""

from __future__ import annotations

import sys

import msgspec
import pytest

from dmtl.build import plan
from dmtl.commands.manual import print_page
from dmtl.config import load
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.launch import start
from dmtl.own import files, piece
from dmtl.simulator import simulate
from dmtl.specs import describe, make, parse

PLAIN = '''
import numpy as np
class Mean:
    """The mean of the targets."""
    dim = 1
    def __init__(self, data, pull: float = 0.0, batch=0):
        self.data, self.pull, self.batch = data, pull, batch
    def loss(self, w, rng=None):
        return float(np.mean((self.data.y - w) ** 2) / 2)
    def grad(self, w, rng=None):
        return w - self.data.y.mean(keepdims=True)
    def evaluate(self, w):
        return {"test_loss": self.loss(w)}
'''
SCREEN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from dmtl import Mixed
from beside import SHARE
@dataclass(frozen=True)
class Halfway:
    'Go halfway to the average.'
    share: float = SHARE
    linear: ClassVar[bool] = False
    def least_neighbours(self): return 0
    def capacity(self, neighbours): return 0
    def init(self, task, view): return ()
    def __call__(self, rows, weights, memory, task, view):
        return Mixed(rows[0] + self.share * (weights @ rows - rows[0]), self.share + 0 * weights[1:])
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """``place(text)`` writes a file of code and returns its path; a file of one test is gone in the next."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text, name="own.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    yield write
    for name in [name for name in sys.modules if name.startswith(str(tmp_path)) or name == "beside"]:
        del sys.modules[name]


def test_a_plain_class_is_a_task_whose_settings_are_the_other_parameters_of_its_constructor(place):
    name = f"{place(PLAIN)}:Mean"
    spec = parse(f"{name}:pull=2,batch=3", "task")
    assert spec == {"name": name, "pull": "2", "batch": "3"}
    made = make("task", spec)
    assert (made.pull, made.batch) == (2.0, 3)
    assert describe("task", made) == {"name": name, "pull": 2.0, "batch": 3}
    assert made == make("task", describe("task", made))
    job = plan(load({"data": "synthetic", "task": f"{name}:pull=2", "algorithm": "local:step_size=1", "ranks": 3}))
    assert job.config.task == {"name": name, "pull": 2.0, "batch": 0}
    nodes = [job.node(rank) for rank in range(3)]
    for node, state in zip(nodes, simulate(nodes, 1), strict=True):
        assert state.x == pytest.approx(node.task.data.y.mean())
    assert plan(load(msgspec.to_builtins(job.config))).config == job.config


def test_a_dataclass_is_a_piece_of_any_kind_and_may_import_what_lies_beside_it(place, capsys):
    place("SHARE = 0.25", "beside.py")
    name = f"{place(SCREEN)}:Halfway"
    job = plan(load({"data": "synthetic", "screen": f"clip:2+{name}:share=0.5", "ranks": 4}))
    assert job.config.screen[1] == {"name": name, "share": 0.5}
    assert make("screen", parse(name, "screen")).share == 0.25
    print_page(name, "screen")
    assert "Go halfway to the average." in capsys.readouterr().out
    assert piece("weights", "dmtl.topology:uniform")
    assert describe("task", make("task", parse("dmtl.tasks.mlp:MLP:hidden=3", "task")))["name"] == "mlp"


def test_the_code_is_part_of_what_all_ranks_must_have_in_common(place):
    name = f"{place(PLAIN)}:Mean"
    raw = {"data": "synthetic", "task": name, "algorithm": "local:step_size=1", "ranks": 2}
    before = plan(load(raw)).data_identity
    assert plan(load(raw)).data_identity == before
    place(PLAIN + "\n# another comment\n")
    assert plan(load(raw)).data_identity != before


def test_files_of_code_are_found_wherever_they_are_named():
    raw = {"task": {"name": "torch", "module": "b/net.py:Net"}, "screen": [{"name": "a.py:Own"}], "data": "file:x.csv"}
    assert files(raw) == ["a.py", "b/net.py"]
    assert files({"data": {"name": "synthetic"}, "seed": 3}) == []


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("", "own.py:Mean", r"unknown name in .*own.py, of the task: 'Mean'. Allowed: none"),
        (PLAIN, "own.py:Maen", r"'Maen'. Did you mean 'Mean'\?"),
        (PLAIN, "own.py", r"the task is '.*own.py:'. Write FILE.py:NAME"),
        (PLAIN, "own.py:Mean,batch=3", r"Write FILE.py:NAME or package.module:NAME"),
        (PLAIN, "other.py:Mean", r"there is no file '.*other.py'"),
        (PLAIN, "own.py:Mean:bacth=3", r"unknown setting of task '.*own.py:Mean': 'bacth'. Did you mean 'batch'"),
        (PLAIN, "own.py:Mean:batch=x", r"task '.*own.py:Mean' has batch='x'"),
        ("a = 1\nb = a / 0", "own.py:Mean", r"own.py' cannot be run: ZeroDivisionError: .*, in line 2"),
        ("class A:\n def f(:\n", "own.py:A", r"own.py' cannot be run: SyntaxError"),
        ("import nothing_of_that_name", "own.py:A", r"No module named 'nothing_of_that_name', in line 1"),
        ("def Mean(data): pass", "own.py:Mean", r"the task '.*own.py:Mean' is no class"),
        ("class Mean: pass", "own.py:Mean", r"lacks 'build' or 'loss', 'grad', 'evaluate'"),
        (PLAIN.replace("grad", "gard"), "own.py:Mean", r"lacks 'build' or 'grad'\."),
        (
            PLAIN.replace("pull: float = 0.0, batch=0", "batch, pull=0.0"),
            "own.py:Mean",
            "takes 'batch' without a plain default",
        ),
        (PLAIN.replace("pull: float", "pull: 'flaot'"), "own.py:Mean", "types cannot be read"),
        ("class Mean:\n def build(self, data): pass", "own.py:Mean", "is no dataclass. Write @dataclass"),
        ("", "no.such.module:Mean", "module 'no.such.module' cannot be imported: ModuleNotFoundError"),
        (PLAIN.replace("dim = 1", ""), "own.py:Mean", "lacks dim. It has dim, loss, grad and evaluate"),
        (PLAIN.replace("return w -", "return np.ones((1, 1)) * w -"), "own.py:Mean", r"a gradient of shape \(1, 1\)"),
        (
            PLAIN.replace("return w", "return (w").replace("keepdims=True)", "keepdims=True)).astype('f')"),
            "own.py:Mean",
            "it is to be a numpy array",
        ),
        (PLAIN.replace("float(np.mean(", "(("), "own.py:Mean", "not one number"),
    ],
)
def test_what_is_wrong_with_own_code_is_said_in_a_sentence(place, tmp_path, text, name, said):
    place(text)
    name = name if name.startswith("no.") else str(tmp_path / name)
    raw = {"data": "synthetic", "task": name, "algorithm": "local:step_size=1", "ranks": 2}
    with pytest.raises(ConfigError, match=said):
        plan(load(raw)).node(0)


def test_a_screen_that_lacks_a_method_is_told_which(place):
    place("SHARE = 0.25", "beside.py")
    name = f"{place(SCREEN.replace('def capacity', 'def capasity'))}:Halfway"
    with pytest.raises(ConfigError, match=r"the screen '.*:Halfway' lacks 'capacity'\. ARCHITECTURE\.md says"):
        plan(load({"data": "synthetic", "screen": name, "ranks": 4}))


def test_ranks_whose_tasks_have_different_numbers_of_parameters_are_refused_before_round_0(place, tmp_path):
    uneven = PLAIN.replace(
        "self.data, self.pull", "self.dim = 1 + (data.label == '' and len(data.y) % 2); self.data, self.pull"
    )
    uneven = uneven.replace("w - self.data.y.mean(keepdims=True)", "0 * w")
    uneven = uneven.replace("self.data.y - w)", "self.data.y - w[0])")
    file = place(uneven.replace("len(data.y) % 2", "abs(data.y[0]) < 0.5"))
    raw = {"data": "synthetic", "task": f"{file}:Mean", "algorithm": "diffusion:step_size=1", "ranks": 8}
    dims = [plan(load(raw)).node(rank).task.dim for rank in range(8)]
    assert len(set(dims)) == 2, "the draw must have both kinds"
    odd = next(rank for rank in range(8) if dims[rank] != dims[0])
    with pytest.raises(CompatibilityError, match=rf"rank {odd} would send messages of {dims[odd]} numbers and rank 0"):
        start(lambda: {**raw, "out": str(tmp_path / "out")}, quiet=True)
    assert not (tmp_path / "out").exists()
