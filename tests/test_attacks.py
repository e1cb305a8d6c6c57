"""What each attack promises beyond the contract: its formula, and that it hurts where it should."""

import math

import numpy as np
import pytest

from dmtl.attacks.alie import ALIE, z_max
from dmtl.attacks.dissensus import Dissensus
from dmtl.attacks.drag import Drag
from dmtl.attacks.gaussian import Gaussian
from dmtl.attacks.nan import NaN
from dmtl.attacks.shrink import Shrink
from dmtl.attacks.sign_flip import SignFlip
from dmtl.attacks.silent import Silent
from dmtl.attacks.two_faced import TwoFaced
from dmtl.errors import ConfigError
from dmtl.mailbox import Mailbox, nothing
from dmtl.types import Inbox, Outbox, View


def view(rank, sources, targets, colluders, seed=3, round=2):
    k = len(sources)
    weights = np.full(1 + k, 1 / (1 + k))
    out_weights = np.full(1 + len(targets), 1 / (1 + len(targets)))
    return View(rank, sources, targets, weights, out_weights, np.ones(k), seed, False, colluders, np.ones(k), round)


def hear(messages, age=None):
    messages = np.asarray(messages)
    age = np.zeros(len(messages), dtype=np.int64) if age is None else np.asarray(age)
    rows = tuple(np.concatenate([messages[:1], messages])[:, row] for row in range(messages.shape[1]))
    return Inbox(messages, age, rows, np.hstack(rows), 1e100)


def lie(attack, outbox, inbox, here):
    return attack(outbox, inbox, attack.init(None, here), None, here)[0]


@pytest.fixture
def crowd():
    """Seven ranks that all hear each other; 2 and 5 collude. Their honest messages (7, 2, 4), and rank 2's inbox."""
    said = np.random.default_rng(0).standard_normal((7, 2, 4))
    others = (0, 1, 3, 4, 5, 6)
    return said, hear(said[list(others)]), view(2, others, others, (2, 5))


def honest_outbox(said, rank=2, targets=6):
    return np.tile(said[rank], (targets, 1, 1))


def test_sign_flip_says_the_opposite(crowd):
    said, inbox, here = crowd
    np.testing.assert_array_equal(lie(SignFlip(3.0), honest_outbox(said), inbox, here), -3 * honest_outbox(said))


def test_drag_tells_each_victim_its_own_words_moved_a_step_and_fellow_liars_the_truth(crowd):
    said, inbox, here = crowd
    truth, heard = honest_outbox(said), inbox.age.copy()
    heard[1] = -1  # rank 1 is not heard
    lies = lie(Drag(r=0.1, target=3.0), truth, inbox._replace(age=heard), here)
    for place, target in enumerate(here.targets):
        words = said[2] if target == 1 else said[target]
        expected = said[2] if target == 5 else 0.9 * words + 0.3
        np.testing.assert_allclose(lies[place], expected, rtol=1e-14)
    np.testing.assert_array_equal(lie(Drag(r=0.0), truth, inbox, here)[0], said[0])


def test_shrink_draws_a_factor_for_each_vector_target_and_round():
    truth, here = np.full((50, 3, 4), 2.0), view(2, (), tuple(range(3, 53)), (2,))
    now, later = (lie(Shrink(scale=0.1), truth, hear(np.empty((0, 3, 4))), here._replace(round=t)) for t in (1, 2))
    factors = now[:, :, 0] / 2
    np.testing.assert_array_equal(now, np.repeat(2 * factors[:, :, None], 4, axis=2))
    assert len(np.unique(factors)) == 150
    assert 0 <= factors.min() < 0.01
    assert 0.09 < factors.max() < 0.1
    assert not np.intersect1d(now, later).size


def test_gaussian_noise_is_the_same_to_all_and_new_in_each_round():
    here = view(2, (), (0, 1), (2,))
    outbox = np.full((2, 1, 40_000), 5.0)
    lies = lie(Gaussian(sigma=3.0), outbox, hear(np.empty((0, 1, 40_000))), here)
    np.testing.assert_array_equal(lies[0], lies[1])
    assert abs(lies[0].mean()) < 0.1
    assert lies[0].std() == pytest.approx(3.0, rel=0.02)
    later = lie(Gaussian(sigma=3.0), outbox, hear(np.empty((0, 1, 40_000))), here._replace(round=3))
    assert abs(np.corrcoef(lies[0, 0], later[0, 0])[0, 1]) < 0.05


def test_alie_is_z_standard_deviations_below_the_mean_of_the_honest(crowd):
    said, inbox, here = crowd
    honest = said[[2, 0, 1, 3, 4, 6]]  # all that it hears but its accomplice, and itself
    lies = lie(ALIE(z=1.3), honest_outbox(said), inbox, here)
    expected = np.tile(honest.mean(axis=0) - 1.3 * honest.std(axis=0), (6, 1, 1))
    np.testing.assert_allclose(lies, expected, rtol=1e-12)


def test_alie_computes_z_from_its_own_neighbourhood(crowd):
    said, inbox, here = crowd
    computed = lie(ALIE(), honest_outbox(said), inbox, here)
    given = lie(ALIE(z=z_max(7, 2)), honest_outbox(said), inbox, here)
    np.testing.assert_array_equal(computed, given)


@pytest.mark.parametrize(("n", "b"), [(7, 1), (50, 24), (50, 12), (21, 4)])
def test_the_z_of_alie_leaves_the_papers_share_of_honest_vectors_below_it(n, b):
    share = (n - b - (n // 2 + 1 - b)) / (n - b)
    z = z_max(n, b)
    if 0.3 < z < 3:
        assert 0.5 * (1 + math.erf(z / math.sqrt(2))) == pytest.approx(share, abs=1e-12)
    else:
        assert z == pytest.approx(0.3)
        assert share <= 0.5 * (1 + math.erf(0.3 / math.sqrt(2)))


def test_the_z_of_alie_is_within_its_limits_in_any_neighbourhood():
    zs = [z_max(n, b) for n in range(1, 30) for b in range(1, n + 1)]
    assert min(zs) == pytest.approx(0.3)
    assert max(zs) == pytest.approx(3.0)


def average_of(victim, said, lies, targets, liars):
    """The plain average at a victim that hears everybody; all liars tell it the same."""
    heard = said.copy()
    heard[list(liars)] = lies[targets.index(victim)]
    return heard.mean(axis=0)


def test_dissensus_of_strength_one_cancels_the_pull_of_the_honest(crowd):
    said, inbox, here = crowd
    lies = lie(Dissensus(eps=1.0), honest_outbox(said), inbox, here)
    for victim in (0, 1, 3, 4, 6):
        stuck = average_of(victim, said, lies, here.targets, (2, 5))
        np.testing.assert_allclose(stuck, said[victim], rtol=0, atol=1e-14)


def test_dissensus_beyond_one_drives_victims_away_from_the_others(crowd):
    said, inbox, here = crowd
    lies = lie(Dissensus(), honest_outbox(said), inbox, here)
    honest = said[[0, 1, 3, 4, 6]].mean(axis=0)
    for victim in (0, 1, 3, 4, 6):
        moved = average_of(victim, said, lies, here.targets, (2, 5))
        assert np.linalg.norm(moved - honest) > np.linalg.norm(said[victim] - honest)


def test_dissensus_says_the_truth_to_whom_it_does_not_hear_and_to_accomplices(crowd):
    said, inbox, here = crowd
    age = np.array([0, -1, 0, 0, 0, 0])  # rank 1 is not heard
    truth = honest_outbox(said)
    lies = lie(Dissensus(), truth, inbox._replace(age=age), here)
    for row, target in enumerate(here.targets):
        assert np.array_equal(lies[row], truth[row]) == (target in (1, 5))


@pytest.mark.parametrize("attack", [ALIE(), Dissensus()])
def test_listening_attacks_are_honest_as_long_as_they_hear_nobody(attack, crowd):
    said, inbox, here = crowd
    truth = honest_outbox(said)
    np.testing.assert_array_equal(lie(attack, truth, inbox._replace(age=np.full(6, -1)), here), truth)


def test_two_faces_lie_evenly_around_the_truth(crowd):
    said, inbox, here = crowd
    truth = honest_outbox(said)
    lies = lie(TwoFaced(scale=2.0), truth, inbox, here)
    even, odd = lies[here.targets.index(0)], lies[here.targets.index(1)]
    np.testing.assert_allclose((even + odd) / 2, said[2], rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(even - said[2], axis=1), 2 * np.linalg.norm(said[2], axis=1))
    for row, target in enumerate(here.targets):
        np.testing.assert_array_equal(lies[row], odd if target % 2 else even)


def test_two_faced_colluders_pull_the_same_way_without_talking(crowd):
    said, inbox, here = crowd
    pulls = []
    for rank in (2, 5):
        truth = honest_outbox(said, rank)
        pull = lie(TwoFaced(), truth, inbox, here._replace(rank=rank))[0] - truth[0]
        pulls.append(pull / np.linalg.norm(pull, axis=1, keepdims=True))
    np.testing.assert_allclose(pulls[0], pulls[1], rtol=1e-12)


def test_nan_is_refused_by_whoever_examines_it(crowd):
    said, inbox, here = crowd
    lies = lie(NaN(), honest_outbox(said), inbox, here)
    assert np.isnan(lies).all()
    assert not hear(lies).valid.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_silence_is_heard_as_nothing_and_nan_as_something(dtype):
    here, there = view(0, (1,), (1,), (0,)), view(1, (0,), (0,), (0,))
    truth = np.ones((1, 2, 3), dtype)
    ages = []
    for attack in (Silent(), NaN()):
        lies = lie(attack, truth, hear(truth), here)
        assert lies.dtype == dtype
        sender, receiver = Mailbox(here, (2, 3), dtype), Mailbox(there, (2, 3), dtype)
        receiver.clear()
        assert sender.post(Outbox((), lies))
        receiver.heard[0] = sender.edges[0]
        ages.append(receiver.open().age.item())
    assert ages == [-1, 0]
    marks = lie(Silent(), truth, hear(truth), here)
    assert marks.tobytes() == nothing(dtype).tobytes() * 6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SignFlip(scale=-1.0), "'sign-flip' has scale=-1.0"),
        (lambda: Gaussian(sigma=-1.0), "'gaussian' has sigma=-1.0"),
        (lambda: ALIE(z=float("inf")), "'alie' has z=inf"),
        (lambda: Dissensus(eps=float("nan")), "'dissensus' has eps=nan"),
        (lambda: Drag(r=1.5), "'drag' has r=1.5. r is a share of the way, at most 1."),
        (lambda: Drag(r=-0.1), "'drag' has r=-0.1"),
        (lambda: Drag(target=math.inf), "'drag' has target=inf"),
        (lambda: Shrink(scale=-1.0), "'shrink' has scale=-1.0"),
        (lambda: TwoFaced(scale=-0.1), "'two-faced' has scale=-0.1"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value).startswith(words)
