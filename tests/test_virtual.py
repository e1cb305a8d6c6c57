"""Ranks that do not wait, on the virtual clock: who sees what, how old, and what waiting would have cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import ClassVar, NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.amtl import AMTL
from dmtl.algorithms.laplacian import Laplacian
from dmtl.rng import Purpose, stream
from dmtl.simulator import simulate
from dmtl.types import Needs
from dmtl.virtual import _Letter, _Line, simulate_async, synchronous_times
from tests.networks import GRAPHS, Drawn, Quadratic, joint, network, quadratics


@dataclass(frozen=True)
class By:
    """A timing by two functions."""

    cost: Callable[[int, int], float] = lambda rank, round: 1.0
    delay: Callable[[int, int, int], float] = lambda round, source, target: 0.0


class Count(NamedTuple):
    x: np.ndarray


@dataclass(frozen=True)
class Teller:
    """Says who it is and which round it has, and learns nothing."""

    needs: ClassVar[Needs] = Needs.NOTHING

    def message_shape(self, task):
        return 1, 2

    def init(self, x0, task, view):
        return Count(x0)

    def send(self, state, view):
        return (np.array([view.rank, view.round], dtype=float),)

    def step(self, state, inbox, mix, task, view):
        return state


def tellers(graph: nx.Graph):
    return network(graph, Teller(), quadratics(len(graph)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    graph=st.sampled_from(["ring", "star", "pair"]),
    max_age=st.integers(0, 3),
    rounds=st.integers(1, 12),
)
def test_a_rank_sees_the_newest_message_that_has_arrived_and_how_long_it_has_known_it(seed, graph, max_age, rounds):
    """Against an oracle that keeps every message and searches all of them. Whole numbers, so that ties are many."""
    rng = np.random.default_rng(seed)
    nodes = tellers(GRAPHS[graph])
    n = len(nodes)
    costs = rng.integers(1, 5, (n, rounds)).astype(float)
    delays = rng.choice([0.0, 0.0, 1.0, 2.0, 7.0, math.inf], (rounds, n, n))
    timing = By(lambda rank, round: costs[rank, round], lambda *key: delays[key])
    ends = [list(accumulate(row)) for row in costs]
    seen = []

    def record(rank, state, inbox, time):
        if state.view.round:
            seen.append((time, rank))
            check(rank, state.view.round - 1, inbox, time)

    first: dict[tuple[int, int, int], int] = {}

    def check(rank, look, inbox, time):
        assert time == ends[rank][look]
        for row, source in enumerate(nodes[rank].view.sources):
            sent = [i for i in range(rounds) if (ends[source][i], source) < (time, rank)]
            came = [i for i in sent if ends[source][i] + delays[i, source, rank] <= time]
            newest = max(came, default=-1)
            age = look - first.setdefault((rank, source, newest), look)
            if newest == rounds - 1:
                age = 0
            if newest < 0 or (max_age and age > max_age):
                assert inbox.age[row] == -1
            else:
                assert inbox.age[row] == age
                assert inbox.messages[row, 0].tolist() == [source, newest]

    simulate_async(nodes, rounds, timing, max_age, record)
    assert seen == sorted(seen)
    assert len(seen) == n * rounds


def test_a_line_forgets_what_nobody_can_see_any_more():
    """A receiver that never looks costs no more memory than the messages that are still on their way."""
    line = _Line()
    for round in range(1000):
        line.send(_Letter(round + 5 + 3 * (-1) ** round, round, np.zeros((1, 1))), float(round))
        assert len(line.way) <= 9
    newest = line.look(1010.0)
    assert newest is not None
    assert newest.round == 999
    assert line.look(math.inf) is None


def test_equal_ranks_whose_messages_take_half_a_round_are_one_round_behind_each_other():
    tasks = quadratics(8)
    ours = simulate_async(network(GRAPHS["random"], AMTL(), tasks), 30, By(delay=lambda *_: 0.5))
    theirs = simulate(network(GRAPHS["random"], AMTL(), tasks, ageing=lambda *_: 1, reach=1), 30)
    assert all(np.array_equal(one.x, two.x) for one, two in zip(ours, theirs, strict=True))


def test_the_same_timing_gives_the_same_run_twice():
    runs = [simulate_async(network(GRAPHS["star"], AMTL(), quadratics(8)), 40, Drawn(3)) for _ in range(2)]
    assert all(np.array_equal(one.x, two.x) for one, two in zip(*runs, strict=True))


class Echo:
    """Says what it heard from its first neighbour, plus one."""

    rushing = True
    knowledge = "rushing"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        return np.broadcast_to(inbox.messages[0] + 1, outbox.shape).copy(), ()


def test_a_rushing_liar_looks_before_it_speaks():
    heard = []

    def record(rank, state, inbox, time):
        if rank == 1 and time:
            heard.append(inbox.messages[0, 0].tolist())

    liar = network(GRAPHS["pair"], Teller(), quadratics(2), liars={0: Echo()})
    simulate_async(liar, 4, By(lambda rank, round: 1.0 + (round == 0 and rank == 0) / 2), record=record)
    assert heard[1:] == [[2.0, 1.0], [2.0, 2.0], [2.0, 3.0]]


def test_time_ends_for_everybody_at_once():
    times = []

    def record(rank, state, inbox, time):
        times.append((rank, state.view.round, time))

    slow = By(lambda rank, round: 1.0 + 2.0 * (rank == 3))
    states = simulate_async(tellers(GRAPHS["ring"]), 100, slow, record=record, every=1000, until=10.0)
    assert [state.view.round for state in states] == [10, 10, 10, 3, 10, 10, 10, 10]
    assert sorted(times)[6:8] == [(3, 0, 0.0), (3, 3, 9.0)]
    assert len(times) == 16


def test_a_rank_that_dies_is_forgotten_and_the_others_go_on():
    ages = []

    def record(rank, state, inbox, time):
        if rank == 2:
            ages.append(inbox.age.tolist())

    timing = By(lambda rank, round: math.inf if (rank, round) == (1, 3) else 1.0)
    states = simulate_async(tellers(GRAPHS["ring"]), 8, timing, max_age=2, record=record)
    assert [state.view.round for state in states] == [8, 3, 8, 8, 8, 8, 8, 8]
    assert [age for age, _ in ages[1:]] == [0, 0, 0, 1, 2, -1, -1, -1]
    assert [age for _, age in ages[1:]] == [-1, 0, 0, 0, 0, 0, 0, 0]


def test_nobody_does_anything_in_no_rounds():
    states = simulate_async(tellers(GRAPHS["pair"]), 0, By())
    assert [state.view.round for state in states] == [0, 0]


def test_ranks_that_all_hear_each_other_wait_for_the_slowest_of_each_round():
    costs = np.random.default_rng(0).uniform(1, 3, (6, 20))
    views = [node.view for node in tellers(nx.complete_graph(6))]
    times = synchronous_times(views, 20, By(lambda rank, round: costs[rank, round]))
    assert np.allclose(times, np.concatenate(([0.0], np.cumsum(costs.max(axis=0))))[:, None])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), graph=st.sampled_from(["ring", "star", "random", "alone"]))
def test_synchronous_time_is_the_longest_chain_of_work_and_messages(seed, graph):
    """Against the longest path in the graph of all rounds, by an independent search."""
    views = [node.view for node in tellers(GRAPHS[graph])]
    timing = Drawn(seed, slow={0: 3.0}, loss=0.0)
    chains = nx.DiGraph()
    for t in range(6):
        for view in views:
            r = view.rank
            chains.add_edge((t, r), (t, r, "done"), weight=timing.cost(r, t))
            chains.add_edge((t, r, "done"), (t + 1, r), weight=0.0)
            for target in view.targets:
                chains.add_edge((t, r, "done"), (t + 1, target), weight=timing.delay(t, r, target))
    times = synchronous_times(views, 6, timing)
    longest: dict[object, float] = {}
    for node in nx.topological_sort(chains):
        before = [longest[earlier] + chains.edges[earlier, node]["weight"] for earlier in chains.predecessors(node)]
        longest[node] = max(before, default=0.0)
    assert all(times[t, view.rank] == pytest.approx(longest[t, view.rank]) for t in range(7) for view in views)


def test_who_waits_for_a_lost_message_waits_for_ever():
    lost = By(delay=lambda round, source, target: math.inf if (round, source) == (1, 0) else 0.0)
    times = synchronous_times([node.view for node in tellers(nx.path_graph(3))], 4, lost)
    assert np.isfinite(times).tolist() == [[True] * 3, [True] * 3, [True, False, True], [False] * 3, [False] * 3]


# The shape of AMTL's results. Virtual seconds are computed and not measured: nothing here depends on the machine.


def flat_tasks(n: int) -> list[Quadratic]:
    """Quadratics with one flat direction, in which only the network as a whole can move."""
    rng = np.random.default_rng(2)
    return [Quadratic(np.diag([1.0, 0.3, 0.1, 0.02]), rng.standard_normal(4)) for _ in range(n)]


def test_who_waits_is_as_slow_as_the_slowest_and_who_does_not_as_the_average():
    """Strongly coupled ranks move as one body, and each brings inertia in proportion to what its rounds cost."""
    tasks, strength, n = flat_tasks(8), 5.0, 8
    least, matrix = joint(GRAPHS["ring"], tasks, strength)
    start = least.ravel() @ matrix @ least.ravel()
    x = np.zeros((n, 4))
    reached: list[float] = []

    def record(rank, state, inbox, time=None):
        x[rank] = state.x
        gap = (x - least).ravel()
        if gap @ matrix @ gap < 1e-2 * start:
            reached.append(state.view.round if time is None else time)

    simulate(network(GRAPHS["ring"], Laplacian(strength), tasks), 200, record=record)
    rounds = int(reached[0])
    for factor in (1.0, 3.0, 10.0, 30.0):
        timing = By(lambda rank, round, factor=factor: factor if rank == 2 else 1.0)
        nodes = network(GRAPHS["ring"], AMTL(strength, relaxation=1.0), tasks)
        waiting = synchronous_times([node.view for node in nodes], rounds, timing)[-1].max()
        assert waiting == factor * rounds
        x[:], reached[:] = 0.0, []
        simulate_async(nodes, 10**6, timing, record=record, until=6.0 * rounds)
        mean = 1 + (factor - 1) / n
        assert 1.0 < reached[0] / (mean * rounds) < 1.3  # the rest is that words are a round old when they are read


def test_the_gain_of_not_waiting_grows_with_the_number_of_tasks_as_in_amtls_table():
    """Delays are an offset and up to four times as much at random: of T the longest is offset (1 + 4 T / (T + 1))."""
    gains: list[list[float]] = []
    for tasks in (5, 10, 15):
        nodes = tellers(nx.complete_graph(tasks))
        waiting, in_all, each = [], [], []
        for seed in range(20):
            draw = cache(lambda rank, round, seed=seed: 1 + 4 * stream(seed, Purpose.LINK, rank, round).random())
            times = {}
            for offset in (1.0, 32.0):
                timing = By(lambda rank, round, offset=offset, draw=draw: offset * draw(rank, round))
                ends: list[tuple[float, int]] = []

                def record(rank, state, inbox, time, ends=ends):
                    ends.append((time, state.view.round))

                simulate_async(nodes, 20, timing, record=record)
                sync = synchronous_times([node.view for node in nodes], 10, timing)[-1].max()
                times[offset] = sync, ends[11 * tasks - 1][0], max(time for time, done in ends if done == 10)
            assert [32 * time for time in times[1.0]] == [*times[32.0]]
            for kept, time in zip((waiting, in_all, each), times[1.0], strict=True):
                kept.append(time)
        assert np.mean(waiting) == pytest.approx(10 * (1 + 4 * tasks / (tasks + 1)), rel=0.02)
        assert np.mean(in_all) == pytest.approx(31, rel=0.02)
        gains.append([np.mean(waiting) / np.mean(alone) for alone in (in_all, each)])
    total, last = zip(*gains, strict=True)
    assert 1.35 < total[0] < total[1] < total[2] < 1.6
    assert 1.2 < last[0] < last[1] < last[2] < 1.4
