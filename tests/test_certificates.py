"""The certificate of the dual methods: what the ranks find by themselves bounds what is missing, and goes to 0."""

from __future__ import annotations

import numpy as np
import pytest

from dmtl.algorithms.certified import CertifiedStop
from dmtl.algorithms.dmtrl import DMTRL
from dmtl.algorithms.mocha import MOCHA
from dmtl.consensus.chart import chart
from dmtl.simulator import simulate
from tests.networks import network
from tests.related import SHAPES, best, problem, tasks

METHODS = {"mocha": MOCHA(drop=0.2, passes=2.0), "dmtrl": DMTRL()}


def history(here, graph, method, rounds: int):
    """The states of all ranks after each round, and their views."""
    nodes, kept = network(graph, method, here.tasks), {}

    def keep(rank, state, inbox):
        kept.setdefault(state.view.round, []).append(state.model)

    simulate(nodes, rounds, keep)
    return [kept[round] for round in sorted(kept)], [node.view for node in nodes]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", ["ring", "weighted", "pair", "alone"])
@pytest.mark.parametrize("kind", ["hinge", "least-squares", "logistic"])
def test_the_certificate_bounds_what_is_missing_in_every_round_and_goes_to_zero(kind, shape, name):
    graph, method = SHAPES[shape], METHODS[name]
    here = problem(kind, graph, 1.0, 0.1)
    least = here.objective(best(here))
    states, views = history(here, graph, method, 250)
    for now in states[1:]:
        missing = here.objective(np.stack([state.said for state in now])) - least
        terms = [
            method.certificate(state, task, view) for state, task, view in zip(now, here.tasks, views, strict=True)
        ]
        assert sum(terms) >= missing - 1e-13 * least
        assert missing >= -1e-13 * least
    assert sum(terms) < 2e-4 * least


@pytest.mark.parametrize("method", [MOCHA(drop=0.2), DMTRL(delta=0.3)], ids=["mocha", "dmtrl"])
@pytest.mark.parametrize("shape", ["ring", "weighted", "pair", "alone"])
@pytest.mark.parametrize("kind", ["hinge", "logistic"])
def test_ranks_stop_together_with_the_models_that_the_bound_is_of(kind, shape, method):
    graph = SHAPES[shape]
    here, facts = problem(kind, graph, 1.0, method.delta), chart(graph)
    gap = 1e-2 * here.objective(best(here))
    told = {}

    def keep(rank, state, inbox):
        told.setdefault(state.view.round, []).append(state.model.inner.said)

    states = simulate(network(graph, CertifiedStop(method, facts, gap), here.tasks), 4000, keep)
    last = {state.view.round for state in states}
    assert len(last) == 1
    assert len({state.model.bound for state in states}) == 1
    assert all(state.model.over for state in states)
    found = np.stack([state.x for state in states])
    assert np.array_equal(found, np.stack(told[last.pop() - (len(facts.spectrum) + facts.diameter or 2)]))
    missing = here.objective(found) - here.objective(best(here))
    assert missing <= states[0].model.bound <= gap


def test_it_holds_for_any_duals_and_is_infinite_without_a_floor():
    graph, method = SHAPES["ring"], MOCHA()
    here = problem("hinge", graph, 1.0, 0.1)
    least = here.objective(best(here))
    states, views = history(here, graph, method, 5)
    rng = np.random.default_rng(0)
    total = 0.0
    for state, task, view in zip(states[-1], here.tasks, views, strict=True):
        other = state._replace(alpha=task.parts.train.y * rng.random(len(state.alpha)))
        total += method.certificate(other, task, view)
        assert MOCHA(delta=0.0).certificate(state, tasks("hinge", 8, l2=0.0)[0], view) == np.inf
        outside = state._replace(alpha=1.5 * task.parts.train.y)
        assert method.certificate(outside, task, view) == np.inf
    assert total >= here.objective(np.stack([state.said for state in states[-1]])) - least
