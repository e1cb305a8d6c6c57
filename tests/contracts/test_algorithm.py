"""What every registered algorithm promises, whatever it computes."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.mailbox import nothing
from dmtl.penalties.norms import Rows
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import LowRank, SquaredNuclear
from dmtl.penalties.sums import RobustFeatures
from dmtl.registry import find, names
from dmtl.results import flatten, portable, restore
from dmtl.runner import run
from dmtl.screens.median import Median
from dmtl.simulator import simulate
from dmtl.types import Inbox, Needs, Outbox
from tests.networks import GRAPHS, network, quadratics

REQUIRED: dict[str, dict[str, object]] = {}
"""settings of those that cannot be made without any"""

UNCOUPLED: dict[str, dict[str, object]] = {
    "central-fista": {"penalty": LowRank(0.0)},
    "central-ista": {"penalty": LowRank(0.0)},
    "clustered": {"strength": 0.0},
    "hierarchical": {"own": 1e-12, "common": 1e-12},
    "dinuzzo": {"share": 1.0, "strength": 1e-10},
    "dsml": {"threshold": 0.0},
    "central-pnopt": {"penalty": LowRank(0.0)},
    "central-sparsa": {"penalty": LowRank(0.0)},
    "dirty": {"shared": 0.0, "own": 0.0},
    "joint-sparse": {"strength": 0.0},
    "fedspd": {"components": 1},
    "relationship": {"strength": 0.0},
    "relationship-network": {"strength": 0.0},
    "rmtfl": {"features": 0.0},
    "robust-mtl": {"low_rank": 0.0},
    "smtl": {"penalty": LowRank(0.0)},
    "trace-norm": {"strength": 0.0},
    "dmtc": {"step_size": 0.3},
    "dmtc-joint": {"step_size": 0.3},
    "dmtrl": {"strength": 0.0},
    "resilient-mtl": {"step_size": 0.2},
    "mocha": {"strength": 0.0},
    "pmtl": {"strength": 0.0},
}
"""settings with which a rank alone learns its own task, of those that penalise it even then"""

SUBLINEAR = {"drom", "drom by gossip", "drom of the neighbours", "frank-wolfe"}
"""those whose error falls as 1 / rounds, too slowly to be seen to vanish"""

VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "clustered-fl that parts": ("clustered-fl", {"tol1": 9.0, "tol2": 0.1, "steps": 2}),
    "collaborative in pairs": ("collaborative", {"gossip": True}),
    "dada from the start": ("dada", {"pace": 1, "warm_up": 0}),
    "diffusion with momentum": ("diffusion", {"momentum": 0.5}),
    "fedavg-gossip of several steps": ("fedavg-gossip", {"steps": 3, "momentum": 0.5}),
    "fedprox-gossip of several steps": ("fedprox-gossip", {"steps": 3, "strength": 1.0}),
    "fedem of one a round": ("fedem", {"one": True}),
    "fedem of four, of which some adapt": ("fedem", {"components": 4, "learners": 6, "epochs": 2}),
    "fedem of six, sparse": ("fedem", {"components": 6, "sparse": 0.2}),
    "fedspd, merged": ("fedspd", {"merge_from": 2}),
    "gradient-tracking with a leak and a cap": ("gradient-tracking", {"leak": 0.1, "cap": 1.0}),
    "dmtc-joint of two tasks": ("dmtc-joint", {"tasks": 2, "relearn": 3, "step_size": 0.3}),
    "dadmm of a penalty": ("dadmm", {"penalty": Rows(0.0)}),
    "drom by gossip": ("drom", {"sums": "gossip", "g": 0.1, "rounds": 2, "history": 3}),
    "drom of the neighbours": ("drom", {"sums": "local", "g": 0.1, "clip": 1.0}),
    "extra of a penalty": ("extra", {"penalty": Mean(0.3)}),
    "mgda by sketches": ("mgda", {"form": "sketch", "m": 2}),
    "mgda of neighbourhoods": ("mgda", {"form": "neighbourhood"}),
    "mgda-ub, smooth": ("mgda-ub", {"smooth": 0.9}),
    "nids of a penalty": ("nids", {"penalty": LowRank(0.0)}),
    "nids of two copies": ("nids", {"penalty": SquaredNuclear(0.0)}),
    "pdmm with a cap": ("pdmm", {"cap": 0.3}),
    "clustered, lifted": ("clustered", {"form": "lifted", "strength": 0.0}),
    "joint-sparse, lifted": ("joint-sparse", {"form": "lifted", "engine": "dadmm", "strength": 0.0}),
    "relationship, lifted": ("relationship", {"form": "lifted", "strength": 0.0}),
    "relationship-network in short periods": ("relationship-network", {"strength": 0.0, "period": 1}),
    "resilient-mtl from the start": ("resilient-mtl", {"warm_up": 0, "step_size": 0.2}),
    "resilient-mtl by held-out rows": ("resilient-mtl", {"score": "held-out", "warm_up": 1, "step_size": 0.2}),
    "resilient-mtl by distances": ("resilient-mtl", {"rule": "distance-f", "step_size": 0.2}),
    "resilient-mtl as published": ("resilient-mtl", {"score": "paper", "warm_up": 0, "step_size": 0.2}),
    "rmtfl, lifted": ("rmtfl", {"form": "lifted", "engine": "pg-extra", "features": 0.0}),
    "robust-mtl, lifted": ("robust-mtl", {"form": "lifted", "low_rank": 0.0}),
    "trace-norm, lifted": ("trace-norm", {"form": "lifted", "engine": "pg-extra", "strength": 0.0}),
    "trace-norm, factorised": ("trace-norm", {"form": "factorised", "strength": 0.0}),
    "pg-extra of a penalty": ("pg-extra", {"penalty": RobustFeatures(0.0, 0.0)}),
    "laplacian-diffusion of three hops": ("laplacian-diffusion", {"polynomial": "0.2 0 0.1"}),
    "uncertainty-weighted by gradients": ("uncertainty-weighted", {"learn": "gradient"}),
    "private-coordinate-descent, some asleep": ("private-coordinate-descent", {"wake": 0.5}),
}
"""settings that make another method of one"""

ALGORITHMS = [*names("algorithm"), *VARIANTS]

DRAWS = {
    "collaborative in pairs",
    "fedem of four, of which some adapt",
    "mocha",
    "pairwise-gossip",
    "private-coordinate-descent, some asleep",
}
"""those that draw or work by rank, and so do something else for a rank that is renumbered"""

ORDERED = {"many-task-hierarchy"}
"""those for which the numbers of the ranks are the order of their tasks"""


def made(name: str, **more: object):
    name, given = VARIANTS.get(name, (name, REQUIRED.get(name, {})))
    return find("algorithm", name)(**given, **more)


def same(one, other) -> bool:
    """Whether two states are equal, number by number."""
    ours, theirs = flatten(one), flatten(other)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)


def freeze(state) -> None:
    for value in flatten(state).values():
        value.flags.writeable = False


@pytest.mark.parametrize("name", ALGORITHMS)
def test_states_are_named_tuples_of_arrays_that_survive_being_saved(name, tmp_path):
    nodes = network(GRAPHS["ring"], made(name), quadratics(8))
    state = simulate(nodes, 3)[2]
    saved = portable(state)
    np.savez(tmp_path / "state.npz", **flatten(saved))
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        back = restore(saved, dict(file))
    assert type(back.model) is type(state.model)
    assert same(back.model, state.model)
    assert back.model.x.shape == (4,)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_cut_in_two_ends_where_a_whole_one_does(name):
    tasks = quadratics(8)
    whole = simulate(network(GRAPHS["ring"], made(name), tasks, stochastic=True), 9)
    wire = Memory(network(GRAPHS["ring"], made(name), tasks, stochastic=True))
    wire.rounds(4)
    wire.through_arrays()
    wire.rounds(5)
    for ours, theirs in zip(wire.states, whole, strict=True):
        assert np.array_equal(ours.x, theirs.x)


class Memory:
    """A transport by hand, through the public half of a node only."""

    def __init__(self, nodes) -> None:
        self.nodes = nodes
        self.states = [node.start() for node in nodes]
        self.boxes = [node.mailbox() for node in nodes]

    def rounds(self, count: int) -> None:
        for _ in range(count):
            said = [node.speak(state, state.inbox)[0] for node, state in zip(self.nodes, self.states, strict=True)]
            for node, box, own in zip(self.nodes, self.boxes, said, strict=True):
                box.clear()
                box.post(own)
                for row, source in enumerate(node.view.sources):
                    place = self.nodes[source].view.targets.index(node.view.rank)
                    box.heard[row] = words(said[source], place, node.message_shape)
            heard = [box.open() for box in self.boxes]
            trio = zip(self.nodes, self.states, heard, strict=True)
            self.states = [node.step(state, inbox) for node, state, inbox in trio]

    def through_arrays(self) -> None:
        for rank, state in enumerate(self.states):
            saved = portable(state)
            back = restore(saved, flatten(saved))
            view = state.view._replace(round=back.round, trust=back.trust)
            self.states[rank] = state._replace(view=view, model=back.model, memory=back.memory)


def words(outbox: Outbox, place: int, shape: tuple[int, int]) -> np.ndarray:
    return np.reshape(outbox.own, shape) if outbox.edges is None else outbox.edges[place]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_its_functions_write_to_none_of_their_inputs_and_keep_no_buffer(name):
    (node, *_) = network(GRAPHS["random"], made(name), quadratics(8))
    state = node.start()
    freeze(state.model)
    box = node.mailbox()
    box.clear()
    outbox, _ = node.speak(state, state.inbox)
    box.post(outbox)
    box.heard[:] = np.random.default_rng(1).standard_normal(box.heard.shape)
    after = node.step(state, box.open())
    before = {key: value.copy() for key, value in flatten(after.model).items()}
    box.heard[:] = np.nan
    box.said[:] = np.nan
    assert all(np.array_equal(value, before[key]) for key, value in flatten(after.model).items())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_it_sends_has_the_shape_that_it_announced(name):
    for node in network(GRAPHS["star"], made(name), quadratics(8)):
        f, d = node.message_shape
        outbox, _ = node.speak(node.start(), node.start().inbox)
        if outbox.edges is None:
            assert len(outbox.own) == f
            assert all(row.shape == (d,) for row in outbox.own)
        else:
            assert outbox.edges.shape == (len(node.view.targets), f, d)


@pytest.mark.parametrize("name", sorted({*ALGORITHMS} - SUBLINEAR))
def test_alone_in_the_world_it_learns_its_own_task(name):
    task = quadratics(1)
    (state,) = simulate(network(GRAPHS["alone"], made(name, **UNCOUPLED.get(name, {})), task), 400)
    assert np.allclose(state.x, task[0].b, atol=1e-8)


@pytest.mark.parametrize("name", sorted({*ALGORITHMS} - DRAWS - ORDERED))
def test_renumbering_the_ranks_renumbers_the_models(name):
    tasks = quadratics(8)
    order = [3, 6, 0, 7, 1, 4, 2, 5]
    graph = GRAPHS["random"]
    moved = nx.relabel_nodes(graph, dict(enumerate(order)))
    shuffled = nx.Graph()
    shuffled.add_nodes_from(range(8))
    shuffled.add_edges_from(moved.edges)
    renumbered = [None] * 8
    for old, new in enumerate(order):
        renumbered[new] = tasks[old]
    plain = simulate(network(graph, made(name), tasks), 20)
    other = simulate(network(shuffled, made(name), renumbered), 20)
    for old, new in enumerate(order):
        assert np.allclose(plain[old].x, other[new].x, atol=1e-12)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_silence_and_nan_from_a_neighbour_never_reach_the_model(name):
    (node, *_) = network(GRAPHS["ring"], made(name), quadratics(8), Median())
    state = node.start()
    box = node.mailbox()
    for bad in (nothing(np.float64), np.nan, np.inf, 1e300):
        for _ in range(3):
            box.clear()
            outbox, _ = node.speak(state, state.inbox)
            box.post(outbox)
            box.heard[0] = bad
            box.heard[1] = 0.1
            state = node.step(state, box.open())
    assert np.linalg.norm(state.x) < 10


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_loop_of_the_runner_and_of_the_simulator_are_the_same(name):
    """With no neighbours any exchange will do, and the runner has to end in the simulator's state."""
    nodes = network(GRAPHS["alone"], made(name), quadratics(1))

    class Nobody:
        stale = False

        def send(self, outbox: Outbox) -> None:
            self.box = nodes[0].mailbox()
            self.box.post(outbox)

        def receive(self) -> Inbox:
            return self.box.open()

        def close(self) -> None: ...

    assert np.array_equal(run(nodes[0], Nobody(), 7).x, simulate(nodes, 7)[0].x)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_declares_what_it_needs(name):
    assert isinstance(made(name).needs, Needs)
