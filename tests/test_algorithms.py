"""Each method against the answer that its paper promises: a closed form, an independent solver, an invariant."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.gradient_tracking import GradientTracking
from dmtl.algorithms.laplacian import Laplacian
from dmtl.algorithms.local import Local
from dmtl.algorithms.network_lasso import NetworkLasso
from dmtl.algorithms.pdmm import PDMM
from dmtl.attacks.gaussian import Gaussian
from dmtl.attacks.sign_flip import SignFlip
from dmtl.attacks.two_faced import TwoFaced
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError, DivergedError
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from dmtl.topology import metropolis
from tests.lasso import lasso_objective, lasso_oracle
from tests.networks import GRAPHS, Quadratic, joint, network, quadratics

CONNECTED = ("ring", "star", "random")


def models(states) -> np.ndarray:
    return np.array([state.x for state in states])


def consensus_optimum(tasks) -> np.ndarray:
    left = sum(task.hessian for task in tasks)
    return np.linalg.solve(left, sum(task.hessian @ task.b for task in tasks))


@pytest.mark.parametrize("graph", CONNECTED)
@pytest.mark.parametrize(
    "algorithm", [GradientTracking(step_size=0.1), PDMM(), PDMM(theta=1.0, rho=0.5)], ids=["gt", "dr", "pdmm"]
)
def test_consensus_methods_reach_the_minimiser_of_the_sum_exactly(graph, algorithm):
    tasks = quadratics(8)
    states = simulate(network(GRAPHS[graph], algorithm, tasks), 1500)
    assert np.allclose(models(states), consensus_optimum(tasks), atol=1e-9)


def test_diffusion_gets_closer_to_the_minimiser_of_the_sum_in_proportion_to_its_step():
    tasks = quadratics(8)
    best = consensus_optimum(tasks)
    off = [
        np.abs(models(simulate(network(GRAPHS["ring"], Diffusion(mu), tasks), 4000)) - best).max()
        for mu in (0.02, 0.01, 0.005)
    ]
    assert off[0] / off[1] == pytest.approx(2, rel=0.1)
    assert off[1] / off[2] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("graph", CONNECTED)
def test_diffusion_without_a_step_averages_and_keeps_the_mean(graph):
    start = np.random.default_rng(0).standard_normal((8, 4))
    nodes = network(GRAPHS[graph], Diffusion(0.0), quadratics(8))
    states = [node.start(x) for node, x in zip(nodes, start, strict=True)]
    after = np.linalg.matrix_power(metropolis(GRAPHS[graph]), 5) @ start
    assert np.allclose(models(_onward(nodes, states, 5)), after, atol=1e-12)


def _onward(nodes, states, rounds):
    boxes = [node.mailbox() for node in nodes]
    for _ in range(rounds):
        said = [node.speak(state, state.inbox)[0].own for node, state in zip(nodes, states, strict=True)]
        for node, box in zip(nodes, boxes, strict=True):
            box.said[:] = said[node.view.rank]
            for row, source in enumerate(node.view.sources):
                box.heard[row] = said[source]
        states = [node.step(state, box.open()) for node, state, box in zip(nodes, states, boxes, strict=True)]
    return states


def test_the_trackers_sum_is_the_sum_of_the_gradients_in_every_round():
    tasks = quadratics(8)
    nodes = network(GRAPHS["random"], GradientTracking(0.1), tasks)
    gaps = []
    sums: dict[int, list[np.ndarray]] = {}

    def record(rank, state, inbox):
        pair = sums.setdefault(state.view.round, [np.zeros(4), np.zeros(4)])
        pair[0] += state.model.y
        pair[1] += tasks[rank].grad(state.x)

    simulate(nodes, 30, record=record)
    gaps = [np.abs(y - g).max() for y, g in sums.values()]
    assert len(gaps) == 31
    assert max(gaps) < 1e-12


@pytest.mark.parametrize("graph", CONNECTED)
@pytest.mark.parametrize("strength", [0.0, 0.5, 20.0])
def test_laplacian_solves_the_joint_linear_system(graph, strength):
    tasks = quadratics(8)
    states = simulate(network(GRAPHS[graph], Laplacian(strength), tasks), 6000)
    assert np.allclose(models(states), joint(GRAPHS[graph], tasks, strength)[0], atol=1e-9)


def test_local_reaches_each_tasks_own_minimiser_and_says_nothing():
    tasks = quadratics(8)
    nodes = network(GRAPHS["ring"], Local(), tasks)
    assert np.allclose(models(simulate(nodes, 300)), [task.b for task in tasks], atol=1e-9)
    assert nodes[0].message_shape[0] == 0


@pytest.mark.parametrize("graph", CONNECTED)
@pytest.mark.parametrize("strength", [0.3, 5.0, *(pytest.param(c, marks=pytest.mark.slow) for c in (0.05, 1.0))])
def test_network_lasso_reaches_the_optimum_of_an_independent_solver(graph, strength):
    tasks = quadratics(8)
    x = models(simulate(network(GRAPHS[graph], NetworkLasso(strength, sigma=1.0), tasks), 4000))
    best = lasso_oracle(tasks, GRAPHS[graph], strength)
    ours = lasso_objective(tasks, GRAPHS[graph], strength, x)
    assert abs(ours - best) <= 1e-8 * best


def test_network_lasso_meets_its_optimality_conditions_on_a_weighted_graph_with_logistic_tasks():
    rng = np.random.default_rng(5)
    graph = nx.cycle_graph(6)
    for i, j in graph.edges:
        graph.edges[i, j]["weight"] = float(rng.uniform(0.5, 2))
    tasks = []
    for rank in range(6):
        x = rng.standard_normal((30, 3))
        y = (x @ [1.0, rank // 2, -1.0] + 0.3 * rng.standard_normal(30) > 0).astype(float)
        tasks.append(Logistic(l2=0.1).build(Dataset(x, y, x[:0], y[:0], x, y, classes=2)))
    states = simulate(network(graph, NetworkLasso(0.1), tasks), 8000)
    fused = 0
    for state, task in zip(states, tasks, strict=True):
        assert np.abs(task.grad(state.x) + state.model.y.sum(axis=0)).max() < 1e-9
        for row, source in enumerate(state.view.sources):
            gap = state.x - states[source].x
            cap = 0.1 * state.view.couplings[row]
            if np.linalg.norm(gap) > 1e-6:
                assert np.allclose(state.model.y[row], cap * gap / np.linalg.norm(gap), atol=1e-7)
            else:
                fused += 1
                assert np.linalg.norm(state.model.y[row]) <= cap * (1 + 1e-12)
    assert 0 < fused < 12


def test_both_ends_of_an_edge_hold_the_same_dual_to_the_last_bit():
    states = simulate(network(GRAPHS["random"], NetworkLasso(0.3), quadratics(8)), 50)
    for state in states:
        for row, source in enumerate(state.view.sources):
            back = states[source].view.sources.index(state.view.rank)
            assert np.array_equal(state.model.y[row], -states[source].model.y[back])


def test_two_ranks_end_where_the_closed_form_says():
    """f_i = (x - a_i)^2 / 2: x_1 = a_1 + clip((a_2 - a_1) / 2, strength)."""
    tasks = [Quadratic(np.eye(1), np.array([a])) for a in (0.0, 3.0)]
    for strength in (0.4, 1.0, 2.0):
        x = models(simulate(network(GRAPHS["pair"], NetworkLasso(strength), tasks), 500)).ravel()
        move = min(1.5, strength)
        assert np.allclose(x, [move, 3.0 - move], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(-1, 30),
    strength=st.floats(0.01, 2),
    attack=st.sampled_from([SignFlip, Gaussian, TwoFaced]),
)
def test_no_lie_moves_a_network_lasso_model_further_than_its_force_allows(seed, scale, strength, attack):
    """|x - x_alone| <= sum of caps / strong convexity, with liars all around and lies of any size."""
    tasks = quadratics(8, seed=seed)
    liars = {rank: attack(10.0**scale) for rank in (1, 2, 4, 7)}
    states = simulate(network(GRAPHS["ring"], NetworkLasso(strength), tasks, liars=liars), 600)
    for rank in (0, 3, 5, 6):
        bound = strength * 2 / tasks[rank].values[0]
        assert np.linalg.norm(states[rank].x - tasks[rank].b) <= bound * (1 + 1e-6)


def test_a_step_that_is_too_long_is_an_error_that_names_rank_round_and_step():
    nodes = network(GRAPHS["ring"], Diffusion(50.0), quadratics(8))
    with pytest.raises(
        DivergedError, match=r"rank \d diverged in round \d+: Diffusion\(step_size=50.0, momentum=0.0\)"
    ):
        simulate(nodes, 2000)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Laplacian(strength=-1.0), "strength=-1.0"),
        (lambda: NetworkLasso(sigma=0.0), "sigma=0.0"),
        (lambda: PDMM(theta=1.5), "theta=1.5"),
        (lambda: PDMM(rho=0.0), "rho=0.0"),
        (lambda: Diffusion("0.1/n"), "'0.1/n'"),
        (lambda: GradientTracking(float("inf")), "step_size is inf"),
    ],
)
def test_wrong_settings_are_refused_by_name(make, sentence):
    with pytest.raises(ConfigError, match="'") as caught:
        make()
    assert sentence in str(caught.value)
