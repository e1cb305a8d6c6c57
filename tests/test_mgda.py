"""Multiple-gradient descent without a master: the same weights everywhere, down for all tasks, to the Pareto set."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import nnls

from dmtl.algorithms.mgda import MGDA, MGDAUB
from dmtl.algorithms.min_norm import min_norm, pair
from dmtl.algorithms.personal import Personal
from dmtl.algorithms.sketch import sketch, table_products
from dmtl.build import plan
from dmtl.config import load
from dmtl.consensus.chart import chart
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.tasks.mlp import MLP
from tests.networks import GRAPHS, Quadratic, network, quadratics
from tests.test_mlp import data

SHAPES = {
    "ring": nx.cycle_graph(6),
    "star": nx.star_graph(5),
    "random": nx.gnp_random_graph(6, 0.6, seed=1),
    "complete": nx.complete_graph(6),
    "pair": nx.path_graph(2),
}


def shortest(vectors) -> np.ndarray:
    """The weights by non-negative least squares: min |sum a_t g_t|^2 + (1'a - 1)^2 has the same a but for its scale."""
    scale = np.linalg.norm(vectors, axis=1).min()
    a = nnls(np.vstack([vectors.T / scale, np.ones(len(vectors))]), np.append(np.zeros(vectors.shape[1]), 1.0))[0]
    return a / a.sum()


@pytest.mark.parametrize("kind", ["plain", "flat", "twice", "small"])
@pytest.mark.parametrize(("t", "d"), [(1, 3), (2, 5), (3, 2), (5, 20), (9, 4), (20, 30)])
def test_the_shortest_average_is_that_of_an_independent_solver(t, d, kind):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((t, d)) + (kind != "flat") * rng.standard_normal(d)
        if kind == "twice":
            vectors = np.concatenate((vectors, vectors[:1], vectors.mean(axis=0, keepdims=True)))
        if kind == "small":
            vectors[0] *= 1e-6
        alpha = min_norm(vectors @ vectors.T)
        u, best = alpha @ vectors, shortest(vectors) @ vectors
        lengths = np.linalg.norm(vectors, axis=1)
        assert alpha.min() >= 0
        assert alpha.sum() == pytest.approx(1, abs=1e-14)
        assert np.linalg.norm(u - best) < 1e-9 * lengths.max()
        assert (vectors @ u >= u @ u - 1e-12 * lengths * lengths.max()).all()


def test_of_two_vectors_there_is_a_closed_form():
    for seed in range(20):
        vectors = np.random.default_rng(seed).standard_normal((2, 3)) + 0.7
        c = np.linspace(0, 1, 100_001)
        lengths = np.linalg.norm(c[:, None] * vectors[0] + (1 - c[:, None]) * vectors[1], axis=1)
        assert pair(vectors @ vectors.T)[0] == pytest.approx(c[lengths.argmin()], abs=1e-5)
        thrice = np.concatenate((vectors, vectors[1:]))
        alpha = min_norm(thrice @ thrice.T)
        assert alpha[0] == pytest.approx(pair(vectors @ vectors.T)[0], abs=1e-12)
    assert pair(np.ones((2, 2))).tolist() == [0.5, 0.5]


def central(tasks, rounds, mu=None):
    """The iterates with all gradients in one place."""
    mu = mu or 1 / max(task.smoothness for task in tasks)
    x, points, weights = np.zeros(tasks[0].dim), [], []
    for _ in range(rounds):
        g = np.array([task.grad(x) for task in tasks])
        weights.append(shortest(g))
        x = x - mu * weights[-1] @ g
        points.append(x)
    return np.array(points), np.array(weights)


def steps(graph, method, tasks, rounds):
    """The states of all ranks after each of their steps."""
    nodes, states, found = network(graph, method, tasks), None, []
    for round in range(1, rounds + 1):
        states = simulate(nodes, round, states=states)
        counts = {state.model.steps for state in states}
        assert len(counts) == 1
        if counts == {len(found) + 1}:
            found.append([state.model for state in states])
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exact_form_takes_the_steps_of_one_place_and_all_ranks_have_the_same_bits(shape):
    graph = SHAPES[shape]
    tasks = quadratics(len(graph), 5)
    found = steps(graph, MGDA(), tasks, 150)
    points, weights = central(tasks, len(found))
    before, mu = np.zeros(5), 1 / max(task.smoothness for task in tasks)
    assert len(found) >= 8
    for number, states in enumerate(found):
        for state in states:
            assert np.array_equal(state.x, states[0].x)
            assert np.array_equal(state.alpha, states[0].alpha)
        x, alpha = states[0].x, states[0].alpha
        assert np.allclose(x, points[number], rtol=0, atol=1e-9)
        assert alpha.min() >= 0
        assert alpha.sum() == pytest.approx(1, abs=1e-14)
        u = alpha @ np.array([task.grad(before) for task in tasks])
        assert u @ u == pytest.approx(states[0].length ** 2, rel=1e-6, abs=1e-20)
        for task in tasks:
            assert task.grad(before) @ u >= u @ u - 1e-12
            assert task.loss(x) <= task.loss(before) - mu / 2 * u @ u + 1e-13
        before = x
    assert np.allclose(weights[0], found[0][0].alpha, atol=1e-9)


@pytest.mark.parametrize("normalise", ["l2", "loss", "loss+"])
@pytest.mark.parametrize("form", ["exact", "sketch"])
def test_a_normaliser_weighs_gradients_over_it_and_still_goes_down_for_all(form, normalise):
    graph, tasks = SHAPES["ring"], quadratics(6, 5)
    found, x = steps(graph, MGDA(form, 0.05, normalise=normalise), tasks, 120), np.zeros(5)
    for states in found:
        g = np.array([task.grad(x) for task in tasks])
        c = np.linalg.norm(g, axis=1) if normalise in ("l2", "loss+") else np.ones(6)
        c = c * [task.loss(x) for task in tasks] if "loss" in normalise else c
        alpha = shortest(g / c[:, None]) / c
        assert np.allclose(states[0].alpha, alpha / alpha.sum(), atol=1e-7 if form == "exact" else 1e-4)
        assert all(np.array_equal(state.alpha, states[0].alpha) for state in states)
        u = states[0].alpha @ g
        assert states[0].length == pytest.approx(np.linalg.norm(u), rel=1e-9)
        assert np.allclose(states[0].x, x - 0.05 * u, atol=1e-12)
        assert (g @ u > 0).all()
        x = states[0].x
    assert len(found) >= 6


@pytest.mark.parametrize("normalise", ["l2", "loss", "loss+"])
def test_as_published_the_weights_of_scaled_gradients_are_those_of_the_gradients(normalise):
    graph, tasks = SHAPES["ring"], quadratics(6, 5)
    found, x = steps(graph, MGDAUB(step_size=0.05, normalise=normalise, published=True), tasks, 120), np.zeros(5)
    for states in found:
        g = np.array([task.grad(x) for task in tasks])
        c = np.linalg.norm(g, axis=1) if normalise in ("l2", "loss+") else np.ones(6)
        c = c * [task.loss(x) for task in tasks] if "loss" in normalise else c
        alpha = shortest(g / c[:, None])
        assert np.allclose(states[0].alpha, alpha, atol=1e-4)
        assert all(np.array_equal(state.alpha, states[0].alpha) for state in states)
        assert np.allclose(states[0].x, x - 0.05 * states[0].alpha @ g, atol=1e-12)
        x = states[0].x
    assert len(found) >= 6


@pytest.mark.parametrize("normalise", ["none", "loss"])
def test_smooth_weights_are_running_means_of_the_weights_of_each_step(normalise):
    graph, tasks = SHAPES["ring"], quadratics(6, 5)
    found = steps(graph, MGDAUB(step_size=0.05, normalise=normalise, smooth=0.8), tasks, 120)
    x, weights = np.zeros(5), np.full(6, 1 / 6)
    for states in found:
        g = np.array([task.grad(x) for task in tasks])
        c = np.array([task.loss(x) for task in tasks]) if normalise == "loss" else np.ones(6)
        now = shortest(g / c[:, None]) / c
        weights = 0.8 * weights + 0.2 * now / now.sum()
        assert np.allclose(states[0].alpha, weights, atol=1e-4)
        assert all(np.array_equal(state.alpha, states[0].alpha) for state in states)
        assert np.allclose(states[0].x, x - 0.05 * states[0].alpha @ g, atol=1e-12)
        x, weights = states[0].x, states[0].alpha
    assert len(found) >= 6


def test_smooth_weights_of_noisy_gradients_are_nearer_to_those_of_their_means():
    """Two tasks take turns in having a gradient three times as long, so the weights of their means are equal."""

    class Flicker:
        def __init__(self, end, phase):
            self.task, self.calls = Quadratic(np.eye(2), end), phase

        def __getattr__(self, name):
            return getattr(self.task, name)

        def grad(self, w, rng=None):
            self.calls += 1
            return self.task.grad(w, rng) * (1, 3)[self.calls % 2]

    errors = {}
    for smooth in (0.0, 0.95):
        tasks = [Flicker(end, phase) for phase, end in enumerate(np.eye(2))]
        found = steps(nx.complete_graph(2), MGDAUB(step_size=0.001, smooth=smooth), tasks, 200)
        errors[smooth] = np.mean([abs(states[0].alpha[0] - 0.5) for states in found[-20:]])
    assert errors[0.0] > 0.2
    assert errors[0.95] < 0.05


def test_two_gradients_at_right_angles_weigh_as_the_squares_of_their_losses():
    tasks = [Quadratic(np.eye(2), end) for end in 3 * np.eye(2) * [[1.0], [2.0]]]
    method = MGDAUB(step_size=0.01, normalise="loss+", published=True)
    alpha = steps(nx.complete_graph(2), method, tasks, 4)[0][0].alpha
    losses = np.array([task.loss(np.zeros(2)) for task in tasks])
    assert np.allclose(alpha, losses**2 / np.sum(losses**2), atol=1e-6)


def test_few_gradients_are_flooded_where_few_matter():
    """Six tasks of which two pull apart: a step takes about three floods and not six."""
    rng = np.random.default_rng(0)
    ends = [np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])]
    tasks = [Quadratic(np.eye(3), end) for end in ends]
    tasks += [Quadratic(np.eye(3), np.array([rng.uniform(-0.5, 0.5), 9.0, 0])) for _ in range(4)]
    found = steps(nx.complete_graph(6), MGDA(step_size=0.01), tasks, 30)
    assert 30 / len(found) <= 3.5


@pytest.mark.parametrize("form", ["exact", "sketch"])
@pytest.mark.parametrize("shape", ["ring", "complete", "pair"])
def test_it_rests_in_the_pareto_set_and_nowhere_else(shape, form):
    """Where it rests, x is the minimiser of sum alpha_t f_t for its own alpha, which is what a Pareto point is."""
    graph = SHAPES[shape]
    tasks = quadratics(len(graph), 5)
    (state, *_) = simulate(network(graph, MGDA(form), tasks), 400 if shape == "complete" else 800)
    alpha = state.model.alpha
    matrix = sum(a * task.hessian for a, task in zip(alpha, tasks, strict=True))
    right = sum(a * task.hessian @ task.b for a, task in zip(alpha, tasks, strict=True))
    assert state.model.length < 1e-5
    assert np.allclose(state.x, np.linalg.solve(matrix, right), atol=1e-4)
    start = np.zeros(5)
    assert all(task.loss(state.x) < task.loss(start) for task in tasks)


def test_of_a_task_that_rests_nobody_moves():
    """x = 0 is the minimiser of one task, so it is Pareto stationary."""
    tasks = [Quadratic(np.eye(3), np.zeros(3)), *quadratics(5, 3)]
    for form in ("exact", "sketch"):
        states = simulate(network(SHAPES["ring"], MGDA(form), tasks), 40)
        assert all(not state.x.any() for state in states)
        assert states[0].model.alpha.tolist() == [1, 0, 0, 0, 0, 0]
        assert states[0].model.steps > 2


@pytest.mark.parametrize("shape", ["ring", "random", "pair"])
def test_sketches_of_all_numbers_are_the_exact_form_and_fewer_come_near_it(shape):
    graph = SHAPES[shape]
    tasks = quadratics(len(graph), 40)
    points, _ = central(tasks, 8)
    for m, most, near in ((64, 1, 1e-5), (16, 4, None), (32, 4, None)):
        found = steps(graph, MGDA("sketch", m=m, sketches=most), tasks, 100)
        before = np.zeros(40)
        for number, states in enumerate(found):
            assert all(np.array_equal(state.alpha, states[0].alpha) for state in states)
            assert all(np.allclose(state.x, states[0].x, rtol=0, atol=1e-12) for state in states)
            g, alpha = np.array([task.grad(before) for task in tasks]), states[0].alpha
            best = np.linalg.norm(shortest(g) @ g)
            if number < 8 and near:
                assert np.allclose(states[0].x, points[number], atol=near)
            if number < 8:
                assert states[0].length <= (1.3 if m == 16 else 1.15) * best
                assert states[0].common == ((g @ (alpha @ g)).min() >= 0)
                assert states[0].common
            assert states[0].length == pytest.approx(np.linalg.norm(alpha @ g), abs=1e-12)
            before = states[0].x


def test_more_numbers_are_sent_until_the_direction_goes_down_for_all():
    """With two numbers of a gradient of 40 the first sketch misleads; with all of them none does."""
    tasks, graph = quadratics(6, 40), SHAPES["complete"]
    few = steps(graph, MGDA("sketch", m=2, sketches=1), tasks, 40)
    whole = steps(graph, MGDA("sketch", m=2, sketches=32), tasks, 200)
    assert not all(states[0].common for states in few[:10])
    assert all(states[0].common for states in whole[:3])


def test_a_sketch_is_a_part_of_a_rotation_that_all_ranks_draw_alike():
    nodes = network(SHAPES["pair"], MGDA("sketch"), quadratics(2, 40))
    a, b = np.random.default_rng(0).standard_normal((2, 40))
    parts = [
        [sketch(g, 10, number, node.view, 3) for number in range(7)] for g, node in zip((a, b), nodes, strict=True)
    ]
    ours, theirs = np.concatenate(parts[0]), np.concatenate(parts[1])
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(a))
    assert ours @ theirs == pytest.approx(a @ b)
    assert not np.allclose(parts[0][0], sketch(a, 10, 0, nodes[0].view, 4))


def test_inner_products_of_sketches_have_the_same_bits_in_any_order():
    rows = np.random.default_rng(0).standard_normal((7, 1 + 300)) * np.logspace(-8, 8, 7)[:, None]
    found, order = table_products(rows), np.random.default_rng(1).permutation(300)
    assert np.array_equal(found, table_products(rows[:, np.append(0, 1 + order)]))
    lengths = np.linalg.norm(rows[:, 1:], axis=1)
    assert abs((found - rows[:, 1:] @ rows[:, 1:].T) / np.outer(lengths, lengths)).max() < 1e-6


def test_where_all_are_neighbours_the_neighbourhood_is_all():
    tasks = quadratics(6, 5)
    points, _ = central(tasks, 25, 0.1)
    nodes, states = network(nx.complete_graph(6), MGDA("neighbourhood", 0.1), tasks), None
    for number in range(25):
        states = simulate(nodes, number + 1, states=states)
        assert all(np.allclose(state.x, points[number], atol=1e-9) for state in states)


def test_a_neighbourhoods_direction_is_short_and_never_up_whatever_is_said():
    node = network(SHAPES["ring"], MGDA("neighbourhood", 0.1), quadratics(6, 5), Median())[0]
    state, box = node.start(), node.mailbox()
    g = node.task.grad(state.x)
    for seed in range(50):
        box.clear()
        box.post(node.speak(state, state.inbox)[0])
        box.heard[:] = 0
        box.heard[:, 1] = np.random.default_rng(seed).standard_normal((2, 5)) * 10.0 ** (seed % 7 - 3)
        direction = -node.step(state, box.open()).x / 0.1
        assert np.linalg.norm(direction) <= np.linalg.norm(g) * (1 + 1e-12)
        assert g @ direction >= direction @ direction - 1e-12
    box.heard[:, 1] = -g
    assert np.allclose(node.step(state, box.open()).x, 0, atol=1e-15)


def perceptrons(n=4):
    return [MLP(hidden="6x5", activation="tanh", l2=0.01).build(data(seed=seed)) for seed in range(n)]


@pytest.mark.parametrize("last", ["", "hidden2", "hidden1"])
@pytest.mark.parametrize("m", [256, 8])
def test_the_upper_bound_weighs_by_one_layer_and_all_ranks_alike(last, m):
    tasks, graph = perceptrons(), nx.cycle_graph(4)
    method = Personal(MGDAUB(last, 0.1, m).charted(chart(graph)), ("head",))
    nodes = network(graph, method, tasks)
    before = [state.model for state in simulate(nodes, 0)]
    after = [state.model for state in simulate(nodes, 4)]  # two rounds to all, and two for the direction
    assert all(state.inner.steps == 1 for state in after)
    g = np.array([state.inner.g for state in before])
    place = tasks[0].layers[last or "hidden2"].where
    alpha = after[0].inner.alpha
    assert all(np.array_equal(state.inner.alpha, alpha) for state in after)
    if m == 256:
        assert np.allclose(alpha, shortest(g[:, place]), atol=1e-5)
    assert np.linalg.norm(alpha @ g[:, place]) <= 3 * np.linalg.norm(shortest(g[:, place]) @ g[:, place])
    for old, new, part in zip(before, after, nodes, strict=True):
        shared = part.task.layers["head"].where.start
        assert np.allclose(new.x[:shared], old.x[:shared] - 0.1 * alpha @ g, atol=1e-12)


@pytest.mark.parametrize("method", ["mgda", "mgda:form=sketch", "mgda:form=neighbourhood", "mgda-ub"])
def test_with_private_heads_all_tasks_learn(method):
    name, _, more = method.partition(":")
    raw = {
        "data": "digits",
        "task": "mlp:hidden=6x5",
        "private": "head",
        "algorithm": f"{name}:step_size=0.2{',' + more if more else ''}",
        "topology": "complete",
        "ranks": 3,
        "rounds": 150,
    }
    made = plan(load(raw))
    nodes = [made.node(rank) for rank in range(3)]
    before = [node.task.loss(state.x) for node, state in zip(nodes, simulate(nodes, 0), strict=True)]
    after = [node.task.loss(state.x) for node, state in zip(nodes, simulate(nodes, 150), strict=True)]
    assert (np.array(after) < 0.7 * np.array(before)).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MGDA("best"), "unknown form of 'mgda' 'best'"),
        (lambda: MGDA(normalise="l1"), "unknown normalise of 'mgda' 'l1'"),
        (lambda: MGDAUB(published=True), "published=true and no normaliser"),
        (lambda: MGDAUB(smooth=1.0), "'mgda-ub' has smooth=1.0"),
        (lambda: MGDAUB(smooth=-0.1), "'mgda-ub' has smooth=-0.1"),
        (lambda: MGDAUB(smooth=float("nan")), "'mgda-ub' has smooth=nan"),
        (lambda: MGDA("neighbourhood", normalise="l2"), "'mgda' has normalise=l2"),
        (lambda: MGDA(m=0), "'mgda' has m=0"),
        (lambda: MGDAUB(m=0), "'mgda-ub' has m=0"),
        (lambda: MGDA(step_size="x"), "'mgda' step_size"),
        (lambda: network(GRAPHS["pair"], MGDAUB("hidden1"), quadratics(2)), "the task has no layers"),
        (lambda: network(GRAPHS["pair"], MGDAUB("tail"), perceptrons(2)), "unknown layer 'tail'"),
    ],
)
def test_wrong_settings_are_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_private_layers_need_a_step():
    raw = {"data": "digits", "task": "mlp", "private": "head", "algorithm": "mgda", "ranks": 3}
    with pytest.raises(CompatibilityError, match="'mgda' was given none"):
        plan(load(raw))
