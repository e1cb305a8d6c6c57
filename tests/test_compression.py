"""Compressed messages: what travels, what both ends know, and what methods, screens and liars make of it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dmtl.algorithms.diffusion import Diffusion
from dmtl.algorithms.gradient_tracking import GradientTracking
from dmtl.algorithms.laplacian import Laplacian
from dmtl.algorithms.network_lasso import NetworkLasso
from dmtl.algorithms.pdmm import PDMM
from dmtl.attacks.alie import ALIE
from dmtl.attacks.nan import NaN
from dmtl.attacks.silent import Silent
from dmtl.attacks.sleeper import Sleeper
from dmtl.attacks.two_faced import TwoFaced
from dmtl.build import plan
from dmtl.compressors.quantise import Quantise
from dmtl.compressors.random_k import RandomK
from dmtl.compressors.rounded import BFloat16, Float32
from dmtl.compressors.top_k import TopK
from dmtl.config import identity, load
from dmtl.errors import CompatibilityError, ResultsError
from dmtl.launch import start
from dmtl.rng import Purpose, stream
from dmtl.screens.average import Average
from dmtl.simulator import simulate
from dmtl.topology import metropolis
from dmtl.types import Mixed
from tests.networks import GRAPHS, joint, network, quadratics
from tests.test_checkpoints import bits, cut

LOSSY = (TopK(0.3), TopK(0.6, "bfloat16"), RandomK(0.5), Quantise(1), Quantise(3), BFloat16(feedback=True))
D = 6


def models(nodes, rounds):
    return np.array([state.x for state in simulate(nodes, rounds)])


def choco(one, tasks, weights, step, rounds):
    """CHOCO-SGD for all ranks at once, from the paper; adapt, then combine."""
    x, copies = np.zeros((len(tasks), tasks[0].dim)), np.zeros((len(tasks), tasks[0].dim))
    for round in range(rounds):
        psi = x - step * np.array([task.grad(row) for task, row in zip(tasks, x, strict=True)])
        for rank, row in enumerate(psi - copies):
            rng = stream(0, Purpose.COMPRESSION, rank, round) if one.draws else None
            again = stream(0, Purpose.COMPRESSION, rank, round) if one.draws else None
            copies[rank] += one.unpack(one.pack(row[None], rng), len(row), row.dtype, again)[0]
        x = psi + one.step * (weights - np.eye(len(x))) @ copies
    return x


@pytest.mark.parametrize("graph", ["ring", "random", "pair", "alone"])
@pytest.mark.parametrize("one", LOSSY, ids=str)
def test_diffusion_with_feedback_is_choco(one, graph):
    tasks = quadratics(len(GRAPHS[graph]), D)
    nodes = network(GRAPHS[graph], Diffusion(0.1), tasks, compressor=one)
    expected = choco(one, tasks, metropolis(GRAPHS[graph]), 0.1, 30)
    np.testing.assert_allclose(models(nodes, 30), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [Diffusion(0.1), Laplacian(), GradientTracking(), NetworkLasso(), PDMM()], ids=str)
@pytest.mark.parametrize("one", [TopK(1.0), RandomK(1.0)], ids=str)
def test_a_share_of_1_changes_nothing_but_the_last_bits(one, method):
    tasks = quadratics(8, D)
    plain = models(network(GRAPHS["random"], method, tasks), 40)
    packed = models(network(GRAPHS["random"], method, tasks, compressor=one), 40)
    np.testing.assert_allclose(packed, plain, rtol=0, atol=1e-12)


def test_float32_in_a_run_with_float32_changes_no_bit():
    raw = {"data": "synthetic:rows=20,features=4", "ranks": 5, "dtype": "float32", "algorithm": "gradient-tracking"}
    runs = []
    for compressor in (None, "float32"):
        job = plan(load({**raw, "compressor": compressor}))
        runs.append(models([job.node(rank) for rank in range(5)], 20))
    assert runs[0].tobytes() == runs[1].tobytes()


@pytest.mark.parametrize("one", [LOSSY[0], *(pytest.param(one, marks=pytest.mark.slow) for one in LOSSY[1:])], ids=str)
def test_ranks_come_to_the_exact_minimiser_where_errors_are_fed_back(one):
    tasks = quadratics(8, D)
    best = np.linalg.solve(sum(t.hessian for t in tasks), sum(t.hessian @ t.b for t in tasks))
    found = models(network(GRAPHS["random"], GradientTracking(0.03), tasks, compressor=one), 1500)
    np.testing.assert_allclose(found, np.tile(best, (8, 1)), rtol=0, atol=1e-3 if one == Quantise(1) else 1e-6)


@pytest.mark.parametrize("one", [TopK(0.5), Quantise(3), BFloat16(feedback=True)], ids=str)
def test_a_method_that_only_draws_neighbours_together_keeps_its_objective(one):
    tasks = quadratics(8, D)
    best, _ = joint(GRAPHS["random"], tasks, 0.5)
    found = models(network(GRAPHS["random"], Laplacian(0.5), tasks, compressor=one), 600)
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-7)


@pytest.mark.parametrize("one", [Quantise(1), Quantise(2), Quantise(3), TopK(0.05), RandomK(0.05)], ids=str)
def test_gossip_of_long_vectors_of_unlike_numbers_is_stable(one):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((8, 4000)) * np.exp(2 * rng.standard_normal(4000))
    still = [SimpleNamespace(dim=4000, smoothness=1.0, grad=None) for _ in range(8)]
    nodes = network(GRAPHS["ring"], Diffusion(0.0), still, compressor=one)
    states = [node.start(x) for node, x in zip(nodes, start, strict=True)]
    after = np.array([state.x for state in simulate(nodes, 150, states=states)])
    assert np.linalg.norm(after - after.mean(axis=0)) < 0.9 * np.linalg.norm(start - start.mean(axis=0))


def test_edges_with_words_of_their_own_have_copies_of_their_own():
    tasks = quadratics(8, D)
    best = np.linalg.solve(sum(t.hessian for t in tasks), sum(t.hessian @ t.b for t in tasks))
    nodes = network(GRAPHS["random"], PDMM(), tasks, compressor=Quantise(6))
    states = simulate(nodes, 300)
    assert [state.copies.edges.shape for state in states] == [(len(n.view.targets), 1, D) for n in nodes]
    np.testing.assert_allclose([state.x for state in states], np.tile(best, (8, 1)), rtol=0, atol=1e-8)


def test_the_sum_of_all_models_is_kept_by_gossip():
    nodes = network(GRAPHS["random"], Diffusion(0.0), quadratics(8, D), compressor=TopK(0.3))
    start = np.random.default_rng(0).standard_normal((8, D))
    states = [node.start(x) for node, x in zip(nodes, start, strict=True)]
    after = np.array([state.x for state in simulate(nodes, 200, states=states)])
    np.testing.assert_allclose(after.sum(axis=0), start.sum(axis=0), rtol=0, atol=1e-12)
    assert np.abs(after - start.mean(axis=0)).max() < 1e-3 * np.abs(start - start.mean(axis=0)).max()


class Recording:
    """The average, and what it was shown."""

    linear = False

    def __init__(self):
        self.seen = {}

    def least_neighbours(self):
        return 0

    def capacity(self, neighbours):
        return 0

    def init(self, task, view):
        return ()

    def __call__(self, rows, weights, memory, task, view):
        self.seen[view.rank] = rows.copy()
        return Mixed(weights @ rows, np.ones(len(rows) - 1))


@pytest.mark.parametrize("one", LOSSY, ids=str)
def test_a_screen_sees_what_neighbours_have_been_told_and_so_does_its_own_rank(one):
    screen = Recording()
    nodes = network(GRAPHS["random"], Diffusion(0.1), quadratics(8, D), screen, compressor=one)
    states = simulate(nodes, 7)
    for node, state in zip(nodes, states, strict=True):
        told = np.array([states[rank].copies.own[0, 0] for rank in (node.view.rank, *node.view.sources)])
        assert screen.seen[node.view.rank].tobytes() == told.tobytes()
        assert state.inbox.flat.tobytes() == told.tobytes()


@pytest.mark.parametrize("one", [Float32(), BFloat16(), Quantise(5, feedback=False)], ids=str)
def test_without_feedback_a_screen_sees_what_is_left_and_the_own_vector_as_it_is(one):
    screen = Recording()
    nodes = network(GRAPHS["random"], Diffusion(0.1), quadratics(8, D), screen, compressor=one)
    before = simulate(nodes, 6)
    simulate(nodes, 7, states=before)
    psi = [state.model.psi for state in before]
    for node in nodes:
        rank, sources = node.view.rank, node.view.sources
        left = [one.unpack(one.pack(psi[source][None]), D, psi[0].dtype)[0] for source in sources]
        assert screen.seen[rank].tobytes() == np.array([psi[rank], *left]).tobytes()


@pytest.mark.parametrize("attack", [TwoFaced(), NaN(), ALIE(), Sleeper(3, NaN()), Sleeper(3, Silent())], ids=str)
@pytest.mark.parametrize("one", LOSSY, ids=str)
def test_both_ends_of_an_edge_know_the_same_bits_whatever_a_liar_says(one, attack):
    liars = {1: attack, 2: attack}
    nodes = network(GRAPHS["ring"], Diffusion(0.1), quadratics(8, D), Average(), liars, compressor=one)
    before, states = simulate(nodes, 8), simulate(nodes, 9)
    for node in nodes:
        for row, source in enumerate(node.view.sources):
            late = attack.rushing and {source, node.view.rank} <= set(liars)  # a fellow hears it a round later
            teller = (before if late else states)[source]
            block = teller.copies.edges if source in liars else teller.copies.own
            place = nodes[source].view.targets.index(node.view.rank) if source in liars else 0
            assert states[node.view.rank].copies.theirs[row].tobytes() == block[place].tobytes()
            assert np.isfinite(block).all()


def test_who_said_nonsense_is_heard_again_as_soon_as_it_speaks_sense():
    class Once:
        rushing, knowledge = False, "own"

        def init(self, task, view):
            return ()

        def __call__(self, outbox, inbox, memory, task, view):
            return (np.full_like(outbox, np.inf) if view.round == 2 else outbox), memory

    nodes = network(GRAPHS["ring"], Diffusion(0.1), quadratics(8, D), liars={1: Once()}, compressor=TopK(0.5))
    for rounds, valid in ((2, True), (3, False), (4, True)):
        assert simulate(nodes, rounds)[0].inbox.valid[0] == valid


@pytest.mark.parametrize("liar", ["", "dissensus", "two-faced", "silent"])
@pytest.mark.parametrize("algorithm", ["diffusion", "gradient-tracking", "pdmm", "laplacian"])
@pytest.mark.parametrize("compressor", ["top-k:share=0.4", "random-k:share=0.4", "quantise:bits=3", "bfloat16"])
def test_a_run_stopped_before_every_round_is_the_whole_run(tmp_path, compressor, algorithm, liar):
    raw = {"data": "synthetic:rows=20,features=4", "topology": "ring", "seed": 3, "rounds": 4}
    liars = [{"ranks": [2, 3], "attack": liar}] if liar else []
    job = plan(load({**raw, "algorithm": algorithm, "compressor": compressor, "byzantine": liars}), 5)
    make = lambda: [job.node(rank) for rank in range(5)]  # noqa: E731
    assert bits(cut(make, tmp_path, 4, (1, 2, 3))) == bits(simulate(make(), 4))


def test_differences_go_on_only_from_a_round_that_this_rank_has(tmp_path):
    from dmtl.checkpoints import Keeper, revive

    raw = {"data": "synthetic:rows=20,features=4", "seed": 3, "rounds": 4, "ranks": 5}
    for compressor, refused in (("top-k", True), ("bfloat16", False)):
        job = plan(load({**raw, "compressor": compressor}))
        place = tmp_path / compressor
        place.mkdir()
        nodes = [job.node(rank) for rank in range(5)]
        Keeper(place, 0, lambda round: round).save(simulate(nodes, 2)[0])
        assert revive(place, nodes[0], 2).view.round == 2
        for rank in (0, 1):
            if refused:
                with pytest.raises(ResultsError, match="says differences"):
                    revive(place, nodes[rank], 3)
            else:
                assert revive(place, nodes[rank], 3).view.round == 3


@pytest.mark.parametrize("compressor", [None, "top-k:share=0.2", "random-k", "quantise:bits=3", "bfloat16", "float32"])
def test_the_bytes_of_a_rank_are_those_of_what_it_packed(tmp_path, compressor):
    out = tmp_path / "run"
    raw = {"data": "synthetic:rows=20,features=30", "rounds": 6, "ranks": 4, "out": str(out), "topology": "path"}
    raw |= {"algorithm": "gradient-tracking", "compressor": compressor}
    assert start(lambda: raw, quiet=True) == 0
    job = plan(load({**raw, "out": ""}))
    for rank in range(4):
        node = job.node(rank)
        box, state = node.mailbox(), node.start()
        box.post(node.speak(state, state.inbox)[0])
        last = [json.loads(line) for line in (out / f"rank-{rank:04d}.jsonl").read_text().splitlines()][-2]
        assert last["bytes"] == 6 * len(node.view.targets) * box.said.nbytes
        d = node.task.dim
        most = 2 * d * 8 if compressor is None else 2 * node.wire.compressor.size(d, np.float64) + 3
        assert most - 3 <= box.said.nbytes <= most


def test_gamma_is_for_methods_that_average_to_agree():
    for algorithm, gamma in (("diffusion", 0.15), ("gradient-tracking", 0.15), ("laplacian", 1.0), ("pdmm", 1.0)):
        raw = {"data": "synthetic:rows=20,features=4", "ranks": 3, "algorithm": algorithm, "compressor": "top-k"}
        assert plan(load(raw)).node(0).wire.gamma == pytest.approx(gamma)
    layered = {"data": "digits", "task": "mlp:hidden=4", "ranks": 3, "compressor": "top-k", "private": "head"}
    node = plan(load({**layered, "algorithm": "diffusion:step_size=0.1"})).node(0)
    assert node.wire.gamma == pytest.approx(0.15)
    assert node.message_shape[1] < node.task.dim


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"algorithm": "trace-norm"}, "counts on exact sums"),
        ({"algorithm": "nids"}, "counts on exact sums"),
        ({"algorithm": "dada"}, "says more than vectors"),
        ({"algorithm": "pairwise-gossip"}, "says more than vectors"),
        ({"algorithm": "laplacian", "compressor": "top-k:gamma=0.5"}, "does not average to agree"),
        ({"link": "drop=0.1"}, "none may be missing"),
        ({"link": "age=2"}, "none may be missing"),
        ({"transport": "simulated-async"}, "none may be missing"),
        ({"time_varying": "matching"}, "none may be missing"),
        ({"join": "1@2"}, "none may be missing"),
        ({"splits": ["0|1-2@1-2"]}, "none may be missing"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_one_sentence(more, words):
    raw = {"data": "synthetic:rows=20,features=4", "ranks": 3, "compressor": "top-k", **more}
    with pytest.raises(CompatibilityError, match=words):
        plan(load(raw)).node(0)


@pytest.mark.parametrize("compressor", ["float32", "bfloat16", "quantise:bits=8,feedback=false"])
@pytest.mark.parametrize(
    "more",
    [{"link": "age=2,drop=0.2"}, {"time_varying": "matching"}, {"join": "1@2", "splits": ["0|1-2@1-2"]}],
    ids=str,
)
def test_without_feedback_messages_may_be_late_or_lost(compressor, more):
    raw = {"data": "synthetic:rows=20,features=4", "ranks": 3, "rounds": 20, **more}
    runs = []
    for each in (None, compressor):
        job = plan(load({**raw, "compressor": each}))
        runs.append(models([job.node(rank) for rank in range(3)], 20))
    np.testing.assert_allclose(runs[1], runs[0], rtol=0, atol={"float32": 1e-6}.get(compressor, 2e-2))
    assert runs[0].tobytes() != runs[1].tobytes()


def test_without_feedback_ranks_need_not_wait(tmp_path):
    raw = {"data": "synthetic:rows=20,features=4", "ranks": 3, "rounds": 20, "transport": "simulated-async"}
    raw |= {"compressor": "bfloat16", "out": str(tmp_path / "a")}
    assert start(lambda: raw, quiet=True) == 0


def test_a_method_that_says_nothing_is_warned_of():
    job = plan(load({"data": "synthetic", "ranks": 2, "algorithm": "local", "compressor": "top-k"}))
    assert job.warnings == ("'local' sends nothing, so --compress has no effect.",)
    assert job.node(0).wire is None


def test_a_run_without_is_the_run_that_it_was_before_there_were_any():
    assert "compressor" not in identity(load({}))
    assert identity(load({"compressor": "top-k"}))["compressor"] == {"name": "top-k"}
