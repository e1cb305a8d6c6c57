"""The central methods are each other's oracles: one minimiser, by four ways to it."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import CentralFISTA, CentralISTA, problem
from dmtl.algorithms.central_pnopt import CentralPNOPT, remembered
from dmtl.algorithms.central_sparsa import CentralSpaRSA
from dmtl.capabilities import Curved
from dmtl.consensus.chart import chart
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.penalties.norms import Rows
from dmtl.penalties.spectral import Clustered, LowRank
from dmtl.penalties.sums import Dirty, Robust
from dmtl.registry import find
from tests.networks import network, quadratics

TASKS = 4
HERE = chart(nx.cycle_graph(TASKS))
PENALTIES = {
    "l21": Rows(0.05),
    "nuclear": LowRank(0.05),
    "clustered": Clustered(2, 0.1, 0.5),
    "robust": Robust(0.1, 0.08),
    "dirty": Dirty(0.06, 0.03),
}
BFGS = CentralPNOPT(exact=False)


def tasks(name: str, condition: float = 2.0, rows: int = 30, d: int = 4, l2: float = 0.05) -> list:
    """Regression or two classes, with features of sizes up to ``condition``."""
    rng = np.random.default_rng(5)
    shared, made = rng.standard_normal((d, 2)), []
    for _ in range(TASKS):
        x = rng.standard_normal((rows, d)) * np.geomspace(1, condition, d)
        scores = x @ (shared @ rng.standard_normal(2)) / condition + 0.3 * rng.standard_normal(rows)
        y = scores if name == "least-squares" else (scores > 0).astype(float)
        empty = (x[:0], y[:0])
        data = Dataset(x, y, *empty, *empty, classes=0 if name == "least-squares" else 2)
        made.append(find("task", name)(l2=l2, bias=False).build(data))
    return made


def walk(method, here, count: int) -> list:
    """What the method holds before and after each of ``count`` steps from 0."""
    d = here.tasks[0].dim
    found = [method.begin(here, np.zeros((here.penalty.copies * d, len(here.tasks))))]
    for _ in range(count):
        found.append(method.move(here, found[-1]))
    return found


class Counted:
    """A task that counts how often it is asked for gradients."""

    def __init__(self, task) -> None:
        self.task, self.grads = task, 0

    def grad(self, w, rng=None):
        self.grads += 1
        return self.task.grad(w, rng)

    def __getattr__(self, name):
        return getattr(self.task, name)


@pytest.mark.parametrize("task", ["least-squares", "logistic"])
@pytest.mark.parametrize("name", PENALTIES)
def test_all_find_the_same_minimiser(task, name):
    here = problem(tasks(task), PENALTIES[name], HERE)
    best = walk(CentralPNOPT(), here, 15)[-1]
    step, value = 1 / here.steepness, here.objective(best.w)
    point = here.penalty.prox(best.w - step * here.grad(best.w), step)
    assert np.allclose(point, best.w, rtol=0, atol=1e-9), "a minimiser is where the map leaves it"
    for method, most in [(CentralFISTA(), 600), (CentralISTA(), 9000), (CentralSpaRSA(), 1500), (BFGS, 40)]:
        whole = method.begin(here, np.zeros_like(best.w))
        for _ in range(most):
            whole = method.move(here, whole)
            if (gap := here.objective(whole.w) - value) <= 1e-10 * value:
                break
        assert abs(gap) <= 1e-10 * value, method


@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_objective_of_sparsa_never_rises_above_its_recent_values(name, memory):
    here = problem(tasks("logistic", 10.0), PENALTIES[name], HERE)
    states = walk(CentralSpaRSA(memory=memory), here, 60)
    values = [here.objective(state.w) for state in states]
    for k, (early, late) in enumerate(pairwise(states)):
        square = float(np.sum((late.w - early.w) ** 2))
        ceiling = max(values[max(0, k - memory) : k + 1]) - 0.005 * late.used * square
        assert values[k + 1] <= ceiling + 1e-14
        assert 0 < late.used <= here.steepness
        assert np.isclose(late.recent[-1], values[k + 1], rtol=1e-14)
        assert 0 < late.alpha <= here.steepness
    if memory:
        assert values[-1] < values[0]


def test_sparsa_takes_spectral_steps_that_make_the_objective_rise_now_and_then():
    here = problem(tasks("least-squares", 30.0), Rows(0.05), HERE)
    values = [here.objective(state.w) for state in walk(CentralSpaRSA(), here, 80)]
    assert any(late > early for early, late in pairwise(values))
    ista = [here.objective(state.w) for state in walk(CentralISTA(), here, 80)]
    best = here.objective(walk(CentralFISTA(), here, 4000)[-1].w)
    assert values[-1] - best < 0.1 * (ista[-1] - best)


@pytest.mark.parametrize("task", ["least-squares", "logistic"])
def test_newton_steps_need_far_fewer_gradients_than_ista(task):
    counts = {}
    here = problem(tasks(task, 10.0), LowRank(0.05), HERE)
    best = here.objective(walk(CentralPNOPT(), here, 20)[-1].w)
    for key, method in {"ista": CentralISTA(), "pnopt": CentralPNOPT(), "bfgs": BFGS}.items():
        counted = [Counted(one) for one in here.tasks]
        held = problem(counted, here.penalty, HERE)
        whole = method.begin(held, np.zeros((4, TASKS)))
        while held.objective(whole.w) - best > 1e-8 * best:
            whole = method.move(held, whole)
        counts[key] = counted[0].grads
    assert counts["pnopt"] * 20 < counts["ista"], counts
    assert counts["bfgs"] * 8 < counts["ista"], counts
    assert counts["pnopt"] < counts["bfgs"], counts


@pytest.mark.parametrize("exact", [True, False])
def test_newton_steps_never_rise(exact):
    here = problem(tasks("logistic", 10.0), LowRank(0.05), HERE)
    values = [here.objective(state.w) for state in walk(CentralPNOPT(exact=exact), here, 40)]
    assert all(late <= early + 1e-14 for early, late in pairwise(values))


def test_exact_newton_steps_converge_faster_than_linearly():
    here = problem(tasks("logistic", 4.0, l2=0.1), Rows(0.02), HERE)
    residuals = [state.residual for state in walk(CentralPNOPT(), here, 9)][1:]
    shares = [late / early for early, late in pairwise(residuals) if early > 1e-11]
    assert min(shares) < 1e-3
    assert residuals[-1] < 1e-11


def test_bfgs_from_enough_steps_of_a_quadratic_is_its_hessian_along_them():
    rng = np.random.default_rng(0)
    hessians = [task.hessian for task in quadratics(3)]
    steps = rng.standard_normal((4, 4, 3))
    turns = np.stack([np.stack([h @ s for h, s in zip(hessians, step.T, strict=True)], axis=1) for step in steps])
    pairs = remembered(steps, turns, np.ones(3))
    assert np.allclose(pairs.product(steps[-1]), turns[-1], rtol=0, atol=1e-12)
    dense = np.stack([pairs.product(np.repeat(e[:, None], 3, axis=1)) for e in np.eye(4)])
    tops = [np.linalg.eigvalsh(dense[..., t]) for t in range(3)]
    assert np.isclose(pairs.steepness, max(top[-1] for top in tops), rtol=1e-12)
    assert min(top[0] for top in tops) > 0


def test_bfgs_takes_no_notice_of_steps_that_say_nothing():
    steps, turns = np.zeros((2, 4, 3)), np.zeros((2, 4, 3))
    steps[0, 0] = turns[0, 1] = 1.0
    pairs = remembered(steps, turns, np.array([1.0, 2.0, 3.0]))
    p = np.random.default_rng(0).standard_normal((4, 3))
    assert np.array_equal(pairs.product(p), np.array([1.0, 2.0, 3.0]) * p)
    assert pairs.steepness == 3


@pytest.mark.parametrize("name", ["least-squares", "logistic"])
def test_the_curvature_of_a_task_is_the_slope_of_its_gradient(name):
    task = tasks(name)[0]
    assert isinstance(task, Curved)
    w = np.random.default_rng(2).standard_normal(4)
    slopes = np.array([(task.grad(w + e) - task.grad(w - e)) / 2e-6 for e in 1e-6 * np.eye(4)])
    assert np.allclose(task.curvature(w), slopes, rtol=1e-7, atol=1e-8)
    assert task.curvature(w.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    ("method", "settings"),
    [(CentralSpaRSA, {"memory": -1}), (CentralSpaRSA, {"decrease": 1.0}), (CentralPNOPT, {"memory": 0})],
)
def test_settings_that_make_no_sense_are_refused(method, settings):
    with pytest.raises(ConfigError, match=r"has (memory|decrease)="):
        method(**settings)


@pytest.mark.parametrize("name", ["central-pnopt", "central-sparsa"])
def test_all_ranks_of_a_process_share_one_step(name):
    counted = [Counted(task) for task in quadratics(8)]
    nodes = network(nx.cycle_graph(8), find("algorithm", name)(penalty=Rows(0.1)), counted)
    states = [node.start() for node in nodes]
    states = [node.step(state, state.inbox) for node, state in zip(nodes, states, strict=True)]
    assert {task.grads for task in counted} == {2}  # where the step began and where it ended
    assert all(state.model.whole is states[0].model.whole for state in states)
