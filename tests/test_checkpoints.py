"""Runs that are stopped and taken up again, in the simulator, through real files: bit for bit the whole run."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmtl.build import plan
from dmtl.checkpoints import Keeper, common, revive, saved_rounds, settled
from dmtl.config import load
from dmtl.errors import CompatibilityError, ResultsError
from dmtl.registry import find, names
from dmtl.results import flatten, portable
from dmtl.resume import laggards
from dmtl.runner import Horizon
from dmtl.simulator import simulate
from dmtl.types import Mixed, Needs
from tests.networks import GRAPHS, network, quadratics

ROUNDS = 4
RANKS = 5
BASE = {"data": "synthetic:rows=20,features=4", "topology": "complete", "seed": 3, "rounds": ROUNDS}
SCREENS = (
    "average",
    "centred-clipping:tau=0.5",
    "cs-plus:b=1",
    "gate-cap-anchor:warm_up=1",
    "loss-weighted",
    "median",
    "nnm:f=1+median",
    "self-centred-clipping",
    "self-centred-clipping:oracle=true",
    "sketch-guard:gamma=0.5,width=2",
    "trimmed-mean:b=1",
)
RING = {**BASE, "topology": "ring"}
CONDITIONS = {
    "mini-batches": {**BASE, "task": "least-squares:batch=3"},
    "float32": {**BASE, "dtype": "float32"},
    "late and lost": {**BASE, "link": "age=2,drop=0.2"},
    "lost": {**RING, "link": "drop=0.3"},
    "cut": {**BASE, "splits": ["0-2|3-4@1-3"]},
    "late joiner": {**BASE, "join": "2@2"},
    "activation": {**BASE, "time_varying": "activation:p=0.4"},
    "matching, lossy": {**BASE, "time_varying": "matching", "link": "drop=0.2"},
    "three in a row": {**RING, "byzantine": [{"ranks": [1, 2, 3], "attack": "dissensus"}]},
    "all": {
        **RING,
        "task": "least-squares:batch=3",
        "dtype": "float32",
        "link": "age=2,drop=0.1",
        "splits": ["0-2|3-4@1-2"],
        "join": "4@2",
    },
}
FEWER = tuple(range(1, ROUNDS))


def bits(states) -> list[dict[str, tuple[str, bytes]]]:
    """All that is to be the same, rank by rank."""
    return [{key: (str(a.dtype), a.tobytes()) for key, a in flatten(portable(state)).items()} for state in states]


def cut(make, place, rounds: int, stops) -> list:
    """A run that is stopped before each of ``stops``, saved, and taken up by new nodes from the files."""
    states = None
    for first, stop in pairwise((0, *stops, rounds)):
        nodes = make()
        if first:
            states = [revive(place, node, first) for node in nodes]
        states = simulate(nodes, rounds, states=states, horizon=Horizon(stop))
        for rank, state in enumerate(states):
            Keeper(place, rank, lambda round: round).save(state)
    return states


def nodes_of(raw, ranks: int = RANKS):
    job = plan(load(raw), ranks)
    return lambda: [job.node(rank) for rank in range(ranks)]


@pytest.mark.parametrize("attack", ["alie", pytest.param("two-faced", marks=pytest.mark.slow)])
@pytest.mark.parametrize("algorithm", names("algorithm"))
def test_a_run_stopped_before_every_round_is_the_whole_run_under_every_screen(tmp_path, algorithm, attack):
    """Every third screen with each method, another third for the next one; all of them in the slow run."""
    tried = 0
    asks = Needs.UNSCREENED not in find("algorithm", algorithm).needs
    some = SCREENS if attack == "two-faced" else SCREENS[names("algorithm").index(algorithm) % 3 :: 3]
    for number, screen in enumerate(some if asks else SCREENS[:1]):
        liars = [{"ranks": [2, 3], "attack": attack}]
        raw = {**BASE, "algorithm": algorithm, "screen": screen, "byzantine": liars, "held_out": 0.25, "force": True}
        try:
            make = nodes_of(raw)
        except CompatibilityError:  # this method asks no screen, or cannot work with this one
            continue
        (tmp_path / str(number)).mkdir()
        assert bits(cut(make, tmp_path / str(number), ROUNDS, FEWER)) == bits(simulate(make(), ROUNDS)), screen
        tried += 1
    assert tried >= 1


@pytest.mark.parametrize("attack", names("attack"))
def test_so_it_is_under_every_attack(tmp_path, attack):
    algorithm = ("diffusion", "gradient-tracking", "network-lasso")[len(attack) % 3]
    make = nodes_of({**BASE, "algorithm": algorithm, "byzantine": [{"ranks": [2, 3], "attack": attack}], "force": True})
    assert bits(cut(make, tmp_path, ROUNDS, FEWER)) == bits(simulate(make(), ROUNDS))


QUICK = {("all", "dissensus"), ("mini-batches", "alie"), ("lost", "gaussian")}
"""those with liars that are tried in every run"""


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        pytest.param(name, attack, marks=() if not attack or (name, attack) in QUICK else pytest.mark.slow)
        for name in CONDITIONS
        for attack in ("", "dissensus", "alie", "gaussian")
    ],
)
def test_so_it_is_under_every_condition(tmp_path, name, attack):
    tried = 0
    for number, algorithm in enumerate(names("algorithm")):
        liars = [{"ranks": [0, 1], "attack": attack}] if attack else CONDITIONS[name].get("byzantine", [])
        try:
            make = nodes_of({**CONDITIONS[name], "algorithm": algorithm, "byzantine": liars})
        except CompatibilityError:
            continue
        (tmp_path / str(number)).mkdir()
        stops = FEWER if number % 2 else (2, 3)
        assert bits(cut(make, tmp_path / str(number), ROUNDS, stops)) == bits(simulate(make(), ROUNDS)), algorithm
        tried += 1
    assert tried >= 3


class Count(NamedTuple):
    total: np.ndarray
    times: int


class Momentum:
    """A screen that remembers: the average of all averages so far."""

    linear = False

    def init(self, task, view):
        return Count(np.zeros(task.dim), 0)

    def __call__(self, rows, weights, memory, task, view):
        total = memory.total + weights @ rows
        return Mixed(total / (memory.times + 1), np.ones(len(rows) - 1), Count(total, memory.times + 1))


class Grudge:
    """A rushing attack that remembers all that it has heard."""

    rushing = True
    knowledge = "rushing"

    def init(self, task, view):
        return Count(np.zeros(1), 0)

    def __call__(self, outbox, inbox, memory, task, view):
        total = memory.total + np.nansum(inbox.messages[inbox.valid])
        return outbox + total / (memory.times + 1), Count(total, memory.times + 1)


@pytest.mark.parametrize("algorithm", [name for name in names("algorithm") if hasattr(find("algorithm", name), "step")])
@pytest.mark.parametrize("liars", [(3,), (3, 4), (2, 3, 4)])
def test_the_memories_of_screens_and_of_attacks_are_kept(tmp_path, algorithm, liars):
    def make():
        lies = dict.fromkeys(liars, Grudge())
        piece = find("algorithm", algorithm)()
        return network(GRAPHS["ring"], piece, quadratics(8), Momentum(), lies, stochastic=True)

    assert bits(cut(make, tmp_path, ROUNDS, FEWER)) == bits(simulate(make(), ROUNDS))


ROUND_LISTS = st.lists(st.lists(st.integers(0, 9), unique=True), min_size=1, max_size=6)


@given(ROUND_LISTS)
def test_all_go_on_from_the_newest_round_that_all_have(rounds):
    start = common(rounds)
    shared = set(rounds[0]).intersection(*rounds)
    if shared:
        assert start == max(shared)
        assert not laggards(rounds)
    else:
        having = [sum(round in own for own in rounds) for round in range(10)]
        assert having[start] == max(having)
        assert start == max((round for round in range(10) if having[round] == max(having) > 0), default=0)
        for rank, own in laggards(rounds).items():
            assert start not in rounds[rank]
            assert own == max((round for round in rounds[rank] if round < start), default=0)
        assert set(laggards(rounds)) == {rank for rank, own in enumerate(rounds) if start and start not in own}


@given(ROUND_LISTS, st.randoms())
def test_the_numbers_of_the_ranks_do_not_matter(rounds, random):
    order = random.sample(range(len(rounds)), len(rounds))
    moved = [random.sample(rounds[old], len(rounds[old])) for old in order]
    assert common(moved) == common(rounds)
    assert laggards(moved) == {order.index(rank): own for rank, own in laggards(rounds).items()}


def waits(raw, ranks: int, rng) -> list[list[int]]:
    """Let ranks go on in a random order as far as they may, and return which rounds each came to, step by step.

    An honest rank ends a round when its active sources have begun it; a rushing liar speaks after it has heard the
    others, and hears of fellows what they said the round before.
    """
    job = plan(load(raw), ranks)
    nodes = [job.node(rank) for rank in range(ranks)]
    rushing = [node.rushing for node in nodes]
    begun, spoken, history = [0] * ranks, [0] * ranks, [[0] * ranks]

    def heard(rank: int, round: int, want: bool) -> bool:
        view = nodes[rank].view
        row = job.changing.row(rank, round).hears if job.changing else [True] * len(view.sources)
        for source, on in zip(view.sources, row, strict=True):
            if rushing[rank] and rushing[source]:
                if spoken[source] < round:
                    return False
            elif on and rushing[source] == want and spoken[source] <= round:
                return False
        return True

    patience = rng.random(ranks) ** 4  # some are far quicker than others
    for _ in range(1000):
        rank = int(rng.choice(ranks, p=patience / patience.sum()))
        round = begun[rank]
        if spoken[rank] == round and (not rushing[rank] or heard(rank, round, False)):
            spoken[rank] += 1
        if spoken[rank] > round and heard(rank, round, False) and heard(rank, round, True):
            begun[rank] += 1
            history.append(begun.copy())
    return history


DRIFTS = {
    "ring": (RING, 7),
    "path": ({**BASE, "topology": "path"}, 6),
    "star": ({**BASE, "topology": "star"}, 5),
    "directed": ({**BASE, "topology": "exponential:directed=true", "weights": "uniform"}, 9),
    "rushing in a row": ({**RING, "byzantine": [{"ranks": [1, 2, 3], "attack": "alie"}]}, 8),
    "activation": ({**RING, "time_varying": "activation:p=0.3"}, 5),
    "matching": ({**BASE, "time_varying": "matching"}, 5),
    "never talking": ({**RING, "algorithm": "local"}, 4),
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", DRIFTS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_however_far_ranks_drift_apart_they_have_two_checkpoints_in_common(tmp_path, name, every, seed):
    raw, ranks = DRIFTS[name]
    history = waits({**raw, "rounds": 1000}, ranks, np.random.default_rng(seed))
    job = plan(load(raw), ranks)
    surely = [settled(job, job.node(rank)) for rank in range(ranks)]
    kept = [{0} for _ in range(ranks)]
    for before, now in pairwise(history):
        for rank in range(ranks):
            if now[rank] > before[rank] and now[rank] % every == 0:
                shared = surely[rank](now[rank])
                assert shared <= min(now)
                settled_ones = sorted(round for round in kept[rank] if round <= shared)
                kept[rank] = kept[rank] - set(settled_ones[:-2]) | {now[rank]}
        have = set.intersection(*kept)
        assert len(have) >= min(2, 1 + min(now) // every)
        assert max(have) == min(now) - min(now) % every


def test_ranks_that_differ_by_the_diameter_need_no_more_checkpoints_than_that():
    for graph, ranks in (("ring", 8), ("path", 5), ("complete", 6)):
        job = plan(load({**BASE, "topology": graph}), ranks)
        far = nx.eccentricity(job.topology.graph)
        assert all(settled(job, job.node(rank))(100) == 100 - far[rank] for rank in range(ranks))


def saved_run(place, rounds: int = 4):
    """Nodes with a checkpoint before each of the last two rounds, and the states of the last."""
    make = nodes_of({**BASE, "byzantine": [{"ranks": [1, 2], "attack": "alie"}]})
    return make(), cut(make, place, rounds, range(1, rounds))


def test_the_two_last_checkpoints_are_left(tmp_path):
    saved_run(tmp_path, 6)
    assert {saved_rounds(tmp_path, rank) == [6, 5] for rank in range(RANKS)} == {True}
    assert len(list(tmp_path.iterdir())) == 2 * RANKS


def test_a_checkpoint_that_was_torn_is_written_again(tmp_path):
    _, states = saved_run(tmp_path)
    path = tmp_path / "rank-0002.ckpt-000004.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert saved_rounds(tmp_path, 2) == [3]
    Keeper(tmp_path, 2, lambda round: round).save(states[2])
    assert saved_rounds(tmp_path, 2) == [4, 3]


def test_a_torn_checkpoint_beside_the_final_state_of_the_same_round_does_no_harm(tmp_path):
    nodes, states = saved_run(tmp_path)
    path = tmp_path / "rank-0001.ckpt-000004.npz"
    (tmp_path / "rank-0001.npz").write_bytes(path.read_bytes())
    path.write_bytes(b"PK")
    assert bits([revive(tmp_path, nodes[1], 4)]) == bits([states[1]])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_file_is_left_out_or_harmless_and_never_wrong(tmp_path_factory, damaged, where, flip):
    """``flip`` 0 cuts the file off there, another number changes one byte."""
    place, whole, nodes, good, older = damaged
    path = place / "rank-0001.ckpt-000004.npz"
    at = int(where * len(whole))
    path.write_bytes(whole[:at] + (bytes([whole[at] ^ flip]) + whole[at + 1 :] if flip else b""))
    rounds = saved_rounds(place, 1)
    assert rounds in ([4, 3], [3])
    assert bits([revive(place, nodes[1], rounds[0])]) == (good if rounds[0] == 4 else older)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    place = tmp_path_factory.mktemp("damaged")
    nodes, states = saved_run(place)
    older = bits([revive(place, nodes[1], 3)])
    return place, (place / "rank-0001.ckpt-000004.npz").read_bytes(), nodes, bits([states[1]]), older


@pytest.mark.parametrize("what", ["nothing", "text", "another array", "an object"])
def test_what_is_no_checkpoint_is_left_out(tmp_path, what):
    saved_run(tmp_path)
    path = tmp_path / "rank-0000.ckpt-000004.npz"
    with path.open("wb") as file:
        if what == "text":
            file.write(b"not a checkpoint\n" * 100)
        elif what == "another array":
            np.save(file, np.ones(3))
        elif what == "an object":
            np.savez(file, round=np.array([{"round": 4}], dtype=object))
    assert saved_rounds(tmp_path, 0) == [3]


@pytest.mark.parametrize("algorithm", ["gradient-tracking", "pdmm"])
def test_the_state_of_another_method_is_refused_in_one_sentence(tmp_path, algorithm):
    saved_run(tmp_path)
    node = nodes_of({**BASE, "algorithm": algorithm, "byzantine": [{"ranks": [1, 2], "attack": "alie"}]})()[0]
    with pytest.raises(ResultsError, match=r"rank-0000\.ckpt-000004\.npz: the checkpoint has .* of another method"):
        revive(tmp_path, node, 4)


@pytest.mark.parametrize("more", [{"data": "synthetic:rows=20,features=7"}, {"dtype": "float32"}])
def test_a_state_of_another_size_or_precision_is_refused_in_one_sentence(tmp_path, more):
    saved_run(tmp_path)
    with pytest.raises(ResultsError, match=r"the checkpoint has 'trust' as|the checkpoint has 'model\.x' as"):
        revive(tmp_path, nodes_of({**BASE, **more})()[0], 4)


def test_a_rank_without_any_checkpoint_goes_on_from_its_start_in_that_round(tmp_path):
    nodes, _ = saved_run(tmp_path)
    for path in tmp_path.glob("rank-0000.*"):
        path.unlink()
    state = revive(tmp_path, nodes[0], 4)
    assert state.view.round == 4
    assert state.x.tobytes() == nodes[0].start().x.tobytes()
