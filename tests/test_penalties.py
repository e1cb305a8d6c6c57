"""Proximal maps against what defines them: the optimality condition, Moreau's identity, an independent minimiser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from dmtl.consensus.chart import chart
from dmtl.errors import ConfigError
from dmtl.penalties.network import Fused
from dmtl.penalties.norms import Columns, Entries, Peaks, Rows
from dmtl.penalties.penalty import Gauge, Linked, Penalty, Summed
from dmtl.penalties.quadratic import Laplacian, Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures, SparseLowRank
from dmtl.penalties.symmetric import square, triangle
from dmtl.penalties.tree import Tree
from dmtl.registry import names
from dmtl.specs import make
from tests.networks import GRAPHS

T, D = 8, 5
GRAPH = chart(GRAPHS["random"])
ALL = {
    "clustered": Clustered(2, 0.7, 0.3),
    "columns": Columns(0.7),
    "dirty": Dirty(0.9, 0.4),
    "l1": Entries(0.7),
    "l1inf": Peaks(0.7),
    "l21": Rows(0.7),
    "laplacian": Laplacian(0.7),
    "mean": Mean(0.7),
    "mtrl": Relationship(0.7, 0.2),
    "network-lasso": Fused(0.4),
    "nuclear": LowRank(0.7),
    "robust": Robust(0.9, 0.5),
    "robust-features": RobustFeatures(0.9, 0.5),
    "sparse-low-rank": SparseLowRank(0.4, 3.0),
    "squared-nuclear": SquaredNuclear(0.2),
    "tree": Tree("0-3|4-6/0-1|2-3", 0.8, 0.3, 0.2),
}
KNOWN = {
    name: piece.linked(GRAPH.edges, GRAPH.couplings, T) if isinstance(piece, Linked) else piece
    for name, piece in ALL.items()
}
GAUGES = [name for name, piece in KNOWN.items() if isinstance(piece, Gauge)]
SUMMED = [name for name, piece in KNOWN.items() if isinstance(piece, Summed)]


def draw(penalty: Penalty, seed: int, size: float = 1.0) -> np.ndarray:
    return size * np.random.default_rng(seed).standard_normal((penalty.copies * D, T))


def test_every_penalty_of_the_registry_is_tried_here():
    assert sorted(ALL) == sorted(names("penalty"))
    assert set(GAUGES) == {"columns", "l1", "l1inf", "l21", "nuclear"}
    assert "tree" in SUMMED
    assert set(ALL) - set(SUMMED) == {"dirty", "l1inf", "laplacian", "network-lasso"}


@pytest.mark.parametrize("name", ALL)
@given(seed=st.integers(0, 10**6), step=st.floats(0.01, 5.0), scale=st.floats(0.01, 10.0))
@settings(max_examples=25, deadline=None)
def test_the_proximal_map_is_below_all_points_near_it_and_far_from_it(name, seed, step, scale):
    """g(U) >= g(P) + <(V - P) / step, U - P> for all U: (V - P) / step is in dg(P), so P is the proximal point."""
    penalty = KNOWN[name]
    v = draw(penalty, seed, scale)
    p = penalty.prox(v, step)
    slope, value = (v - p) / step, penalty.value(p)
    rng = np.random.default_rng(seed + 1)
    tried = [0 * p, v, -p, p / 2, 2 * p, *(p + scale * 10.0**-e * rng.standard_normal(p.shape) for e in (0, 2, 4))]
    for u in tried:
        room = 1e-9 * (1 + abs(value) + abs(np.sum(slope * p)))
        assert penalty.value(u) >= value + np.sum(slope * (u - p)) - room


@pytest.mark.parametrize("name", ALL)
def test_the_proximal_map_is_firmly_nonexpansive(name):
    penalty = KNOWN[name]
    for seed in range(10):
        a, b = draw(penalty, seed), draw(penalty, seed + 100)
        gap = penalty.prox(a, 0.8) - penalty.prox(b, 0.8)
        assert np.sum(gap * gap) <= np.sum(gap * (a - b)) + 1e-10


@pytest.mark.parametrize("name", GAUGES)
@given(seed=st.integers(0, 10**6), step=st.floats(0.05, 3.0))
@settings(max_examples=25, deadline=None)
def test_moreau_what_the_map_takes_away_is_the_projection_on_the_dual_ball(name, seed, step):
    """V = prox_{step g}(V) + step proj(V / step), the projection on {dual(G) <= 1}; and <P, V - P> = step g(P)."""
    penalty = KNOWN[name]
    v = draw(penalty, seed, 3.0)
    p = penalty.prox(v, step)
    taken = (v - p) / step
    assert penalty.dual(taken) <= 1 + 1e-10
    assert np.sum(taken * p) == pytest.approx(penalty.value(p), abs=1e-9 * (1 + penalty.value(v)))


@pytest.mark.parametrize("name", GAUGES)
def test_the_dual_norm_is_the_least_bound_of_the_product_and_zero_is_where_it_says(name):
    penalty = KNOWN[name]
    rng = np.random.default_rng(0)
    g = draw(penalty, 1)
    least = penalty.dual(g)
    ratios = [np.sum(g * w) / penalty.value(w) for w in rng.standard_normal((200, D, T))]
    assert max(ratios) <= least
    assert not penalty.prox(g, least * (1 + 1e-12)).any()  # the least step that takes everything
    assert penalty.prox(g, least * (1 - 1e-6)).any()
    assert penalty.dual(0 * g) == 0


@pytest.mark.parametrize("name", SUMMED)
@pytest.mark.parametrize("tasks", [7, T, 20])
def test_a_task_finds_its_column_from_one_sum(name, tasks):
    penalty = ALL[name].linked(GRAPH.edges, GRAPH.couplings, tasks) if name == "tree" else KNOWN[name]
    each = [penalty.placed(rank) if name == "tree" else penalty for rank in range(tasks)]
    v = 2 * np.random.default_rng(tasks).standard_normal((penalty.copies * D, tasks))
    total = np.sum([here.summary(column) for here, column in zip(each, v.T, strict=True)], axis=0)
    assert total.shape == (penalty.length(penalty.copies * D),)
    found = np.stack([here.shrink(column, total, 0.6) for here, column in zip(each, v.T, strict=True)], axis=1)
    assert np.allclose(found, penalty.prox(v, 0.6), rtol=0, atol=1e-12 * np.abs(v).max() * tasks)


@pytest.mark.parametrize("name", ["squared-nuclear", "mtrl", "clustered", "mean", "laplacian", "tree", "network-lasso"])
def test_the_proximal_map_is_what_an_independent_minimiser_finds(name):
    penalty = KNOWN[name]
    v = draw(penalty, 5, 2.0)

    def objective(flat):
        w = flat.reshape(v.shape)
        return 0.9 * penalty.value(w) + np.sum((w - v) ** 2) / 2

    p = penalty.prox(v, 0.9)
    found = minimize(objective, p.ravel() + 1e-3, method="L-BFGS-B", options={"maxiter": 500})
    assert objective(p.ravel()) <= found.fun + 1e-10
    assert np.allclose(found.x.reshape(v.shape), p, atol=2e-2)


def test_learned_relations_are_the_squared_trace_norm():
    """min_Omega tr(W Omega^-1 W') over Omega >= 0 with trace 1 is |W|_*^2, at Omega = (W'W)^(1/2) / trace."""
    w = np.random.default_rng(3).standard_normal((D, 4))
    values, vectors = np.linalg.eigh(w.T @ w)
    best = (vectors * np.sqrt(values)) @ vectors.T / np.sqrt(values).sum()
    at_best = np.trace(w @ np.linalg.solve(best, w.T))
    assert Relationship(2.0).value(w) == pytest.approx(at_best)
    for seed in range(20):
        root = np.random.default_rng(seed).standard_normal((4, 4))
        omega = root @ root.T
        assert np.trace(w @ np.linalg.solve(omega / np.trace(omega), w.T)) >= at_best


def test_clusters_and_alternating_structure_are_one_penalty():
    """min over M (T, T) and over M (d, d) alike: c sum sigma^2 / (eta + m)."""
    penalty, w = Clustered(2, 0.7, 0.3), np.random.default_rng(3).standard_normal((D, T))
    value = penalty.value(w)
    assert Clustered(2, 0.7, 0.3).value(w.T) == pytest.approx(value, rel=1e-12)
    for rows in (w, w.T):
        size = rows.shape[1]
        for seed in range(30):
            rng = np.random.default_rng(seed)
            basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
            shares = rng.dirichlet(np.ones(size)) * 2
            if shares.max() <= 1:  # a random M with trace 2 between 0 and I
                m = (basis * shares) @ basis.T
                assert penalty.cost * np.trace(rows @ np.linalg.solve(0.3 * np.eye(size) + m, rows.T)) >= value - 1e-12


@pytest.mark.parametrize("k", [1, 2, 4, 5, 9])
def test_all_of_the_clusters_are_given_to_the_directions_that_are_there(k):
    sigma = np.array([5.0, 3.0, 2.0, 1.0, 0.5])
    members = Clustered(k, 1.0, 0.2).members(sigma)
    assert members.sum() == pytest.approx(min(k, 5))
    assert members.min() >= 0
    assert members.max() <= 1
    inside = (members > 0) & (members < 1)
    slopes = sigma[inside] / (0.2 + members[inside])
    assert slopes.size == 0 or np.ptp(slopes) <= 1e-9  # equal multipliers


def test_limits_of_clusters():
    """One singular value for each cluster: a ridge. None: the other ridge."""
    w = np.random.default_rng(1).standard_normal((D, T))
    whole = Clustered(5, 0.7, 0.3)
    assert whole.value(w) == pytest.approx(0.7 * 0.3 * np.sum(w * w))
    assert np.allclose(whole.prox(w, 0.5), w / (1 + 2 * 0.5 * 0.7 * 0.3))


@given(st.integers(1, 7))
def test_a_symmetric_matrix_travels_as_its_upper_triangle(d):
    v = np.random.default_rng(d).standard_normal(d)
    assert np.array_equal(square(triangle(np.outer(v, v))), np.outer(v, v))


def test_a_hierarchy_is_the_ridge_of_its_parts_at_the_best_ones():
    """min over the parts with sum W of own/2 |u_t|^2 + group/2 |u_g|^2 + common/2 |u_0|^2, by least squares."""
    groups, w = ([0, 1, 2, 3], [4, 5, 6], [0, 1], [2, 3]), np.random.default_rng(0).standard_normal((D, T))
    parts = [np.eye(T)[:, [t]] for t in range(T)]
    parts += [np.isin(np.arange(T), group).astype(float)[:, None] for group in groups]
    parts += [np.eye(T)[:, [7]], *(np.eye(T)[:, [t]] for t in (4, 5, 6, 7)), np.ones((T, 1))]
    ridge = np.concatenate(([0.8] * T, [0.3] * (len(parts) - T - 1), [0.2]))
    scaled = np.concatenate(parts, axis=1) / np.sqrt(ridge)
    u = np.linalg.lstsq(scaled, w.T, rcond=None)[0]  # of all that fit, the one with the least ridge
    assert KNOWN["tree"].value(w) == pytest.approx(np.sum(u * u) / 2)


def test_groups_have_to_be_of_ranks_that_are_there():
    with pytest.raises(ConfigError, match=r"a group with rank 9; there are 8 ranks"):
        Tree("0-9").linked(GRAPH.edges, GRAPH.couplings, T)


@pytest.mark.parametrize("name", ALL)
def test_no_strength_is_no_penalty_and_zero_stays_zero(name):
    penalty = KNOWN[name]
    assert not penalty.prox(np.zeros((penalty.copies * D, T)), 0.7).any()
    assert penalty.value(np.zeros((penalty.copies * D, T))) == 0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "l21", "strength": "-1"}, "strength=-1.0. strength is a weight, a finite number of at least 0"),
        ({"name": "clustered", "k": "0"}, "k is a number of clusters, at least 1"),
        ({"name": "clustered", "k": "2", "eta": "0"}, "eta is a finite number above 0"),
        ({"name": "sparse-low-rank", "radius": "nan"}, "radius is a finite number above 0"),
        ({"name": "dirty", "own": "inf"}, "own is a weight"),
        ({"name": "tree", "groups": "0-3|2-4"}, "has a rank twice on a level"),
        ({"name": "tree", "groups": "0-3|4-7/2-5"}, "cross: a group lies within one of each level before"),
        ({"name": "tree", "groups": "a-b"}, "names no ranks. Write groups such as"),
        ({"name": "tree", "own": "0"}, "own is a finite number above 0"),
    ],
)
def test_settings_that_no_penalty_can_have_are_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        make("penalty", spec)
