"""CL-ADMM: the joint minimiser on every graph, in pairs too, and the steps of the paper one by one."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.collaborative import Collaborative
from dmtl.build import plan
from dmtl.changing import Changing
from dmtl.config import load
from dmtl.errors import ConfigError
from dmtl.simulator import simulate
from dmtl.time_varying.activation import Activation
from dmtl.time_varying.matching import Matching
from tests.networks import GRAPHS, network
from tests.peers import coupled, minimiser, models, objective, similarity, sized, trusts


def gap(here: nx.Graph, tasks, method: Collaborative, states) -> float:
    """How far the objective is above its least value, relatively."""
    c = trusts(tasks, method.full_rows)
    best = objective(here, tasks, method.strength, c, minimiser(here, tasks, method.strength, c))
    return objective(here, tasks, method.strength, c, models(states)) / best - 1


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
@pytest.mark.parametrize("settings", [{}, {"strength": 4.0, "full_rows": 10}, {"rho": 0.3, "theta": 0.9}], ids=str)
def test_its_limit_is_the_joint_minimiser(graph, settings):
    here, tasks = coupled(graph), sized(len(GRAPHS[graph]))
    method = Collaborative(**settings)
    states = simulate(network(here, method, tasks), 600)
    assert gap(here, tasks, method, states) < 1e-8
    best = minimiser(here, tasks, method.strength, trusts(tasks, method.full_rows))
    assert np.allclose(models(states), best, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["pairs that propose", "pairs that are drawn", "links at random", "lost one way"])
def test_with_edges_at_random_the_limit_is_the_same(kind):
    here, tasks = coupled("random"), sized(8)
    method = Collaborative(gossip=kind == "pairs that propose")
    conditions: dict[str, dict] = {
        "pairs that propose": {},
        "pairs that are drawn": {"changing": Changing(here, "metropolis", Matching(), 3)},
        "links at random": {"changing": Changing(here, "metropolis", Activation(0.3), 3)},
        "lost one way": {"ageing": lambda round, s, t: -1 if (3 * round * round + 5 * s + 7 * t) % 11 < 3 else 0},
    }
    states = simulate(network(here, method, tasks, **conditions[kind]), 900)
    best = minimiser(here, tasks, 1.0, np.ones(8))
    assert gap(here, tasks, method, states) < 1e-8
    assert np.allclose(models(states), best, rtol=0, atol=1e-8)


class Paper:
    """CL-ADMM with its copies, Z and Lambda, every local problem one linear system."""

    def __init__(self, here: nx.Graph, tasks, strength: float, c: np.ndarray, rho: float) -> None:
        self.here, self.tasks, self.strength, self.c, self.rho = here, tasks, strength, c, rho
        ends = [(k, edge, t) for edge in here.edges for k in edge for t in edge]
        self.dual = {end: np.zeros(4) for end in ends}
        self.z = {(edge, t): np.zeros(4) for edge in here.edges for t in edge}

    def solve(self, k: int) -> dict[int, np.ndarray]:
        """argmin over all copies at k, by its full linear system."""
        s, near = similarity(self.here), sorted(self.here[k])
        who = [k, *near]
        matrix, right = np.zeros((4 * len(who), 4 * len(who))), np.zeros(4 * len(who))
        matrix[:4, :4] = s[k].sum() * self.c[k] * self.tasks[k].hessian
        right[:4] = matrix[:4, :4] @ self.tasks[k].b
        for place, j in enumerate(near, 1):
            block = slice(4 * place, 4 * place + 4)
            half = self.strength * s[k, j] / 2 * np.eye(4)
            edge = (min(k, j), max(k, j))
            matrix[:4, :4] += half + self.rho * np.eye(4)
            matrix[block, block] += half + self.rho * np.eye(4)
            matrix[:4, block] -= half
            matrix[block, :4] -= half
            right[:4] += self.rho * self.z[edge, k] - self.dual[k, edge, k]
            right[block] += self.rho * self.z[edge, j] - self.dual[k, edge, j]
        return dict(zip(who, np.linalg.solve(matrix, right).reshape(-1, 4), strict=True))

    def round(self) -> list[np.ndarray]:
        copies = [self.solve(k) for k in range(len(self.tasks))]
        for edge in self.here.edges:
            u, v = edge
            for t in edge:
                duals = self.dual[u, edge, t] + self.dual[v, edge, t]
                self.z[edge, t] = (duals / self.rho + copies[u][t] + copies[v][t]) / 2
                for k in edge:
                    self.dual[k, edge, t] = self.dual[k, edge, t] + self.rho * (copies[k][t] - self.z[edge, t])
                assert np.allclose(self.dual[u, edge, t] + self.dual[v, edge, t], 0, atol=1e-12)
        return [copies[k][k] for k in range(len(self.tasks))]


@pytest.mark.parametrize("graph", ["star", "random"])
def test_every_iterate_is_that_of_the_paper(graph):
    here, tasks = nx.Graph(coupled(graph)), sized(8)
    kept: list = []
    method = Collaborative(0.7, 10, rho=1.3)
    simulate(network(here, method, tasks), 20, lambda rank, state, inbox: kept.append(state.x.copy()))
    paper = Paper(here, tasks, 0.7, trusts(tasks, 10), 1.3)
    for ours in np.reshape(kept, (21, 8, 4)):
        assert np.allclose(ours, paper.round(), rtol=0, atol=1e-11)


def test_in_the_end_all_copies_of_a_model_are_that_model():
    here, tasks = coupled("random"), sized(8)
    states = simulate(network(here, Collaborative(), tasks), 600)
    for k, state in enumerate(states):
        for row, j in enumerate(sorted(here[k])):
            assert np.allclose(state.model.copies[row], states[j].x, rtol=0, atol=1e-9)


def test_a_logistic_task_reaches_a_point_where_the_objective_is_flat():
    raw = {"data": "synthetic:rows=30,features=3,classes=2", "task": "logistic:l2=0.1", "topology": "ring"}
    job = plan(load({**raw, "algorithm": "collaborative:strength=0.5"}), 4)
    nodes = [job.node(rank) for rank in range(4)]
    x = models(simulate(nodes, 400))
    for k, node in enumerate(nodes):
        near = x[[(k - 1) % 4, (k + 1) % 4]]
        assert np.allclose(2 * node.task.grad(x[k]) + 0.5 * (2 * x[k] - near.sum(axis=0)), 0, atol=1e-8)


def test_single_precision_stays_so():
    raw = {"data": "synthetic:rows=20,features=4", "topology": "ring", "dtype": "float32"}
    for more in ("", ",gossip=true"):
        job = plan(load({**raw, "algorithm": f"collaborative:full_rows=20{more}"}), 5)
        for state in simulate([job.node(rank) for rank in range(5)], 5):
            assert {part.dtype for part in state.model} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strength": -1.0}, "strength"),
        ({"rho": 0.0}, "rho=0.0"),
        ({"theta": 1.5}, "theta=1.5"),
        ({"full_rows": -1}, "=-1"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, sentence):
    with pytest.raises(ConfigError, match="'collaborative'") as caught:
        Collaborative(**settings)
    assert sentence in str(caught.value)
