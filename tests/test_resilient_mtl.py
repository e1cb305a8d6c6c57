"""'resilient-mtl' alone: its weights, its memory, its limits, and an oracle that shares no code with it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dmtl.algorithms.local import Local
from dmtl.algorithms.resilient_mtl import ResilientMTL
from dmtl.algorithms.streamed import Streamed
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import CompatibilityError
from dmtl.mailbox import Mailbox, nothing
from dmtl.results import flatten
from dmtl.simulator import simulate
from dmtl.types import View
from tests.networks import GRAPHS, network, quadratics
from tests.resilient import Oracle, Rows, Setting, constant, drag, nodes, pulse, shrink

K, D = 5, 6
BARE = {"warm_up": 0, "worst": 0.0, "guard": 0.0}
"""the method without what is ours"""


def view(round=0, k=K):
    ones = np.ones(k)
    weights = np.full(1 + k, 1 / (1 + k))
    return View(0, tuple(range(1, 1 + k)), tuple(range(1, 1 + k)), weights, weights, ones, 3, False, (), ones, round)


def inbox(own, messages):
    box = Mailbox(view(k=len(messages)), (1, D))
    box.post(((own,), None))
    box.heard[:, 0] = messages
    return box.open()


def task(seed=0, rows=3):
    rng = np.random.default_rng([seed, 1])
    return Rows(rng.standard_normal((rows, D)), rng.standard_normal(rows))


def rounds(algorithm, count=30, k=K, spoil=None, order=None):
    """States, and what led to them: (before, words with the own ones first, task, after)."""
    state = algorithm.init(np.zeros(D), task(), view(k=k))
    for round in range(count):
        rng = np.random.default_rng([round, 2])
        messages = state.psi + rng.standard_normal((k, D)) * np.geomspace(0.01, 1, k)[:, None]
        if order is not None:
            messages = messages[order]
        words = np.concatenate((state.psi[None], messages))
        if spoil is not None:
            messages[2] = spoil
        after = algorithm.step(state, inbox(state.psi, messages), None, task(round), view(round, k))
        yield state, words, task(round), after
        state = after


@pytest.mark.parametrize("more", [{}, BARE, {"warm_up": 5, "gamma": 0.3}, {"score": "paper", **BARE}])
def test_weights_sum_to_one_filter_strictly_and_make_a_harmonic_mean(more):
    listened = 0
    for _before, words, here, after in rounds(
        ResilientMTL(gamma=0.2, **{key: v for key, v in more.items() if key != "gamma"})
    ):
        a, losses = after.weights, after.known.losses
        assert a.sum() == pytest.approx(1, abs=1e-14)
        assert (a >= 0).all()
        assert not a[losses > losses[0]].any()
        kept = a > 0
        assert a @ losses == pytest.approx(kept.sum() / (1 / losses[kept]).sum(), rel=1e-12)
        assert a @ losses <= losses[0] * (1 + 1e-12)
        if more.get("score") != "paper":
            now = np.array([here.loss(row) for row in words])
            assert here.loss(after.w) <= a @ now + 1e-12
            assert np.allclose(after.w, a @ words, atol=1e-14)
            assert np.array_equal(after.x, after.w - 0.02 * here.grad(after.w))
            assert after.psi is after.x
        listened += kept.sum() - 1
    assert listened > 10


def test_with_an_attack_on_every_link_it_is_learning_alone_bit_for_bit():
    setting = Setting(seeds=1, rounds=40, liars=19)
    for value in (1e6, 1e90):
        lie = partial(_much, value)
        alone, among = (
            simulate(nodes(setting, lie, ResilientMTL(rule=rule, warm_up=0), ResilientMTL(rule="none")), 40)[
                0
            ].model.inner
            for rule in ("none", "loss")
        )
        assert np.array_equal(alone.x, among.x)
        assert np.array_equal(alone.psi, among.psi)
        assert np.isfinite(among.known.losses).all()


def _much(value, setting, psi, round):
    return np.full((*psi.shape[:2], setting.liars, psi.shape[2]), value)


@pytest.mark.parametrize("score", ["next-batch", "paper"])
def test_alone_it_is_gradient_descent_on_its_rows(score):
    rows, here, ends = task(rows=40), view(k=0), {}
    for name, algorithm in {"ours": ResilientMTL(score=score), "local": Local(step_size=0.02)}.items():
        streamed, models = Streamed(algorithm, 1), []
        state = streamed.init(np.zeros(D), rows, here)
        for round in range(40):
            box = Mailbox(here, (algorithm.message_shape(rows)[0], D))
            state = streamed.step(state, box.open(), None, rows, here._replace(round=round))
            models.append(state.x)
        ends[name] = models
    assert np.array_equal(ends["ours"], ends["local"])


def test_the_paper_scores_the_own_model_after_its_step_on_that_very_batch():
    for before, words, here, after in rounds(ResilientMTL(score="paper", gamma=1.0, **BARE)):
        own = before.x - 0.02 * here.grad(before.x)
        assert np.array_equal(after.psi, own)
        assert after.known.losses[0] == here.loss(own) < here.loss(before.x)
        assert np.array_equal(after.known.losses[1:], [here.loss(row) for row in words[1:]])
        assert np.allclose(after.x, after.weights @ np.concatenate((own[None], words[1:])), atol=1e-14)


def test_with_gamma_of_one_nothing_is_remembered():
    algorithm = ResilientMTL(gamma=1.0, **BARE)
    for before, words, here, after in rounds(algorithm):
        blank = algorithm.init(np.zeros(D), here, view())._replace(w=before.w, psi=before.psi)
        again = algorithm.step(blank, inbox(before.psi, words[1:]), None, here, view())
        assert np.array_equal(again.x, after.x)
        assert np.array_equal(after.known.losses, [here.loss(row) for row in words])


def test_where_all_say_the_same_all_weigh_the_same():
    algorithm, own = ResilientMTL(**BARE), np.arange(D) / 7
    state = algorithm.init(own, task(), view())
    after = algorithm.step(state, inbox(own, np.tile(own, (K, 1))), None, task(), view())
    assert np.allclose(after.weights, 1 / (1 + K), rtol=1e-15)
    assert np.allclose(after.w, own, rtol=1e-15)


@pytest.mark.parametrize("rule", ["loss", "distance", "distance-f"])
def test_the_order_of_neighbours_changes_nothing(rule):
    order = np.array([3, 0, 4, 1, 2])
    algorithm = ResilientMTL(rule=rule, gamma=0.2, warm_up=3)
    for (*_, one), (*_, other) in zip(rounds(algorithm), rounds(algorithm, order=order), strict=True):
        assert np.allclose(one.x, other.x, atol=1e-13)
        assert np.allclose(one.weights[1:][order], other.weights[1:], atol=1e-12)


@pytest.mark.parametrize("rule", ["loss", "average", "distance", "distance-f"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_message_is_absence_and_what_is_known_rests(rule, bad):
    algorithm = ResilientMTL(rule=rule, gamma=0.2, warm_up=2)
    for (before, *_, one), (*_, other) in zip(
        rounds(algorithm, spoil=bad), rounds(algorithm, spoil=nothing(np.float64)), strict=True
    ):
        ours, theirs = flatten(one), flatten(other)
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
        assert one.weights[3] == 0
        assert one.known.heard[3] == 0
        assert not one.known.centres[2].any()
        assert one.known.heard[0] == before.known.heard[0] + 1


def test_nobody_is_used_before_enough_of_its_words_were_scored():
    algorithm = ResilientMTL(gamma=0.5)  # 2 / gamma
    state = algorithm.init(np.zeros(D), task(), view())
    used = []
    for round in range(12):
        words = np.zeros((K, D))
        words[0] = nothing(np.float64) if round < 3 else 0.0
        state = algorithm.step(
            state._replace(psi=np.zeros(D)), inbox(np.zeros(D), words), None, task(round), view(round)
        )
        used.append(state.weights > 0)
    assert [sum(row[1] for row in used), sum(row[2] for row in used)] == [5, 8]


def test_a_loss_that_is_no_number_is_forgiven_by_nobody_and_an_own_one_ends_all_comparisons():
    algorithm = ResilientMTL(**BARE)
    start = algorithm.init(np.zeros(D), task(), view())
    lies = np.zeros((K, D))
    lies[1] = 1e90
    rows = Rows(task().x * 1e80, task().y)
    with np.errstate(over="ignore", invalid="ignore"):
        after = algorithm.step(start, inbox(start.psi, lies), None, rows, view())
        assert after.known.losses[2] == 1e300
        lost = algorithm.step(after._replace(psi=lies[1]), inbox(lies[1], lies), None, rows, view(1))
    assert np.array_equal(lost.w, lies[1])
    assert lost.known is after.known


def test_the_other_rules_are_what_they_are_called():
    for _, words, _, after in rounds(ResilientMTL(rule="average")):
        assert np.allclose(after.weights, 1 / (1 + K))
        assert np.allclose(after.w, words.mean(axis=0))
    accumulated = np.zeros(1 + K)
    for round, (before, words, _here, after) in enumerate(rounds(ResilientMTL(rule="distance", gamma=0.3))):
        new = np.sum((words - before.w) ** 2, axis=1)
        share = max(0.3, 1 / (round + 1))
        accumulated = (1 - share) * accumulated + share * new
        if round > 1:
            assert np.allclose(after.weights, (1 / accumulated) / (1 / accumulated).sum())


def test_distance_f_leaves_out_those_that_contribute_most_to_the_loss():
    two = ResilientMTL(rule="distance-f", f=2, gamma=1.0)
    for before, words, here, everybody in rounds(ResilientMTL(rule="distance-f", f=0, gamma=1.0)):
        a = everybody.weights
        few = two.step(before, inbox(before.psi, words[1:]), None, here, view()).weights
        costs = a**2 * np.array([here.loss(row) for row in words])
        rest = np.setdiff1d(np.arange(1 + K), 1 + np.argsort(costs[1:])[-2:])
        assert (few > 0).sum() == len(rest)
        assert np.allclose(few[rest], a[rest] / a[rest].sum(), rtol=1e-12)


def test_distance_f_leaves_out_nobody_or_everybody():
    for f, twin in ((0, {"rule": "distance"}), (K, {"rule": "none"})):
        for (*_, one), (*_, other) in zip(
            rounds(ResilientMTL(rule="distance-f", f=f)), rounds(ResilientMTL(**twin)), strict=True
        ):
            assert np.array_equal(one.x, other.x)


@pytest.mark.parametrize(
    "lie", [drag, partial(pulse, first=70, every=30), constant, shrink], ids=["drag", "pulse", "constant", "shrink"]
)
def test_the_trajectory_is_the_oracles(lie):
    setting = Setting(seeds=1, rounds=120)
    oracle = Oracle(warm_up=40, gamma=0.05).run(setting, lie)[-1, 0]
    states = simulate(nodes(setting, lie, ResilientMTL(warm_up=40, gamma=0.05), ResilientMTL(rule="none")), 120)
    found = [np.sum((states[k].model.inner.w - setting.truth[0, k]) ** 2) for k in range(setting.honest)]
    assert np.allclose(found, oracle, rtol=1e-9)
    assert sum((state.model.inner.weights[1:] > 0).sum() for state in states) > 10


def test_whom_it_trusts_is_told_and_other_tasks_are_not_among_them():
    setting = Setting(seeds=1, rounds=200, liars=0)
    made = nodes(setting, drag, ResilientMTL(warm_up=80, gamma=0.02), None)
    states = simulate(made, 200)
    for node, state in zip(made, states, strict=True):
        told = node.algorithm.tell(state.model, state.view)
        same = np.array([source % 4 == node.view.rank % 4 for source in node.view.sources])
        assert told["trust"].shape == (19,)
        assert (told["trust"] >= 0).all()
        assert (told["trust"] <= 1).all()
        assert not told["trust"][~same].any()
    assert np.mean([(state.model.inner.weights[1:] > 0).sum() for state in states]) > 1


BASE = {"data": "synthetic:rows=40,features=4", "ranks": 6, "topology": "complete", "rounds": 12, "stream": 2}


def test_it_takes_directed_graphs_streams_and_late_lost_or_changing_links():
    for more in (
        {"topology": "exponential:directed=true", "weights": "uniform"},
        {"link": "age=4,drop=0.3"},
        {"time_varying": "matching"},
        {"stream": 0, "held_out": 0.3, "algorithm": "resilient-mtl:score=held-out,gamma=0.5,warm_up=2"},
    ):
        made = plan(load({"algorithm": "resilient-mtl:gamma=0.5,warm_up=2", **BASE, **more}))
        states = simulate([made.node(rank) for rank in range(6)], 12)
        inner = [state.model if more.get("stream") == 0 else state.model.inner for state in states]
        assert any((state.weights[1:] > 0).any() for state in inner)


def test_held_out_losses_are_those_of_the_task():
    tasks = quadratics(8)
    made = network(GRAPHS["ring"], ResilientMTL(score="held-out", gamma=1.0, **BARE), tasks)
    before, after = simulate(made, 3), simulate(made, 4)
    for rank, state in enumerate(after):
        words = np.array([before[source].model.psi for source in (rank, *state.view.sources)])
        assert np.array_equal(state.model.known.losses, tasks[rank].held_out_losses(words).mean(axis=1))


@pytest.mark.parametrize("stream", [0, 2])
def test_without_held_out_rows_it_cannot_be_asked_to_judge_on_them(stream):
    made = plan(load({**BASE, "stream": stream, "held_out": 0.0, "algorithm": "resilient-mtl:score=held-out"}))
    with pytest.raises(CompatibilityError, match="score=held-out judges neighbours on held-out rows, and rank 0 has 0"):
        made.node(0)


def test_a_run_with_liars_warns_of_the_rules_that_are_no_defence():
    liars = [{"count": 1, "attack": "drag"}]
    for rule, warned in (("loss", False), ("none", False), ("average", True), ("distance", True), ("distance-f", True)):
        made = plan(load({**BASE, "algorithm": f"resilient-mtl:rule={rule}", "byzantine": liars}))
        assert any("'resilient-mtl' with rule=" in line for line in made.warnings) == warned
        assert all("'resilient-mtl' asks no" not in line for line in made.warnings)
