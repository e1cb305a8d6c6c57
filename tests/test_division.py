"""Screens that judge models, where each model is for a part of the rows."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.division import Division
from dmtl.algorithms.fedem import FedEM
from dmtl.algorithms.fedspd import FedSPD
from dmtl.algorithms.mixture import responsibilities, turn
from dmtl.build import plan
from dmtl.capabilities import Dividing, Halving, Judging, Smooth
from dmtl.config import load
from dmtl.data.pool import Dataset
from dmtl.errors import CompatibilityError
from dmtl.node import Node
from dmtl.screens.gate_cap_anchor import GateCapAnchor
from dmtl.screens.loss_weighted import LossWeighted
from dmtl.screens.ubar import UBAR
from dmtl.simulator import simulate
from dmtl.tasks.logistic import Logistic
from dmtl.topology import Topology, metropolis

D, MODEL = 6, Logistic(l2=1e-2, bias=False)
SHARES = np.array([0.2, 0.5, 0.3])


def task(seed=0, rows=50):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3 * rows, D))
    y = (x @ rng.standard_normal(D) > 0).astype(float)
    thirds = [(x[part], y[part]) for part in (slice(rows), slice(rows, 2 * rows), slice(2 * rows, None))]
    return MODEL.build(Dataset(*thirds[0], *thirds[1], *thirds[2], classes=2))


def divided(made, models):
    return Division(made, models, lambda losses: responsibilities(losses, SHARES)).parts(range(len(models)))


def test_the_parts_of_all_models_sum_to_the_task():
    made, rng = task(), np.random.default_rng(1)
    parts, w = divided(made, rng.standard_normal((3, D))), rng.standard_normal(D)
    assert sum(part.loss(w) for part in parts) == pytest.approx(made.row_losses(w[None]).mean(), rel=1e-12)
    assert np.allclose(sum(part.grad(w) - MODEL.l2 * w for part in parts), made.grad(w) - MODEL.l2 * w, atol=1e-13)
    whole = made.held_out_losses(w[None])
    assert np.allclose(sum(part.held_out_losses(w[None]) for part in parts), whole, rtol=1e-12)
    assert parts[0].held_out_rows == whole.shape[1] == 50


def test_a_part_is_what_its_responsibilities_say_and_its_gradient_that_of_its_loss():
    made, rng = task(), np.random.default_rng(2)
    models, w = rng.standard_normal((3, D)), rng.standard_normal(D)
    likely = SHARES[:, None] * np.exp(-made.held_out_losses(models))
    for part, q in zip(divided(made, models), likely / likely.sum(axis=0), strict=True):
        assert np.allclose(part.held_out_losses(models), q * made.held_out_losses(models), rtol=1e-12)
        way = rng.standard_normal(D)
        slope = (part.loss(w + 1e-6 * way) - part.loss(w - 1e-6 * way)) / 2e-6
        assert (part.grad(w) - MODEL.l2 * w) @ way == pytest.approx(slope, rel=1e-6)


def test_a_part_offers_what_its_task_has_and_no_halves():
    part = divided(task(), np.zeros((3, D)))[0]
    assert isinstance(part, Judging)
    assert isinstance(part, Smooth)
    assert part.smoothness == task().smoothness
    assert not isinstance(part, Halving)


class Unhalved:
    """The same task, of which nobody can have halves, as of parts."""

    def __init__(self, whole):
        self.whole = whole

    def __getattr__(self, name):
        if name.startswith("half_"):
            raise AttributeError(name)
        return getattr(self.whole, name)


def network(algorithm, screen, tasks):
    graph = nx.complete_graph(len(tasks))
    topology = Topology(graph, metropolis(graph))
    return [Node(topology.view(rank, 0), made, algorithm, screen) for rank, made in enumerate(tasks)]


@pytest.mark.parametrize("method", [FedEM(1, step_size=0.5), FedSPD(1, step_size=0.5)], ids=["fedem", "fedspd"])
@pytest.mark.parametrize("screen", [UBAR(rho=0.7), LossWeighted(), GateCapAnchor(radius=0.3, step_size=0.5)], ids=str)
def test_one_model_for_all_rows_is_judged_as_that_of_diffusion(method, screen):
    tasks = [Unhalved(task(seed)) for seed in range(4)]
    mixed = simulate(network(method, screen, tasks), 15)
    plain = simulate(network(Diffusion(step_size=0.5), screen, tasks), 15)
    for one, other in zip(mixed, plain, strict=True):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.view.trust, other.view.trust)


def test_the_parts_are_those_of_the_vectors_that_are_sent():
    made, view = task(), network(FedEM(), UBAR(), [task()])[0].view
    for method in (FedEM(3, step_size=0.5), FedEM(3, step_size=0.5, one=True), FedSPD(3, step_size=0.5)):
        assert isinstance(method, Dividing)
        state = method.init(np.zeros(D), made, view)
        parts = method.parts(state, made, view)
        assert len(parts) == method.message_shape(made)[0] == len(method.send(state, view))
        sent = [turn(3, view)] if len(parts) == 1 else [0, 1, 2]
        assert [part.model for part in parts] == sent


def test_rows_of_one_cluster_alone_judge_its_model():
    made, view = task(), network(FedSPD(), UBAR(), [task()])[0].view
    method = FedSPD(2, step_size=0.5, spread=3.0)
    state = method.init(np.zeros(D), made, view)
    losses = made.held_out_losses(state.psi)
    own = losses[turn(2, view)] <= losses[1 - turn(2, view)]
    assert 0 < own.sum() < len(own)
    counted = method.parts(state, made, view)[0].held_out_losses(np.ones((1, D)))[0]
    assert np.array_equal(counted, np.where(own, made.held_out_losses(np.ones((1, D)))[0], 0.0))


RAW = {
    "data": "mixture:alpha=0.4",
    "task": "logistic",
    "topology": "complete",
    "ranks": 9,
    "rounds": 60,
    "held_out": 0.2,
    "algorithm": "fedem:components=2,step_size=1.0",
}
LIARS = {"byzantine": [{"ranks": [3, 7], "attack": "sign-flip"}]}


def errors(**more):
    made = plan(load({**RAW, **more}))
    nodes = [made.node(rank) for rank in range(9)]
    states = simulate(nodes, made.config.rounds)
    honest = [rank for rank in range(9) if rank not in made.lies]
    return np.array([nodes[0].algorithm.evaluate(states[r].model, nodes[r].task)["test_error"] for r in honest])


def test_screens_that_judge_keep_liars_out_of_a_mixture():
    hurt = errors(**LIARS, screen="average").mean()
    for screen in ("ubar:rho=0.7", "gate-cap-anchor:radius=3", "loss-weighted"):
        assert errors(**LIARS, screen=screen).mean() < hurt - 0.05, screen


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"screen": "gate-cap-anchor"}, "a model of 'fedem' is for a part of them that changes. Give one"),
        ({"screen": "ubar", "algorithm": "ifca"}, "a message of 'ifca' has 3 vectors, not all of which own rows"),
    ],
)
def test_what_cannot_judge_is_refused_before_round_0(more, said):
    with pytest.raises(CompatibilityError, match=said):
        plan(load({**RAW, **more})).node(0)
