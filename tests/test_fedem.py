"""Mixtures between peers: EM's laws, FedEM's server as oracle, and each trap of the published code."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.fedem import FedEM
from dmtl.algorithms.fedem import State as Mixture
from dmtl.algorithms.mixture import responsibilities, settled
from dmtl.build import plan
from dmtl.config import load
from dmtl.data.pool import Dataset
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from dmtl.tasks.mlp import MLP
from dmtl.tasks.softmax import Softmax
from tests.networks import GRAPHS, network
from tests.test_mlp import data

D, M = 8, 2
MODEL = Logistic(l2=1e-3, bias=False)


def mixed(ranks, rows=60, test=200, components=M, d=D, seed=0):
    """Tasks whose rows are labelled by one of common linear rules, and how often by which, (ranks, components)."""
    rng = np.random.default_rng(seed)
    rules = 3 * rng.standard_normal((components, d))
    shares = rng.dirichlet(np.full(components, 0.4), ranks)
    tasks = []
    for share in shares:
        x = rng.standard_normal((rows + test, d))
        rule = rng.choice(components, rows + test, p=share)
        y = (np.vecdot(x, rules[rule]) > 0).astype(float)
        tasks.append(MODEL.build(Dataset(x[:rows], y[:rows], x[:0], y[:0], x[rows:], y[rows:], classes=2)))
    return tasks, shares, rules


def begun(nodes, thetas, pi=None):
    """States before round 0 with those components (ranks, M, d) and shares; nothing has been learnt."""
    states = []
    for node, models in zip(nodes, thetas, strict=True):
        shares = np.full(len(models), 1 / len(models)) if pi is None else pi
        states.append(node.start()._replace(model=Mixture(shares @ models, models, models, shares)))
    return states


def errors(nodes, states):
    return [
        node.algorithm.evaluate(state.model, node.task)["test_error"] for node, state in zip(nodes, states, strict=True)
    ]


def value(task, thetas, pi):
    """The objective of one rank, from its definition."""
    likelihood = pi @ np.exp(-task.row_losses(thetas))
    return -np.log(likelihood).mean() + task.settings.l2 / 2 * np.sum(thetas**2)


@pytest.mark.parametrize(
    ("task", "step"),
    [
        (mixed(1)[0][0], None),
        (Softmax(l2=0.02).build(data()), None),
        (MLP(hidden="5", activation="tanh", l2=0.01).build(data()), 0.1),
    ],
    ids=["logistic", "softmax", "mlp"],
)
def test_alone_the_objective_never_rises_and_shares_stay_shares(task, step):
    found = []

    def record(_, state, __):
        model = state.model
        q = responsibilities(task.row_losses(model.thetas), model.pi)
        assert np.allclose(q.sum(axis=0), 1, atol=1e-14)
        assert np.isclose(model.pi.sum(), 1, atol=1e-14)
        assert model.pi.min() >= 0
        found.append(value(task, model.psi, model.pi))

    simulate(network(GRAPHS["alone"], FedEM(3, step), [task]), 80, record)
    assert np.diff(found).max() <= 1e-12
    assert found[-1] < found[0] - 0.05


def test_a_share_of_zero_stays_zero_and_moves_its_component_no_more():
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["alone"], FedEM(3), tasks[:1])
    thetas = np.random.default_rng(1).standard_normal((1, 3, D))
    (state,) = simulate(nodes, 20, states=begun(nodes, thetas, np.array([0.5, 0.5, 0.0])))
    assert state.model.pi[2] == 0
    assert state.model.pi[:2].min() > 0
    assert np.allclose(state.model.psi[2], thetas[0, 2] * (1 - MODEL.l2 / tasks[0].smoothness) ** 20)  # the ridge alone


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", [Softmax(l2=0.01), MLP(hidden="5x4")])
def test_one_component_is_diffusion_bit_for_bit(model, dtype):
    tasks = [model.build(data(seed=rank, dtype=dtype)) for rank in range(8)]
    ours, theirs = (
        simulate(network(GRAPHS["random"], method, tasks, stochastic=False), 30)
        for method in (FedEM(1, 0.2), Diffusion(0.2))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.model.psi[0], other.model.psi)


def test_components_start_apart_and_alike_on_all_ranks():
    for tasks in (mixed(8)[0], [MLP(hidden="5").build(data(seed=rank)) for rank in range(8)]):
        thetas = np.array([node.start().model.thetas for node in network(GRAPHS["ring"], FedEM(3, 0.1), tasks)])
        assert np.array_equal(thetas, np.broadcast_to(thetas[0], thetas.shape))
        assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(thetas[0], 2)) > 0.2


def test_trap_components_that_start_alike_stay_alike_for_ever():
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["ring"], FedEM(3), tasks)
    same = np.repeat(np.random.default_rng(0).standard_normal((1, 1, D)), 3, axis=1)
    for state, node in zip(simulate(nodes, 50, states=begun(nodes, np.repeat(same, 8, axis=0))), nodes, strict=True):
        assert np.allclose(
            responsibilities(node.task.row_losses(state.model.thetas), state.model.pi), 1 / 3, atol=1e-12
        )
        assert np.ptp(state.model.thetas, axis=0).max() < 1e-12


def test_trap_components_that_ranks_number_differently_are_averaged_away():
    """Why all ranks start alike: the same models, numbered the other way round on every second rank, are lost."""
    for seed in range(3):
        tasks, _, rules = mixed(12, seed=seed, d=20, rows=100)
        nodes = network(nx.cycle_graph(12), FedEM(M), tasks)
        alike = np.repeat(rules[None], 12, axis=0)
        other = np.array([models[:: 1 if rank % 2 else -1] for rank, models in enumerate(alike)])
        kept, lost = (np.mean(errors(nodes, simulate(nodes, 5, states=begun(nodes, at)))) for at in (alike, other))
        assert kept < lost - 0.05


def test_trap_without_self_weights_bipartite_camps_swap_for_ever():
    """The published code's matrix has a zero diagonal: by hand on an even cycle, beside ours."""
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["ring"], FedEM(M, step_size=0.0), tasks)
    thetas = np.random.default_rng(0).standard_normal((8, M, D))
    camps = np.where(np.arange(8) % 2, 1.0, -1.0)
    thetas += camps[:, None, None]
    without = nx.to_numpy_array(GRAPHS["ring"]) / 2
    swapped = np.tensordot(np.linalg.matrix_power(without, 400), thetas, axes=1)
    assert abs((camps @ swapped[:, 0, 0]) / 8) == pytest.approx(abs(camps @ thetas[:, 0, 0]) / 8)
    states = simulate(nodes, 400, states=begun(nodes, thetas))
    assert min(node.view.weights[0] for node in nodes) > 0
    for state in states:
        assert np.allclose(state.model.thetas, thetas.mean(axis=0), atol=1e-12)


def test_mixing_keeps_the_mean_of_each_component():
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["random"], FedEM(M, step_size=0.0), tasks)
    thetas = np.random.default_rng(0).standard_normal((8, M, D))
    states = simulate(nodes, 3, states=begun(nodes, thetas))
    after = np.array([state.model.thetas for state in states])
    assert np.allclose(after.mean(axis=0), thetas.mean(axis=0), atol=1e-14)
    assert np.ptp(after, axis=0).max() < np.ptp(thetas, axis=0).max()


def server(tasks, thetas, rounds, mu):
    """FedEM with a server that weighs all clients alike: components, shares of each, after the last E and M1 steps."""
    shares = np.full((len(tasks), len(thetas)), 1 / len(thetas))
    for _ in range(rounds + 1):
        sent = []
        for client, task in enumerate(tasks):
            x, sign = task.parts.train
            margin = sign[:, None] * (x @ thetas.T)
            joint = shares[client] / (1 + np.exp(-margin))
            q = joint / joint.sum(axis=1, keepdims=True)
            shares[client] = q.mean(axis=0)
            slopes = -(q * sign[:, None] / (1 + np.exp(margin))).T @ x / len(x)
            sent.append(thetas - mu * (slopes + MODEL.l2 * thetas))
        last, thetas = thetas, np.mean(sent, axis=0)
    return last, shares


def test_on_a_complete_graph_it_is_fedem_with_a_server():
    tasks, *_ = mixed(6, components=3)
    nodes = network(nx.complete_graph(6), FedEM(3, step_size=0.5), tasks)
    states = simulate(nodes, 40)
    thetas, shares = server(tasks, nodes[0].start().model.thetas, 40, 0.5)
    for state, share in zip(states, shares, strict=True):
        assert np.allclose(state.model.thetas, thetas, atol=1e-11)
        assert np.allclose(state.model.pi, share, atol=1e-11)
    assert np.ptp(shares, axis=0).max() > 0.5


def test_names_of_components_mean_nothing():
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["random"], FedEM(3), tasks)
    thetas = np.repeat(np.random.default_rng(0).standard_normal((1, 3, D)), 8, axis=0)
    order = [2, 0, 1]
    plain, renamed = (simulate(nodes, 30, states=begun(nodes, at)) for at in (thetas, thetas[:, order]))
    for one, other in zip(plain, renamed, strict=True):
        assert np.allclose(one.model.thetas[order], other.model.thetas, atol=1e-10)
        assert np.allclose(one.model.pi[order], other.model.pi, atol=1e-10)
        assert np.allclose(one.x, other.x, atol=1e-10)


def matched(found, truth):
    """Found shares (ranks, M) in the order of components that brings them nearest to the true ones: Hungarian."""
    cost = np.abs(found[:, :, None] - truth[:, None, :]).sum(axis=0)
    return found[:, linear_sum_assignment(cost)[0][np.argsort(linear_sum_assignment(cost)[1])]]


def test_shares_are_found_and_a_rank_predicts_with_its_mixture():
    """Shares are those of 400 rows, of which some could be of either rule: 0.03 is what is left of that."""
    graph = nx.gnp_random_graph(16, 0.5, seed=1)
    for seed in range(2):
        tasks, shares, _ = mixed(16, rows=400, components=3, d=20, seed=seed)
        nodes = network(graph, FedEM(3, step_size=8.0), tasks)
        states = simulate(nodes, 100)
        found = matched(np.array([state.model.pi for state in states]), shares)
        assert np.abs(found - shares).mean() < 0.05
        common = simulate(network(graph, Diffusion(), tasks), 100)
        plain = np.mean([task.evaluate(state.x)["test_error"] for task, state in zip(tasks, common, strict=True)])
        assert np.mean(errors(nodes, states)) < plain - 0.05


def test_a_rank_that_never_trained_adapts_its_shares_and_beats_the_average_model():
    graph, learners = nx.gnp_random_graph(16, 0.5, seed=1), 12
    tasks, shares, _ = mixed(16, rows=400, components=3, d=20)
    nodes = network(graph, FedEM(3, step_size=8.0, learners=learners), tasks)
    states = simulate(nodes, 100)
    found = matched(np.array([state.model.pi for state in states]), shares)
    assert np.abs(found - shares)[learners:].mean() < 0.06
    new = list(zip(nodes, states, strict=True))[learners:]
    for node, state in new:
        assert np.array_equal(state.model.psi, state.model.thetas)  # it passes on what it combined
        losses = node.task.row_losses(state.model.thetas)
        assert np.allclose(responsibilities(losses, state.model.pi).mean(axis=1), state.model.pi, atol=1e-6)
    average = np.mean([node.task.blend(state.model.thetas, np.full(3, 1 / 3))["test_error"] for node, state in new])
    adapted = np.mean(errors(*zip(*new, strict=True)))
    common = simulate(network(graph, Diffusion(), tasks), 100)
    plain = np.mean([tasks[rank].evaluate(common[rank].x)["test_error"] for rank in range(learners, 16)])
    assert adapted < plain - 0.03
    assert adapted < average - 0.03


def test_a_rank_that_never_trained_moves_no_component():
    """Its rows are of no account to the others: they may be anything."""
    tasks, *_ = mixed(8)
    other = [*tasks[:6], *mixed(8, seed=9)[0][6:]]
    for everyone in (tasks, other):
        nodes = network(GRAPHS["ring"], FedEM(M, learners=6), everyone)
        states = simulate(nodes, 25)
        if everyone is tasks:
            before = [state.model.thetas for state in states]
    assert all(np.array_equal(state.model.thetas, kept) for state, kept in zip(states, before, strict=True))


def test_settled_shares_are_the_likeliest():
    losses = np.random.default_rng(0).exponential(2.0, (3, 50))
    best = settled(losses)
    likelihood = np.log(best @ np.exp(-losses)).mean()
    for other in np.random.default_rng(1).dirichlet(np.ones(3), 200):
        assert np.log(other @ np.exp(-losses)).mean() <= likelihood + 1e-8
        near = 0.99 * best + 0.01 * other
        assert np.log(near @ np.exp(-losses)).mean() <= likelihood + 1e-8


def test_with_one_component_a_round_all_speak_of_the_same_and_learn_as_well():
    tasks, *_ = mixed(12, rows=150)
    graph = nx.gnp_random_graph(12, 0.6, seed=2)
    nodes = network(graph, FedEM(M, step_size=4.0, one=True), tasks)
    assert nodes[0].message_shape == (1, D)
    about = []

    def record(rank, state, _):
        if state.view.round:
            about.append((rank, int(np.flatnonzero(np.any(state.model.thetas != before[rank], axis=1))[0])))
        before[rank] = state.model.psi

    before: dict[int, np.ndarray] = {}
    states = simulate(nodes, 200, record)
    spoken = np.array(about)[:, 1].reshape(200, 12)
    assert np.array_equal(spoken, np.repeat(spoken[:, :1], 12, axis=1))
    assert set(spoken[:, 0]) == {0, 1}
    common = simulate(network(graph, Diffusion(), tasks), 200)
    plain = np.mean([task.evaluate(state.x)["test_error"] for task, state in zip(tasks, common, strict=True)])
    assert np.mean(errors(nodes, states)) < plain - 0.05


def test_an_epoch_is_a_step_for_each_mini_batch():
    calls = []

    class Counting:
        def __init__(self, task):
            self.task = task

        def weighted_grad(self, w, weights, rng):
            calls.append(rng)
            return self.task.weighted_grad(w, weights, rng)

        def __getattr__(self, name):
            return getattr(self.task, name)

    for batch, steps in ((0, 1), (7, 5), (30, 1), (64, 1)):
        (node,) = network(GRAPHS["alone"], FedEM(3, epochs=2), [Counting(Softmax(batch=batch).build(data()))])
        calls.clear()
        node.start()
        assert len(calls) == 3 * 2 * steps, batch


def test_sparse_steps_leave_small_responsibilities_out_of_gradients_and_shares_as_they_are():
    (task,), *_ = mixed(1)
    thetas, pi = 3 * np.random.default_rng(1).standard_normal((3, D)), np.array([0.6, 0.3, 0.1])
    q = responsibilities(task.row_losses(thetas), pi)
    assert 0 < np.mean(q < 0.2) < 1
    (node,) = network(GRAPHS["alone"], FedEM(3, 0.1, sparse=0.2), [task])
    (state,) = simulate([node], 1, states=begun([node], thetas[None], pi))
    for m, theta in enumerate(thetas):
        slopes = task.weighted_grad(theta, np.where(q[m] < 0.2, 0, q[m]))
        assert np.allclose(state.model.psi[m], theta - 0.1 * slopes, atol=1e-14)
    assert np.allclose(state.model.pi, q.mean(axis=1), atol=1e-15)


def test_sparse_steps_with_many_components_learn_as_well():
    tasks, *_ = mixed(12)
    found = {}
    for sparse in (0.0, 0.05):
        nodes = network(nx.complete_graph(12), FedEM(8, sparse=sparse), tasks)
        found[sparse] = np.mean(errors(nodes, simulate(nodes, 150)))
    assert found[0.0] != found[0.05]
    assert abs(found[0.0] - found[0.05]) < 0.01


def test_what_it_reports_is_the_mixture_and_its_shares():
    tasks, *_ = mixed(8)
    nodes = network(GRAPHS["ring"], FedEM(3), tasks)
    (state, *_), node = simulate(nodes, 5), nodes[0]
    share = 1 / (1 + np.exp(-tasks[0].parts.test.x @ state.model.thetas.T)) @ state.model.pi
    figures = node.algorithm.evaluate(state.model, node.task)
    assert figures["test_error"] == pytest.approx(np.mean((share > 0.5) != (tasks[0].parts.test.y > 0)))
    assert np.array_equal(node.algorithm.tell(state.model, state.view)["mixture"], state.model.pi)
    assert np.allclose(state.x, state.model.pi @ state.model.thetas)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"components": 0}, "components=0"),
        ({"components": -3}, "components=-3"),
        ({"epochs": 0}, "epochs=0"),
        ({"learners": -1}, "learners=-1"),
        ({"sparse": -0.1}, "sparse=-0.1"),
        ({"sparse": 1.0}, "sparse=1.0"),
        ({"sparse": np.nan}, "sparse=nan"),
        ({"spread": 0.0}, "spread=0.0. It is above 0: components that start alike stay alike"),
        ({"spread": np.nan}, "spread=nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(ConfigError, match=f"'fedem' has {said}"):
        FedEM(**settings)


BASE = {"data": "digits", "task": "softmax", "algorithm": "fedem", "topology": "complete", "ranks": 4, "rounds": 5}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"data": "synthetic:classes=2", "task": "hinge"},
            "predictions, and rank 0's Hinge cannot. Use the task",
        ),
        ({"algorithm": "fedem:one=true", "link": "age=2"}, "needs every message in its own round"),
        ({"algorithm": "fedem:one=true", "transport": "async"}, "needs every message in its own round"),
        ({"task": "mlp:hidden=4", "private": "head", "algorithm": "fedem:step_size=0.1"}, "on the whole of a task"),
        ({"task": "mlp:hidden=4"}, "takes its step size from the task"),
        ({"screen": "gate-cap-anchor", "held_out": 0.3}, "its radius from two halves of the data, and a model of"),
    ],
)
def test_what_does_not_go_together_is_refused_before_round_0(more, said):
    with pytest.raises(CompatibilityError, match=said):
        plan(load({**BASE, **more})).node(0)


@pytest.mark.parametrize("task", ["softmax:batch=16", "mlp:hidden=6,batch=16"])
@pytest.mark.parametrize("screen", ["average", "trimmed-mean:b=1", "clip:1+cs-plus"])
def test_with_screens_liars_batches_and_single_precision(task, screen):
    liars = [{"count": 1, "attack": "sign-flip"}]
    raw = {**BASE, "task": task, "screen": screen, "byzantine": liars, "dtype": "float32", "topology": "complete"}
    made = plan(load({**raw, "ranks": 5, "algorithm": "fedem:step_size=0.1", "force": True}))
    for state in simulate([made.node(rank) for rank in range(5)], 5):
        assert {part.dtype for part in state.model} == {np.dtype("float32")}
        assert all(np.isfinite(part).all() for part in state.model)
