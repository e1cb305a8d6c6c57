"""Sensors that look for targets: the measurements, the task that reads them, and the graph of near sensors."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from dmtl.build import plan
from dmtl.capabilities import Judging, Windowed
from dmtl.config import load
from dmtl.data.localisation import CORNERS, Localisation
from dmtl.data.pool import Dataset
from dmtl.data.split import share, standardise
from dmtl.errors import ConfigError
from dmtl.graphs.near import Near, place
from dmtl.simulator import simulate
from dmtl.tasks.bearing import Bearing

RUN = {
    "data": "localisation:rows=60",
    "task": "bearing",
    "standardise": False,
    "topology": "near:radius=3,most=4",
    "weights": "uniform",
    "stream": 1,
    "rounds": 60,
}


def rows(ranks=12, seed=3, rank=0, **settings):
    """One rank's data."""
    source = Localisation(**settings)
    pool = source.load(ranks, seed)
    return share(pool, np.flatnonzero(pool.task == rank), 0.3, 0.0, seed, rank)


# the graph


def test_a_rank_hears_so_many_near_ranks_and_no_others():
    graph = Near(1.0, 9).graph(100, 0)
    whole = Near(1.0).graph(100, 0)
    assert graph.is_directed()
    assert not whole.is_directed()
    assert nx.is_strongly_connected(graph)
    for rank in range(100):
        heard = set(graph.predecessors(rank))
        assert heard <= set(whole.neighbors(rank))
        assert len(heard) == min(9, len(set(whole.neighbors(rank))))


@pytest.mark.parametrize("radius", [0.9, 1.5])
def test_whoever_is_within_the_radius_is_linked(radius):
    places = np.array([place(rank, 3.0, 5) for rank in range(60)])
    graph = Near(radius).graph(60, 5)
    for i in range(60):
        for j in range(i):
            assert graph.has_edge(i, j) == (np.linalg.norm(places[i] - places[j]) <= radius)


def test_places_fill_the_square_and_do_not_depend_on_the_number_of_ranks():
    places = Localisation(side=2.0).places(2000, 1)
    np.testing.assert_array_equal(places[:7], Localisation(side=2.0).places(7, 1))
    assert places.min() >= 0
    assert places.max() <= 2
    np.testing.assert_allclose(np.histogram2d(*places.T, bins=4, range=[[0, 2]] * 2)[0], 125, atol=45)


def test_the_links_that_are_kept_are_no_preference():
    kept = [set(Near(10.0, 9).graph(12, seed).predecessors(0)) for seed in range(200)]
    counts = np.bincount([rank for links in kept for rank in links], minlength=12)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], 1800 / 11, atol=25)


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"side": -1.0}, {"most": -1}, {"radius": float("nan")}])
def test_a_graph_of_near_ranks_refuses_what_it_cannot_be(wrong):
    with pytest.raises(ConfigError, match=f"^'near' has {next(iter(wrong))}="):
        Near(**wrong)


def test_near_ranks_that_fall_apart_are_refused():
    with pytest.raises(ConfigError, match=r"'near' with radius=0.1, most=0 and 20 ranks is not connected"):
        Near(0.1).graph(20, 0)


# the measurements


def test_every_rank_has_its_quarter_of_the_targets():
    targets = Localisation().targets(100, 4)
    for quarter, corner in enumerate(CORNERS):
        mine = targets[25 * quarter : 25 * quarter + 25]
        assert np.ptp(mine, axis=0).tolist() == [0, 0]
        assert (mine[0] >= corner).all()
        assert (mine[0] <= np.add(corner, 1)).all()


def test_bearings_and_distances_have_the_noise_that_is_said():
    source = Localisation(rows=4000, noisy=0.5)
    pool = source.load(8, 2)
    places, targets = source.places(8, 2), source.targets(8, 2)
    poor = 0
    for rank in range(8):
        mine = pool.task == rank
        u, x, d = pool.x[mine, :2], pool.x[mine, 2:], pool.y[mine]
        assert (x == places[rank]).all()
        sight = targets[rank] - places[rank]
        error = u - sight / np.linalg.norm(sight)
        np.testing.assert_allclose(error[:, 0], error[:, 1], atol=1e-12)
        spread = error[:, 0].std()
        poor += spread > 0.05
        assert 0.0097 < spread < 0.0206 or 0.097 < spread < 0.103
        assert 0.097 < (d - u @ sight).std() < 0.206
    assert poor == 4


def test_rows_come_in_order_and_the_last_are_to_test_on():
    pool = Localisation(rows=30, test=10).load(4, 0)
    mine = np.flatnonzero(pool.task == 2)
    data = rows(4, 0, 2, rows=30, test=10)
    np.testing.assert_array_equal(data.x, pool.x[mine[:30]])
    np.testing.assert_array_equal(data.test_y, pool.y[mine[30:]])


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"test": 0}, {"noisy": 1.5}, {"side": 0.0}])
def test_measurements_refuse_what_they_cannot_be(wrong):
    with pytest.raises(ConfigError, match=f"^'localisation' has {next(iter(wrong))}="):
        Localisation(**wrong)


# the task


def test_without_noise_the_target_has_no_loss_and_no_gradient():
    x, target = np.array([1.0, 2.0]), np.array([11.0, 21.0])
    angles = np.linalg.norm(target - x)
    row = np.concatenate([(target - x) / angles, x])
    none = np.empty((0, 4)), np.empty(0)
    task = Bearing().build(Dataset(np.array([row, row]), np.full(2, angles), *none, *none))
    assert task.loss(target) < 1e-25
    np.testing.assert_allclose(task.grad(target), 0, atol=1e-13)
    across = np.array([-row[1], row[0]])  # the loss is blind across the bearing, the gradient is not
    assert task.loss(target + across) < 1e-25
    np.testing.assert_allclose(task.grad(target + across), across, atol=1e-12)


def test_the_gradient_is_the_slope_of_the_distance_to_the_measured_points_row_by_row():
    data = rows()
    task, w = Bearing().build(data), np.array([3.0, -2.0])
    points = [x[2:] + d * x[:2] for x, d in zip(data.x, data.y, strict=True)]
    np.testing.assert_allclose(task.grad(w), np.mean([w - q for q in points], axis=0), rtol=1e-12)
    losses = [(d + x[2:] @ x[:2] - w @ x[:2]) ** 2 for x, d in zip(data.x, data.y, strict=True)]
    assert task.loss(w) == pytest.approx(np.mean(losses), rel=1e-12)
    assert task.evaluate(w)["train_loss"] == task.loss(w)
    assert task.window(4, 5).loss(w) == pytest.approx(losses[4], rel=1e-12)
    assert task.window(4, 5).surprise(w) == pytest.approx((losses[4], losses[4]), rel=1e-12)


def test_a_batch_is_drawn_and_the_precision_kept():
    data = rows()
    task, w = Bearing(batch=5).build(data), np.array([3.0, -2.0])
    assert task.loss(w, np.random.default_rng(1)) == task.loss(w, np.random.default_rng(1))
    assert task.loss(w, np.random.default_rng(1)) != task.loss(w, np.random.default_rng(2))
    single = replace(data, **{name: getattr(data, name).astype(np.float32) for name in ("x", "y", "test_x", "test_y")})
    assert Bearing().build(single).grad(w.astype(np.float32)).dtype == np.float32


def test_it_judges_models_and_shows_windows():
    pool = Localisation().load(8, 0)
    task = Bearing().build(share(pool, np.flatnonzero(pool.task == 1), 0.3, 0.2, 0, 1))
    assert isinstance(task, Judging)
    assert isinstance(task, Windowed)
    models = np.array([[10.0, 10.0], [np.nan, 0.0]])
    several = np.array([[3.0, -2.0], [10.0, 11.0], [0.0, 0.0]])
    np.testing.assert_allclose(task.losses(several), [task.loss(w) for w in several], rtol=1e-12)
    losses = task.held_out_losses(models)
    assert losses.shape == (2, task.held_out_rows) == (2, 100)
    assert losses[0].mean() == pytest.approx(task.evaluate(models[0])["held_out_loss"])
    assert np.isposinf(losses[1]).all()


def test_other_data_are_refused():
    none = np.empty((0, 3)), np.empty(0)
    three = Dataset(np.ones((5, 3)), np.ones(5), *none, *none)
    with pytest.raises(ConfigError, match=r"^task 'bearing' is for rows of a bearing and a place, 4 features; .* 3\. "):
        Bearing().build(three)
    with pytest.raises(ConfigError, match=r"^task 'bearing' is for bearings and distances; the data have 2\. "):
        Bearing().build(replace(rows(), classes=2))
    with pytest.raises(ConfigError, match="--set standardise=false"):
        Bearing().build(standardise(rows()))


# together


def test_a_run_finds_the_targets():
    """Alone with step 0.1: after 60 rounds 0.9^60 of the start is left, and noise."""
    job = plan(load({**RUN, "algorithm": "local:step_size=0.1", "ranks": 8}), 8)
    nodes = [job.node(rank) for rank in range(8)]
    targets = Localisation().targets(8, 0)
    found = np.array([state.x for state in simulate(nodes, 60)])
    assert (np.linalg.norm(found - targets, axis=1) < 3).all()


def learnt(rule, lying, rounds=200, ranks=16):
    """Where the honest ranks end and what they look for.

    The paper's step, memory and lie; it warms up until its own losses of the start, when the lie is nearer to some
    targets than the model is, are forgotten.
    """
    raw = {
        **RUN,
        "data": f"localisation:rows={rounds}",
        "topology": "near:radius=5,most=9",
        "algorithm": f"resilient-mtl:rule={rule},gamma=0.1,start=10,warm_up=100,worst=0,guard=0,step_size=0.1",
        "byzantine": [{"count": lying, "attack": "constant:value=15,spread=1"}] if lying else [],
        "ranks": ranks,
        "rounds": rounds,
        "seed": 2,
    }
    job = plan(load(raw), ranks)
    states = simulate([job.node(rank) for rank in range(ranks)], rounds)
    honest = [rank for rank in range(ranks) if rank not in job.lies]
    targets = Localisation().targets(ranks, 2)
    return np.array([states[rank].x for rank in honest]), targets[honest]


def off(found):
    return np.mean(np.sum(np.square(found[0] - found[1]), axis=1))


@pytest.mark.parametrize("lying", [0, 4])
def test_judging_by_losses_beats_being_alone_and_averages_are_useless(lying):
    alone = off(learnt("none", lying))
    assert off(learnt("loss", lying)) < 0.5 * alone
    assert off(learnt("average", lying)) > 10


def test_the_last_honest_rank_learns_as_if_it_were_alone():
    np.testing.assert_array_equal(learnt("loss", 15)[0], learnt("none", 15)[0])
