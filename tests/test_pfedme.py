"""Personal models around a centre: against the envelope problem in closed form, and its limits."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.local import Local
from dmtl.algorithms.mean_regularised import MeanRegularised
from dmtl.algorithms.pfedme import PFedMe
from dmtl.attacks.constant import Constant
from dmtl.errors import ConfigError
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.tasks.least_squares import LeastSquares
from dmtl.topology import metropolis
from tests.networks import GRAPHS, network, quadratics
from tests.peers import models
from tests.test_fed_gossip import EYE, data, pooled

COMPLETE = nx.complete_graph(8)


def prox(tasks, w, strength: float) -> np.ndarray:
    """theta (n, d) of centres w (n, d) or (d,)."""
    each = np.broadcast_to(w, (len(tasks), 4))
    return np.array([task.prox(row, strength) for task, row in zip(tasks, each, strict=True)])


def envelope(tasks, strength: float) -> np.ndarray:
    """The minimiser w of sum F_k: F_k(w) = (w - b) P (w - b) / 2 with P = (H^-1 + I / strength)^-1."""
    p = [np.linalg.inv(np.linalg.inv(task.hessian) + EYE / strength) for task in tasks]
    return np.linalg.solve(sum(p), sum(a @ task.b for a, task in zip(p, tasks, strict=True)))


def fixed_point(graph: nx.Graph, tasks, strength: float, share: float) -> np.ndarray:
    """w (n, d) after the average: w = A (w - share (w - theta(w))), as one linear system."""
    n = len(tasks)
    mix, move, push = np.kron(metropolis(graph), EYE), np.zeros((4 * n, 4 * n)), np.zeros(4 * n)
    for k, task in enumerate(tasks):
        here, left = slice(4 * k, 4 * k + 4), np.linalg.inv(task.hessian + strength * EYE)
        move[here, here] = (1 - share) * EYE + share * strength * left
        push[here] = share * left @ task.hessian @ task.b
    return np.linalg.solve(np.eye(4 * n) - mix @ move, mix @ push).reshape(n, 4)


@pytest.mark.parametrize("strength", [0.3, 2.0, 4.0])
@pytest.mark.parametrize("steps", [1, 3, 12])
def test_on_a_complete_graph_it_solves_the_envelope_problem_however_few_inner_steps(strength, steps):
    tasks = quadratics(8)
    w = envelope(tasks, strength)
    found = models(simulate(network(COMPLETE, PFedMe(strength, 0.5, steps), tasks), int(70 + 55 * strength)))
    assert np.allclose(found, prox(tasks, w, strength), rtol=0, atol=1e-9)
    assert np.ptp(found, axis=0).max() > 0.05


@pytest.mark.parametrize("graph", ["ring", "star", "random", "pair"])
def test_on_other_graphs_it_ends_in_its_fixed_point_and_a_smaller_share_is_nearer(graph):
    here, tasks = GRAPHS[graph], quadratics(len(GRAPHS[graph]))
    best, away = prox(tasks, envelope(tasks, 2.0), 2.0), []
    for share in (0.4, 0.1):
        limit = prox(tasks, fixed_point(here, tasks, 2.0, share), 2.0)
        away.append(np.linalg.norm(limit - best))
        if share == 0.4:
            found = models(simulate(network(here, PFedMe(2.0, share, steps=3), tasks), 160))
            assert np.allclose(found, limit, rtol=0, atol=1e-9)
    assert away[1] < 0.5 * away[0] or away[0] < 1e-9


def test_a_falling_share_ends_at_the_envelope_problem_of_the_graphless_form():
    """And so at the limit of 'mean-regularised', which solves it exactly on every graph."""
    tasks, error = quadratics(8), []
    best = prox(tasks, envelope(tasks, 2.0), 2.0)
    exact = models(simulate(network(GRAPHS["random"], MeanRegularised(2.0), tasks), 400))
    assert np.allclose(exact, best, rtol=0, atol=1e-8)
    for share in (0.5, "1/t"):
        found = models(simulate(network(GRAPHS["random"], PFedMe(2.0, share, steps=3), tasks), 600))
        error.append(np.linalg.norm(found - best))
    assert error[1] < 0.1 * error[0]


def test_its_limits_are_learning_alone_and_one_model():
    tasks = quadratics(8)
    alone = models(simulate(network(GRAPHS["ring"], PFedMe(0.0, steps=3), tasks), 20))
    steps = models(simulate(network(GRAPHS["ring"], Local(), tasks), 63))  # those before round 0, too
    assert np.allclose(alone, steps, rtol=0, atol=1e-13)
    apart = []
    for strength in (1.0, 10.0, 100.0):
        found = prox(tasks, fixed_point(COMPLETE, tasks, strength, 1.0), strength)
        apart.append(np.abs(found - pooled(tasks)).max())
    assert apart[0] > 0.3
    assert apart[2] < 0.05 * apart[0]
    made = PFedMe(20.0, share=1.0, steps=3)
    found = models(simulate(network(COMPLETE, made, tasks), 450))
    assert np.allclose(found, prox(tasks, envelope(tasks, 20.0), 20.0), rtol=0, atol=1e-8)


def test_local_rounds_and_batches_are_those_of_the_paper_by_hand():
    """Two ranks, R = 2, K = 3, ten rows in batches of three, each inner step on the next batch."""
    every = [LeastSquares(l2=0.1, batch=3).build(data(10, seed=rank)) for rank in range(2)]
    made = PFedMe(strength=0.7, share=0.4, steps=3, local_rounds=2, step_size=0.05)
    nodes = network(GRAPHS["pair"], made, every, stochastic=True)
    theta, w = np.zeros((2, 5)), np.zeros((2, 5))
    for round in range(4):
        for rank, task in enumerate(every):
            rng = nodes[rank].view._replace(round=round).batch()
            for _ in range(2):
                for _ in range(3):
                    pull = 0.7 * (theta[rank] - w[rank])
                    theta[rank] -= 0.05 * (task.grad(theta[rank].copy(), rng) + pull)
                w[rank] -= 0.4 * (w[rank] - theta[rank])
        if round < 3:
            w[:] = w.mean(axis=0)
    states = simulate(nodes, 3)
    assert np.allclose(models(states), theta, rtol=0, atol=1e-14)
    assert np.allclose([state.model.w for state in states], w, rtol=0, atol=1e-14)


def test_a_lie_about_the_centre_moves_a_model_less_than_the_centre_and_a_screen_holds_both():
    tasks, strength = quadratics(8), 2.0
    away = {}
    for name, screen in (("plain", None), ("trimmed", TrimmedMean(b=1))):
        nodes = network(COMPLETE, PFedMe(strength, 0.5, steps=30), tasks, screen, {3: Constant(100.0)})
        states = [state for rank, state in enumerate(simulate(nodes, 60)) if rank != 3]
        honest = [task for rank, task in enumerate(tasks) if rank != 3]
        centre = np.array([(state.model.w - 0.5 * state.x) / 0.5 for state in states])  # before its own last move
        moved = np.linalg.norm(models(states) - prox(honest, envelope(tasks, strength), strength), axis=1)
        at = np.linalg.norm(centre - envelope(tasks, strength), axis=1)
        assert (moved <= at * strength / (strength + 1) + 1e-9).all()  # every Hessian is at least 1
        away[name] = moved.max()
    assert away["trimmed"] < 0.5
    assert away["plain"] > 20 * away["trimmed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": -1.0},
        {"strength": float("inf")},
        {"share": 0.0},
        {"share": 1.1},
        {"share": "soon"},
        {"steps": 0},
        {"local_rounds": 0},
        {"step_size": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PFedMe(**wrong)
