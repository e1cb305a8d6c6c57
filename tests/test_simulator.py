"""Late and lost messages in the simulator, and liars who listen before they speak."""

from __future__ import annotations

import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.laplacian import Laplacian
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from tests.networks import GRAPHS, network, quadratics


class Echo:
    """Says what it heard from the first who spoke, plus one: it can only know that if it listens first."""

    rushing = True
    knowledge = "rushing"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        return np.broadcast_to(inbox.messages[inbox.valid][0] + 1, outbox.shape).copy(), ()


def test_a_rushing_liar_answers_what_was_said_in_the_same_round():
    heard = {}

    def record(rank, state, inbox):
        if state.view.round == 1:
            heard[rank] = inbox.messages[:, 0].copy()

    tasks = quadratics(8)
    simulate(network(GRAPHS["ring"], Laplacian(), tasks, liars={3: Echo()}), 1, record=record)
    said_by_2 = np.zeros(4)
    assert np.array_equal(heard[3][0], said_by_2)
    assert np.array_equal(heard[2][1], said_by_2 + 1)
    assert np.array_equal(heard[4][0], said_by_2 + 1)


def test_between_two_rushing_liars_the_last_rounds_words_stand_in():
    ages = []

    def record(rank, state, inbox):
        if rank == 3 and state.view.round:
            ages.append(inbox.age.tolist())

    liars = {3: Echo(), 4: Echo()}
    simulate(network(GRAPHS["ring"], Diffusion(0.1), quadratics(8), liars=liars), 3, record=record)
    assert ages == [[0, -1], [0, 1], [0, 1]]


def test_a_link_makes_messages_exactly_as_old_as_it_says():
    spoken: dict[tuple[int, int], np.ndarray] = {}
    got = []

    def record(rank, state, inbox):
        spoken[rank, state.view.round] = state.model.x.copy()
        if rank == 2 and state.view.round:
            got.append((state.view.round - 1, inbox.age.tolist(), inbox.messages[:, 0].copy()))

    def link(round, source, target):
        return 2 if (source, target) == (1, 2) else 0

    simulate(network(GRAPHS["ring"], Laplacian(), quadratics(8), ageing=link, reach=2), 6, record=record)
    for round, age, messages in got:
        assert age == [2 if round >= 2 else -1, 0]
        if round >= 2:
            assert np.array_equal(messages[0], spoken[1, round - 2])
        assert np.array_equal(messages[1], spoken[3, round])


def test_a_link_that_loses_everything_leaves_each_rank_to_itself():
    tasks = quadratics(8)
    cut = simulate(network(GRAPHS["ring"], Diffusion(0.2), tasks, ageing=lambda *_: -1), 300)
    for state, task in zip(cut, tasks, strict=True):
        assert np.allclose(state.x, task.b, atol=1e-9)
        assert state.view.trust.tolist() == [0, 0]


def test_a_lossy_link_with_a_fixed_rule_gives_the_same_run_twice():
    def link(round, source, target):
        return -1 if (round * 7 + source * 3 + target) % 5 == 0 else (round + source) % 3

    lossy = [network(GRAPHS["random"], Diffusion(0.2), quadratics(8), ageing=link, reach=2) for _ in range(2)]
    runs = [simulate(nodes, 40) for nodes in lossy]
    for one, two in zip(*runs, strict=True):
        assert np.array_equal(one.x, two.x)


@pytest.mark.parametrize("every", [1, 3, 7, 100])
def test_records_come_before_round_0_every_so_often_and_at_the_end(every):
    rounds = []
    nodes = network(GRAPHS["pair"], Diffusion(0.1), quadratics(2), Average())
    simulate(nodes, 10, record=lambda rank, state, inbox: rounds.append((rank, state.view.round)), every=every)
    due = sorted({0, *range(every, 11, every), 10})
    assert [round for rank, round in rounds if rank == 0] == due
    assert [round for rank, round in rounds if rank == 1] == due
