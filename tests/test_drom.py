"""Online learning of the tasks' relation, held to loops that hold all of A and Om in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.capabilities import Exposed
from dmtl.compat import check_node
from dmtl.config import load
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.results import flatten
from dmtl.rng import Purpose, stream
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from tests.networks import quadratics

DATA = "synthetic:shape=low-rank,features=6,rank=2,classes=2,rows=100,noise=0"
BASE = {"data": DATA, "task": "hinge", "stream": 1, "seed": 2, "test": 0.1, "standardise": False}
EVERYWHERE = {"complete": 1, "ring": 4, "hypercube": 3}
"""graphs of 8 ranks, and the rounds of an exact average"""


def nodes_of(algorithm: str, topology: str = "complete", ranks: int = 8, **more):
    made = plan(load({**BASE, "algorithm": algorithm, "topology": topology, "ranks": ranks, **more}))
    return [made.node(rank) for rank in range(ranks)]


def inner(states):
    return [state.model.inner for state in states]


def columns(states, name: str) -> np.ndarray:
    return np.stack([getattr(state, name) for state in inner(states)], axis=1)


def direction(nodes) -> np.ndarray:
    return stream(nodes[0].view.seed, Purpose.INIT).standard_normal(nodes[0].task.dim)


class Loop:
    """DROM with all tasks in one place; sums take ``delay`` rounds, and the past keeps the sums that it was made with.

    With ``renewed`` W = A Om is made of the A of now.
    """

    def __init__(self, nodes, eta, g, delay=1, power=1, renewed=False) -> None:
        self.tasks, self.eta, self.g, self.delay, self.power = [n.task for n in nodes], eta, g, delay, power
        n, d = len(nodes), nodes[0].task.dim
        self.a, self.omega, self.z, self.renewed = np.zeros((d, n)), np.eye(n) / n, direction(nodes), renewed
        self.own, self.past, self.base = np.zeros(n), np.zeros((d, n)), 1.0
        self.u, self.out, self.left, self.powers, self.v, self.slowly = None, None, 0, 0, np.zeros(n), []

    def pull(self) -> np.ndarray:
        if self.renewed:
            return len(self.tasks) * self.a @ self.omega
        return len(self.tasks) * (self.base / len(self.tasks) * self.a + self.own * self.a + self.past)

    def relate(self) -> None:
        a, u = self.out
        self.v = u / np.linalg.norm(u)
        p = a @ self.v
        self.powers += 1
        if self.powers == self.power:
            self.powers, keep = 0, 1 - self.g
            self.omega = keep * self.omega + self.g * np.outer(self.v, self.v)
            self.base *= keep
            self.own = keep * self.own + self.g * self.v**2
            self.past = keep * self.past + self.g * self.v * (p[:, None] - a * self.v)
        self.u = self.a.T @ p

    def round(self, t: int) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                self.relate()
        w = -self.eta / np.sqrt(t + 1) * self.pull()
        self.a = self.a + np.stack([task.window(t, t + 1).grad(w[:, i]) for i, task in enumerate(self.tasks)], axis=1)
        if not self.left:
            self.out = self.a.copy(), self.a.T @ self.z if self.u is None else self.u
            self.left = self.delay

    def models(self, t: int) -> np.ndarray:
        return -self.eta / np.sqrt(t + 1) * self.pull()


@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("graph", EVERYWHERE)
def test_with_exact_sums_it_is_the_loop_in_one_place_on_every_graph(graph, power):
    nodes = nodes_of(f"drom:g=0.05,power={power}", graph)
    loop, states = Loop(nodes, 0.1, 0.05, EVERYWHERE[graph], power), None
    for t in range(60):
        loop.round(t)
        states = simulate(nodes, t + 1, states=states)
        assert np.allclose(columns(states, "a"), loop.a, rtol=0, atol=1e-10)
        assert np.allclose(columns(states, "x"), loop.models(t + 1), rtol=0, atol=1e-10)
        diagonal = [state.relation.own / 8 for state in inner(states)]
        assert np.allclose(diagonal, np.diag(loop.omega), rtol=0, atol=1e-10)
    assert loop.base < 0.9


def omega(states) -> np.ndarray:
    """The relation, put together from all ranks' histories."""
    kept = [state.relation for state in inner(states)]
    entries = np.stack([relation.entries for relation in kept], axis=1)
    return kept[0].base * np.eye(len(kept)) / len(kept) + (entries.T * kept[0].shares) @ entries


@pytest.mark.parametrize("history", [5, 40])
@pytest.mark.parametrize("graph", ["ring", "complete"])
def test_the_relation_has_trace_one_and_is_positive_semidefinite_in_every_round(graph, history):
    nodes, states = nodes_of(f"drom:g=0.1,history={history}", graph), None
    for t in range(30):
        states = simulate(nodes, t + 1, states=states)
        relation = omega(states)
        assert np.trace(relation) == pytest.approx(1, abs=1e-12)
        assert np.linalg.eigvalsh(relation)[0] > -1e-12
        assert np.allclose(np.diag(relation) * 8, [state.relation.own for state in inner(states)], atol=1e-12)
        a = columns(states, "a")
        top = np.linalg.svd(a, compute_uv=False)[0] ** 2
        gap = top - np.trace(a @ relation @ a.T)
        assert gap >= -1e-9 * top
    assert abs(relation - np.diag(np.diag(relation))).max() > 0.02


def test_a_history_that_is_long_enough_is_all_of_the_past_and_a_short_one_gives_its_share_back():
    whole, long, short = (simulate(nodes_of(f"drom:g=0.1,history={r}", "ring"), 40) for r in (0, 10, 3))
    assert np.allclose(columns(whole, "x"), columns(long, "x"), rtol=0, atol=1e-12)
    assert inner(whole)[0].relation.steps == 9
    assert inner(whole)[0].relation.base == pytest.approx(0.9**9)
    assert inner(short)[0].relation.base == pytest.approx(1 - 0.1 * (1 + 0.9 + 0.81))


@pytest.mark.parametrize("sums", ["exact", "gossip", "local"])
def test_without_steps_of_the_relation_every_rank_is_alone_with_dual_averaging_bit_for_bit(sums):
    nodes = nodes_of(f"drom:g=0,sums={sums}", "ring", ranks=7)
    states = simulate(nodes, 90)
    for node, state in zip(nodes, states, strict=True):
        w, a = np.zeros(node.task.dim), np.zeros(node.task.dim)
        for t in range(90):
            a = a + node.task.window(t, t + 1).grad(w)
            w = -(0.1 / np.sqrt(t + 2)) * a
        assert np.array_equal(state.x, w)


def test_the_power_steps_find_the_leading_singular_vector():
    """Rows end after 20 rounds; then A is at rest and the sums go on."""
    nodes = nodes_of("drom:g=0.01", "hypercube", data=DATA.replace("rows=100", "rows=20"))
    states = simulate(nodes, 400)
    assert len(nodes[0].task.parts.train.y) <= 20
    u = np.array([state.u for state in inner(states)])
    leading = np.linalg.svd(columns(states, "a"))[2][0]
    assert abs(u @ leading) / np.linalg.norm(u) > 1 - 1e-12


def test_gossip_comes_to_the_same_direction_where_the_sum_is_at_rest():
    nodes = nodes_of("drom:g=0.01,sums=gossip,rounds=30", "ring", data=DATA.replace("rows=100", "rows=20"))
    states = simulate(nodes, 1800)
    v = np.array([state.v for state in inner(states)])
    leading = np.linalg.svd(columns(states, "a"))[2][0]
    assert np.linalg.norm(v) == pytest.approx(1, abs=1e-6)
    assert abs(v @ leading) > 1 - 1e-9


def test_too_little_gossip_gives_bad_sums_and_finite_models():
    for rounds in (1, 2):
        nodes = nodes_of(f"drom:g=0.02,sums=gossip,rounds={rounds}", "ring", ranks=24)
        states = simulate(nodes, 90)
        pulls = [np.linalg.norm(state.x) for state in states]
        assert max(pulls) < 5 * np.linalg.norm([np.linalg.norm(state.a) for state in inner(states)]) * 0.1 / np.sqrt(91)


def test_a_rank_whose_rows_have_ended_keeps_its_model_and_serves_the_sums():
    more = {"data": "digits", "partition": "dirichlet:alpha=0.3", "task": "softmax"}
    nodes = nodes_of("drom:g=0.05", "ring", ranks=5, **more, stream=10)
    ends = [-(-len(node.task.parts.train.y) // 10) for node in nodes]
    first = int(np.argmin(ends))
    assert ends[first] + 12 < max(ends)
    middle = simulate(nodes, ends[first])
    after = simulate(nodes, ends[first] + 12, states=middle)
    assert np.array_equal(after[first].x, middle[first].x)
    assert np.array_equal(after[first].model.inner.a, middle[first].model.inner.a)
    sums = np.sum([state.mean.x for state in inner(after)], axis=0)
    assert np.allclose(sums, np.sum([state.said for state in inner(after)], axis=0), rtol=1e-9, atol=0)
    assert inner(after)[first].relation.steps > inner(middle)[first].relation.steps


@pytest.mark.parametrize("kind", ["hinge", "logistic", "softmax", "least-squares"])
def test_a_row_weighs_what_the_slope_of_the_capped_loss_says(kind):
    (node,) = nodes_of("drom", "path", ranks=1, task=f"{kind}:l2=0.1", stream=0)
    task, rng = node.task, np.random.default_rng(0)
    w = rng.standard_normal(task.dim) / 3
    rows = [task.window(i, i + 1) for i in range(task.training_rows)]
    losses = np.array([row.loss(w) for row in rows]) - 0.05 * w @ w
    single = np.stack([row.grad(w) for row in rows]) - 0.1 * w
    for p, cap in ((1.0, 0.8), (2.0, None), (1.5, 1.0), (0.5, None)):
        (made,) = nodes_of(f"drom:p={p}" + (f",cap={cap}" if cap else ""), "path", ranks=1, task=kind, stream=0)
        got = made.algorithm.learner.gradient(w, task, node.view)
        slopes = p * (losses + 1e-8 * (p < 1)) ** (p - 1)
        slopes[losses**p > (cap or np.inf)] = 0
        assert np.allclose(got, slopes @ single / len(rows) + 0.1 * w, atol=1e-12)


def test_a_capped_gradient_is_that_of_the_capped_loss():
    (node,) = nodes_of("drom:p=1.5,cap=1.0", "path", ranks=1, task="logistic:l2=0.0", stream=0)
    task, w = node.task, np.random.default_rng(1).standard_normal(node.task.dim)

    def value(w):
        losses = np.array([task.window(i, i + 1).loss(w) for i in range(task.training_rows)])
        return np.minimum(losses**1.5, 1.0).mean()

    slopes = [(value(w + e) - value(w - e)) / 2e-6 for e in 1e-6 * np.eye(task.dim)]
    assert np.allclose(node.algorithm.learner.gradient(w, task, node.view), slopes, atol=1e-7)


def test_a_cap_that_no_loss_reaches_and_the_first_power_are_the_plain_loss():
    plain, capped = (simulate(nodes_of(f"drom:g=0.05{more}", "ring"), 50) for more in ("", ",cap=1e9"))
    assert np.allclose(columns(plain, "x"), columns(capped, "x"), rtol=0, atol=1e-13)


def test_on_the_complete_graph_the_local_relation_is_the_loop_that_renews_its_past():
    nodes = nodes_of("drom:sums=local,g=0.05")
    states, a, x = None, np.zeros((7, 8)), np.zeros((7, 8))
    omegas, vs, z = [np.eye(8)] * 8, [None] * 8, direction(nodes)
    for t in range(40):
        w = np.zeros((7, 8))
        for i in range(8):
            v = a.T @ (a @ (vs[i] if vs[i] is not None else 0 * a[0]) if vs[i] is not None else z)
            if np.linalg.norm(v) > 0:
                vs[i] = v / np.linalg.norm(v)
                omegas[i] = 0.95 * omegas[i] + 0.05 * 8 * np.outer(vs[i], vs[i])
            w[:, i] = -0.1 / np.sqrt(t + 1) * a @ omegas[i][:, i]
        heard = a
        a = a + np.stack([node.task.window(t, t + 1).grad(w[:, i]) for i, node in enumerate(nodes)], axis=1)
        for i in range(8):
            mine = heard.copy()
            mine[:, i] = a[:, i]
            x[:, i] = -0.1 / np.sqrt(t + 2) * mine @ omegas[i][:, i]
        states = simulate(nodes, t + 1, states=states)
        assert np.allclose(columns(states, "x"), x, rtol=0, atol=1e-10)
    for i, state in enumerate(inner(states)):
        order = [i, *nodes[i].view.sources]
        assert np.allclose(state.omega, omegas[i][np.ix_(order, order)], atol=1e-9)
        assert np.trace(state.omega) == pytest.approx(8)
        trust = nodes[i].algorithm.tell(states[i].model, nodes[i].view)["trust"]
        assert trust.shape == (7,)
        assert ((trust >= 0) & (trust <= 1)).all()


def test_a_neighbour_that_is_clipped_moves_a_model_by_a_bounded_amount():
    """Whatever the size of its lies: at most eta_t (1 + k) clip |a_i|, and the own term."""
    for size in (1e1, 1e6, 1e12):
        liar = {"ranks": [0], "attack": f"constant:value={size}"}
        nodes = nodes_of("drom:sums=local,g=0.2,clip=1", "star", ranks=4, byzantine=[liar])
        for state in simulate(nodes, 60)[1:]:
            inside = state.model.inner
            assert np.linalg.norm(state.x) <= 0.1 / np.sqrt(61) * 2 * 2 * np.linalg.norm(inside.a)


def test_words_are_told_in_every_tau_th_round_or_when_they_have_moved():
    nodes, states, said = nodes_of("drom:sums=local,period=5", "ring"), None, []
    for t in range(20):
        states = simulate(nodes, t + 1, states=states)
        said.append(inner(states)[0].said)
    changed = [t for t in range(1, 20) if not np.array_equal(said[t], said[t - 1])]
    assert changed == [4, 9, 14, 19]
    moved = simulate(nodes_of("drom:sums=local,period=1000,threshold=0.2", "ring"), 20)
    for state in inner(moved):
        assert np.linalg.norm(state.a - state.said) <= 0.2 * np.linalg.norm(state.said)
    assert any(not np.array_equal(state.a, state.said) for state in inner(moved))
    for sums in ("exact", "gossip,rounds=2"):
        states = simulate(nodes_of(f"drom:period=10,sums={sums}", "complete"), 41)
        assert inner(states)[0].relation.steps == 4


def test_the_regret_grows_as_the_root_of_the_rounds():
    """Against the best model of every task for all of its rows; hinge losses of a noisy stream."""
    data = "synthetic:shape=low-rank,features=6,rank=2,classes=2,rows=900,noise=0.1"
    nodes = nodes_of("drom:step_size=0.3/sqrt(t)", data=data)
    regrets = []
    for rounds in (50, 200, 800):
        lost = sum(state.model.online.loss for state in simulate(nodes, rounds))
        best = 0.0
        for node in nodes:
            task = node.task.window(0, rounds)
            task = replace(task, settings=replace(task.settings, l2=0.0))
            w = np.zeros(task.dim)
            least = task.loss(w)
            for step in range(500):
                w = w - 1 / np.sqrt(1 + step) * task.grad(w)
                least = min(least, task.loss(w))
            best += rounds * least
        regrets.append((lost - best) / np.sqrt(rounds) / len(nodes))
    assert max(regrets) < 3
    assert regrets[2] < 1.3 * regrets[1]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("sums=tree", "tree"),
        ("g=1.5", "g=1.5. g is a number in"),
        ("g=1/t", "g=1/t. g is a number in"),
        ("p=3", "p is above 0 and at most 2"),
        ("power=0", "power is at least 1"),
        ("cap=-1", "cap is at least 0"),
        ("clip=1", "clip=1.0, which is for sums=local"),
        ("rounds=3", "rounds=3, which is for sums=gossip"),
        ("sums=local,history=3", "holds its whole relation"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        nodes_of(f"drom:{settings}")


def test_it_says_what_it_cannot_stand():
    with pytest.raises(CompatibilityError, match="counts on every link in every round"):
        nodes_of("drom", time_varying="matching")
    for sums in ("exact", "gossip", "local"):
        algorithm = nodes_of(f"drom:sums={sums}", stream=0)[0].algorithm
        assert isinstance(algorithm, Exposed)
        assert algorithm.exposure()
    assert not nodes_of("drom:sums=local,clip=2", stream=0)[0].algorithm.exposure()
    simulate(nodes_of("drom:sums=local", time_varying="matching"), 5)


def test_weights_of_rows_are_asked_of_tasks_that_can_say_them():
    config = load({**BASE, "algorithm": "drom:cap=1", "ranks": 1})
    algorithm = nodes_of("drom:cap=1", "path", ranks=1)[0].algorithm
    assert algorithm.reweighs
    with pytest.raises(CompatibilityError, match=r"Quadratic cannot\. Use the task 'hinge'"):
        check_node(algorithm, Average(), quadratics(1)[0], 0, config)


@pytest.mark.parametrize("sums", ["exact,history=4", "gossip,history=4", "local,clip=1"])
def test_single_precision_stays_single(sums):
    for state in simulate(nodes_of(f"drom:g=0.1,cap=3,sums={sums}", "ring", dtype="float32"), 30):
        inside = flatten(state.model.inner)
        kinds = {key: value.dtype for key, value in inside.items() if value.ndim}
        assert set(kinds.values()) == {np.dtype(np.float32)}, kinds


def test_old_words_of_neighbours_do_no_harm_to_the_local_relation():
    more = {"link": "age=5,drop=0.2"}
    fresh, late = (columns(simulate(nodes_of("drom:sums=local", **kind), 80), "x") for kind in ({}, more))
    assert not np.array_equal(fresh, late)
    assert np.linalg.norm(fresh - late) < 0.1 * np.linalg.norm(fresh)
