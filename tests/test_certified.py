"""Certificates and the stop that they give: never below the truth, the same on all ranks, in the same round."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.central import CentralFISTA, Problem, problem
from dmtl.algorithms.central_pnopt import CentralPNOPT
from dmtl.algorithms.certified import CertifiedStop, parse_stop
from dmtl.algorithms.local import Local
from dmtl.algorithms.pdmm import PDMM
from dmtl.algorithms.replicated import Replicated
from dmtl.build import plan
from dmtl.config import load
from dmtl.consensus.chart import chart
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.launch import start
from dmtl.node import NodeState
from dmtl.penalties.gap import has_gap, term
from dmtl.penalties.norms import Columns, Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures, SparseLowRank
from dmtl.results import flatten, portable, restore
from dmtl.simulator import simulate
from tests.networks import Quadratic, network, quadratics

PENALTIES = {
    type(piece).__name__: piece
    for piece in (
        *(Rows(0.3), LowRank(0.3), SquaredNuclear(0.2), Relationship(0.2, 0.1), Clustered(2, 0.4, 0.5)),
        *(Mean(0.5), Columns(0.2), Robust(0.3, 0.3), RobustFeatures(0.3, 0.3), SparseLowRank(0.1, 2.0)),
    )
}
GRAPHS = {
    "ring": nx.cycle_graph(8),
    "path": nx.path_graph(8),
    "star": nx.star_graph(7),
    "random": nx.gnp_random_graph(8, 0.5, seed=3),
    "complete": nx.complete_graph(8),
}
every = pytest.mark.parametrize("penalty", PENALTIES)


class Bowl(Quadratic):
    """A quadratic that knows its modulus."""

    @property
    def strong_convexity(self) -> float:
        return float(self.values[0])


def bowls(n: int) -> list[Bowl]:
    return [Bowl(task.hessian, task.b) for task in quadratics(n)]


@cache
def whole(name: str) -> tuple[Problem, float]:
    """The problem of eight bowls, and its least value."""
    here = problem(bowls(8), PENALTIES[name], chart(GRAPHS["ring"]))
    return here, least(here)


def least(here: Problem, steps: int = 400) -> float:
    method = CentralFISTA()
    state = method.begin(here, np.zeros((here.penalty.copies * here.tasks[0].dim, len(here.tasks))))
    for _ in range(steps):
        state = method.move(here, state)
    return here.objective(state.w)


def bounded(here: Problem, v: np.ndarray, step: float) -> tuple[float, float]:
    """The objective at the proximal map of ``v``, and the sum of all tasks' terms."""
    w = here.penalty.prox(v, step)
    slope, grads, parts = (v - w) / step, here.grad(w), here.penalty.copies
    each = [
        term(here.penalty, w[:, t], slope[:, t], grads[: len(w) // parts, t], task.strong_convexity)
        for t, task in enumerate(here.tasks)
    ]
    return here.objective(w), sum(each)


@every
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(-4, 2), step=st.floats(-2, 1))
def test_the_bound_is_above_the_gap_wherever_the_point_is(penalty, seed, size, step):
    here, best = whole(penalty)
    v = 10**size * np.random.default_rng(seed).standard_normal((4 * here.penalty.copies, 8))
    value, bound = bounded(here, v, 10**step)
    assert value - best <= bound * (1 + 1e-9) + 1e-12 * abs(value)


@every
def test_the_bound_goes_to_nothing_where_the_method_goes_to_the_minimiser(penalty):
    here, best = whole(penalty)
    step, method, bounds = 1 / here.steepness, CentralFISTA(), []
    state = method.begin(here, np.zeros((4 * here.penalty.copies, 8)))
    for _ in range(400):
        value, bound = bounded(here, state.z - step * here.grad(state.z), step)
        state = method.move(here, state)
        assert value - best <= bound + 1e-13 * abs(value)
        bounds.append(bound)
    assert bounds[-1] < 1e-7 * bounds[0]


@pytest.mark.parametrize("penalty", [Robust(0.5, 0.1), RobustFeatures(0.5, 0.1)], ids=["Robust", "RobustFeatures"])
def test_the_bound_sees_that_a_part_which_is_nothing_ought_to_be_something(penalty):
    """At the minimiser without outliers the gradient is the slope's negative; only the norm of columns objects."""
    shared, here = (problem(bowls(8), piece, chart(GRAPHS["ring"])) for piece in (penalty.parts[0], penalty))
    step, method = 1 / shared.steepness, CentralFISTA()
    state = method.begin(shared, np.zeros((4, 8)))
    for _ in range(400):
        state = method.move(shared, state)
    v = state.w - step * shared.grad(state.w)
    w = shared.penalty.prox(v, step)
    slope, grads, none = (v - w) / step, shared.grad(w), np.zeros(4)
    assert np.allclose(slope, -grads, rtol=0, atol=1e-9)
    columns = [(np.append(w[:, t], none), np.append(slope[:, t], none), grads[:, t]) for t in range(8)]
    bound = sum(term(penalty, *column, task.strong_convexity) for column, task in zip(columns, here.tasks, strict=True))
    gap = here.objective(np.concatenate((w, np.zeros((4, 8))))) - least(here)
    assert 0.1 < gap <= bound


def test_a_bound_needs_a_part_that_is_each_tasks_own():
    assert all(map(has_gap, PENALTIES.values()))
    assert not has_gap(Dirty(0.1, 0.1))


def stopped(graph: nx.Graph, penalty, tasks, gap: float, rounds: int = 4000) -> list[NodeState]:
    here = chart(graph)
    return simulate(network(graph, CertifiedStop(Replicated(penalty, here), here, gap), tasks), rounds)


@pytest.mark.parametrize("shape", GRAPHS)
@pytest.mark.parametrize("penalty", [name for name, piece in PENALTIES.items() if piece.copies == 1])
@pytest.mark.parametrize("gap", [1e-2, 1e-8])
def test_all_ranks_stop_in_one_round_with_one_bound_that_is_true(shape, penalty, gap):
    graph, tasks = GRAPHS[shape], bowls(8)
    states = stopped(graph, PENALTIES[penalty], tasks, gap)
    assert {state.view.round for state in states} != {4000}
    assert len({state.view.round for state in states}) == 1
    assert len({state.model.bound for state in states}) == 1, "bit for bit"
    assert all(state.model.over for state in states)
    here, best = whole(penalty)
    assert (
        here.objective(np.stack([state.x for state in states], axis=1)) - best
        <= states[0].model.bound * (1 + 1e-9) + 1e-13
    )
    assert states[0].model.bound <= gap


@pytest.mark.parametrize("penalty", [name for name, piece in PENALTIES.items() if piece.copies == 2])
def test_sums_of_two_parts_are_bounded_too(penalty):
    graph, tasks = GRAPHS["random"], bowls(8)
    states = stopped(graph, PENALTIES[penalty], tasks, 1e-5, 20000)
    assert states[0].model.over
    assert states[0].model.bound <= 1e-5
    here, (whole_of, best) = chart(graph), whole(penalty)
    found = states[0].view.round - here.diameter - len(here.spectrum)
    after = simulate(network(graph, Replicated(PENALTIES[penalty], here), tasks), found)
    assert all(np.array_equal(state.x, other.x) for state, other in zip(states, after, strict=True))
    gap = whole_of.objective(np.stack([state.model.w for state in after], axis=1)) - best
    assert gap <= states[0].model.bound + 1e-13


@pytest.mark.parametrize("shape", GRAPHS)
def test_the_method_does_what_it_does_without_the_stop_and_ends_with_the_models_that_were_good_enough(shape):
    graph, tasks, penalty = GRAPHS[shape], bowls(8), LowRank(0.3)
    here = chart(graph)
    states = stopped(graph, penalty, tasks, 1e-6)
    last = states[0].view.round
    plain = network(graph, Replicated(penalty, here), tasks)
    kept: dict[int, list] = {}
    after = simulate(plain, last, lambda rank, state, inbox: kept.setdefault(state.view.round, []).append(state.x))
    for state, other in zip(states, after, strict=True):
        assert np.array_equal(state.model.inner.w, other.model.w)
    found = last - here.diameter - len(here.spectrum)
    assert all(np.array_equal(state.x, model) for state, model in zip(states, kept[found], strict=True))
    sooner = kept[found - len(here.spectrum)]
    assert not np.array_equal(states[0].x, sooner[0])


def test_it_stops_with_the_first_models_that_are_good_enough():
    graph, tasks, penalty = GRAPHS["random"], bowls(8), Rows(0.3)
    here = chart(graph)
    method = CertifiedStop(Replicated(penalty, here), here, 1e-7)
    bounds: dict[int, float] = {}

    def keep(rank, state, inbox):
        bounds[state.view.round] = state.model.bound

    states = simulate(network(graph, method, tasks), 4000, keep)
    last = states[0].view.round
    assert bounds[last] <= 1e-7 < bounds[last - 1]
    assert np.isinf(bounds[0])
    free = network(graph, Replicated(penalty, here), tasks)
    terms: dict[int, float] = {}

    def add(rank, state, inbox):
        now = state.view.round
        own = free[rank].algorithm.certificate(state.model, tasks[rank], state.view)
        terms[now] = terms.get(now, 0.0) + own

    simulate(free, last, add)
    period = len(here.spectrum)
    first = next(now for now in range(0, last, period) if terms[now] <= 1e-7)
    assert last == first + period + here.diameter
    assert np.isclose(bounds[last], terms[first], rtol=1e-9)


def test_alone_a_rank_stops_too():
    states = stopped(nx.empty_graph(1), Rows(0.1), bowls(1), 1e-9)
    assert states[0].model.over
    assert states[0].view.round < 200


def test_in_single_precision_all_still_stop_together():
    graph = GRAPHS["random"]
    here, job = chart(graph), [Bowl(t.hessian.astype(np.float32), t.b.astype(np.float32)) for t in bowls(8)]
    nodes = network(graph, CertifiedStop(Replicated(Rows(0.3), here), here, 1e-4), job, dtype=np.float32)
    states = simulate(nodes, 2000)
    assert {state.view.round for state in states} == {states[0].view.round}
    assert all(state.model.over and state.x.dtype == np.float32 for state in states)
    assert all(value.dtype != np.float64 or value.ndim == 0 for value in flatten(states[0].model).values())


@dataclass(frozen=True)
class Told:
    """Any method, with terms that the test chooses by rank and round."""

    inner: object
    terms: dict = field(default_factory=dict)

    @property
    def needs(self):
        return self.inner.needs

    def message_shape(self, task):
        return self.inner.message_shape(task)

    def init(self, x0, task, view):
        return self.inner.init(x0, task, view)

    def send(self, state, view):
        return self.inner.send(state, view)

    def step(self, state, inbox, mix, task, view):
        return self.inner.step(state, inbox, mix, task, view)

    def lacks(self, task):
        return ""

    def certificate(self, state, task, view):
        return self.terms.get(view.rank, 0.0)

    def vouched(self, state):
        return state.x


@pytest.mark.parametrize("inner", [PDMM(), Local()], ids=["messages per edge", "no messages"])
def test_the_numbers_travel_with_messages_of_any_kind_and_change_none(inner):
    graph, tasks = GRAPHS["random"], bowls(8)
    here = chart(graph)
    stop = CertifiedStop(Told(inner, {3: 1.0}), here, 0.5)
    states = simulate(network(graph, stop, tasks), 30)
    plain = simulate(network(graph, inner, tasks), 30)
    assert not any(state.model.over for state in states)
    for state, other in zip(states, plain, strict=True):
        assert np.array_equal(state.x, other.x)
        assert np.isclose(state.model.bound, 1.0, rtol=1e-12)
    f, d = inner.message_shape(tasks[0])
    assert stop.message_shape(tasks[0]) == ((f, d + 2) if f else (1, 2))


@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(sorted(GRAPHS)))
@settings(max_examples=25)
def test_the_verdict_is_that_on_the_sum_whatever_the_terms(seed, shape):
    rng = np.random.default_rng(seed)
    graph = GRAPHS[shape]
    here = chart(graph)
    terms = dict(enumerate(10 ** rng.uniform(-9, 3, 8) * rng.choice([1, 1, 1, -0.1], 8)))
    if rng.random() < 0.2:
        terms[int(rng.integers(8))] = np.inf
    stop = CertifiedStop(Told(Local(), terms), here, 1.0)
    states = simulate(network(graph, stop, bowls(8)), 3 * len(here.spectrum) + here.diameter)
    total = sum(terms.values())
    if abs(total - 1.0) > 1e-9 * max(map(abs, terms.values())):
        assert {state.model.over for state in states} == {total <= 1.0}
    assert len({(state.model.bound, state.view.round) for state in states}) == 1
    assert np.isinf(states[0].model.bound) == np.isinf(total)


def test_a_neighbour_that_says_nothing_breaks_nothing():
    graph, tasks = GRAPHS["ring"], bowls(8)
    here = chart(graph)
    (node, *_) = network(graph, CertifiedStop(Replicated(Rows(0.3), here), here, 1e-6), tasks)
    state, box = node.start(), node.mailbox()
    for bad in (np.nan, np.inf, 1e300):
        for _ in range(10):
            box.clear()
            box.post(node.speak(state, state.inbox)[0])
            box.heard[0] = bad
            state = node.step(state, box.open())
    assert np.isfinite(state.x).all()
    assert not state.model.over


def test_a_run_cut_in_two_stops_where_a_whole_one_does():
    graph, tasks = GRAPHS["random"], bowls(8)
    here = chart(graph)
    nodes = network(graph, CertifiedStop(Replicated(LowRank(0.3), here), here, 1e-6), tasks)
    states = simulate(nodes, 4000)
    half = simulate(nodes, states[0].view.round // 2)
    saved = [portable(state) for state in half]
    back = [restore(one, flatten(one)) for one in saved]
    again = simulate(nodes, 4000, states=[old._replace(model=new.model) for old, new in zip(half, back, strict=True)])
    for one, other in zip(states, again, strict=True):
        assert one.view.round == other.view.round
        assert np.array_equal(one.x, other.x)
    assert simulate(nodes, 4000, states=states)[0].view.round == states[0].view.round, "what is over stays so"


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "synthetic:rows=40,features=6", "task": "least-squares:l2=0.05", "ranks": 6},
        {"data": "digits-one-vs-rest", "task": "logistic:l2=0.1", "topology": "small-world:k=4", "tasks": "0-5"},
    ],
    ids=["regression", "two classes"],
)
def test_on_real_objectives_a_run_stops_within_its_bound(settings):
    job = plan(load({**settings, "algorithm": "joint-sparse:strength=0.05", "stop": "gap=1e-5", "rounds": 3000}))
    nodes = [job.node(rank) for rank in range(job.topology.size)]
    states = simulate(nodes, 3000)
    assert states[0].model.over
    tasks = [node.task for node in nodes]
    here = problem(tasks, Rows(0.05), chart(job.topology.graph))
    method = CentralPNOPT()
    best = method.begin(here, np.zeros((tasks[0].dim, len(tasks))))
    for _ in range(12):
        best = method.move(here, best)
    gap = here.objective(np.stack([state.x for state in states], axis=1)) - here.objective(best.w)
    assert -1e-12 < gap <= states[0].model.bound <= 1e-5


def test_a_run_says_where_and_how_near_it_stopped_and_so_do_its_files(tmp_path, capsys):
    raw = {
        "algorithm": "joint-sparse",
        "data": "synthetic:rows=20,features=3",
        "task": "least-squares:l2=0.05",
        "ranks": 4,
        "stop": "gap=1e-4",
        "rounds": 900,
        "out": str(tmp_path / "run"),
    }
    assert start(lambda: raw) == 0
    said = capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "run" / "rank-0002.jsonl").read_text().splitlines()]
    end = lines[-1]
    assert end["event"] == "end"
    assert end["round"] < 900
    assert 0 < end["bound"] <= 1e-4
    assert lines[-2]["round"] == end["round"]
    assert f"stopped after {end['round']} rounds: the objective is at most {end['bound']:.3g} above its least" in said
    assert start(lambda: {**raw, "rounds": 5, "overwrite": True}) == 0
    assert "not near enough to stop after 5 rounds: the objective is not known to be near its least" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"algorithm": "diffusion"}, CompatibilityError, "'diffusion' has no certificate: its ranks cannot bound"),
        ({"algorithm": "central-fista"}, CompatibilityError, "'central-fista' has no certificate"),
        ({"algorithm": "mocha", "link": "drop=0.1"}, CompatibilityError, "and there is link 'drop=0.1'. Leave one of"),
        (
            {"algorithm": "dmtrl", "transport": "simulated-async"},
            CompatibilityError,
            "there is transport 'simulated-as",
        ),
        ({"algorithm": "mocha:delta=0", "task": "hinge:l2=0"}, CompatibilityError, "needs a strongly convex task or a"),
        ({"stop": "loss=1"}, ConfigError, "stop is 'loss=1'. Write gap=VALUE"),
        ({"stop": "gap=0"}, ConfigError, "above 0 and at most 1e\\+09"),
        ({"stop": "gap=inf"}, ConfigError, "above 0"),
        ({"task": "logistic:l2=0"}, CompatibilityError, "rank 0 has no certificate for --stop, which needs a strongly"),
    ],
)
def test_what_cannot_be_certified_is_refused_in_one_sentence(settings, error, sentence):
    raw = {"algorithm": "joint-sparse", "stop": "gap=1e-3", "ranks": 4, **settings}
    raw |= {"data": "digits-one-vs-rest", "tasks": "0-3"} if "task" in settings else {}
    with pytest.raises(error, match=sentence):
        plan(load(raw)).node(0)


def test_who_stops_on_what_liars_say_is_warned():
    raw = {"algorithm": "mocha", "stop": "gap=1e-3", "ranks": 4, "byzantine": [{"ranks": [2], "attack": "gaussian"}]}
    assert "--stop believes every rank: rank 2, a liar, may end the run too soon or never." in plan(load(raw)).warnings


def test_a_penalty_whose_parts_both_couple_the_tasks_is_named():
    lack = Replicated(Dirty(0.1, 0.1), chart(GRAPHS["ring"])).lacks(bowls(1)[0])
    assert lack == "a penalty of which at most one part couples the tasks, and not Dirty"


def test_a_gap_is_read_as_it_is_written():
    assert parse_stop("gap=1e-6") == 1e-6
