"""The attacks in closed form: each formula against another computation, and what each is said to bring about."""

from functools import partial

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.algorithms.diffusion import Diffusion
from dmtl.attacks.boost import Boost
from dmtl.attacks.case import Case
from dmtl.attacks.constant import Constant
from dmtl.attacks.fang_krum import FangKrum
from dmtl.attacks.fang_trim import FangTrim
from dmtl.attacks.gaussian import Gaussian
from dmtl.attacks.hidden import Hidden
from dmtl.attacks.ipm import IPM
from dmtl.attacks.isolation import Isolation
from dmtl.attacks.mimic import Mimic
from dmtl.attacks.min_max import MinMax, MinSum
from dmtl.attacks.sign_flip import SignFlip
from dmtl.attacks.spectral import Spectral, slowest_mode
from dmtl.attacks.uniform_noise import UniformNoise
from dmtl.attacks.zero_sum import ZeroSum
from dmtl.errors import ConfigError
from dmtl.screens.average import Average
from dmtl.screens.trimmed_mean import TrimmedMean
from dmtl.simulator import simulate
from dmtl.topology import Topology, metropolis
from dmtl.types import Inbox, View
from tests.networks import network, quadratics

OTHERS = (0, 1, 3, 4, 5, 6)
HONEST = [0, 1, 3, 4, 6]
DIRECTIONS = ["std", "mean", "sign"]
LISTENERS = [
    Boost(),
    FangKrum(),
    FangTrim(),
    Hidden(),
    IPM(),
    Mimic(),
    MinMax(),
    MinSum(),
    SignFlip(of="mean"),
    ZeroSum(),
]


def view(rank=2, sources=OTHERS, targets=OTHERS, colluders=(2, 5), round=2, seed=3):
    k = len(sources)
    weights, out = np.full(1 + k, 1 / (1 + k)), np.full(1 + len(targets), 1 / (1 + len(targets)))
    return View(rank, sources, targets, weights, out, np.ones(k), seed, False, colluders, np.ones(k), round)


def hear(messages, age=None):
    messages = np.asarray(messages)
    ages = np.zeros(len(messages), dtype=np.int64) if age is None else np.asarray(age)
    block = np.concatenate([messages[:1], messages])
    rows = tuple(block[:, row] for row in range(messages.shape[1]))
    return Inbox(messages, ages, rows, block.reshape(len(block), -1), 1e100)


def lie(attack, said, here=None, heard=None):
    """What rank 2 of seven ranks that all hear each other says; ``said`` (7, f, d) are the honest messages."""
    here = here or view()
    heard = heard or hear(said[list(here.sources)])
    outbox = np.tile(said[here.rank], (len(here.targets), 1, 1))
    return attack(outbox, heard, attack.init(None, here), None, here)[0]


@pytest.fixture
def said():
    return np.random.default_rng(0).standard_normal((7, 2, 9))


def one_round(graph, liars, x, screen=None):
    """Models (n, d) after one round of gossip from ``x``, and what each rank heard, own message first."""
    nodes = network(graph, Diffusion(step_size=0.0), quadratics(len(graph), x.shape[1]), screen, liars)
    heard = {}
    states = [node.start(row) for node, row in zip(nodes, x, strict=True)]
    after = simulate(nodes, 1, lambda rank, state, inbox: heard.update({rank: inbox.flat.copy()}), states=states)
    return np.array([state.x for state in after]), heard


def told(attack, graph, rank, liars):
    topology, tasks = Topology(graph, metropolis(graph)), quadratics(len(graph))
    return attack.informed(Case(rank, topology, Diffusion(), Average(), tuple(liars), tasks.__getitem__))


# --- without a look at anybody, or at the mean ------------------------------------------------------------------------


def test_sign_flip_of_the_mean_is_the_lie_of_ipm(said):
    mean = sum(said[rank] for rank in HONEST) / 5
    lies = lie(SignFlip(3.0, of="mean"), said)
    np.testing.assert_allclose(lies, np.tile(-3 * mean, (6, 1, 1)), rtol=1e-12)
    np.testing.assert_array_equal(lies, lie(IPM(eps=3.0), said))


@pytest.mark.parametrize("attack", [SignFlip(), SignFlip(of="mean"), Gaussian(), Gaussian(around="mean")])
def test_what_an_attack_has_to_know_follows_from_its_settings(attack):
    listens = "mean" in (getattr(attack, "of", ""), getattr(attack, "around", ""))
    assert attack.rushing == listens
    assert attack.knowledge == ("rushing" if listens else "own")


def test_in_a_round_the_mean_that_is_flipped_is_of_that_round():
    x = np.random.default_rng(1).standard_normal((6, 4))
    _, heard = one_round(nx.complete_graph(6), {5: SignFlip(of="mean")}, x)
    np.testing.assert_allclose(heard[0][-1], -x[:5].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(("around", "centre"), [("own", [2]), ("mean", HONEST)])
def test_gaussian_noise_lies_around_what_it_is_told_to(said, around, centre):
    noise = lie(Gaussian(0.5), said)
    lies = lie(Gaussian(0.5, around), said)
    np.testing.assert_allclose(lies - noise, np.tile(said[centre].mean(axis=0), (6, 1, 1)), atol=1e-14)


def test_uniform_noise_is_even_over_its_interval_and_new_in_each_round():
    said = np.zeros((7, 1, 20_000))
    lies = lie(UniformNoise(2.0, 5.0), said)
    np.testing.assert_array_equal(lies, np.broadcast_to(lies[0], lies.shape))
    share = np.histogram(lies[0], bins=10, range=(2.0, 5.0))[0] / 20_000
    np.testing.assert_allclose(share, 0.1, atol=0.01)
    assert share.sum() == pytest.approx(1.0)
    later = lie(UniformNoise(2.0, 5.0), said, view(round=3))
    assert abs(np.corrcoef(lies[0, 0], later[0, 0])[0, 1]) < 0.05


def test_the_interval_of_uniform_noise_is_that_of_bridge_unless_said_otherwise():
    lies = lie(UniformNoise(), np.zeros((7, 1, 1000)))
    assert -1 <= lies.min() < -0.98
    assert -0.02 < lies.max() <= 0


def test_a_constant_is_the_same_everywhere(said):
    np.testing.assert_array_equal(lie(Constant(-2.5), said), np.full((6, 2, 9), -2.5))


def test_what_a_constant_spreads_is_drawn_once_and_in_its_interval(said):
    lies = lie(Constant(15.0, 2.0), said)
    np.testing.assert_array_equal(lies, np.broadcast_to(lies[0], lies.shape))
    assert len(np.unique(lies[0])) == 18
    assert lies.min() >= 15
    assert lies.max() <= 17
    np.testing.assert_array_equal(lie(Constant(15.0, 2.0), said, view(round=3)), lies)


def test_with_zero_sum_all_messages_of_a_round_cancel():
    x = np.random.default_rng(2).standard_normal((7, 5))
    after, heard = one_round(nx.complete_graph(7), {2: ZeroSum(), 5: ZeroSum()}, x)
    for rank in HONEST:
        np.testing.assert_allclose(heard[rank].sum(axis=0), 0, atol=1e-13)
        np.testing.assert_allclose(after[rank], 0, atol=1e-13)


@pytest.mark.parametrize("eps", [0.1, 2.4, 2.6, 10.0])
def test_ipm_turns_the_mean_round_as_soon_as_eps_exceeds_the_honest_per_liar(eps):
    x = np.random.default_rng(3).standard_normal((7, 5)) + 1
    after, heard = one_round(nx.complete_graph(7), {2: IPM(eps), 5: IPM(eps)}, x)
    mu = x[HONEST].mean(axis=0)
    assert heard[0][2] @ mu < 0
    np.testing.assert_allclose(after[0], (5 - 2 * eps) / 7 * mu, rtol=1e-12)
    assert (after[0] @ mu < 0) == (eps > 5 / 2)


def test_boosting_puts_the_own_model_in_the_place_of_the_average():
    x = np.random.default_rng(4).standard_normal((7, 5))
    x[5] = x[2]
    after, _ = one_round(nx.complete_graph(7), {2: Boost(), 5: Boost()}, x)
    np.testing.assert_allclose(after[HONEST], np.tile(x[2], (5, 1)), rtol=1e-12, atol=1e-13)


def test_boosting_by_a_factor_is_that_many_times_the_difference(said):
    mean = said[HONEST].mean(axis=0)
    np.testing.assert_allclose(lie(Boost(-4.0), said) - mean, np.tile(-4 * (said[2] - mean), (6, 1, 1)), rtol=1e-12)


# --- hidden among distances -------------------------------------------------------------------------------------------


def diameter(vectors):
    return max(np.linalg.norm(a - b) for a in vectors for b in vectors)


def largest(allowed, most=1e6):
    """The largest g in [0, most] that is allowed, by bisection, independent of any root."""
    low, high = 0.0, most
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low


def towards(direction, honest):
    mean, std = honest.mean(axis=0), honest.std(axis=0)
    along = {"std": -std, "mean": -mean, "sign": -np.sign(mean)}[direction]
    return along / np.linalg.norm(along)


def fits(honest, unit, most, of, g):
    return of(((honest.mean(axis=0) + g * unit - honest) ** 2).sum(axis=1)) <= most


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_min_max_is_as_far_as_the_honest_diameter_allows(direction, seed):
    said = np.random.default_rng(seed).standard_normal((7, 2, 9)) * 3 + 1
    lies = lie(MinMax(direction), said)
    np.testing.assert_array_equal(lies, np.broadcast_to(lies[0], lies.shape))
    for row in range(2):
        honest = said[HONEST, row]
        across, unit = diameter(honest), towards(direction, honest)
        farthest = np.linalg.norm(lies[0, row] - honest, axis=1).max()
        assert farthest == pytest.approx(across, rel=1e-12)
        g = largest(partial(fits, honest, unit, across**2, np.max))
        np.testing.assert_allclose(lies[0, row], honest.mean(axis=0) + g * unit, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_min_sum_is_as_far_as_the_largest_honest_sum_of_squares_allows(direction, seed):
    said = np.random.default_rng(seed).standard_normal((7, 2, 9)) * 3 + 1
    lies = lie(MinSum(direction), said)
    for row in range(2):
        honest = said[HONEST, row]
        most = max(((a - honest) ** 2).sum() for a in honest)
        assert ((lies[0, row] - honest) ** 2).sum() == pytest.approx(most, rel=1e-12)
        unit = towards(direction, honest)
        g = largest(partial(fits, honest, unit, most, np.sum))
        np.testing.assert_allclose(lies[0, row], honest.mean(axis=0) + g * unit, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([1, 3, 40]), st.sampled_from([1e-3, 1.0, 1e6]))
@settings(deadline=None, max_examples=60)
def test_no_crowd_sees_min_max_or_min_sum_even_far_from_the_origin(seed, alike, d, offset):
    rng = np.random.default_rng(seed)
    said = rng.standard_normal((7, 1, d)) + offset
    said[:alike] = said[0]  # some honest vectors may be equal
    honest = said[HONEST, 0]
    slack = 1e-9 * (1 + offset)
    for direction in DIRECTIONS:
        z = lie(MinMax(direction), said)[0, 0]
        assert np.linalg.norm(z - honest, axis=1).max() <= diameter(honest) + slack
        z = lie(MinSum(direction), said)[0, 0]
        most = max(np.sqrt(((a - honest) ** 2).sum()) for a in honest)
        assert np.sqrt(((z - honest) ** 2).sum()) <= most + slack


def test_with_honest_vectors_that_agree_there_is_nowhere_to_hide():
    said = np.ones((7, 1, 4))
    for attack in (MinMax(), MinSum(), Hidden(), Hidden(margin=5.0)):
        np.testing.assert_array_equal(lie(attack, said), np.ones((6, 1, 4)))


@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_hidden_lies_in_one_coordinate_as_far_as_its_margin_allows(margin, said):
    lies = lie(Hidden(margin), said)
    honest = said[HONEST]
    off = lies[0] - honest.mean(axis=0)
    wrong = {int(place) for row in off for place in np.flatnonzero(np.abs(row) > 1e-12)}
    assert len(wrong) == 1
    assert off.max() > 0
    for row in range(2):
        farthest = np.linalg.norm(lies[0, row] - honest[:, row], axis=1).max()
        assert farthest == pytest.approx(margin * diameter(honest[:, row]), rel=1e-12)


def test_hidden_says_the_mean_where_nothing_else_is_near_enough(said):
    np.testing.assert_allclose(lie(Hidden(margin=0.1), said)[0], said[HONEST].mean(axis=0), rtol=1e-14)


def test_what_hides_in_one_coordinate_grows_with_the_root_of_the_dimension():
    sizes = []
    for d in (100, 10_000):
        said = np.random.default_rng(5).standard_normal((7, 1, d))
        sizes.append(np.abs(lie(Hidden(), said)[0, 0] - said[HONEST, 0].mean(axis=0)).max())
    assert sizes[1] / sizes[0] == pytest.approx(10, rel=0.2)
    assert sizes[1] > 50  # standard deviations of a coordinate


def test_colluders_hide_in_the_same_coordinate_in_every_round_unless_one_is_named(said):
    def wrong(attack, here):
        return np.abs(lie(attack, said, here)[0, 0] - said[HONEST, 0].mean(axis=0)).argmax()

    assert len({wrong(Hidden(), view(round=round)) for round in range(9)}) == 1
    fellow = view(5, (0, 1, 2, 3, 4, 6), (0, 1, 3, 4, 6))
    assert wrong(Hidden(), fellow) == wrong(Hidden(), view())
    assert len({int(wrong(Hidden(), view(seed=seed))) for seed in range(20)}) > 3
    assert wrong(Hidden(coordinate=7), view()) == 7
    assert wrong(Hidden(coordinate=10), view()) == 1


# --- copies -----------------------------------------------------------------------------------------------------------


def scores(rounds, honest):
    """Sum over rounds of squared parts along the first right singular vector, neighbour by neighbour."""
    total = np.zeros(len(honest))
    for messages in rounds:
        flat = messages[honest].reshape(len(honest), -1)
        flat = flat - flat.mean(axis=0)
        total += (flat @ np.linalg.svd(flat)[2][0]) ** 2
    return total


def test_mimicry_repeats_the_neighbour_of_the_largest_projected_variance():
    rng = np.random.default_rng(6)
    rounds = [rng.standard_normal((7, 2, 9)) * ([1], [3]) for _ in range(8)]
    attack, memory = Mimic(warmup=5), Mimic().init(None, view())
    for round, said in enumerate(rounds):
        here = view(round=round)
        lies, memory = attack(np.tile(said[2], (6, 1, 1)), hear(said[list(OTHERS)]), memory, None, here)
        best = HONEST[np.argmax(scores(rounds[: min(round + 1, 5)], HONEST))]
        assert lies.tobytes() == np.tile(said[best], (6, 1, 1)).tobytes()
    np.testing.assert_allclose(memory.score[[0, 1, 2, 3, 5]], scores(rounds[:5], HONEST), rtol=1e-9)
    assert memory.score[4] == 0  # its fellow


def test_mimicry_of_somebody_silent_falls_to_the_next_best(said):
    here, attack = view(), Mimic()
    order = np.array(HONEST)[np.argsort(-scores([said], HONEST))]
    truth = np.tile(said[2], (6, 1, 1))
    _, memory = attack(truth, hear(said[list(OTHERS)]), attack.init(None, here), None, here)
    silent = hear(said[list(OTHERS)], [-1 if rank == order[0] else 0 for rank in OTHERS])
    later = here._replace(round=50)
    np.testing.assert_array_equal(attack(truth, silent, memory, None, later)[0][0], said[order[1]])


def test_colluders_draw_the_same_lot_and_keep_to_it():
    said, found = np.random.default_rng(7).standard_normal((9, 1, 3)), []
    for rank, sources in ((2, (0, 1, 3, 4, 6)), (5, (0, 1, 3, 4, 6, 8))):
        start = view(rank, sources, (0,), round=0)
        memory = Mimic("random").init(None, start)
        for round in range(4):
            here = start._replace(round=round)
            lies, memory = Mimic("random")(said[rank][None], hear(said[list(sources)]), memory, None, here)
            found.append([who for who in range(9) if np.array_equal(said[who], lies[0])])
    seeds = {int(np.argmax(Mimic("random").init(None, view(seed=seed, round=0)).score)) for seed in range(30)}
    assert found[:4] == [found[0]] * 4
    assert found[4:] == [found[4]] * 4
    assert found[0] == found[4] or found[4] == [8]  # whom only one of them hears
    assert len(seeds) > 3


def test_a_network_that_is_mimicked_hears_one_rank_several_times():
    x = np.random.default_rng(8).standard_normal((7, 5))
    liars = {2: Mimic("random"), 5: Mimic("random")}
    after, heard = one_round(nx.complete_graph(7), liars, x)
    copied = [rank for rank in HONEST if np.array_equal(heard[6][3], x[rank])]
    assert len(copied) == 1
    expected = (x[HONEST].sum(axis=0) + 2 * x[copied[0]]) / 7
    np.testing.assert_allclose(after[HONEST], np.tile(expected, (5, 1)), rtol=1e-12, atol=1e-14)


# --- against a rule ---------------------------------------------------------------------------------------------------


def test_the_trim_attack_is_a_little_outside_on_the_side_that_the_victim_leaves(said):
    said[1, 0, 4] = said[[0, 3, 4, 6], 0, 4].mean()  # rank 1 does not move in this coordinate
    lies = lie(FangTrim(factor=3.0), said)
    honest, mean = said[HONEST], said[HONEST].mean(axis=0)
    for row, victim in enumerate(OTHERS):
        if victim == 5:
            np.testing.assert_array_equal(lies[row], said[2])
            continue
        for place in np.ndindex(2, 9):
            value, top, bottom = lies[row][place], honest[:, *place].max(), honest[:, *place].min()
            move = mean[place] - said[victim][place]
            if abs(move) < 1e-12:
                continue
            if move < 0:
                assert top <= value <= (3 * top if top > 0 else top / 3)
            else:
                assert bottom >= value >= (3 * bottom if bottom < 0 else bottom / 3)


def test_the_trim_attack_says_the_mean_to_whom_it_could_not_hold_back():
    said = np.random.default_rng(9).standard_normal((7, 1, 3))
    said[:, 0, 1] = 5.0
    assert (lie(FangTrim(), said)[[0, 1, 2, 3, 5], 0, 1] == 5.0).all()


@pytest.mark.parametrize("b", [1, 2])
def test_the_trim_attack_holds_a_trimmed_mean_back_in_every_coordinate(b):
    x = np.random.default_rng(10).standard_normal((9, 30))
    liars = {2: FangTrim(), 5: FangTrim()}
    held, _ = one_round(nx.complete_graph(9), liars, x, TrimmedMean(b=b))
    honest = [0, 1, 3, 4, 6, 7, 8]
    way = np.sign(x[honest].mean(axis=0) - x[honest])
    at_mean = x.copy()
    at_mean[[2, 5]] = x[honest].mean(axis=0)
    free, _ = one_round(nx.complete_graph(9), {}, at_mean, TrimmedMean(b=b))
    gain = (way * (free[honest] - held[honest])).ravel()
    assert gain.min() >= -1e-12
    assert gain.mean() > 0.05


def krum(vectors, b):
    """Index of the vector with the least sum of squared distances to its n - b - 2 nearest others."""
    count = max(len(vectors) - b - 2, 1)
    sums = []
    for place, vector in enumerate(vectors):
        others = np.delete(vectors, place, axis=0)
        sums.append(np.sort(((others - vector) ** 2).sum(axis=1))[:count].sum())
    return np.array(sums)


def wins(honest, z, b):
    sums = krum(np.concatenate([honest, np.tile(z, (b, 1))]), b)
    return sums[-1] <= sums[:-1].min() * (1 + 1e-9)


@pytest.mark.parametrize("h", [3, 5, 8])
@pytest.mark.parametrize("b", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_krum_attack_goes_as_far_as_krum_still_chooses_it(h, b, seed):
    honest = np.random.default_rng(seed).standard_normal((h, 6)) + 2
    ranks, mean = tuple(range(h)), honest.mean(axis=0)
    said = np.concatenate([honest, honest[:1]])[:, None]
    lies = lie(FangKrum(b=b), said, view(h, ranks, ranks, (h,)))[:, 0]
    for victim in range(h):
        way = np.sign(mean - honest[victim])
        size = np.abs(mean - lies[victim]).max()
        np.testing.assert_allclose(mean - lies[victim], size * way, atol=1e-12)
        assert size > 0.01
        assert wins(honest, lies[victim], b)
        if b - 1 < h - 2:  # else the liars win by themselves
            for factor in (1.001, 1.1, 1.5, 2.0, 3.0, 5.0, 10.0):
                assert not wins(honest, mean - factor * size * way, b)


def test_the_krum_attack_counts_its_fellows_and_takes_one_honest_rank_for_the_mean(said):
    np.testing.assert_array_equal(lie(FangKrum(), said), lie(FangKrum(b=2), said))
    assert not np.array_equal(lie(FangKrum(), said), lie(FangKrum(b=1), said))
    alone = lie(FangKrum(), said, view(2, (0, 5), (0, 5)))
    np.testing.assert_array_equal(alone[0], said[0])
    two = lie(FangKrum(), said, view(2, (0, 1, 5), (0, 1, 5)))
    assert np.isfinite(two).all()


def test_krum_chooses_liars_who_are_many_however_far_they_go_and_the_lie_stays_finite(said):
    here = view(2, (0, 1, 5), (0, 1, 5))
    lies = lie(FangKrum(b=5), said, here)
    assert np.isfinite(lies).all()
    assert np.linalg.norm(lies[0] - said[0]) > 1


# --- with the graph in view -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "liars", "alone"),
    [
        (nx.complete_graph(7), (2, 5), [0, 1, 3, 4, 6]),
        (nx.cycle_graph(3), (1,), [0, 2]),
        (nx.cycle_graph(8), (2, 4), [3]),
    ],
    ids=["complete", "triangle", "between two liars on a ring"],
)
def test_who_is_isolated_keeps_its_own_vector(graph, liars, alone):
    x = np.random.default_rng(11).standard_normal((len(graph), 5))
    after, _ = one_round(graph, {rank: told(Isolation(), graph, rank, liars) for rank in liars}, x)
    np.testing.assert_allclose(after[alone], x[alone], rtol=0, atol=1e-14)
    plain, _ = one_round(graph, {}, x)
    if len(alone) > 1:
        assert np.abs(plain[alone] - x[alone]).max() > 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_isolation_leaves_the_pull_of_those_that_its_liars_do_not_hear(seed):
    graph, liars = nx.gnp_random_graph(9, 0.6, seed=seed), (1, 6)
    matrix = metropolis(graph)
    x = np.random.default_rng(seed).standard_normal((9, 4))
    after, _ = one_round(graph, {rank: told(Isolation(), graph, rank, liars) for rank in liars}, x)
    for victim in set(range(9)) - set(liars):
        near = [liar for liar in liars if graph.has_edge(victim, liar)]
        expected = x[victim].copy()
        for other in set(graph[victim]) - set(liars):
            cancelled = sum(matrix[victim, b] for b in near if graph.has_edge(other, b)) / (
                matrix[victim, near].sum() or 1
            )
            expected += matrix[victim, other] * (1 - cancelled) * (x[other] - x[victim])
        np.testing.assert_allclose(after[victim], expected, rtol=0, atol=1e-13)


def bottleneck():
    """Two cliques of four and one of their ranks linked; ranks 8 and 9 lie and are linked with everybody."""
    graph = nx.disjoint_union(nx.complete_graph(4), nx.complete_graph(4))
    graph.add_edge(0, 4)
    graph.add_edges_from((liar, rank) for liar in (8, 9) for rank in range(8))
    graph.add_edge(8, 9)
    return graph


@pytest.mark.parametrize("eps", [0.0, 1.0, 2.5])
def test_spectral_makes_the_slowest_mode_grow_and_leaves_the_others(eps):
    graph, liars = bottleneck(), (8, 9)
    topology = Topology(graph, metropolis(graph))
    x = np.random.default_rng(12).standard_normal((10, 5))
    after, _ = one_round(graph, {rank: told(Spectral(eps), graph, rank, liars) for rank in liars}, x)
    mode = slowest_mode(topology, liars)
    v, w = mode.vector[:8], topology.matrix[:8, :8]
    laplacian = np.diag((w - np.diag(w.diagonal())).sum(axis=1)) - (w - np.diag(w.diagonal()))
    np.testing.assert_allclose(v @ after[:8], (1 + (eps - 1) * mode.value) * (v @ x[:8]), rtol=1e-10)
    rest = np.eye(8) - np.outer(v, v)
    np.testing.assert_allclose(rest @ after[:8], rest @ (x[:8] - laplacian @ x[:8]), atol=1e-13)


def test_the_slowest_mode_is_the_fiedler_vector_and_tells_the_sides_of_a_bottleneck():
    graph, liars = bottleneck(), (8, 9)
    matrix = metropolis(graph)
    mode = slowest_mode(Topology(graph, matrix), liars)
    honest = nx.Graph()
    honest.add_weighted_edges_from((u, v, matrix[u, v]) for u, v in graph.edges if u < 8 and v < 8)
    values = np.linalg.eigvalsh(nx.laplacian_matrix(honest, nodelist=range(8)).toarray())
    assert mode.value == pytest.approx(values[1], rel=1e-9)
    assert np.linalg.norm(mode.vector) == pytest.approx(1)
    assert (mode.vector[:4] * mode.vector[0] > 0).all()
    assert (mode.vector[4:8] * mode.vector[0] < 0).all()
    assert not mode.vector[8:].any()
    quadratic = sum(matrix[u, v] * (mode.vector[u] - mode.vector[v]) ** 2 for u, v in honest.edges)
    assert quadratic == pytest.approx(mode.value, rel=1e-9)


def test_of_many_slowest_modes_one_is_taken_that_no_rounding_turns():
    graph = nx.complete_graph(6)
    mode = slowest_mode(Topology(graph, metropolis(graph)), (5,))
    expected = np.array([4, -1, -1, -1, -1, 0]) / np.sqrt(20)
    np.testing.assert_allclose(mode.vector, expected, atol=1e-12)


def test_without_a_mode_to_push_spectral_repeats_the_victims_own_vector():
    graph = nx.star_graph(4)  # the leaves hear nobody but the liar
    x = np.random.default_rng(13).standard_normal((5, 3))
    after, _ = one_round(graph, {0: told(Spectral(), graph, 0, (0,))}, x)
    np.testing.assert_allclose(after[1:], x[1:], rtol=0, atol=1e-14)


def test_spectral_takes_those_that_it_does_not_hear_for_the_mean_of_the_others():
    graph, liars = bottleneck(), (8,)
    graph.remove_node(9)
    graph.remove_edges_from([(8, 2), (8, 6), (8, 7)])
    topology = Topology(graph, metropolis(graph))
    x = np.random.default_rng(14).standard_normal((9, 5))
    _, heard = one_round(graph, {8: told(Spectral(2.0), graph, 8, liars)}, x)
    mode, ears = slowest_mode(topology, liars), [0, 1, 3, 4, 5]
    filled = np.tile(x[ears].mean(axis=0), (9, 1))
    filled[ears] = x[ears]
    for victim in ears:
        push = 2.0 * mode.value / topology.matrix[victim, 8] * mode.vector[victim] * (mode.vector @ filled)
        np.testing.assert_allclose(heard[victim][-1], x[victim] + push, rtol=1e-10)


@pytest.mark.parametrize("attack", [Isolation(), Spectral()])
def test_an_omniscient_attack_that_was_told_nothing_says_so(attack):
    with pytest.raises(ConfigError, match="has not been told of the run"):
        attack.init(None, view())
    with pytest.raises(ConfigError, match="has not been told of the run"):
        attack(np.zeros((0, 1, 1)), None, (), None, view())


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", LISTENERS, ids=lambda attack: type(attack).__name__)
def test_who_hears_nobody_honest_says_the_honest_message(attack, said):
    truth = np.tile(said[2], (6, 1, 1))
    deaf = hear(said[list(OTHERS)], [-1, -1, -1, -1, 0, -1])  # only its fellow
    np.testing.assert_array_equal(lie(attack, said, heard=deaf), truth)


@pytest.mark.parametrize("attack", LISTENERS, ids=lambda attack: type(attack).__name__)
def test_what_a_fellow_says_changes_nothing(attack, said):
    other = said.copy()
    other[5] = 1e6
    np.testing.assert_array_equal(lie(attack, said), lie(attack, other))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Boost(float("nan")), "'boost' has scale=nan. scale is how many times the difference from the mean, a"),
        (lambda: Constant(float("inf")), "'constant' has value=inf. value is what every number of the message is, a"),
        (lambda: FangKrum(0), "'fang-krum' has b=0. b is a number of liars, at least 1"),
        (lambda: FangTrim(0.5), "'fang-trim' has factor=0.5. factor is finite and at least 1."),
        (lambda: Gaussian(around="me"), "'gaussian' has around='me'. around is one of zero, own, mean."),
        (lambda: Hidden(-1.0), "'hidden' has margin=-1.0. margin is a share of the largest honest distance, finite"),
        (lambda: Hidden(coordinate=-1), "'hidden' has coordinate=-1. coordinate is the number of one, at least 0"),
        (lambda: IPM(float("inf")), "'ipm' has eps=inf. eps is a factor, finite and at least 0."),
        (lambda: Mimic("best"), "'mimic' has pick='best'. pick is one of variance, random."),
        (lambda: Mimic(warmup=0), "'mimic' has warmup=0. warmup is a number of rounds, at least 1."),
        (lambda: MinMax("up"), "'min-max' has direction='up'. direction is one of std, mean, sign."),
        (lambda: MinSum("up"), "'min-sum' has direction='up'. direction is one of std, mean, sign."),
        (lambda: SignFlip(of="all"), "'sign-flip' has of='all'. of is one of own, mean."),
        (lambda: Spectral(-1.0), "'spectral' has eps=-1.0. eps is a factor, finite and at least 0."),
        (lambda: UniformNoise(1.0, 0.0), "'uniform-noise' has low=1.0 and high=0.0. Both are finite, low at most high"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(words)
