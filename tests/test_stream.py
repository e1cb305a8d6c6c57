"""Learning on a stream: rows in order, tested before they are learnt from; what is written is what happened."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dmtl.algorithms.streamed import Streamed
from dmtl.build import plan
from dmtl.checkpoints import Keeper, revive
from dmtl.config import digest, load
from dmtl.data.synthetic import Synthetic
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.launch import start
from dmtl.runner import Horizon
from dmtl.simulator import simulate

BASE = {"data": "synthetic:rows=30,features=4", "ranks": 4, "stream": 3, "seed": 2, "algorithm": "local:step_size=0.1"}
KINDS = {
    "least-squares": ("synthetic:rows=30,features=4", "least-squares"),
    "logistic": ("synthetic:rows=30,features=4,classes=2", "logistic"),
    "hinge": ("synthetic:rows=30,features=4,classes=2", "hinge"),
    "softmax": ("synthetic:rows=30,features=4,classes=2", "softmax"),
}


def nodes_of(**more):
    made = plan(load({**BASE, **more}))
    return [made.node(rank) for rank in range(made.topology.size)]


def rows(node) -> int:
    return node.task.training_rows


@pytest.mark.parametrize("kind", KINDS)
def test_alone_it_is_online_gradient_descent_on_the_rows_in_their_order(kind):
    data, task = KINDS[kind]
    nodes = nodes_of(data=data, task=task)
    states = simulate(nodes, 10)
    for node, state in zip(nodes, states, strict=True):
        x, y = node.task.parts.train
        w, losses, errors = np.zeros(node.task.dim), [], []
        for first in range(0, len(y), 3):
            part = type(node.task.parts.train)(x[first : first + 3], y[first : first + 3])
            here = node.task.window(first, first + 3)
            losses.append(here.surprise(w)[0] * len(part.y))
            errors.append(here.surprise(w)[1] * len(part.y))
            w = w - 0.1 * node.task._gradient(part, w)
        assert np.array_equal(state.x, w)
        online = state.model.online
        assert online.rows == len(y)
        assert online.loss == pytest.approx(sum(losses), rel=1e-12)
        assert online.wrong == pytest.approx(sum(errors), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_surprise_of_a_window_is_the_loss_without_the_ridge_and_the_error_that_is_reported(kind):
    data, task = KINDS[kind]
    node = nodes_of(data=data, task=f"{task}:l2=0.0")[0]
    w = np.random.default_rng(0).standard_normal(node.task.dim)
    here = node.task.window(4, 9)
    loss, error = here.surprise(w)
    assert loss == pytest.approx(here.loss(w))
    assert here.training_rows == 5
    same = node.task.window(0, rows(node))
    assert np.array_equal(same.grad(w), node.task.grad(w))
    swapped = here.parts._replace(test=here.parts.train)
    told = type(here).evaluate(node.task.__class__(**{**_fields(here), "parts": swapped}), w)
    assert error == pytest.approx(told["test_error"] if kind != "least-squares" else told["test_rmse"] ** 2)


def _fields(task):
    return {name: getattr(task, name) for name in task.__dataclass_fields__}


def test_a_rank_whose_rows_have_ended_learns_no_more_and_keeps_answering():
    """Partition 'dirichlet' gives ranks unequal numbers of rows."""
    more = {
        "data": "digits",
        "partition": "dirichlet:alpha=0.3",
        "stream": 5,
        "topology": "complete",
        "algorithm": "diffusion:step_size=0.1",
    }
    nodes = nodes_of(**more)
    lengths = [-(-rows(node) // 5) for node in nodes]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    assert lengths[short] + 5 < lengths[long]
    middle = simulate(nodes, lengths[short])
    after = simulate(nodes, lengths[long], states=middle)
    assert np.array_equal(middle[short].x, after[short].x)
    assert after[short].model.online == middle[short].model.online or after[short].model.online.rows == rows(
        nodes[short]
    )
    assert not np.array_equal(middle[long].x, after[long].x)
    assert after[long].model.online.rows == rows(nodes[long])
    place = nodes[long].view.sources.index(short)
    assert after[long].inbox.age[place] == 0
    assert np.array_equal(
        after[long].inbox.messages[place, 0], nodes[short].algorithm.send(middle[short].model, None)[0]
    )


def test_a_run_that_is_stopped_and_taken_up_again_is_the_whole_run(tmp_path):
    settings = {"algorithm": "laplacian:step_size=0.2/sqrt(t)"}
    whole = simulate(nodes_of(**settings), 7)
    half = simulate(nodes_of(**settings), 7, horizon=Horizon(4))
    for rank, state in enumerate(half):
        Keeper(tmp_path, rank, lambda round: round).save(state)
    nodes = nodes_of(**settings)
    again = simulate(nodes, 7, states=[revive(tmp_path, node, 4) for node in nodes])
    for one, other in zip(whole, again, strict=True):
        assert np.array_equal(one.x, other.x)
        assert one.model.online[:3] == other.model.online[:3]
        assert np.array_equal(one.model.online.recent, other.model.online.recent, equal_nan=True)


def test_the_rank_files_say_how_the_models_did(tmp_path):
    raw = {**BASE, "data": KINDS["logistic"][0], "rounds": 7, "out": str(tmp_path / "run")}
    assert start(lambda: raw) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "rank-0001.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(lines) if line["event"] == "round")
    state = simulate(nodes_of(data=KINDS["logistic"][0]), 7)[1].model.online
    assert last["online_rows"] == state.rows
    assert last["online_loss"] == pytest.approx(state.loss)
    assert last["online_error"] == pytest.approx(state.wrong / state.rows)
    assert last["recent_error"] == pytest.approx(np.nanmean(state.recent))


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"stream": -1}, ConfigError, "stream is -1. It must be at least 0."),
        ({"algorithm": "local"}, CompatibilityError, "'local' takes its step from the curvature of all rows"),
        ({"algorithm": "joint-sparse"}, CompatibilityError, "'joint-sparse' works on all of a rank's rows at once"),
        ({"algorithm": "pdmm"}, CompatibilityError, "'pdmm' works on all"),
        ({"algorithm": "mocha"}, CompatibilityError, "'mocha' works on all"),
        ({"algorithm": "central-fista"}, CompatibilityError, "'central-fista' works on all"),
    ],
)
def test_what_cannot_learn_from_a_stream_is_refused_in_one_sentence(settings, error, sentence):
    with pytest.raises(error, match=sentence):
        nodes_of(**settings)


def test_without_a_stream_a_run_is_the_run_that_it_was():
    assert digest(load({**BASE, "stream": 0})) == digest(
        load({key: value for key, value in BASE.items() if key != "stream"})
    )
    assert digest(load(BASE)) != digest(load({**BASE, "stream": 0}))
    assert not isinstance(plan(load({**BASE, "stream": 0})).algorithm, Streamed)


def test_drifting_tasks_turn_from_one_draw_to_another_and_without_a_drift_nothing_changes():
    still, turned, whole = (
        Synthetic(rows=400, features=3, noise=0.0, tasks=2, drift=drift).load(2, 5) for drift in (0.0, 1e-12, np.pi / 2)
    )
    assert np.array_equal(still.x[:1], Synthetic(rows=400, features=3, noise=0.0, tasks=2).load(2, 5).x[:1])
    x, y = turned.x[:400], turned.y[:400]
    assert np.allclose(y, x @ turned.truth[0, :3])
    x, y = whole.x[:400], whole.y[:400]
    assert np.allclose(y[-1], x[-1] @ whole.truth[0, :3])
    assert abs(whole.truth[0, :3] @ turned.truth[0, :3]) < 0.99 * np.linalg.norm(whole.truth[0, :3]) * np.linalg.norm(
        turned.truth[0, :3]
    )
    first = np.linalg.lstsq(x[:30], y[:30], rcond=None)[0]
    assert np.linalg.norm(first - turned.truth[0, :3]) < 0.1 * np.linalg.norm(first)
