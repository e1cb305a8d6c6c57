"""Successive regularisation: against training one task after the other, in closed form."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.local import Local
from dmtl.algorithms.many_task_hierarchy import ManyTaskHierarchy
from dmtl.attacks.constant import Constant
from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.node import Node
from dmtl.screens.average import Average
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.topology import Topology, uniform
from tests.networks import GRAPHS, Drawn, network, quadratics
from tests.peers import models

PATH = nx.path_graph(8)


def sequential(graph: nx.Graph, tasks, strength: float, order=range(8)) -> np.ndarray:
    """One stage after the other, each to its end: theta = prox of f at the mean of the stages before, or b alone."""
    done: dict[int, np.ndarray] = {}
    for rank in order:
        near = graph.predecessors(rank) if graph.is_directed() else graph.neighbors(rank)
        before = [done[other] for other in near if other in done]
        done[rank] = tasks[rank].prox(np.mean(before, axis=0), strength) if before else tasks[rank].b
    return np.array([done[rank] for rank in range(8)])


def directed(graph: nx.DiGraph, made, tasks):
    """Nodes on a directed graph."""
    topology = Topology(graph, uniform(graph))
    return [Node(topology.view(rank, 0, False, ()), tasks[rank], made, Average()) for rank in range(len(graph))]


@pytest.mark.parametrize(("strength", "steps"), [(0.3, 1), (5.0, 4)])
@pytest.mark.parametrize("graph", ["ring", "star", "random", "path"])
def test_it_ends_where_training_one_task_after_the_other_does(graph, strength, steps):
    here, tasks = {**GRAPHS, "path": PATH}[graph], quadratics(8)
    made = ManyTaskHierarchy(strength, steps=steps)
    found = models(simulate(network(here, made, tasks), 160))
    assert np.allclose(found, sequential(here, tasks, strength), rtol=0, atol=1e-9)
    assert np.linalg.norm(found[1:] - [task.b for task in tasks[1:]], axis=1).max() > 0.2


def test_on_a_path_it_is_stage_by_stage_as_if_each_began_when_the_one_before_was_done():
    """The original's schedule: only one rank trains, to its end, then the next one near it."""
    tasks, strength, before = quadratics(8), 0.7, None
    stages = []
    for task in tasks:
        x = np.zeros(4)
        for _ in range(200):
            pull = 0 if before is None else strength * (x - before)
            x = x - 0.25 * (task.grad(x) + pull)
        before = x
        stages.append(x)
    found = models(simulate(network(PATH, ManyTaskHierarchy(strength), tasks), 200))
    assert np.allclose(found, stages, rtol=0, atol=1e-12)


def test_a_directed_graph_is_heard_along_its_arrows_as_far_as_the_order_goes():
    tasks, graph = quadratics(8), nx.DiGraph()
    graph.add_nodes_from(range(8))
    graph.add_edges_from([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 0), (6, 2)])
    found = models(simulate(directed(graph, ManyTaskHierarchy(0.9), tasks), 160))
    assert np.allclose(found, sequential(graph, tasks, 0.9), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("order", "whole"), [("7-6-5-4-3-2-1-0", range(7, -1, -1)), ("5-2", [5, 2, 0, 1, 3, 4, 6, 7])])
def test_the_order_can_be_given_and_who_is_not_named_follows(order, whole):
    tasks, here = quadratics(8), GRAPHS["random"]
    found = models(simulate(network(here, ManyTaskHierarchy(0.9, order), tasks), 160))
    assert np.allclose(found, sequential(here, tasks, 0.9, whole), rtol=0, atol=1e-9)
    assert not np.allclose(found, sequential(here, tasks, 0.9), atol=0.05)


def test_renumbering_the_ranks_and_the_order_renumbers_the_models():
    tasks, new = quadratics(8), [3, 6, 0, 7, 1, 4, 2, 5]
    moved = nx.relabel_nodes(GRAPHS["random"], dict(enumerate(new)))
    graph = nx.Graph()
    graph.add_nodes_from(range(8))
    graph.add_edges_from(moved.edges)
    plain = models(simulate(network(GRAPHS["random"], ManyTaskHierarchy(), tasks), 30))
    made = ManyTaskHierarchy(order="-".join(map(str, new)))
    other = models(simulate(network(graph, made, [tasks[new.index(rank)] for rank in range(8)]), 30))
    assert np.allclose(plain, other[new], rtol=0, atol=1e-13)


def test_later_ranks_change_nothing_for_earlier_ones_bit_for_bit():
    tasks, others = quadratics(8), quadratics(8, seed=1)
    made = ManyTaskHierarchy(0.9, step_size=0.2)
    plain = models(simulate(network(GRAPHS["random"], made, tasks), 40))
    mixed = models(simulate(network(GRAPHS["random"], made, [*tasks[:4], *others[4:]]), 40))
    assert np.array_equal(plain[:4], mixed[:4])
    assert not np.allclose(plain[4:], mixed[4:], atol=0.1)
    alone = models(simulate(network(GRAPHS["random"], Local(step_size=0.2), tasks), 40))
    assert np.array_equal(plain[0], alone[0])
    free = models(simulate(network(GRAPHS["random"], ManyTaskHierarchy(0.0, step_size=0.2), tasks), 40))
    assert np.array_equal(free, alone)


def test_late_and_lost_words_do_not_change_where_it_ends():
    tasks = quadratics(8)
    nodes = network(GRAPHS["ring"], ManyTaskHierarchy(0.9), tasks, ageing=Drawn(longest=4.0, loss=0.2).link(), reach=40)
    found = models(simulate(nodes, 250))
    assert np.allclose(found, sequential(GRAPHS["ring"], tasks, 0.9), rtol=0, atol=1e-9)


def test_a_lie_passes_on_along_the_order_shrinking_and_never_back():
    """Rank 3 of a path says a point r away: theta_k moves by at most r (strength / (strength + 1))^(k - 3), k > 3."""
    tasks, strength = quadratics(8), 2.0
    truth = sequential(PATH, tasks, strength)
    states = simulate(network(PATH, ManyTaskHierarchy(strength), tasks, liars={3: Constant(50.0)}), 200)
    moved = np.linalg.norm(models(states) - truth, axis=1)
    said = states[4].inbox.messages[0, 0]
    r, shrink = np.linalg.norm(said - truth[3]), strength / (strength + 1)  # every Hessian is at least 1
    assert moved[:3].max() < 1e-9
    assert (moved[4:] <= r * shrink ** np.arange(1, 5)).all()
    assert moved[4] > 10
    assert "who has one of them believes it" in ManyTaskHierarchy().exposure()


def test_among_several_earlier_neighbours_the_screen_holds():
    tasks, graph = quadratics(8), nx.complete_graph(8)
    away = {}
    for name, screen in (("plain", None), ("median", Median())):
        nodes = network(graph, ManyTaskHierarchy(2.0), tasks, screen, liars={1: Constant(50.0)})
        away[name] = np.linalg.norm(models(simulate(nodes, 100))[5:] - [task.b for task in tasks[5:]], axis=1).max()
    assert away["median"] < 3
    assert away["plain"] > 3 * away["median"]


def test_it_runs_by_name_with_an_order_as_text():
    raw = {"data": "synthetic:rows=20,features=5", "topology": "path", "ranks": 3, "rounds": 5}
    made = plan(load({**raw, "algorithm": "many-task-hierarchy:strength=0.5,order=2-0-1"}))
    assert made.algorithm == ManyTaskHierarchy(0.5, "2-0-1")
    assert made.config.algorithm["order"] == "2-0-1"


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": -1.0},
        {"strength": float("nan")},
        {"order": "1-1"},
        {"order": "0->1"},
        {"order": "a-b"},
        {"steps": 0},
        {"step_size": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ManyTaskHierarchy(**wrong)
