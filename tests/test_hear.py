"""What reaches a node when links come and go: rows, ages and weights, split networks, late joiners, changing graphs."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.gradient_tracking import GradientTracking
from dmtl.algorithms.laplacian import Laplacian
from dmtl.algorithms.network_lasso import NetworkLasso
from dmtl.algorithms.pdmm import PDMM
from dmtl.attacks.silent import Silent
from dmtl.changing import Changing
from dmtl.graphs.lattices import Exponential
from dmtl.links import Conditions, Link, parse_split
from dmtl.mailbox import nothing
from dmtl.node import Mixer, Node
from dmtl.registry import find, names
from dmtl.results import flatten, portable
from dmtl.runner import Horizon
from dmtl.screens.average import Average
from dmtl.screens.piped import Piped
from dmtl.simulator import simulate
from dmtl.time_varying.activation import Activation
from dmtl.time_varying.matching import Matching
from dmtl.time_varying.one_peer_exponential import OnePeerExponential
from dmtl.topology import Topology, metropolis, uniform
from dmtl.types import Needs, Outbox
from tests.networks import GRAPHS, network, quadratics

TASKS = quadratics(8)
BEST = np.linalg.solve(sum(task.hessian for task in TASKS), sum(task.hessian @ task.b for task in TASKS))
"""minimiser of the sum of all losses"""
PIECES = (Activation(0.3), Matching())
SYMMETRIC = ("activation", "matching", "split", "join")
"""conditions under which a link is open at both of its ends or at neither"""


def xs(states) -> np.ndarray:
    return np.array([state.x for state in states])


def bits(states) -> list[dict[str, bytes]]:
    return [{key: value.tobytes() for key, value in flatten(portable(state)).items()} for state in states]


def under(conditions: Conditions, algorithm, graph="ring", **more):
    ages, joins = {"ageing": conditions.age, "reach": conditions.reach}, conditions.joins
    nodes = network(GRAPHS[graph], algorithm, TASKS, **ages, **more)
    return [_joining(node, joins.get(rank, 0)) for rank, node in enumerate(nodes)]


def _joining(node: Node, round: int) -> Node:
    node.joins, node.varies = round, node.varies or round > 0
    return node


def symmetric(name: str, algorithm, graph: str) -> list[Node]:
    if name in ("activation", "matching"):
        piece = Activation(0.3) if name == "activation" else Matching()
        changing = Changing(GRAPHS[graph], "metropolis", piece, 3)
        return network(GRAPHS[graph], algorithm, TASKS, changing=changing)
    split = Conditions(splits=(parse_split("0-2,7|3-6@5-100", 8),))
    return under(split if name == "split" else Conditions(joins={3: 40, 6: 90}), algorithm, graph)


# one message


@given(
    ages=st.lists(st.integers(-1, 4), min_size=7, max_size=7),
    late=st.lists(st.sampled_from([-1, 0, 1]), min_size=7, max_size=7),
)
def test_hear_puts_the_row_of_that_age_or_the_mark_in_its_place_and_changes_no_other(ages, late):
    """``late`` are the ages with which messages come already, as between two rushing liars; -1: none came."""
    node = network(
        GRAPHS["star"], Diffusion(0.0), TASKS, ageing=lambda round, source, target: ages[source - 1], reach=4
    )[0]
    state = node.start()
    box = node.mailbox()

    def receive(round):
        box.clear()
        box.post(Outbox((np.full(4, 1000.0 + round),)))
        for row in range(7):
            if late[row] >= 0:
                box.heard[row] = 10 * round + row
        return box.open(np.array(late))

    for round in range(6):
        raw = receive(round)
        came = raw.messages.copy()
        inbox, state = node.hear(state, raw)
        assert np.array_equal(raw.messages, came, equal_nan=True)
        assert inbox.flat[0].tolist() == [1000.0 + round] * 4
        for row, age in enumerate(ages):
            if age < 0 or age > round or late[row] < 0:
                assert inbox.age[row] == -1
                assert inbox.messages[row, 0, -1].tobytes() == nothing(np.float64).tobytes()
            else:
                assert inbox.age[row] == age + late[row]
                assert inbox.messages[row, 0].tolist() == [10.0 * (round - age) + row] * 4
        assert len(state.past) == 4
        state = node.step(state, inbox)


def test_the_weight_of_what_is_not_heard_goes_to_oneself_in_the_plain_average():
    node = network(GRAPHS["star"], Diffusion(0.0), TASKS, ageing=lambda round, source, target: -(source in (2, 5)))[0]
    box, state = node.mailbox(), node.start()
    box.post(Outbox((np.ones(4),)))
    box.heard[:] = 2.0
    inbox, state = node.hear(state, box.open())
    mixer = Mixer(node, state, inbox)
    own = state.view.weights[0] + state.view.weights[[2, 5]].sum()
    np.testing.assert_allclose(mixer(), own + 2 * (1 - own), rtol=1e-15)
    assert mixer.trust().tolist() == [1, 0, 1, 1, 0, 1, 1]


def test_a_node_on_which_nothing_is_imposed_does_not_listen_twice():
    assert not network(GRAPHS["ring"], Diffusion(), TASKS)[0].hides
    assert not network(GRAPHS["ring"], Diffusion(), TASKS)[0].varies


# liars


class Honest:
    """A rushing liar that tells the truth."""

    rushing = True
    knowledge = "rushing"

    def init(self, task, view):
        return ()

    def __call__(self, outbox, inbox, memory, task, view):
        return outbox.copy(), ()


@pytest.mark.parametrize("piece", [None, *PIECES])
@pytest.mark.parametrize("algorithm", [Diffusion(), Laplacian(), PDMM()])
def test_a_rushing_liar_that_tells_the_truth_changes_nothing_under_any_condition(piece, algorithm):
    """Its own method has to go on from what it says in this round, and not from what it said in the last."""
    conditions = Conditions(2, Link(drop=0.2, age=3 * (piece is None)), (parse_split("0-3|4-7@10-20", 8),))
    changing = None if piece is None else Changing(GRAPHS["ring"], "metropolis", piece, 3)
    runs = [simulate(under(conditions, algorithm, liars=liars, changing=changing), 40) for liars in ({}, {2: Honest()})]
    assert np.array_equal(*map(xs, runs))


# splits


def apart(graph: nx.Graph, algorithm, group: list[int], x0: np.ndarray):
    """A network of one group alone, whose ranks keep the weights of the links that are cut to themselves."""
    weights = metropolis(graph)
    inner = weights[np.ix_(group, group)]
    inner[np.diag_indices(len(group))] += weights[group].sum(axis=1) - inner.sum(axis=1)
    topology = Topology(nx.relabel_nodes(graph.subgraph(group), {rank: i for i, rank in enumerate(group)}), inner)
    nodes = [Node(topology.view(i), TASKS[rank], algorithm, Average()) for i, rank in enumerate(group)]
    return nodes, [node.start(x0[rank]) for node, rank in zip(nodes, group, strict=True)]


@pytest.mark.parametrize("algorithm", [Diffusion(0.2), Diffusion(0.0), Laplacian(2.0)], ids=str)
@pytest.mark.parametrize("graph", ["ring", "random"])
def test_a_split_network_is_two_networks_until_it_heals(graph, algorithm):
    x0 = np.random.default_rng(4).standard_normal((8, 4))
    nodes = under(Conditions(splits=(parse_split("0,1,6,7|2-5@0-30", 8),)), algorithm, graph)
    whole = simulate(nodes, 30, states=[node.start(x) for node, x in zip(nodes, x0, strict=True)])
    for group in ([0, 1, 6, 7], [2, 3, 4, 5]):
        inner, start = apart(GRAPHS[graph], algorithm, group, x0)
        np.testing.assert_allclose(xs(whole)[group], xs(simulate(inner, 30, states=start)), rtol=0, atol=1e-14)
    healed = simulate(nodes, 600, states=whole)
    same = network(GRAPHS[graph], algorithm, TASKS)
    never = simulate(same, 600, states=[node.start(x) for node, x in zip(same, x0, strict=True)])
    assert np.abs(xs(healed) - xs(never)).max() < 1e-12
    assert np.abs(xs(whole) - xs(never)).max() > 0.05


def test_gossip_agrees_on_the_mean_of_all_after_a_split_that_let_each_side_agree_on_its_own():
    x0 = np.random.default_rng(4).standard_normal((8, 4))
    nodes = under(Conditions(splits=(parse_split("0-3|4-7@0-300", 8),)), Diffusion(0.0))
    start = [node.start(x) for node, x in zip(nodes, x0, strict=True)]
    two = simulate(nodes, 300, states=start)
    for side in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(xs(two)[side], np.tile(x0[side].mean(axis=0), (4, 1)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(xs(simulate(nodes, 700, states=two)), np.tile(x0.mean(axis=0), (8, 1)), atol=1e-12)


# joins


@pytest.mark.parametrize("algorithm", [Diffusion(), Laplacian(), NetworkLasso(), PDMM(), GradientTracking()], ids=str)
def test_until_a_rank_joins_it_stands_still_and_the_others_do_as_if_it_were_silent(algorithm):
    nodes = under(Conditions(joins={3: 25}), algorithm, "random")
    silent = network(GRAPHS["random"], algorithm, TASKS, liars={3: Silent()})
    for round in (1, 10, 25):
        ours, theirs = simulate(nodes, round), simulate(silent, round)
        others = [rank for rank in range(8) if rank != 3]
        assert np.array_equal(xs(ours)[others], xs(theirs)[others])
        start = nodes[3].start()
        assert all(np.array_equal(a, b) for a, b in zip(ours[3].model, start.model, strict=True))
        assert ours[3].view.round == round
    after = simulate(nodes, 26)
    assert not np.array_equal(after[3].x, nodes[3].start().x)


# methods on links that are open at both ends or at neither


@pytest.mark.parametrize("graph", ["ring", "random"])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_gradient_tracking_reaches_the_minimiser_and_its_trackers_keep_the_sum_of_the_gradients(name, graph):
    nodes = symmetric(name, GradientTracking(0.03), graph)
    states = None
    for end in (1, 20, 60, 1200):
        states = simulate(nodes, 1200, states=states, horizon=Horizon(end))
        trackers, gradients = (np.sum([getattr(state.model, row) for state in states], axis=0) for row in "yg")
        np.testing.assert_allclose(trackers, gradients, rtol=0, atol=1e-12)
    assert np.abs(xs(states) - BEST).max() < 1e-8


@pytest.mark.parametrize("graph", ["ring", pytest.param("random", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SYMMETRIC)
def test_edge_duals_reach_the_exact_minimiser_all_the_same(name, graph):
    assert np.abs(xs(simulate(symmetric(name, PDMM(), graph), 1000)) - BEST).max() < 1e-10
    for strength in (1.0, 10.0):  # all apart, and all fused
        method = NetworkLasso(strength)
        static = xs(simulate(network(GRAPHS[graph], method, TASKS), 1000))
        assert np.abs(xs(simulate(symmetric(name, method, graph), 1500)) - static).max() < 1e-8


@pytest.mark.parametrize("graph", ["ring", "random"])
def test_of_the_methods_that_ask_for_every_message_pdmm_alone_stays_exact_where_single_ones_are_lost(graph):
    lossy = Conditions(1, Link(drop=0.1))
    assert np.abs(xs(simulate(under(lossy, PDMM(), graph), 1000)) - BEST).max() < 1e-10
    for method in (GradientTracking(0.03), NetworkLasso(10.0)):
        assert np.abs(xs(simulate(under(lossy, method, graph), 1500)) - BEST).max() > 1e-2


def test_laplacian_on_a_changing_graph_keeps_moving_about_the_minimiser_that_the_mean_weights_have():
    graph = GRAPHS["ring"]
    changing = Changing(graph, "metropolis", Activation(0.5), 3)
    mean = sum(changing.matrix(round) for round in range(5000)) / 5000
    matrix = np.kron(np.eye(8) - mean, np.eye(4))
    for rank, task in enumerate(TASKS):
        matrix[4 * rank : 4 * rank + 4, 4 * rank : 4 * rank + 4] += task.hessian
    least = np.linalg.solve(matrix, np.concatenate([task.hessian @ task.b for task in TASKS])).reshape(8, 4)

    def distances(step) -> float:
        """The mean of the last thousand rounds' distances."""
        found = []
        nodes = network(graph, Laplacian(1.0, step), TASKS, changing=changing)
        simulate(nodes, 3000, lambda rank, state, inbox: found.append(np.linalg.norm(state.x - least[rank])))
        return float(np.mean(found[-8000:]))

    wide, narrow, falling = distances(0.2), distances(0.02), distances("3/t")
    assert wide > 2.5 * narrow > 2.5 * falling  # like sqrt(mu): the noise of a stochastic gradient
    assert falling < 0.02 < 0.1 < wide


def test_one_peer_gossip_has_the_exact_mean_after_three_rounds_of_eight_ranks():
    graph = Exponential(directed=True).graph(8, 0)
    topology = Topology(graph, uniform(graph))
    changing = Changing(graph, "uniform", OnePeerExponential())
    nodes = [Node(topology.view(r), TASKS[r], Diffusion(0.0), Average(), changing=changing) for r in range(8)]
    x0 = [np.array([r, r * r, 2.0**r, -r], float) for r in range(8)]
    states = simulate(nodes, 3, states=[node.start(x) for node, x in zip(nodes, x0, strict=True)])
    assert np.array_equal(xs(states), np.tile(np.mean(x0, axis=0), (8, 1)))


# going on


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(5, Link(drop=0.1, age=4)),
        Conditions(5, Link(age=2), (parse_split("0-3|4-7@5-15", 8),), {2: 12}),
    ],
    ids=["age", "all"],
)
@pytest.mark.parametrize("stop", [1, 7, 13])
def test_a_state_holds_all_that_a_run_needs_to_go_on_from_it(conditions, stop):
    liars = {1: find("attack", "alie")(), 6: find("attack", "dissensus")()}
    nodes = under(conditions, Diffusion(), "random", liars=liars)
    before = simulate(nodes, 20, horizon=Horizon(stop))
    assert bits(simulate(nodes, 20, states=before)) == bits(simulate(nodes, 20))


# screens that may find nobody there

SETTINGS = {
    "balance": {"gamma": 1.0},
    "centred-clipping": {"tau": 1.0},
    "clip": {"tau": 1.0},
    "cs-plus": {"b": 1},
    "huber": {"tau": 1.0},
    "nnm": {"f": 1},
    "sketch-guard": {"gamma": 1.0},
    "trimmed-mean": {"b": 1},
    "tv": {"lam": 1.0},
}


def screens():
    for name in names("screen"):
        if name == "gate-cap-anchor":  # it learns by itself, and here rows that nothing is learnt from are to stay
            continue
        yield find("screen", name)(**SETTINGS.get(name, {}))
    for name in names("pre-screen"):
        for last in ("average", "median"):
            yield Piped((find("pre-screen", name)(**SETTINGS.get(name, {})),), find("screen", last)())


@pytest.mark.parametrize("screen", [*screens()], ids=str)
@pytest.mark.parametrize("piece", [Activation(0.1), Matching()], ids=str)
def test_a_screen_survives_rounds_with_one_neighbour_or_none_and_alone_keeps_its_own_vector(screen, piece):
    graph = nx.complete_graph(8)
    changing = Changing(graph, "metropolis", piece, 1)
    x = np.random.default_rng(0).standard_normal((8, 4))
    nodes = network(graph, Diffusion(0.0), TASKS, screen, changing=changing)
    states = [node.start(row) for node, row in zip(nodes, x, strict=True)]
    counts = set()
    for round in range(40):
        states = simulate(nodes, 40, states=states, horizon=Horizon(round + 1))
        before, x = x, xs(states)
        for rank in range(8):
            heard = changing.row(rank, round).hears
            counts.add(int(heard.sum()))
            group = before[[rank, *np.flatnonzero(np.insert(heard, rank, False))]]
            if len(group) == 1:
                assert np.array_equal(x[rank], before[rank])
            assert (group.min(axis=0) - 1e-12 <= x[rank]).all()
            assert (x[rank] <= group.max(axis=0) + 1e-12).all()
    assert {1} <= counts
    assert 0 in counts or isinstance(piece, Matching)


def test_every_method_that_screens_survives_a_changing_graph():
    changing = Changing(GRAPHS["random"], "metropolis", Activation(0.1), 1)
    for name in names("algorithm"):
        method = find("algorithm", name)()
        screen = Average() if Needs.UNSCREENED in method.needs else find("screen", "median")()
        states = simulate(network(GRAPHS["random"], method, TASKS, screen, changing=changing), 60)
        assert np.isfinite(xs(states)).all()
