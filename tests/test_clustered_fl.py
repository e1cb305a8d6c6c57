"""Clusters that find themselves: against the method with its server, pooled solutions, and liars who part others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import networkx as nx
import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from dmtl.algorithms.bipartition import bipartition, cosines
from dmtl.algorithms.clustered_fl import ClusteredFL
from dmtl.algorithms.fedavg_gossip import FedAvgGossip
from dmtl.attacks.sign_flip import SignFlip
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from tests.networks import network, quadratics
from tests.peers import models
from tests.test_fed_gossip import pooled

COMPLETE = nx.complete_graph(8)
MADE = ClusteredFL(tol1=0.05, tol2=0.2, step_size=0.2)
PARITY = np.arange(8) % 2


def grouped(groups, spread: float = 0.05):
    """Tasks whose minimisers are near one of so many centres; neighbours in rank are in different groups."""
    centres = np.eye(4)[[0, 0, 1, 2]] * np.array([[1.0], [-1.0], [1.0], [1.0]]) + np.array([0, 0, 0, 2.0])
    rng = np.random.default_rng(1)
    return [
        replace(task, b=centres[group] + spread * rng.standard_normal(4))
        for group, task in zip(groups, quadratics(8), strict=True)
    ]


def clusters(states) -> np.ndarray:
    """(n, n) who trusts whom at all, everybody oneself."""
    found = np.eye(len(states), dtype=bool)
    for rank, state in enumerate(states):
        found[rank, list(state.view.sources)] = state.view.trust > 0
    return found


def together(groups) -> np.ndarray:
    return np.equal.outer(np.array(groups), np.array(groups))


def served(tasks, rounds: int, tol1: float, tol2: float, mu: float, steps: int, rule: str) -> np.ndarray:
    """The original with its server, by hand, its bipartition by scipy: models (n, d) after the averages."""
    members, x = [list(range(len(tasks)))], {k: np.zeros(4) for k in range(len(tasks))}
    for _ in range(rounds):
        update = {}
        for k, task in enumerate(tasks):
            w = x[k]
            for _ in range(steps):
                w = w - mu * task.hessian @ (w - task.b)
            update[k] = w - x[k]
        after = []
        for ranks in members:
            d = np.array([update[k] for k in ranks])
            sizes = np.linalg.norm(d, axis=1)
            if len(ranks) > 1 and np.linalg.norm(d.mean(axis=0)) < tol1 and sizes.max() > tol2:
                apart = np.clip(1 - d @ d.T / np.outer(sizes, sizes), 0, None)
                np.fill_diagonal(apart, 0)
                label = fcluster(linkage(squareform(apart, checks=False), rule), 2, "maxclust")
                after += [[k for k, part in zip(ranks, label, strict=True) if part == which] for which in (1, 2)]
            else:
                after.append(ranks)
        members = after
        for ranks in members:
            mean = np.mean([x[k] + update[k] for k in ranks], axis=0)
            x |= dict.fromkeys(ranks, mean)
    return np.array([x[k] for k in range(len(tasks))])


def test_two_groups_part_exactly_and_each_ends_at_its_own_pooled_solution():
    tasks = grouped(PARITY)
    states = simulate(network(COMPLETE, MADE, tasks), 150)
    assert np.array_equal(clusters(states), together(PARITY))
    for group in (0, 1):
        best = pooled([task for task, which in zip(tasks, PARITY, strict=True) if which == group])
        assert np.allclose(models(states)[group == PARITY], best, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", ["complete", "single"])
@pytest.mark.parametrize("steps", [1, 3])
def test_several_groups_part_one_after_the_other_as_with_a_server(rule, steps):
    groups = [0, 1, 2, 0, 1, 2, 3, 3]
    tasks = grouped(groups)
    made = ClusteredFL(0.05, 0.2, rule, steps=steps, step_size=0.2)
    seen = set()
    for rounds in (*range(1, 24, 3), 60):
        states = simulate(network(COMPLETE, made, tasks), rounds)
        seen.add(len(np.unique(clusters(states), axis=0)))
        assert np.allclose(models(states), served(tasks, rounds, 0.05, 0.2, 0.2, steps, rule), rtol=0, atol=1e-12)
    assert seen >= {1, 2, 4} or seen >= {1, 3, 4}
    assert np.array_equal(clusters(states), together(groups))


def test_one_group_is_never_split_and_is_federated_averaging_bit_for_bit():
    tasks = grouped([0] * 8)
    ours = simulate(network(COMPLETE, MADE, tasks), 150)
    assert clusters(ours).all()
    assert np.array_equal(models(ours), models(simulate(network(COMPLETE, FedAvgGossip(step_size=0.2), tasks), 150)))
    assert np.allclose(models(ours), pooled(tasks), rtol=0, atol=1e-10)


def test_until_it_splits_two_groups_are_federated_averaging_bit_for_bit():
    tasks = grouped(PARITY)
    for rounds in range(1, 30):
        ours = simulate(network(COMPLETE, MADE, tasks), rounds)
        if not clusters(ours).all():
            break
        plain = simulate(network(COMPLETE, FedAvgGossip(step_size=0.2), tasks), rounds)
        assert np.array_equal(models(ours), models(plain))
    assert 1 < rounds < 29
    (mean, longest) = ours[0].model.sizes
    assert mean < MADE.tol1
    assert longest > MADE.tol2


def test_on_a_sparse_graph_links_between_groups_are_cut_and_no_others():
    """Two rings of four, with links across: neighbourhoods judge for themselves."""
    graph = nx.circular_ladder_graph(4)  # ranks 0-3 and 4-7 are rings, k and k + 4 are linked
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    tasks = grouped(groups)
    states = simulate(network(graph, ClusteredFL(tol1=0.2, tol2=0.25, step_size=0.2), tasks), 400)
    adjacent = nx.to_numpy_array(graph).astype(bool) | np.eye(8, dtype=bool)
    assert np.array_equal(clusters(states), together(groups) & adjacent)
    for group in (0, 1):
        best = pooled([task for task, which in zip(tasks, groups, strict=True) if which == group])
        assert np.linalg.norm(models(states)[groups == group] - best, axis=1).max() < 0.05


def test_it_tells_its_cluster_and_what_the_tolerances_are_compared_with():
    tasks = grouped(PARITY)
    nodes = network(COMPLETE, MADE, tasks)
    for node, state in zip(nodes, simulate(nodes, 60), strict=True):
        told = node.algorithm.tell(state.model, state.view)
        assert told["cluster"] == node.view.rank % 2
        assert told["mean_update"] < 1e-4
        assert told["largest_update"] < MADE.tol2


def test_single_linkage_minimises_the_largest_similarity_across_by_trying_all():
    rng = np.random.default_rng(0)
    for m in range(2, 8):
        for _ in range(10):
            s = cosines(rng.standard_normal((m, 3)))
            sides = [np.array([True, *rest]) for rest in product((True, False), repeat=m - 1)][1:]
            best = min(s[np.ix_(side, ~side)].max() for side in sides)
            side = bipartition(s, complete=False)
            assert side[0]
            assert s[np.ix_(side, ~side)].max() == best


def test_complete_linkage_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for m in range(2, 12):
        for _ in range(10):
            s = cosines(rng.standard_normal((m, 3)))
            apart = np.clip(1 - s, 0, None)
            np.fill_diagonal(apart, 0)
            label = fcluster(linkage(squareform(apart, checks=False), "complete"), 2, "maxclust")
            assert np.array_equal(bipartition(s), label == label[0])


def test_cosines_take_any_size_and_none():
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [-6e150, -8e150], [4e-160, -3e-160]])
    expected = np.array([[1, 0, -1, 0], [0, 0, 0, 0], [-1, 0, 1, 0], [0, 0, 0, 1]])
    assert np.allclose(cosines(rows), expected, atol=1e-12)


def test_a_liar_that_flips_its_words_is_cut_off_like_any_other_group():
    tasks = grouped([0] * 8)
    honest = [rank for rank in range(8) if rank != 3]
    made = ClusteredFL(tol1=0.5, tol2=0.6, step_size=0.2)
    states = simulate(network(COMPLETE, made, tasks, liars={3: SignFlip(2.0)}), 200)
    others = clusters(states)[np.ix_(honest, honest)]
    assert not clusters(states)[honest, 3].any()
    assert others.all()
    assert np.allclose(models(states)[honest], pooled([tasks[rank] for rank in honest]), rtol=0, atol=1e-9)


@dataclass(frozen=True)
class Parter:
    """Tells the truth of its model, and of its update a direction of one neighbour's, at a length of its choice."""

    length: float
    rushing: ClassVar[bool] = True
    knowledge: ClassVar[str] = "rushing"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        lies = outbox.copy()
        one = inbox.messages[0, 1]
        lies[:, 1] = self.length * one / np.linalg.norm(one)
        return lies, memory


def test_a_liar_can_part_honest_ranks_of_one_group_who_would_else_stay_together():
    """As its exposure says. Those who part from the liar too stay together and end at their own pooled solution."""
    tasks = grouped([0] * 8, spread=0.3)
    made = ClusteredFL(tol1=0.1, tol2=0.5, step_size=0.2)
    assert clusters(simulate(network(COMPLETE, made, tasks), 100)).all()
    honest = [rank for rank in range(8) if rank != 3]
    for length, parts in ((0.6, True), (0.4, False), (2.0, False)):  # above tol2, and below ranks * tol1
        nodes = network(COMPLETE, made, tasks, liars={3: Parter(length)})
        states = simulate(nodes, 200)
        found = clusters(states)
        assert found[np.ix_(honest, honest)].all() != parts
        for rank in honest:
            if not found[rank, 3]:
                kept = np.flatnonzero(found[rank])
                assert np.allclose(states[rank].x, pooled([tasks[other] for other in kept]), rtol=0, atol=1e-9)
    assert "can part honest ranks" in nodes[0].algorithm.exposure()


def test_a_run_with_liars_warns_of_what_they_can_do():
    raw = {"data": "synthetic:rows=20,features=5", "topology": "complete", "algorithm": "clustered-fl", "ranks": 4}
    made = plan(load({**raw, "screen": "median", "byzantine": [{"count": 1, "attack": "sign-flip"}], "force": True}))
    assert any("believes what neighbours say of their updates" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tol1": 0.0},
        {"tol1": float("inf")},
        {"tol2": -1.0},
        {"linkage": "ward"},
        {"epochs": 0},
        {"steps": 0},
        {"step_size": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ClusteredFL(**wrong)
