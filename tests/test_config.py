"""Settings: what is written is what is run, and what is wrong is one sentence."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtl import build
from dmtl.build import plan
from dmtl.config import combine, digest, load, read_file, to_toml
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.registry import find, names
from dmtl.specs import describe, make, parse, parse_chain

SMALL = {"data": "synthetic:rows=12,features=3", "ranks": 6}


def test_flags_win_over_the_file_and_assignments_over_both(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('rounds = 5\nalgorithm = "laplacian:strength=2"\neval-every = 3\nseed = 4\n')
    raw = combine(read_file(str(file)), {"rounds": 6, "seed": 7}, ["algorithm.strength=3.5", "seed=8"])
    config = load(raw)
    assert (config.rounds, config.eval_every, config.seed) == (6, 3, 8)
    assert config.algorithm == {"name": "laplacian", "strength": 3.5}


def test_the_effective_configuration_is_complete_and_runs_again_as_itself():
    flags = {"algorithm": "laplacian", "screen": "nnm:f=1+median", "topology": "random-regular:d=3,seed=1"}
    liars = [{"count": 2, "attack": "alie", "poison": "label-flip"}]
    job = plan(load({**SMALL, **flags, "byzantine": liars, "force": True}))
    text = to_toml(job.config)
    again = plan(load(tomllib.loads(text)))
    assert to_toml(again.config) == text
    assert digest(again.config) == digest(job.config)
    assert again.lies.keys() == job.lies.keys()
    assert tomllib.loads(text)["algorithm"] == {"name": "laplacian", "strength": 1.0}
    assert len(tomllib.loads(text)["byzantine"][0]["ranks"]) == 2


def test_only_what_changes_a_number_changes_the_identity():
    base = digest(plan(load(SMALL)).config)
    for same in (
        {"name": "x"},
        {"out": "y"},
        {"stall_warn": 3.0},
        {"algorithm": "diffusion"},
        {"weights": "metropolis"},
    ):
        assert digest(plan(load({**SMALL, **same})).config) == base
    for other in ({"seed": 1}, {"rounds": 7}, {"algorithm": "diffusion:step_size=0.1"}, {"test": 0.4}):
        assert digest(plan(load({**SMALL, **other})).config) != base


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"ronds": 1}, "unknown setting 'ronds'. Did you mean 'rounds'?"),
        ({"rounds": "x"}, "setting rounds: expected int, got str."),
        ({"rounds": -1}, "rounds is -1. It must be at least 0."),
        ({"test": 1.0}, "test is 1.0. It is a share, at least 0 and below 1."),
        ({"dtype": "float16"}, "setting dtype: invalid enum value 'float16'."),
        ({"algorithm": ""}, "algorithm is empty."),
        ({"algorithm": {"strength": 1}}, "algorithm has no 'name'."),
        ({"name": "a/b"}, "name is 'a/b'."),
        ({"byzantine": [{"rank": 1}]}, "byzantine[0]: object contains unknown field rank."),
    ],
)
def test_wrong_settings_are_one_sentence(raw, sentence):
    with pytest.raises(ConfigError) as caught:
        load(raw)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"byzantine": [{"count": 7, "attack": "nan"}]}, "byzantine is 7, but only 6 of the 6 ranks are left."),
        ({"byzantine": [{"ranks": [6], "attack": "nan"}]}, "byzantine rank 6: it must be one of 0 .. 5"),
        ({"byzantine": [{"ranks": [1, 1], "attack": "nan"}]}, "byzantine rank 1"),
        ({"byzantine": [{"count": 1}]}, "Add --attack NAME or --poison NAME."),
        ({"algorithm": "laplacian:strength=x"}, "algorithm 'laplacian' has strength='x'. Expected float, got str."),
        ({"algorithm": "laplacian:1,strength=2"}, "has 'strength' twice"),
        ({"screen": "average:1"}, "screen 'average' has no settings, got '1'. Write average alone."),
        ({"screen": "trimmed-mean"}, "screen 'trimmed-mean' needs 'b'. Write trimmed-mean:b=VALUE."),
        ({"screen": "median+average"}, "unknown pre-screen 'median'"),
        ({"weights": "metropolis-hastings"}, "unknown weights 'metropolis-hastings'. Did you mean 'metropolis'?"),
        ({"data": "exam:x=1"}, "has no settings"),
    ],
)
def test_wrong_pieces_are_one_sentence(raw, sentence):
    with pytest.raises(ConfigError) as caught:
        plan(load({**SMALL, **raw}))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (
            {"algorithm": "gradient-tracking", "topology": "star", "weights": "uniform"},
            "'gradient-tracking' needs weights whose columns sum to one; 'uniform' on 'star' has others. "
            "Use --weights metropolis.",
        ),
        (
            {"screen": "trimmed-mean:b=2"},
            "'trimmed-mean' with b=2 needs 5 neighbours; rank 0 has 2 in ring. Lower b or add edges. "
            "Or run it as it is with --force.",
        ),
    ],
)
def test_pieces_that_do_not_go_together_are_refused_with_the_way_out(raw, sentence):
    with pytest.raises(CompatibilityError) as caught:
        plan(load({**SMALL, **raw}))
    assert str(caught.value) == sentence


def test_a_task_without_what_the_method_needs_is_refused_with_the_way_out():
    job = plan(load({"data": "synthetic:classes=2", "ranks": 4, "task": "hinge", "algorithm": "pdmm"}))
    with pytest.raises(
        CompatibilityError, match=r"'pdmm' needs a task with a proximal map and rank 2's Hinge has none"
    ):
        job.node(2)
    job = plan(load({"data": "synthetic:classes=2", "ranks": 4, "task": "hinge", "algorithm": "dsml"}))
    with pytest.raises(CompatibilityError, match=r"'dsml' needs a task that knows its Hessian and rank 1's Hinge does"):
        job.node(1)
    job = plan(load({"data": "synthetic:classes=2", "ranks": 4, "task": "softmax", "algorithm": "mocha"}))
    with pytest.raises(CompatibilityError, match=r"'mocha' works on the dual of a task, .* rank 1's Softmax has none"):
        job.node(1)
    job = plan(load({"data": "synthetic:classes=2", "ranks": 4, "task": "hinge"}))
    with pytest.raises(CompatibilityError, match=r"Give one: diffusion:step_size=0\.1/sqrt\(t\)\."):
        job.node(0)


def test_a_directed_graph_is_refused_by_a_method_that_needs_both_ways(tmp_path):
    (tmp_path / "one-way.json").write_text(
        '{"directed": true, "multigraph": false, "graph": {}, "nodes": [{"id": 0}, {"id": 1}, {"id": 2}],'
        ' "edges": [{"source": 0, "target": 1}, {"source": 1, "target": 2}, {"source": 2, "target": 0}]}'
    )
    raw = {**SMALL, "ranks": 3, "topology": f"file:{tmp_path}/one-way.json", "weights": "uniform"}
    assert plan(load(raw)).topology.size == 3
    with pytest.raises(CompatibilityError, match="'laplacian' needs an undirected graph"):
        plan(load({**raw, "algorithm": "laplacian"}))


def test_what_breaks_an_invariant_is_warned_about():
    liars = {"byzantine": [{"count": 1, "attack": "nan"}]}
    (warning,) = plan(load({**SMALL, **liars, "algorithm": "gradient-tracking"})).warnings
    assert warning.startswith("'gradient-tracking' keeps a sum over all ranks that a lie or a screen breaks")
    (warning,) = plan(load({**SMALL, **liars, "algorithm": "gradient-tracking:cap=1"})).warnings
    assert "and the error stays. Give it a leak and a cap, gradient-tracking:leak=0.1,cap=1, or use" in warning
    (warning,) = plan(load({**SMALL, **liars, "algorithm": "gradient-tracking:leak=0.1"})).warnings
    assert warning.endswith("forgets a lie about its trackers and does not bound it. Give it a cap as well.")
    screened = {**SMALL, "screen": "median", "algorithm": "gradient-tracking:leak=0.1"}
    assert plan(load(screened)).warnings == ()
    assert plan(load({**screened, **liars, "algorithm": "gradient-tracking:leak=0.1,cap=1"})).warnings == ()
    for cap in ("", ":cap=inf"):
        (warning,) = plan(load({**SMALL, **liars, "algorithm": f"pdmm{cap}"})).warnings
        assert warning.startswith("'pdmm' has duals that a lie can drive without bound. Give it a cap, pdmm:cap=0.1")
    assert plan(load({**SMALL, **liars, "algorithm": "pdmm:cap=0.1"})).warnings == ()
    (warning,) = plan(load({**SMALL, "algorithm": "local", "screen": "median"})).warnings
    assert warning == "'local' asks no screen, so 'median' has no effect."
    (warning,) = plan(load({**SMALL, **liars, "algorithm": "pairwise-gossip"})).warnings
    assert warning.startswith("'pairwise-gossip' takes its mean with a liar as with anybody.")
    assert plan(load({**SMALL, "algorithm": "diffusion", "screen": "median", **liars})).warnings == ()


def test_liars_are_placed_by_the_seed_and_where_they_are_told():
    def places(seed, *groups):
        return sorted(plan(load({**SMALL, "seed": seed, "byzantine": list(groups)})).lies)

    three = {"count": 3, "attack": "nan"}
    assert places(0, three) == places(0, three)
    assert {tuple(places(seed, three)) for seed in range(20)} > {tuple(places(0, three))}
    assert {1, 4} < set(places(5, {"ranks": [1, 4], "attack": "nan"}, {"count": 1, "attack": "alie"}))


def test_honest_ranks_do_not_know_who_lies_and_liars_do():
    job = plan(load({**SMALL, "byzantine": [{"ranks": [1, 4], "attack": "alie"}]}))
    assert job.node(0).view.colluders == ()
    assert job.node(4).view.colluders == (1, 4)


def test_poisoned_training_data_and_untouched_test_data():
    raw = {**SMALL, "data": "synthetic:classes=2"}
    clean = plan(load(raw)).dataset(1)
    dirty = plan(load({**raw, "byzantine": [{"ranks": [1], "poison": "label-flip"}]})).dataset(1)
    assert (dirty.y == 1 - clean.y).all()
    assert (dirty.test_y == clean.test_y).all()


@given(st.dictionaries(st.sampled_from(["strength", "sigma"]), st.floats(0.001, 10), max_size=2))
def test_a_piece_written_as_text_is_the_piece(values):
    text = "network-lasso" + (":" if values else "") + ",".join(f"{key}={value!r}" for key, value in values.items())
    piece = make("algorithm", parse(text, "algorithm"))
    assert all(getattr(piece, key) == value for key, value in values.items())
    again = make("algorithm", describe("algorithm", piece))
    assert again == piece


def test_a_first_value_needs_no_key_and_hyphens_are_underscores():
    assert make("topology", parse("torus:2x4", "topology")).shape == "2x4"
    assert make("algorithm", parse("diffusion:step-size=0.1/t", "algorithm")).step_size == "0.1/t"
    assert make("algorithm", parse("diffusion:0.25", "algorithm")).step_size == 0.25
    chain = parse_chain("nnm:f=2+trimmed-mean:b=2", "screen")
    assert chain == [{"name": "nnm", "f": "2"}, {"name": "trimmed-mean", "b": "2"}]


@pytest.mark.parametrize(
    "kind",
    [
        "algorithm",
        "attack",
        "data",
        "features",
        "partition",
        "poison",
        "pre-screen",
        "screen",
        "shift",
        "task",
        "topology",
    ],
)
def test_every_registered_piece_is_a_frozen_dataclass_that_describes_itself(kind):
    assert names(kind) == sorted(names(kind))
    for name in names(kind):
        piece = find(kind, name)
        assert dataclasses.is_dataclass(piece)
        assert piece.__dataclass_params__.frozen, name
        if all(field.default is not dataclasses.MISSING for field in dataclasses.fields(piece)):
            assert make(kind, describe(kind, piece())) == piece()


def test_data_without_tasks_are_spread_evenly_unless_told_otherwise():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    job = plan(load({"data": "digits", "ranks": 5}))
    assert job.config.partition == {"name": "iid"}
    sizes = [len(rows) for rows in job.rows]
    assert sum(sizes) == 1797
    assert max(sizes) - min(sizes) <= 1
    assert plan(load(SMALL)).config.partition == {"name": "natural"}


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"algorithm": "joint-sparse", "stop": "gap=1e-3"}, 1),
        ({"algorithm": "joint-sparse"}, 1),
        ({"algorithm": "diffusion"}, 0),
    ],
)
def test_the_chart_of_a_graph_is_drawn_once_and_only_where_it_is_used(settings, times, monkeypatch):
    drawn, chart = [], build.chart
    monkeypatch.setattr(build, "chart", lambda graph: drawn.append(graph) or chart(graph))
    plan(load({**SMALL, **settings}))
    assert len(drawn) == times
