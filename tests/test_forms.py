"""Systems in several forms: each form reaches the central minimiser, and settings of another form are refused."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from dmtl.algorithms.central import problem
from dmtl.algorithms.clustered import ClusteredMTL
from dmtl.algorithms.engines import lifted
from dmtl.algorithms.joint_sparse import JointSparse
from dmtl.algorithms.lifted import Lifted
from dmtl.algorithms.relationship import Relationship
from dmtl.algorithms.replicated import Replicated
from dmtl.algorithms.robust_mtl import RMTFL, RobustMTL
from dmtl.algorithms.trace_norm import TraceNorm
from dmtl.build import plan
from dmtl.capabilities import Telling
from dmtl.config import load
from dmtl.consensus.chart import chart
from dmtl.errors import CompatibilityError, ConfigError
from dmtl.penalties.norms import Rows
from dmtl.penalties.spectral import Clustered, LowRank
from dmtl.penalties.spectral import Relationship as Relations
from dmtl.penalties.sums import Robust, RobustFeatures
from dmtl.simulator import simulate
from dmtl.specs import describe, make, parse
from tests.networks import network, quadratics
from tests.test_lifted import ENGINES, SHAPES, reach

SYSTEMS = {
    "clustered": (ClusteredMTL, {"k": 2, "strength": 0.4, "eta": 0.5}, Clustered(2, 0.4, 0.5)),
    "joint-sparse": (JointSparse, {"strength": 1.5}, Rows(1.5)),
    "relationship": (Relationship, {"strength": 0.2, "ridge": 0.1}, Relations(0.2, 0.1)),
    "rmtfl": (RMTFL, {"features": 1.0, "outliers": 0.8}, RobustFeatures(1.0, 0.8)),
    "robust-mtl": (RobustMTL, {"low_rank": 1.0, "outliers": 1.0}, Robust(1.0, 1.0)),
    "trace-norm": (TraceNorm, {"strength": 1.5}, LowRank(1.5)),
}


def pairing():
    """Each system on each graph, engines in turn; a small graph first, the others are slow."""
    for i, name in enumerate(SYSTEMS):
        for j, shape in enumerate(["path", *SHAPES]):
            engine = ENGINES[(i + j) % 3]
            yield pytest.param(
                name, shape, engine, marks=pytest.mark.slow if j else (), id=f"{name}, {shape}, {engine}"
            )


@pytest.mark.parametrize(("name", "shape", "engine"), list(pairing()))
def test_the_lifted_form_comes_to_the_least_objective_of_the_systems_problem(name, shape, engine):
    piece, given, penalty = SYSTEMS[name]
    graph = nx.path_graph(3) if shape == "path" else SHAPES[shape](8)
    tasks, here = quadratics(len(graph)), chart(graph)
    method = piece(**given, form="lifted", engine=engine).charted(here)
    assert isinstance(method, Lifted)
    reach(graph, method, tasks, problem(tasks, penalty, here))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_form_is_the_method_for_the_systems_penalty(name):
    piece, given, penalty = SYSTEMS[name]
    here = chart(nx.path_graph(3))
    plain = piece(**given).charted(here)
    assert getattr(plain, "method", plain) == Replicated(penalty, here)
    assert piece(**given, form="lifted").charted(here) == lifted(penalty, "nids", here)
    for engine in ENGINES:
        assert piece(**given, form="lifted", engine=engine).charted(here) == lifted(penalty, engine, here)


def test_three_forms_of_the_trace_norm_end_in_the_same_models():
    graph, tasks = nx.cycle_graph(4), quadratics(4)
    methods = (TraceNorm(1.5), 300), (TraceNorm(1.5, "lifted"), 600), (TraceNorm(1.5, "factorised", 4), 1200)
    ends = [
        np.stack([state.x for state in simulate(network(graph, method, tasks), rounds)]) for method, rounds in methods
    ]
    assert np.linalg.matrix_rank(ends[0], 1e-6) < 4
    assert np.allclose(ends[1:], ends[0], rtol=0, atol=1e-6)


def test_relations_are_told_where_models_travel():
    here = chart(nx.path_graph(3))
    assert isinstance(Relationship().charted(here), Telling)
    assert not isinstance(Relationship(form="lifted").charted(here), Telling)


@pytest.mark.parametrize("name", SYSTEMS)
def test_settings_that_a_form_does_not_use_are_refused(name):
    piece, given, _ = SYSTEMS[name]
    with pytest.raises(ConfigError, match=rf"'{name}' has engine=nids, which is for form=lifted\. Leave engine out"):
        piece(**given, engine="nids")
    with pytest.raises(ConfigError, match=rf"unknown form of '{name}' 'lift'. Did you mean 'lifted'\?"):
        piece(**given, form="lift")
    with pytest.raises(ConfigError, match=rf"unknown engine of '{name}' 'nid'. Did you mean 'nids'\?"):
        piece(**given, form="lifted", engine="nid")
    with pytest.raises(ConfigError, match="not smooth"):
        piece(**given, form="lifted", engine="extra")


def test_a_rank_is_for_the_factorised_form():
    for form in ("replicated", "lifted"):
        with pytest.raises(ConfigError, match=r"has rank=3, which is for form=factorised\. Leave rank out"):
            TraceNorm(form=form, rank=3)
    with pytest.raises(ConfigError, match="has engine=nids, which is for form=lifted"):
        TraceNorm(form="factorised", engine="nids")
    with pytest.raises(ConfigError, match="has rank=0"):
        TraceNorm(form="factorised", rank=0)
    with pytest.raises(ConfigError, match="unknown form of 'joint-sparse' 'factorised'"):
        JointSparse(form="factorised")
    here = chart(nx.path_graph(3))
    assert TraceNorm(form="factorised").charted(here) == TraceNorm(form="factorised", rank=5).charted(here)


def test_a_form_is_a_setting_in_a_spec():
    piece = make("algorithm", parse("rmtfl:form=lifted,engine=dadmm", "--algorithm"))
    assert piece == RMTFL(form="lifted", engine="dadmm")
    assert make("algorithm", describe("algorithm", piece)) == piece
    assert "engine" not in describe("algorithm", RMTFL(form="lifted"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"link": "drop=0.1"}, "'joint-sparse' counts on every link in every round"),
        ({"topology": "exponential:directed=true", "weights": "uniform"}, "'joint-sparse' needs an undirected graph"),
        ({"task": "hinge"}, "'joint-sparse' needs a task with a smooth gradient"),
        ({"stop": "gap=1e-6"}, "'joint-sparse' has no certificate: .*a replicated form"),
    ],
)
def test_what_the_lifted_form_cannot_work_with_is_refused_in_one_sentence(more, said):
    base = {"data": "synthetic:rows=20,features=3,classes=2", "ranks": 4, "rounds": 5, "task": "logistic"}
    base["algorithm"] = "joint-sparse:form=lifted"
    plan(load(base))
    with pytest.raises(CompatibilityError, match=said):
        plan(load({**base, **more})).node(0)
