"""Attacks that know the rules and the data: line search, drift, loss hugging; against formulas written anew here."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.attacks.alie import z_max
from dmtl.attacks.case import Case
from dmtl.attacks.drift import Drift
from dmtl.attacks.fitting import flattest, optimum
from dmtl.attacks.line_search import LineSearch, deviation, strongest
from dmtl.attacks.loss_hugging import LossHugging
from dmtl.attacks.silent import Silent
from dmtl.attacks.told import told
from dmtl.attacks.victims import Victim
from dmtl.build import plan
from dmtl.config import load
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.registry import names
from dmtl.screens.average import Average
from dmtl.screens.cs_plus import CSPlus
from dmtl.screens.median import Median
from dmtl.screens.self_centred_clipping import SelfCentredClipping
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.tasks.hinge import Hinge
from dmtl.tasks.least_squares import LeastSquares
from dmtl.tasks.logistic import Logistic
from dmtl.topology import Topology, metropolis
from dmtl.types import Inbox, Mixed, Outbox
from tests.contracts.test_screen import REQUIRED
from tests.networks import network, quadratics

COMPLETE = nx.complete_graph(9)
UNEVEN = nx.Graph(
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (1, 4), (1, 5), (2, 5), (4, 5), (3, 6), (1, 6), (0, 6)]
)
RULES = [CSPlus(b=2), CSPlus(b=1), TrimmedMean(b=2), Median(), SelfCentredClipping(b=2)]
DIRECTIONS = ["alie", "ipm", "dissensus", "away"]


class Stage:
    """One round around a liar: who said what, the case it is told, and its lies."""

    def __init__(self, graph, liars, screen, d=4, f=1, seed=0, dtype=np.float64):
        self.topology = Topology(graph, metropolis(graph))
        self.liars, self.screen = liars, screen
        self.tasks = quadratics(len(graph), d, seed)
        self.said = np.random.default_rng(seed).standard_normal((len(graph), f, d)).astype(dtype) + 1.0
        self.case = Case(liars[0], self.topology, Diffusion(), screen, liars, self.tasks.__getitem__)
        view = self.topology.view(liars[0], 3, False, liars)
        self.view = view._replace(round=4, weights=view.weights.astype(dtype))

    def inbox(self):
        block = np.concatenate([self.said[[self.view.rank]], self.said[list(self.view.sources)]])
        rows = tuple(block[:, row] for row in range(block.shape[1]))
        return Inbox(block[1:], np.zeros(len(block) - 1, int), rows, block.reshape(len(block), -1), 1e100)

    def lies(self, attack):
        """target -> lie (f, d)."""
        attack = told(attack, self.case)
        memory = attack.init(self.tasks[self.view.rank], self.view)
        outbox = np.tile(self.said[self.view.rank], (len(self.view.targets), 1, 1))
        lies, _ = attack(outbox, self.inbox(), memory, self.tasks[self.view.rank], self.view)
        assert lies.dtype == self.said.dtype
        return dict(zip(self.view.targets, lies, strict=True))

    def honest(self, victim):
        """(1 + h, d) the victim's words first."""
        near = [rank for rank in self.topology.sources(victim) if rank not in self.liars]
        return self.said[[victim, *near], 0]

    def deviation(self, victim, lie):
        """|screen(rows with the lie) - screen(honest rows, the liars' weight on the own vector)|, written out."""
        near = list(self.topology.sources(victim))
        weights = self.topology.matrix[victim]
        here = self.topology.view(victim, 3)
        kept = [rank for rank in near if rank not in self.liars]
        own = weights[victim] + sum(weights[rank] for rank in near if rank in self.liars)
        both = []
        for ranks, self_weight in ((near, weights[victim]), (kept, own)):
            rows = np.array([self.said[victim, 0], *(lie if r in self.liars else self.said[r, 0] for r in ranks)])
            mixing = np.array([self_weight, *(weights[r] for r in ranks)])
            both.append(self.screen(rows, mixing, (), self.tasks[victim], here).value)
        return float(np.linalg.norm(both[0] - both[1]))

    def line(self, direction, victim):
        """ref and u by their formulas."""
        x, rest = self.honest(victim)[0], self.honest(victim)[1:]
        crowd = self.honest(victim)
        near = self.topology.sources(victim)
        weights = self.topology.matrix[victim]
        if direction == "alie":
            return crowd.mean(axis=0), -crowd.std(axis=0)
        if direction == "ipm":
            return 0 * x, -crowd.mean(axis=0)
        if direction == "dissensus":
            pull = sum(weights[r] * (self.said[r, 0] - x) for r in near if r not in self.liars)
            return x, -pull / sum(weights[r] for r in near if r in self.liars)
        away = x - self.tasks[victim].b
        return x, away / np.linalg.norm(away) * np.sqrt((np.linalg.norm(rest - x, axis=1) ** 2).mean())

    def usual(self, direction, victim):
        """The strengths that these attacks take without a search."""
        n, b = 1 + len(self.topology.sources(victim)), len(set(self.topology.sources(victim)) & set(self.liars))
        return {"alie": [z_max(n, b)], "ipm": [0.1, 0.5, 1.1], "dissensus": [1.0, 1.5], "away": [1.0]}[direction]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("screen", RULES, ids=lambda screen: type(screen).__name__ + str(getattr(screen, "b", "")))
def test_a_line_search_beats_every_point_of_its_grid_and_every_fixed_strength(direction, screen):
    for seed in range(2):
        stage = Stage(COMPLETE, (0, 1), screen, seed=seed)
        lies = stage.lies(LineSearch(direction=direction))
        for victim in range(2, 9):
            ref, u = stage.line(direction, victim)
            grid = [*np.geomspace(0.01, 100, 24), *-np.geomspace(0.01, 100, 24), *stage.usual(direction, victim)]
            best = max(stage.deviation(victim, ref + c * u) for c in grid)
            assert stage.deviation(victim, lies[victim][0]) >= best * (1 - 1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_lie_lies_on_the_line(direction):
    stage = Stage(COMPLETE, (0, 1), CSPlus(b=2))
    for victim, lie in stage.lies(LineSearch(direction=direction)).items():
        if victim != 1:
            ref, u = stage.line(direction, victim)
            c = (lie[0] - ref) @ u / (u @ u)
            np.testing.assert_allclose(lie[0], ref + c * u, rtol=0, atol=1e-9)
            assert 0.0099 < abs(c) < 100.1


def test_a_line_search_goes_beyond_its_grid():
    """Where the best strength lies between two of its points, the golden section finds it."""
    for peak in (0.0371, 0.9, 41.0, -3.3):
        found = strongest(lambda c: -abs(c - peak), np.geomspace(0.01, 100, 24), (1.0,))  # noqa: B023
        assert found == pytest.approx(peak, rel=1e-3)
    assert strongest(lambda c: c, np.geomspace(0.01, 100, 16), (1.0,)) == pytest.approx(100.0)
    assert strongest(lambda c: float(c == 0.5), np.geomspace(0.01, 100, 16), (0.5,)) == 0.5


def test_against_a_plain_average_the_longest_step_is_the_best():
    stage = Stage(COMPLETE, (0, 1), Average())
    lies = stage.lies(LineSearch(direction="dissensus", most=50.0))
    ref, u = stage.line("dissensus", 4)
    assert abs((lies[4][0] - ref) @ u / (u @ u)) == pytest.approx(50.0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_with_the_graphs_own_weights_and_neighbours_that_the_liar_hears_the_search_is_exact(direction):
    """Rank 1 hears all of what 0 and 3 hear, and not all of what the others do."""
    stage = Stage(UNEVEN, (1,), CSPlus(b=1))
    lies = stage.lies(LineSearch(direction=direction))
    for victim in (0, 3):
        ref, u = stage.line(direction, victim)
        best = max(stage.deviation(victim, ref + c * u) for s in (1, -1) for c in s * np.geomspace(0.01, 100, 24))
        assert stage.deviation(victim, lies[victim][0]) >= best * (1 - 1e-9)


def test_what_is_not_heard_is_replaced_by_what_is():
    """On a path 0 - 1 - 2 - 3 the liar 1 does not hear 3, whom its victim 2 hears; it hears 0 only besides."""
    stage = Stage(nx.path_graph(4), (1,), Median())
    lies = stage.lies(LineSearch(direction="alie"))
    crowd = np.array([stage.said[2, 0], stage.said[0, 0]])
    c = (lies[2][0] - crowd.mean(axis=0)) / -crowd.std(axis=0)
    np.testing.assert_allclose(c, c[0], rtol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_liars_and_ranks_that_are_not_heard_get_the_truth(direction):
    stage = Stage(COMPLETE, (0, 1), CSPlus(b=2))
    inbox, outbox = stage.inbox(), np.tile(stage.said[0], (8, 1, 1))
    age = np.where(np.array(stage.view.sources) == 5, -1, 0)
    for attack in (LineSearch(direction=direction), Drift()):
        known = told(attack, stage.case)
        lies, _ = known(outbox, inbox._replace(age=age), known.init(None, stage.view), None, stage.view)
        truth = [target for target, lie in zip(stage.view.targets, lies, strict=True) if np.array_equal(lie, outbox[0])]
        assert truth == [1, 5]


def test_a_lie_beyond_the_cap_is_worth_nothing():
    stage = Stage(COMPLETE, (0, 1), Average())
    known = told(LineSearch(direction="away"), stage.case)
    outbox = np.tile(stage.said[0], (8, 1, 1))
    lies, _ = known(outbox, stage.inbox()._replace(cap=25.0), known.init(None, stage.view), None, stage.view)
    assert np.all(np.linalg.norm(lies[1:, 0], axis=1) <= 25.0)
    assert np.all(np.linalg.norm(lies[1:, 0], axis=1) > 20.0)


def test_drift_is_nearer_than_every_honest_neighbour_and_away_from_the_optimum():
    for seed in range(5):
        stage = Stage(COMPLETE, (0, 1), CSPlus(b=2), seed=seed)
        for victim, lie in stage.lies(Drift()).items():
            if victim != 1:
                x, rest = stage.honest(victim)[0], stage.honest(victim)[1:]
                nearest = np.linalg.norm(rest - x, axis=1).min()
                u = (x - stage.tasks[victim].b) / np.linalg.norm(x - stage.tasks[victim].b)
                np.testing.assert_allclose(lie[0], x + 0.9 * nearest * u, rtol=0, atol=1e-6)
                assert np.linalg.norm(lie[0] - x) < nearest


def test_the_plan_of_drift_is_the_same_for_all_liars_and_in_all_rounds():
    sides = []
    for liars, round in (((0, 1), 4), ((1, 0), 4), ((0, 1), 9)):
        stage = Stage(COMPLETE, liars, CSPlus(b=2), f=2)
        stage.view = stage.view._replace(round=round)
        away = stage.lies(Drift(away="plan"))[4] - stage.said[4]
        sides += list(away / np.linalg.norm(away, axis=1, keepdims=True))
    for side in sides[1:]:
        np.testing.assert_allclose(side, sides[0], rtol=0, atol=1e-12)


def test_drift_stays_the_nearest_through_a_simulated_run_and_leads_further_away_than_silence():
    graph, liars = nx.complete_graph(6), {0: Drift(), 1: Drift()}
    tasks = quadratics(6)
    topology = Topology(graph, metropolis(graph))
    seen = []

    def record(rank, state, inbox):
        if rank > 1 and state.view.round:
            own, lies, honest = inbox.rows[0][0], inbox.messages[:2, 0], inbox.messages[2:, 0]
            seen.append(np.linalg.norm(lies - own, axis=1).max() < np.linalg.norm(honest - own, axis=1).min())

    def run(attacks):
        known = {
            rank: told(attack, Case(rank, topology, Diffusion(), Average(), (0, 1), tasks.__getitem__))
            for rank, attack in attacks.items()
        }
        nodes = network(graph, Diffusion(step_size=0.1), tasks, liars=known)
        return simulate(nodes, 60, record if attacks is liars else None)

    lured = run(liars)
    assert len(seen) == 4 * 60
    assert all(seen)
    alone = run({0: Silent(), 1: Silent()})
    far = [sum(np.linalg.norm(states[rank].x - tasks[rank].b) for rank in range(2, 6)) for states in (lured, alone)]
    assert far[0] > far[1] * 1.2


def data(m, p, seed=0, classes=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, p)).astype(dtype)
    y = x @ rng.standard_normal(p) + 0.3 * rng.standard_normal(m)
    y = (y > 0).astype(dtype) if classes else y.astype(dtype)
    nothing = np.zeros((0, p), dtype), np.zeros(0, dtype)
    return Dataset(x, y, *nothing, *nothing, classes)


def hug(task, attack, dim, dtype=np.float64):
    """The lie to rank 0 of three, whose task this is."""
    topology = Topology(nx.complete_graph(3), metropolis(nx.complete_graph(3)))
    known = told(attack, Case(2, topology, Diffusion(), Average(), (2,), lambda rank: task))
    view = topology.view(2, 1, False, (2,))
    view = view._replace(weights=view.weights.astype(dtype))
    out = np.ones((2, 1, dim), dtype)
    heard = Inbox(out, np.zeros(2, int), (np.ones((3, dim), dtype),), np.ones((3, dim), dtype), 1e100)
    return known(out, heard, known.init(None, view), None, view)[0][0, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_where_data_leave_a_null_space_loss_hugging_loses_nothing_however_far_it_goes(dtype):
    task = LeastSquares(l2=0.0).build(data(12, 30, dtype=dtype))
    x, y = task.parts.train
    least = float(np.square(x @ np.linalg.lstsq(x, y, rcond=None)[0] - y).mean()) / 2
    lie = hug(task, LossHugging(r=10.0), task.dim, dtype)
    best = optimum(task, dtype)
    assert task.loss(lie) - least <= (1e-12 if dtype == np.float64 else 1e-3)
    assert np.linalg.norm(lie - best) == pytest.approx(10 * np.linalg.norm(best), rel=1e-3)


@pytest.mark.parametrize(
    "task",
    [
        LeastSquares(l2=1e-3).build(data(12, 30)),
        LeastSquares().build(data(60, 5)),
        Logistic().build(data(40, 6, classes=2)),
        Hinge(l2=1e-2).build(data(40, 6, classes=2)),
    ],
    ids=["least-squares, few rows", "least-squares", "logistic", "hinge"],
)
def test_elsewhere_the_training_loss_is_within_the_slack_of_the_optimum_and_the_step_is_no_shorter(task):
    lie, zero = hug(task, LossHugging(r=1000.0, slack=0.05), task.dim), task.loss(np.zeros(task.dim))
    best = optimum(task, float)
    allowed = task.loss(best) + 0.05 * (zero - task.loss(best))
    assert task.loss(lie) <= allowed * (1 + 1e-12)
    further = best + 1.01 * (lie - best)
    assert task.loss(further) > allowed
    assert np.linalg.norm(lie - best) > 0.01 * np.linalg.norm(best)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_optimum_that_an_attacker_finds_is_one(dtype):
    squares = LeastSquares(l2=1e-2).build(data(40, 6, dtype=dtype))
    x, y = (part.astype(float) for part in squares.parts.train)
    exact = np.linalg.solve(x.T @ x / 40 + 1e-2 * np.eye(7), x.T @ y / 40)
    np.testing.assert_allclose(optimum(squares, dtype), exact, rtol=1e-9 if dtype == np.float64 else 1e-3)
    curve = Logistic().build(data(40, 6, classes=2, dtype=dtype))
    found = optimum(curve, dtype)
    assert found.dtype == dtype
    assert np.linalg.norm(curve.grad(found)) < (1e-8 if dtype == np.float64 else 1e-3)
    kink = Hinge(l2=1e-2).build(data(40, 6, classes=2))
    rng, reached = np.random.default_rng(0), optimum(kink, float)
    for scale in (1.0, 0.3, 0.1):
        trials = reached + scale * rng.standard_normal((300, 7))
        assert min(map(kink.loss, trials)) > kink.loss(reached) - 2e-3


def test_a_gradient_alone_finds_the_same_flat_direction_as_a_proximal_map():
    task = LeastSquares(l2=0.0).build(data(12, 30))

    class Gradient:
        dim, smoothness, loss, grad = task.dim, task.smoothness, task.loss, task.grad

    x = task.parts.train.x
    start, best = np.random.default_rng(1).standard_normal(task.dim), optimum(task, float)
    exact = start - np.linalg.pinv(x) @ (x @ start)  # what of it lies in the null space
    exact /= np.linalg.norm(exact)
    np.testing.assert_allclose(flattest(task, best, start), exact, rtol=0, atol=1e-6)
    rough = flattest(Gradient(), best, start)
    assert np.linalg.norm(x @ rough) < 0.2 * np.linalg.norm(x @ start) / np.linalg.norm(start)


SMALL = {"data": "synthetic:rows=20,features=5", "topology": "complete", "ranks": 6, "rounds": 6, "seed": 3}


@pytest.mark.parametrize("algorithm", ["diffusion", "gradient-tracking", "pairwise-gossip", "network-lasso"])
@pytest.mark.parametrize("attack", ["line-search:direction=away", "drift", "loss-hugging"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_attacks_that_know_the_case_play_with_every_kind_of_method(algorithm, attack, dtype):
    liars = [{"ranks": [0, 3], "attack": attack}]
    job = plan(load({**SMALL, "algorithm": algorithm, "dtype": dtype, "byzantine": liars, "force": True}))
    states = simulate([job.node(rank) for rank in range(6)], 6)
    honest = plan(load({**SMALL, "algorithm": algorithm, "dtype": dtype}))
    truth = simulate([honest.node(rank) for rank in range(6)], 6)
    for rank in (1, 2, 4, 5):
        assert np.isfinite(states[rank].x).all()
        assert not np.array_equal(states[rank].x, truth[rank].x)


def test_the_builder_tells_an_attack_inside_another_the_case_and_binds_each_task_once():
    liars = [{"ranks": [0], "attack": "sleeper:t0=2,inner=(drift:reach=0.5)"}]
    job = plan(load({**SMALL, "byzantine": liars}))
    node = job.node(0)
    assert node.attack.inner.case.rank == 0
    assert node.attack.inner.attack == Drift(reach=0.5)
    assert node.rushing
    assert node.attack.inner.case.task(4) is job.node(0).attack.inner.case.task(4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LineSearch(points=8), "'line-search' has points=8"),
        (lambda: LineSearch(most=0.0), "'line-search' has most=0.0"),
        (lambda: Drift(reach=0.0), "'drift' has reach=0.0"),
        (lambda: replace(LossHugging(), r=-1.0), "'loss-hugging' has r=-1.0"),
        (lambda: LossHugging(slack=2.0), "'loss-hugging' has slack=2.0"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("screen", names("screen"))
def test_a_line_search_may_be_made_against_every_rule(screen):
    """What a victim would do without the liars is asked with a view of the honest alone, as a node would ask."""
    given = ",".join(f"{key}={value}" for key, value in REQUIRED.get(screen, {}).items())
    raw = {
        "data": "synthetic:rows=20,features=3",
        "topology": "complete",
        "ranks": 10,
        "held_out": 0.3,
        "screen": f"{screen}:{given}" if given else screen,
        "byzantine": [{"ranks": [2, 7], "attack": "line-search:points=16"}],
        "force": True,
    }
    job = plan(load(raw))
    states = simulate([job.node(rank) for rank in range(10)], 3)
    assert all(np.isfinite(state.x).all() for state in states)


class Notes:
    """A screen that writes down what it is shown."""

    linear = False

    def __init__(self):
        self.shown = []

    def init(self, task, view):
        return ()

    def __call__(self, rows, weights, memory, task, view):
        self.shown.append((rows.tolist(), weights.tolist(), view.sources, view.couplings.tolist()))
        return Mixed(rows[0].copy(), np.ones(len(rows) - 1), ())


@pytest.mark.parametrize("victim", [0, 1, 3])
def test_without_liars_a_victims_rule_sees_what_a_node_shows_it_when_they_are_silent(victim):
    notes, stage = Notes(), Stage(UNEVEN, (2, 6), Median())
    stage.case = stage.case._replace(screen=notes)
    node = network(UNEVEN, Diffusion(), stage.tasks, notes)[victim]
    near = node.view.sources
    box = node.mailbox()
    box.clear()
    box.post(Outbox((stage.said[victim, 0],)))
    for row, rank in enumerate(near):
        if rank not in stage.liars:
            box.heard[row] = stage.said[rank]
    node.step(node.start(), box.open())
    rows = stage.said[[victim, *near], 0]
    told_of = Victim(victim, rows, node.view.weights, np.array([rank in stage.liars for rank in near]))
    deviation(told_of, stage.view, stage.case, 1e100)
    assert notes.shown[0] == notes.shown[1]
