"""The screen for networks of different tasks: against a plain oracle, and against liars that search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.laplacian import Laplacian
from dmtl.attacks.silent import Silent
from dmtl.build import plan
from dmtl.config import load, to_toml
from dmtl.data.pool import Dataset
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.node import NodeState
from dmtl.results import flatten, restore
from dmtl.screens.clip import Clip
from dmtl.screens.gate_cap_anchor import GateCapAnchor
from dmtl.screens.piped import Piped
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.types import Mixed, View
from dmtl.verdicts import Why
from tests.networks import network

seeds = st.integers(0, 2**32 - 1)


def draw(seed, train=8, held=5, d=4, noise=0.3):
    """Data, the truth, and a task bound to them."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(d)
    x = rng.standard_normal((train + held, d))
    y = x @ truth + noise * rng.standard_normal(train + held)
    none = np.empty((0, d)), np.empty(0)
    data = Dataset(x[:train], y[:train], x[train:], y[train:], *none)
    return rng, truth, data, LeastSquares(l2=0.0, bias=False).build(data)


def view(sources, round=0, dtype=np.float64):
    k = len(sources)
    weights = np.full(1 + k, 1 / (1 + k), dtype)
    return View(0, tuple(sources), (), weights, weights[:1], np.ones(k), 3, False, (), np.ones(k), round)


class Plain:
    """The rule in loops over neighbours and rows, written from its description."""

    def __init__(self, screen, data, task):
        self.screen, self.task, self.rounds, self.wide = screen, task, 0, 1.0
        self.x, self.y = [data.x, data.x[0::2], data.x[1::2]], [data.y, data.y[0::2], data.y[1::2]]
        self.held = data.held_x, data.held_y
        self.record, self.heard = {}, {}

    def losses(self, w, part):
        x, y = part
        return [(float(np.dot(x[r], w)) - y[r]) ** 2 / 2 for r in range(len(y))]

    def clipped(self, centre, to, radius):
        z = to - centre
        size = np.sqrt(np.sum(z**2))
        return z if size <= radius else z * radius / size

    def learn(self, own):
        if self.rounds == 0:
            self.learnt = [own.copy(), own.copy(), own.copy()]
        else:
            step = 1 / self.task.smoothness
            for which, share in ((0, 1.0), (1, 0.5), (2, 0.5)):
                x, y = self.x[which], self.y[which]
                for _ in range(self.screen.steps):
                    w = self.learnt[which]
                    self.learnt[which] = w - share * step * x.T @ (x @ w - y) / len(y)
        self.rounds += 1

    def radius(self):
        if self.screen.radius is not None:
            return self.screen.radius
        v, first, second = self.learnt
        if self.rounds % 3 == 0:
            level = [np.mean(self.losses(w, self.held)) for w in (v, first, second, (first + second) / 2)]
            gap = level[0] - np.mean(self.losses(v, (self.x[0], self.y[0])))
            bend = level[1] + level[2] - 2 * level[3]
            self.wide = min(max(np.sqrt(max(gap, 0.0) / (2 * bend)), 1.0), 3.0)
        return self.wide * np.linalg.norm(first - second)

    def sure(self, centre, to, radius, part, errors):
        step = self.clipped(centre, to, radius) / 2
        gain = np.subtract(self.losses(centre, part), self.losses(centre + step, part))
        return gain.mean() - errors * gain.std(ddof=1) / np.sqrt(len(gain))

    def __call__(self, own, said):
        """``said``: rank -> vector."""
        self.learn(own)
        radius, turn, margin = self.radius(), self.rounds % 3, self.screen.margin
        halves = [(self.x[which], self.y[which]) for which in (1, 2)]
        centre, part = (self.learnt[turn], [self.held, halves[1], halves[0]][turn])
        near = {rank: np.linalg.norm(w - own) <= 10 * radius for rank, w in said.items()}
        level = np.mean(self.losses(centre, part))
        for rank, w in said.items():
            if radius > 0 and len(part[1]) > 1:
                gain = self.sure(centre, w, radius, part, margin) / level if near[rank] else -1.0
                gain = min(max(gain, -1.0), 1.0)
                old = self.record.get(rank, gain)
                self.record[rank] = (1 - self.screen.nu) * old + self.screen.nu * gain
                self.heard[rank] = self.heard.get(rank, 0) + 1
        merit = {}
        for rank, w in said.items():
            trusted = self.heard.get(rank, 0) > self.screen.warm_up and self.record[rank] > 0
            if trusted and near[rank] and self.sure(own, w, radius, self.held, -margin) >= 0:
                merit[rank] = self.record[rank]
        y = own.copy()
        for rank, worth in merit.items():
            y += min(worth / sum(merit.values()) / 2, self.screen.most) * self.clipped(own, said[rank], radius)
        return self.learnt[0] + self.clipped(self.learnt[0], y, radius), merit


@pytest.mark.parametrize(
    "settings", [{}, {"radius": 1.5, "nu": 0.5}, {"warm_up": 0, "margin": 0.0, "most": 0.1}, {"steps": 3}]
)
@pytest.mark.parametrize("train", [4, 8, 40])
def test_it_is_the_rule_of_its_description_with_neighbours_that_come_and_go(settings, train):
    rng, truth, data, task = draw(1, train)
    screen = GateCapAnchor(**settings)
    plain, used = Plain(screen, data, task), 0
    everybody = (2, 3, 5, 7, 11)
    memory, own = screen.init(task, view(everybody)), np.zeros(4)
    for round in range(40):
        own = own - 0.02 * task.grad(own)
        spreads = dict(zip(everybody, (0.1, 1, 3, 30, 1e5), strict=True))
        said = {rank: truth + rng.normal(0, spread, 4) for rank, spread in spreads.items() if rng.random() < 0.7}
        rows = np.array([own, *said.values()])
        mixed = screen(rows, np.ones(len(rows)) / len(rows), memory, task, view(said, round))
        expected, merit = plain(own, said)
        np.testing.assert_allclose(mixed.value, expected, rtol=1e-9, atol=1e-9)
        assert [share > 0 for share in mixed.trust] == [rank in merit for rank in said]
        used += len(merit)
        memory, own = mixed.memory, mixed.value
        known = {rank: memory.record[at] for at, rank in enumerate(everybody) if memory.heard[at]}
        assert known == pytest.approx(plain.record, abs=1e-9)
    assert used > 5


class Heard(NamedTuple):
    """One round of one rank."""

    rows: np.ndarray
    mixed: Mixed
    radius: float

    @property
    def far(self):
        return np.linalg.norm(self.mixed.value - self.mixed.memory.anchor)


def rounds_of(seed, speak, screen, rounds=25, k=4):
    """A rank that learns by gradient steps between rounds; ``speak(rng, own)`` gives its neighbours' rows (k, d)."""
    rng, truth, _, task = draw(seed, train=6)
    memory, own, found = screen.init(task, view(range(1, 1 + k))), np.zeros(4), []
    for round in range(rounds):
        own = own - 0.2 * task.grad(own)
        rows, here = np.concatenate([own[None], speak(rng, own)]), view(range(1, 1 + k), round)
        mixed = screen(rows, here.weights, memory, task, here)
        found.append(Heard(rows, mixed, screen._radius(mixed.memory, slice(None))))
        memory, own = mixed.memory, mixed.value
    return truth, task, found


def wild(rng, own):
    """Lies of all sizes."""
    return own + rng.standard_normal((4, 4)) * 10.0 ** rng.uniform(-3, 12, (4, 1))


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([None, 0.0, 0.7]))
def test_whatever_all_neighbours_say_the_model_is_as_near_the_truth_as_learning_alone_and_the_radius(seed, radius):
    truth, _, found = rounds_of(seed, wild, GateCapAnchor(radius=radius, warm_up=0))
    for one in found:
        assert one.far <= one.radius * (1 + 1e-12) + 1e-12
        alone = np.linalg.norm(one.mixed.memory.anchor - truth)
        assert np.linalg.norm(one.mixed.value - truth) <= alone + one.radius + 1e-9


def test_the_anchor_and_the_radius_do_not_depend_on_what_is_heard():
    """They follow from own data: bit for bit the same among liars and among nobody."""
    said = rounds_of(3, wild, GateCapAnchor(warm_up=0))[2]
    alone = rounds_of(3, lambda *_: np.empty((0, 4)), GateCapAnchor(warm_up=0), k=0)[2]
    assert not np.array_equal(said[-1].mixed.value, alone[-1].mixed.value)
    for one, other in zip(said, alone, strict=True):
        assert one.mixed.memory.anchor.tobytes() == other.mixed.memory.anchor.tobytes()
        assert one.mixed.memory.halves.tobytes() == other.mixed.memory.halves.tobytes()
        assert one.radius == other.radius


def test_liars_that_search_reach_the_bound_of_one_round_and_no_more():
    """Hill climbing on all rows at once, by those who know the data and have the best of records."""
    _, _, data, task = draw(5, train=3, held=2)
    screen, here = GateCapAnchor(radius=0.8, warm_up=0, most=0.5), view((1, 2, 3))
    fit = np.linalg.lstsq(np.vstack([data.x, data.held_x]), np.append(data.y, data.held_y))[0]
    rng, memory, own = np.random.default_rng(0), screen.init(task, here), np.zeros(4)
    for round in range(30):
        own = own - 0.2 * task.grad(own)
        memory = screen(np.array([own, fit, fit, fit]), here.weights, memory, task, view((1, 2, 3), round)).memory
    assert (memory.record > 0).all()
    silence = screen(own[None], np.ones(1), memory, task, view((), 30)).value
    lies, best = np.tile(fit, (3, 1)), 0.0
    for _ in range(400):
        trial = lies + rng.standard_normal((3, 4)) * 10.0 ** rng.uniform(-3, 1)
        mixed = screen(np.concatenate([own[None], trial]), here.weights, memory, task, view((1, 2, 3), 30))
        assert np.linalg.norm(mixed.value - mixed.memory.anchor) <= 0.8 * (1 + 1e-12)
        moved = np.linalg.norm(mixed.value - silence)
        if moved > best:
            lies, best = trial, moved
    assert 0.9 * 0.4 < best <= 0.4 * (1 + 1e-9)  # R / 2


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_a_round_raises_the_own_held_out_loss_by_no_more_than_the_margin_where_the_ball_is_wide(margin):
    def near(rng, own):
        return own + rng.standard_normal((4, 4)) * 10.0 ** rng.uniform(-2, 0.5, (4, 1))

    used = 0
    for seed in range(30):
        _, task, found = rounds_of(seed, near, GateCapAnchor(radius=100.0, margin=margin, warm_up=0))
        for one in found:
            assert one.far < 100
            before, after = task.held_out_losses(np.array([one.rows[0], one.mixed.value])).mean(axis=1)
            heard = one.rows[1:][one.mixed.trust > 0]
            gains = task.held_out_losses(one.rows[:1]) - task.held_out_losses((one.rows[0] + heard) / 2)
            errors = gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
            assert after - before <= margin * errors.max(initial=0.0) + 1e-12
            used += len(heard)
    assert used > 20


def test_a_whole_network_with_more_liars_than_honest_neighbours_stays_within_the_bound():
    """All of a rank's neighbours know its data and fit them exactly, far away where the data do not look."""
    truths, tasks, hugs = [], [], []
    for rank in range(6):
        _, truth, data, task = draw(rank, train=2, held=1, d=6)
        x, y = np.vstack([data.x, data.held_x]), np.append(data.y, data.held_y)
        unseen = truth - np.linalg.pinv(x) @ (x @ truth)
        truths.append(truth)
        held = task.parts.held_out  # one row has no standard error and would let nobody in: take it three times
        thrice = held._replace(x=np.tile(held.x, (3, 1)), y=np.tile(held.y, 3))
        tasks.append(replace(task, parts=task.parts._replace(held_out=thrice)))
        hugs.append(np.linalg.pinv(x) @ y - 5 * unseen / np.linalg.norm(unseen))
    screen, graph = GateCapAnchor(radius=1.0), nx.complete_graph(6)
    moved = []

    def record(rank: int, state: NodeState, inbox: object) -> None:
        if rank < 2 and state.view.round:
            anchor = state.memory[0].anchor
            bound = np.linalg.norm(anchor - truths[rank]) + 1.0
            assert np.linalg.norm(state.x - truths[rank]) <= bound + 1e-9
            moved.append(np.linalg.norm(state.x - anchor))

    liars = {rank: Hug(tuple(map(tuple, hugs))) for rank in range(2, 6)}
    simulate(network(graph, Diffusion(), tasks, screen, liars), 80, record)
    assert max(moved) > 0.99


@dataclass(frozen=True)
class Hug:
    """Say to each target what fits its data best."""

    said: tuple[tuple[float, ...], ...]
    rushing = False
    knowledge = "own"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        return np.array([self.said[target] for target in view.targets])[:, None], ()


def test_with_laplacian_the_model_ends_in_the_ball_as_well():
    said = Hug(((9.0, -9.0, 9.0, 9.0),) * 3)
    tasks = [draw(rank, train=30)[3] for rank in range(3)]
    screen = GateCapAnchor(radius=0.2, warm_up=0, margin=0.0)
    states = simulate(network(nx.complete_graph(3), Laplacian(), tasks, screen, {1: said, 2: said}), 200)
    assert np.linalg.norm(states[0].x - states[0].memory[0].anchor) <= 0.2 * (1 + 1e-9)


# memory


def test_a_neighbour_is_judged_for_its_warm_up_before_it_is_used_whenever_it_comes():
    _, truth, _, task = draw(2)
    screen = GateCapAnchor(warm_up=4, radius=5.0)
    memory, own, first = screen.init(task, view((3, 6))), np.zeros(4), {}
    for round in range(20):
        here = view((3, 6) if round >= 7 else (3,), round)
        rows = np.vstack([own, np.tile(truth, (len(here.sources), 1))])
        mixed = screen(rows, here.weights, memory, task, here)
        memory = mixed.memory
        for rank, share in zip(here.sources, mixed.trust, strict=True):
            if share > 0:
                first.setdefault(rank, round)
    assert first == {3: 4, 6: 11}


def test_a_record_rests_while_its_neighbour_is_silent():
    _, truth, _, task = draw(2)
    screen = GateCapAnchor(radius=5.0)
    memory = screen.init(task, view((3, 6, 8)))
    for round in range(5):
        memory = screen(
            np.vstack([np.zeros(4), truth, -truth, truth]), np.ones(4), memory, task, view((3, 6, 8), round)
        )[2]
    later = screen(np.vstack([np.zeros(4), truth]), np.ones(2), memory, task, view((6,), 5)).memory
    assert later.record[0] == memory.record[0]
    assert later.record[2] == memory.record[2]
    assert later.record[1] > memory.record[1]
    assert later.heard.tolist() == [5, 6, 5]


def test_a_traitor_with_the_best_of_records_is_put_out_at_once_and_forgiven_later():
    _, truth, _, task = draw(4)
    screen, trust = GateCapAnchor(warm_up=0, radius=3.0), []
    memory = screen.init(task, view((1,)))
    own = np.zeros(4)
    for round in range(60):
        own = own - 0.2 * task.grad(own)
        word = -truth if 20 <= round < 25 else truth
        mixed = screen(np.vstack([own, word]), np.ones(2) / 2, memory, task, view((1,), round))
        memory, own = mixed.memory, mixed.value
        trust.append(mixed.trust[0] > 0)
    assert trust[19]
    assert not any(trust[20:25])
    assert any(trust[40:])


def test_what_it_remembers_outlives_a_checkpoint():
    found = rounds_of(1, wild, GateCapAnchor())[2][-1].mixed.memory
    _, _, _, task = draw(1, train=6)
    like = GateCapAnchor().init(task, view(range(1, 5)))
    again = restore(like, flatten(found))
    assert all(np.array_equal(one, other) for one, other in zip(again, found, strict=True))


# odd cases


def test_rows_that_are_garbage_or_far_beyond_the_ball_are_not_looked_at():
    _, truth, _, task = draw(0)
    screen, memory = GateCapAnchor(radius=0.1, warm_up=0), None
    memory = screen.init(task, view((1, 2)))
    own = truth + 0.01
    mixed = screen(np.vstack([own, truth + 1e90, truth - 1.2]), np.ones(3) / 3, memory, task, view((1, 2)))
    assert np.array_equal(mixed.value, own)
    assert mixed.trust.tolist() == [0, 0]
    assert mixed.why.tolist() == [Why.FAR, Why.FAR]
    assert mixed.memory.record.tolist() == [-1, -1]


@pytest.mark.parametrize("held", [1, 2])
def test_one_held_out_row_lets_nobody_in(held):
    _, truth, _, task = draw(0, held=held)
    screen, own = GateCapAnchor(radius=9.0, warm_up=0, margin=0.0), np.zeros(4)
    memory, used = screen.init(task, view((1,))), 0.0
    for round in range(9):
        mixed = screen(np.vstack([own, truth]), np.ones(2) / 2, memory, task, view((1,), round))
        memory, used = mixed.memory, used + mixed.trust.sum()
    assert (used > 0) == (held > 1)


def test_a_task_that_cannot_be_halved_judges_on_held_out_rows_alone():
    _, truth, _, task = draw(0)
    plain = Bare(task)
    screen, own = GateCapAnchor(radius=9.0, warm_up=0), np.zeros(4)
    memory = screen.init(plain, view((1,)))
    assert memory.halves.shape == (0, 4)
    mixed = screen(np.vstack([own, truth]), np.ones(2) / 2, memory, plain, view((1,)))
    losses = task.held_out_losses(np.array([own, truth / 2]))
    gain = losses[0] - losses[1]
    sure = gain.mean() - 0.5 * gain.std(ddof=1) / np.sqrt(len(gain))
    assert mixed.memory.record == pytest.approx([sure / losses[0].mean()])


class Bare:
    """A task without halves, and with a shared part if one is named."""

    def __init__(self, task, shared=None):
        self.dim, self.smoothness, self.grad, self.loss = task.dim, task.smoothness, task.grad, task.loss
        self.held_out_losses, self.held_out_rows = task.held_out_losses, task.held_out_rows
        if shared is not None:
            self.shared = shared


def test_only_the_shared_part_is_mixed_and_held_in_the_ball():
    _, truth, _, task = draw(7)
    task, screen = Bare(task, slice(1, 3)), GateCapAnchor(radius=0.5, warm_up=0, margin=0.0)
    memory, own, used = screen.init(task, view((1, 2))), np.zeros(4), 0.0
    for round in range(40):
        own = own - 0.3 * task.grad(own) + 0.1
        rows = np.vstack([own, truth, 1e3 - truth])
        rows[1, [0, 3]] = 1e6  # what is private to others does not even count as a distance
        mixed = screen(rows, np.ones(3) / 3, memory, task, view((1, 2), round))
        assert np.array_equal(mixed.value[[0, 3]], own[[0, 3]])
        assert np.linalg.norm((mixed.value - mixed.memory.anchor)[1:3]) <= 0.5 * (1 + 1e-12)
        memory, own, used = mixed.memory, mixed.value, used + mixed.trust[0]
    assert used > 10


def test_the_radius_is_about_what_own_data_leave_open_with_few_rows_and_with_many():
    for train, low, high in ((8, 0.6, 1.6), (200, 1.2, 3.0)):
        ratios = []
        for seed in range(9):
            _, truth, _, task = draw(seed, train, held=20, d=20)
            screen = GateCapAnchor()
            memory = screen.init(task, view(()))
            for round in range(150):
                memory = screen(np.zeros((1, 20)), np.ones(1), memory, task, view((), round)).memory
            ratios.append(screen._radius(memory, slice(None)) / np.linalg.norm(memory.anchor - truth))
        assert low < np.median(ratios) < high


def test_it_says_the_same_in_single_precision():
    _, truth, data, _ = draw(6, train=12)
    values = []
    for dtype in (np.float32, np.float64):
        fields = ("x", "y", "held_x", "held_y", "test_x", "test_y")
        cast = replace(data, **{name: getattr(data, name).astype(dtype) for name in fields})
        task = LeastSquares(l2=0.0, bias=False).build(cast)
        screen, own = GateCapAnchor(warm_up=0), np.zeros(4, dtype)
        memory = screen.init(task, view((1, 2), dtype=dtype))
        for round in range(30):
            own = own - dtype(0.2) * task.grad(own)
            rows = np.vstack([own, truth, -truth]).astype(dtype)
            mixed = screen(rows, np.ones(3, dtype) / 3, memory, task, view((1, 2), round, dtype))
            memory, own = mixed.memory, mixed.value
            assert own.dtype == memory.anchor.dtype == memory.halves.dtype == dtype
        values.append(own)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4)


# what goes with it


MULTI = {"data": "synthetic:rows=20,features=3", "ranks": 6, "topology": "complete", "rounds": 3}


def test_auto_is_this_one_where_ranks_differ_in_task_and_cs_plus_where_they_do_not():
    several = plan(load({**MULTI, "screen": "auto"})).config
    assert several.screen[0]["name"] == "gate-cap-anchor"
    assert several.held_out == 0.3
    assert "held_out = 0.3" in to_toml(several)
    assert plan(load({**MULTI, "screen": "auto", "held_out": 0.2})).config.held_out == 0.2
    same = plan(load({**MULTI, "screen": "auto", "partition": "iid"})).config
    assert (same.screen, same.held_out) == ([{"name": "cs-plus", "b": 1}], 0.0)
    piped = plan(load({**MULTI, "screen": "clip:tau=1+auto"})).config
    assert [part["name"] for part in piped.screen] == ["clip", "gate-cap-anchor"]


def test_the_effective_configuration_makes_the_same_run():
    config = plan(load({**MULTI, "screen": "auto"})).config
    assert plan(config).config == config


def test_it_runs_as_a_job_and_any_number_of_liars_is_held():
    job = plan(load({**MULTI, "screen": "auto", "byzantine": [{"count": 5, "attack": "sign-flip:3"}], "rounds": 12}))
    states = simulate([job.node(rank) for rank in range(6)], 12)
    assert all(np.isfinite(state.x).all() for state in states)


def test_what_does_not_go_with_it_is_refused_in_one_sentence():
    job = plan(load({**MULTI, "screen": "gate-cap-anchor", "algorithm": "gradient-tracking"}))
    with pytest.raises(CompatibilityError, match=r"judges models, and a message of 'gradient-tracking' has 2 vectors"):
        job.node(0)
    hinge = {"data": "synthetic:classes=2,rows=40", "task": "hinge", "algorithm": "diffusion:0.1"}
    job = plan(load({**MULTI, **hinge, "screen": "clip:tau=9+gate-cap-anchor"}))
    with pytest.raises(CompatibilityError, match=r"Hinge has no smooth gradient. Give one: gate-cap-anchor:step_size"):
        job.node(0)
    plan(load({**MULTI, **hinge, "screen": "gate-cap-anchor:step_size=0.1/sqrt(t)"})).node(0)


def test_a_task_of_somebody_elses_that_cannot_be_halved_is_asked_for_a_radius(monkeypatch):
    job = plan(load({**MULTI, "screen": "gate-cap-anchor"}))
    bound = job._bound_task(0)
    monkeypatch.setattr(type(job), "_bound_task", lambda self, rank: Bare(bound))
    with pytest.raises(CompatibilityError, match=r"Bare cannot be halved. Give one: gate-cap-anchor:radius=1."):
        job.node(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius": -1.0},
        {"radius": np.nan},
        {"margin": -0.1},
        {"most": 0.6},
        {"nu": 0.0},
        {"warm_up": -1},
        {"steps": 0},
        {"step_size": "x"},
    ],
)
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match="'gate-cap-anchor'"):
        GateCapAnchor(**wrong)


def test_an_infinite_radius_is_no_anchor_and_promises_nothing():
    assert GateCapAnchor(radius=np.inf).capacity(7) == 0
    assert GateCapAnchor(radius=3.0).capacity(7) == GateCapAnchor().capacity(7) == 7
    assert Piped((Clip(1.0),), GateCapAnchor()).needs_held_out


def test_three_tasks_with_liars_are_learnt_better_than_alone_and_than_by_averaging():
    """Twelve honest ranks with six rows each for ten parameters, three tasks, three liars."""
    rng = np.random.default_rng(8)
    centres = [2 * row / np.linalg.norm(row) for row in rng.standard_normal((3, 10))]
    tasks = []
    for rank in range(15):
        x = rng.standard_normal((9, 10))
        y = x @ centres[rank % 3] + 0.1 * rng.standard_normal(9)
        tasks.append(LeastSquares(l2=0.0, bias=False).build(Dataset(x[:6], y[:6], x[6:], y[6:], x[:0], y[:0])))
    lies = {rank: Hug(tuple(tuple(-3 * centres[target % 3]) for target in range(15))) for rank in (12, 13, 14)}
    errors = {}
    for name, screen in (("cooperating", GateCapAnchor()), ("alone", GateCapAnchor(radius=0.0))):
        states = simulate(network(nx.complete_graph(15), Diffusion(0.1), tasks, screen, lies), 90)
        errors[name] = np.mean([np.sum((states[rank].x - centres[rank % 3]) ** 2) for rank in range(12)])
    assert errors["cooperating"] < 0.5 * errors["alone"]


def test_a_silent_neighbourhood_is_learning_alone_bit_for_bit():
    tasks = [draw(rank)[3] for rank in range(3)]
    silent = {1: Silent(), 2: Silent()}
    states = simulate(network(nx.complete_graph(3), Diffusion(), tasks, GateCapAnchor(), silent), 30)
    alone = simulate(network(nx.empty_graph(1), Diffusion(), tasks[:1], GateCapAnchor()), 30)
    assert states[0].x.tobytes() == alone[0].x.tobytes()
