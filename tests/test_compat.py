"""Whom liars and lost messages can harm: every method is protected by a screen, or refused, or warned about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import pytest

from dmtl import registry
from dmtl.algorithms.diffusion import State
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import CompatibilityError
from dmtl.registry import names
from dmtl.simulator import simulate
from dmtl.types import Needs

BASE = {"data": "synthetic:rows=12,features=3", "ranks": 6, "topology": "complete", "screen": "median"}
LIARS = {"byzantine": [{"ranks": [1], "attack": "sign-flip"}]}
FORGETFUL = "gradient-tracking:leak=0.1"


def warnings(**settings):
    return plan(load({**BASE, **settings})).warnings


def about_liars(name):
    """What is said with a liar and not without."""
    return set(warnings(algorithm=name, **LIARS)) - set(warnings(algorithm=name))


@dataclass(frozen=True)
class Spy:
    """A screen that counts who asks it, and lets all through."""

    screen: object
    asked: list

    def __getattr__(self, what):
        return getattr(self.screen, what)

    def __call__(self, rows, weights, memory, task, view):
        self.asked.append(view.rank)
        return self.screen(rows, weights, memory, task, view)


def asks_its_screen(name):
    """Whether every honest rank asks its screen within three rounds."""
    job, asked = plan(load({**BASE, **LIARS, "algorithm": name})), []
    nodes = [job.node(rank) for rank in range(6)]
    for node in nodes:
        node.screen = Spy(node.screen, asked)
    simulate(nodes, 3)
    return {0, 2, 3, 4, 5} <= set(asked)


@pytest.mark.parametrize("name", [*names("algorithm"), FORGETFUL, f"{FORGETFUL},cap=1", "dmtrl:relations=learned"])
def test_with_a_liar_every_method_asks_its_screen_or_is_refused_or_warned_of(name):
    try:
        found = [line for line in warnings(algorithm=name, **LIARS) if not line.endswith("has no effect.")]
    except CompatibilityError:
        return
    bare = name.partition(":")[0]
    for line in found:
        assert line.startswith(f"'{bare}' ")
        others = set(re.findall(r"'([a-z-]+)'", line.removeprefix(f"'{bare}'")))
        assert others & set(names("algorithm")) or "Give it a cap" in line, "it names no way out"
    if not found and name != "resilient-mtl" and not asks_its_screen(name):  # which filters by losses itself
        assert name == "local", "and hears nobody"
        assert plan(load({**BASE, "algorithm": name})).node(0).message_shape[0] == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mocha", "'mocha' has no defence: a neighbour pulls as hard as it likes. With liars use 'laplacian' and a"),
        ("dmtrl", "'dmtrl' has no defence: a neighbour pulls as hard as it likes. With liars use 'laplacian' and a"),
        ("dmtrl:relations=learned", "'dmtrl' has no defence: a lie is in every average. With liars use 'diffusion'"),
        ("pmtl", "'pmtl' has no defence: a lie is in every average. With liars use 'diffusion' and a screen."),
        ("dada", "'dada' has no bound on what a liar does to it. With liars use 'model-propagation' and a screen."),
        ("collaborative", "'collaborative' has no bound on what a liar does to it. With liars use 'model-propag"),
        ("central-fista", "'central-fista' is told the data of all ranks: lies in messages change nothing, and false"),
        (FORGETFUL, "'gradient-tracking' with a leak forgets a lie about its trackers and does not bound it."),
    ],
)
def test_a_method_without_defence_says_what_a_liar_can_do(name, sentence):
    (said,) = about_liars(name)
    assert said.startswith(sentence)


def test_a_sum_that_is_kept_for_ever_is_healed_only_by_settings_that_there_are():
    (said,) = (line for line in warnings(algorithm="nids", **LIARS) if "keeps a sum over all ranks" in line)
    assert said.endswith("and the error stays. Use 'diffusion', 'laplacian' or 'network-lasso'.")
    (said,) = warnings(algorithm="gradient-tracking")
    assert said.endswith("gradient-tracking:leak=0.1,cap=1, or use 'diffusion', 'laplacian' or 'network-lasso'.")


@dataclass(frozen=True)
class Stranger:
    """Replace the own model by the first neighbour's."""

    sure: bool = False
    """whether it claims to be harmed by nothing"""
    needs: ClassVar[Needs] = Needs.UNSCREENED | Needs.FRESH

    def message_shape(self, task):
        return 1, task.dim

    def init(self, x0, task, view):
        return State(x0, x0)

    def send(self, state, view):
        return (state.x,)

    def step(self, state, inbox, mix, task, view):
        return State(inbox.messages[0, 0], state.x)


@dataclass(frozen=True)
class Sure(Stranger):
    """One that says that it is not harmed."""

    endures_loss: ClassVar[bool] = True

    def exposure(self):
        return ""


@dataclass(frozen=True)
class Candid(Stranger):
    """One that says that it is."""

    endures_loss: ClassVar[bool] = False

    def exposure(self):
        return "repeats a lie. Use 'laplacian'."


@pytest.fixture
def strangers(monkeypatch):
    here = {name: f"{__name__}:{name.title()}" for name in ("stranger", "sure", "candid")}
    extended = {**registry.BUILTIN["algorithm"], **here}
    monkeypatch.setattr(registry, "BUILTIN", MappingProxyType({**registry.BUILTIN, "algorithm": extended}))


def test_a_third_partys_method_is_warned_about_unless_it_says_otherwise(strangers):
    said = {name: about_liars(name) for name in ("stranger", "sure", "candid")}
    assert said == {
        "stranger": {
            "'stranger' asks no screen and tells of no defence of its own. With liars use 'diffusion' and a screen."
        },
        "sure": set(),
        "candid": {"'candid' repeats a lie. Use 'laplacian'."},
    }
    lossy = {"screen": "average", "link": "drop=0.1"}
    harmed = [name for name in said if any("where some are lost" in line for line in warnings(algorithm=name, **lossy))]
    assert harmed == ["stranger", "candid"]
