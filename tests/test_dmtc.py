"""Online multitask classification by gradients and by models: identities, a closed form, and regret."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.dmtc import DMTC
from dmtl.algorithms.dmtc_joint import DMTCJoint, interaction, learned
from dmtl.algorithms.local import Local
from dmtl.attacks.sign_flip import SignFlip
from dmtl.build import plan
from dmtl.config import load
from dmtl.data.pool import Dataset, Origin
from dmtl.errors import ConfigError
from dmtl.report.hindsight import least, pooled
from dmtl.schedules import rate
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.tasks.hinge import Hinge
from dmtl.tasks.many import Many
from dmtl.topology import metropolis
from tests.networks import GRAPHS, network, quadratics
from tests.peers import coupled, models, similarity

STEP = "0.3/sqrt(t)"
STREAM = {
    "data": "synthetic:rows=40,features=4,classes=2,tasks=3",
    "task": "many:hinge",
    "partition": "iid",
    "ranks": 4,
    "stream": 3,
    "seed": 2,
    "topology": "ring",
}


def history(nodes, rounds: int) -> np.ndarray:
    """(rounds, n, d) the models after each round."""
    kept: list[dict[int, np.ndarray]] = [{} for _ in range(rounds + 1)]

    def keep(rank, state, inbox):
        kept[state.view.round][rank] = state.x

    simulate(nodes, rounds, keep)
    return np.array([[each[rank] for rank in range(len(nodes))] for each in kept[1:]])


@pytest.mark.parametrize("graph", ["alone", "ring"])
def test_without_a_coupling_it_is_online_gradient_descent_of_each_rank_bit_for_bit(graph):
    here, tasks = GRAPHS[graph], quadratics(len(GRAPHS[graph]))
    ours = models(simulate(network(here, DMTC(0.0, STEP), tasks, stochastic=True), 30))
    assert np.array_equal(ours, models(simulate(network(here, Local(STEP), tasks, stochastic=True), 30)))


def test_on_a_stream_without_a_coupling_every_row_is_used_once_and_in_order():
    base = {"data": "synthetic:rows=30,features=4,classes=2", "task": "hinge", "ranks": 3, "stream": 4}
    ends = []
    for algorithm in (f"local:step_size={STEP}", f"dmtc:coupling=0,step_size={STEP}"):
        made = plan(load({**base, "algorithm": algorithm}))
        ends.append(models(simulate([made.node(rank) for rank in range(3)], 9)))
    assert np.array_equal(*ends)


def test_each_round_is_the_formula_with_the_neighbours_gradients_of_the_round_before():
    graph, tasks, b = coupled("random"), quadratics(8), 0.7
    found = history(network(graph, DMTC(b, STEP), tasks), 12)
    s, w = similarity(graph), np.zeros((8, 4))
    before, eta_before = np.zeros((8, 4)), 0.0
    for t in range(12):
        eta, g = rate(STEP, t), np.array([task.grad(x) for task, x in zip(tasks, w, strict=True)])
        w = w - (eta * g + b * eta_before * (s @ before)) / (1 + b * s.sum(axis=1))[:, None]
        before, eta_before = g, eta
        assert np.allclose(found[t], w, rtol=0, atol=1e-13)


def test_on_a_complete_graph_the_weights_are_those_of_the_interaction_matrix():
    tasks, c, k = quadratics(6), 2.5, 6
    found = history(network(nx.complete_graph(k), DMTC(c / (k + c), 0.1), tasks), 2)
    g = [np.array([task.grad(x) for task, x in zip(tasks, w, strict=True)]) for w in (np.zeros((k, 4)), found[0])]
    matrix = interaction(k, c)
    own = np.diag(np.diag(matrix))
    assert np.allclose(found[1] - found[0], -0.1 * (own @ g[1] + (matrix - own) @ g[0]), rtol=0, atol=1e-13)


def test_who_has_no_more_rows_says_nothing_and_not_its_last_gradient_for_ever():
    base = {"data": "digits", "partition": "dirichlet:alpha=0.3", "ranks": 4, "stream": 5, "topology": "complete"}
    made = plan(load({**base, "algorithm": "dmtc"}))
    nodes = [made.node(rank) for rank in range(4)]
    lengths = [-(-node.task.training_rows // 5) for node in nodes]
    short, long = int(np.argmin(lengths)), int(np.argmax(lengths))
    assert lengths[short] + 3 < lengths[long]
    states = simulate(nodes, lengths[short] + 2)
    place = nodes[long].view.sources.index(short)
    assert not states[long].inbox.messages[place].any()
    assert simulate(nodes, lengths[short])[long].inbox.messages[place].any()


def test_a_screen_takes_the_place_of_the_average_and_bounds_a_lie():
    tasks = [type(task)(task.hessian, 1 + 0.1 * task.b) for task in quadratics(8)]
    ends = []
    for screen in (None, Median()):
        nodes = network(nx.complete_graph(8), DMTC(1.0, 0.1), tasks, screen, {3: SignFlip(scale=30.0)})
        ends.append(max(np.linalg.norm(state.x - 1) for k, state in enumerate(simulate(nodes, 100)) if k != 3))
    assert ends[1] < 0.6
    assert ends[0] > 2 * ends[1]


@pytest.mark.parametrize("method", [DMTC(0.2, STEP, radius=0.5), DMTCJoint(2, 0.5, STEP, radius=0.5)])
def test_models_stay_in_their_ball(method):
    norms = np.linalg.norm(history(network(GRAPHS["ring"], method, quadratics(8)), 40), axis=2)
    assert norms.max() <= 0.5 + 1e-12
    assert norms.max() > 0.45


@pytest.mark.parametrize(("tasks", "b"), [(1, 3.0), (4, 0.0), (5, 2.0)])
def test_the_interaction_matrix_is_the_inverse_of_its_definition_and_its_rows_sum_to_one(tasks, b):
    a = (1 + b) * np.eye(tasks) - b / tasks * np.ones((tasks, tasks))
    assert np.allclose(a @ interaction(tasks, b), np.eye(tasks), rtol=0, atol=1e-14)
    assert np.allclose(interaction(tasks, b).sum(axis=1), 1, rtol=0, atol=1e-14)


def test_one_task_is_diffusion():
    tasks = quadratics(8)
    ours = simulate(network(GRAPHS["random"], DMTCJoint(1, 2.0, STEP), tasks), 25)
    assert np.array_equal(models(ours), models(simulate(network(GRAPHS["random"], Diffusion(STEP), tasks), 25)))


def test_phase_two_keeps_the_mean_over_ranks_and_phase_one_is_its_formula():
    graph, tasks, b = GRAPHS["random"], quadratics(8), 1.5
    states = simulate(network(graph, DMTCJoint(2, b, STEP), tasks), 9)
    later = simulate(network(graph, DMTCJoint(2, b, STEP), tasks), 10)
    psi = np.array([state.model.psi for state in states])
    assert np.allclose(models(later), metropolis(graph) @ psi, rtol=0, atol=1e-14)
    assert np.allclose(models(later).mean(axis=0), psi.mean(axis=0), rtol=0, atol=1e-14)
    for task, state in zip(tasks, states, strict=True):
        g = task.grad(state.x).reshape(2, 2)
        moved = interaction(2, b) @ g
        assert np.allclose(state.model.psi, state.x - rate(STEP, 9) * moved.ravel(), rtol=0, atol=1e-14)


def test_the_disagreement_is_of_the_order_of_the_step_by_the_spectral_gap():
    """|W_j - mean| <= eta |G A^-1| s / (1 - s) in the end, s the second largest absolute eigenvalue of the weights."""
    tasks = quadratics(8)
    for graph in ("ring", "random"):
        values = np.sort(np.abs(np.linalg.eigvalsh(metropolis(GRAPHS[graph]))))
        apart = []
        for eta in (0.02, 0.01):
            x = models(simulate(network(GRAPHS[graph], DMTCJoint(2, 1.0, eta), tasks), 2000))
            g = np.array([interaction(2, 1.0) @ task.grad(w).reshape(2, 2) for task, w in zip(tasks, x, strict=True)])
            apart.append(np.linalg.norm(x - x.mean(axis=0)))
            assert apart[-1] <= eta * np.linalg.norm(g) * values[-2] / (1 - values[-2])
        assert 0.45 < apart[1] / apart[0] < 0.6


@pytest.mark.parametrize("relearn", [0, 4])
def test_who_sees_the_same_rows_has_the_same_models_those_of_one_rank_alone(relearn):
    method, task = DMTCJoint(2, 1.0, STEP, relearn=relearn), quadratics(1)[0]
    together = models(simulate(network(GRAPHS["random"], method, [task] * 8), 30))
    (alone,) = models(simulate(network(GRAPHS["alone"], method, [task]), 30))
    assert np.allclose(together, alone, rtol=0, atol=1e-13)


def test_a_learned_relation_is_the_root_of_the_gram_matrix_and_couples_what_points_the_same_way():
    w = np.random.default_rng(1).standard_normal((3, 7))
    root = learned(w)
    assert np.trace(root) == pytest.approx(1)
    assert np.allclose(root @ root / np.trace(root @ root), w @ w.T / np.trace(w @ w.T), rtol=0, atol=1e-12)
    same = learned(np.array([[1.0, 2.0, 0.0], [1.1, 1.9, 0.0], [0.0, 0.0, 1.0]]))
    assert same[0, 1] > 0.9 * np.sqrt(same[0, 0] * same[1, 1])
    assert abs(same[0, 2]) < 1e-12
    assert np.allclose(learned(np.zeros((4, 2))), np.eye(4) / 4)
    rng, best = np.random.default_rng(2), np.trace(np.linalg.solve(root, w @ w.T))
    for _ in range(20):  # the least of tr(W' A W) among inverses of trace 1
        factor = root + 0.05 * np.diag(rng.random(3))
        assert np.trace(np.linalg.solve(factor / np.trace(factor), w @ w.T)) >= best - 1e-12


def test_each_row_is_in_the_block_of_its_task_and_tasks_take_turns():
    rng = np.random.default_rng(0)
    x, y, number = rng.standard_normal((7, 2)), np.array([0.0, 1, 0, 1, 0, 1, 1]), np.array([0, 0, 0, 2, 2, 1, 0])
    data = Dataset(x, y, x, y, x[:0], y[:0], 2, origin=Origin(number, number, number[:0], 3))
    task = Many("hinge", 0.1).build(data)
    w = rng.standard_normal((3, 3))
    order = [0, 5, 3, 1, 4, 2, 6]  # the first row of each task, then the second ..
    scores = np.array([w[number[row]] @ [*x[row], 1] for row in order])
    assert np.allclose(task.parts.train.x @ w.ravel(), scores)
    assert np.array_equal(task.parts.train.y, 2 * y[order] - 1)
    assert np.allclose(task.parts.held_out.x @ w.ravel(), [w[k] @ [*row, 1] for k, row in zip(number, x, strict=True)])
    per_task = [Hinge(0.1).build(Dataset(x[number == k], y[number == k], *(x[:0], y[:0]) * 2, 2)) for k in range(3)]
    sums = [np.sum(number == k) * (each.loss(w[k]) - 0.05 * w[k] @ w[k]) for k, each in enumerate(per_task)]
    assert task.loss(w.ravel()) == pytest.approx(sum(sums) / 7 + 0.05 * np.sum(w**2))


def test_a_plan_spreads_rows_of_all_tasks_and_every_rank_has_models_of_all():
    made = plan(load({**STREAM, "algorithm": "dmtc-joint:tasks=3"}))
    for rank in range(4):
        data = made.dataset(rank)
        assert set(data.origin.train) == {0, 1, 2}
        assert made.node(rank).task.dim == 15
        assert np.array_equal(np.bincount(data.origin.train), np.bincount(made.pool.task[_rows(made, data.x, rank)]))
    assert plan(load({"data": "synthetic:tasks=1", "ranks": 2, "partition": "iid"})).dataset(0).origin is None


def _rows(made, x, rank):
    """Which rows of the pool the training rows are, found by their values in the rank's units."""
    raw = made.pool.x[made.rows[rank]]
    mean, std = [], []
    for column in range(x.shape[1]):  # standardise: an affine map of each column that keeps the order of rows
        mean.append(raw[:, column].mean())
        std.append(raw[:, column].std())
    ranks = np.argsort(np.argsort(np.concatenate([x, made.dataset(rank).test_x])[:, 0]))
    return made.rows[rank][np.argsort(raw[:, 0])[ranks[: len(x)]]]


@pytest.mark.parametrize("algorithm", ["dmtc:coupling=0.3", "dmtc-joint:tasks=3"])
def test_the_regret_grows_no_faster_than_the_root_of_the_rounds(algorithm):
    """Against the best W in hindsight for all ranks; a loss that stayed above it would make it grow as the rounds."""
    found = []
    for rows in (80, 320, 1280):
        data = f"synthetic:rows={rows},features=4,classes=2,tasks=3,noise=0.5"
        made = plan(load({**STREAM, "data": data, "stream": 1, "algorithm": f"{algorithm},step_size=1/sqrt(t)"}))
        nodes = [made.node(rank) for rank in range(4)]
        states = simulate(nodes, max(node.task.training_rows for node in nodes))
        online = [state.model.online for state in states]
        assert [each.rows for each in online] == [node.task.training_rows for node in nodes]
        without = Many("hinge", l2=0.0)
        best = least(pooled([without.build(made.dataset(rank)) for rank in range(4)]))
        found.append((sum(each.loss for each in online) - best) / 4 / np.sqrt(online[0].rows))
    assert min(found) > 0
    assert max(found) < 1.5 * found[0]


@pytest.mark.parametrize(
    ("method", "settings", "sentence"),
    [
        (DMTC, {"coupling": -1.0}, "'dmtc' has coupling=-1.0"),
        (DMTC, {"radius": 0.0}, "'dmtc' has radius=0.0"),
        (DMTC, {"step_size": "1/n"}, "'dmtc' step_size"),
        (DMTCJoint, {"tasks": 0}, "'dmtc-joint' has tasks=0"),
        (DMTCJoint, {"relearn": -1}, "'dmtc-joint' has relearn=-1"),
        (DMTCJoint, {"coupling": np.inf}, "'dmtc-joint' has coupling=inf"),
        (Many, {"inner": "softmax"}, "unknown inner task of 'many'"),
    ],
)
def test_wrong_settings_are_refused_by_name(method, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        method(**settings)


def test_a_model_that_is_not_so_many_blocks_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"a model of 15 numbers is not so many blocks\. Use the task 'many'"):
        plan(load({**STREAM, "algorithm": "dmtc-joint:tasks=4"})).node(0)


def test_single_precision_stays_so():
    for algorithm in ("dmtc", "dmtc-joint:tasks=3,relearn=2"):
        made = plan(load({**STREAM, "algorithm": algorithm, "dtype": "float32"}))
        for state in simulate([made.node(rank) for rank in range(4)], 6):
            inner = state.model.inner
            assert {part.dtype for part in inner if isinstance(part, np.ndarray)} == {np.dtype("float32")}
