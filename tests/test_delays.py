"""Late and lost messages: every method that does not ask for fresh ones ends where a synchronous run does."""

from __future__ import annotations

import numpy as np
import pytest

from dmtl.registry import find, names
from dmtl.simulator import simulate
from dmtl.types import Needs
from dmtl.virtual import simulate_async
from tests.networks import GRAPHS, Drawn, joint, network, quadratics

PATIENT = [
    name
    for name in names("algorithm")
    if Needs.FRESH not in find("algorithm", name).needs
    and not hasattr(find("algorithm", name), "gathered")
    and name != "drom"  # it has a bound on its regret and no limit; test_drom.py tries old words on it
]
"""methods that talk, and take late messages"""
STEADY: dict[str, dict[str, object]] = {
    "clustered-fl": {"tol1": 1e-9},
    "cross-stitch": {"rate": 0.0},
    "dmtc-joint": {"step_size": 0.3},
    "fedem": {"components": 1},
    "ifca": {"components": 1},
    "pfedme": {"share": 1.0, "steps": 20},
    "resilient-mtl": {"step_size": 0.3, "gamma": 0.5},
    "uncertainty-weighted": {"least": 0.0, "memory": 0.0, "step_size": 0.6},
}
"""a step that does not fall, for those that would not be at their end after 200 rounds; one end for those with many"""


def objective(name: str, graph, tasks, x: np.ndarray) -> float:
    """The method's own: the joint one with strength 1 where ranks are drawn together, else the sum of the losses."""
    if name not in ("laplacian", "amtl"):
        return sum(task.loss(row) for task, row in zip(tasks, x, strict=True))
    least, matrix = joint(graph, tasks, 1.0)
    gap = (x - least).ravel()
    return float(gap @ matrix @ gap) / 2


def test_there_are_methods_that_take_late_messages():
    assert {"amtl", "diffusion", "laplacian", "local"} <= {*PATIENT}


@pytest.mark.parametrize(
    "graph", ["ring", *(pytest.param(name, marks=pytest.mark.slow) for name in ("star", "random"))]
)
@pytest.mark.parametrize("name", PATIENT)
def test_delays_of_20_rounds_and_a_tenth_of_all_messages_lost_change_no_final_model(name, graph):
    tasks, links, drawn = quadratics(8), GRAPHS[graph], Drawn(seed=11, slow={2: 5.0})

    def nodes(**conditions):
        return network(links, find("algorithm", name)(**STEADY.get(name, {})), tasks, **conditions)

    prompt, late, virtual = (
        np.array([state.x for state in states])
        for states in (
            simulate(nodes(), 200),
            simulate(nodes(ageing=drawn.link(), reach=60), 400),
            simulate_async(nodes(), 400, drawn),
        )
    )
    best = objective(name, links, tasks, prompt)
    for x in (late, virtual):
        assert objective(name, links, tasks, x) == pytest.approx(best, abs=1e-6)
        assert np.allclose(x, prompt, atol=1e-6)


def test_the_delays_of_these_tests_are_long_and_messages_do_get_lost():
    drawn = Drawn(seed=11)
    link = drawn.link()
    ages = [link(round, 1, 2) for round in range(400)]
    delays = [drawn.delay(round, 1, 2) for round in range(400)]
    assert ages[0] == -1
    assert 0 in ages
    assert max(ages) >= 6
    assert 20 < np.isinf(delays).sum() < 60
    assert 18 < max(delay for delay in delays if delay < np.inf) <= 20
