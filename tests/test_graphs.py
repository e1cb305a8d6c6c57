"""Generators, drawn graphs and files: closed forms, laws, and the sentences of every refusal."""

import math
from dataclasses import replace
from itertools import product

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.errors import ConfigError
from dmtl.graphs import cliques, drawn, files, lattices, near
from dmtl.graphs.cliques import Barbell, Dumbbell, Octopus, TwoCastles
from dmtl.graphs.common import check_connected
from dmtl.graphs.drawn import BarabasiAlbert, ErdosRenyi, RandomRegular, SmallWorld
from dmtl.graphs.files import READERS, File, bundled, bundled_sources
from dmtl.graphs.lattices import Complete, Exponential, Grid, Hypercube, Path, Ring, Star, Torus
from dmtl.registry import BUILTIN

ANY_SIZE = [Ring(), Path(), Star(), Complete(), Grid(), Torus(), Exponential(), ErdosRenyi(1.0)]
DRAWN = [ErdosRenyi(0.4), RandomRegular(4), SmallWorld(4, 0.3), BarabasiAlbert(2)]


def spectrum(graph):
    laplacian = np.diag([float(graph.degree(i)) for i in range(len(graph))]) - nx.to_numpy_array(graph, weight=None)
    return np.linalg.eigvalsh(laplacian)


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return File(str(path))


# generators


@pytest.mark.parametrize("piece", ANY_SIZE, ids=lambda piece: type(piece).__name__)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_every_rule_gives_a_connected_simple_graph_of_any_size(piece, n):
    graph = piece.graph(n, 0)
    assert list(graph) == list(range(n))
    assert nx.is_connected(graph)
    assert nx.number_of_selfloops(graph) == 0
    assert not graph.is_directed()
    assert not graph.is_multigraph()


@pytest.mark.parametrize("n", [3, 4, 9, 16])
def test_the_ring_the_path_and_the_complete_graph_have_their_known_spectra(n):
    j = np.arange(n)
    np.testing.assert_allclose(spectrum(Ring().graph(n, 0)), np.sort(2 - 2 * np.cos(2 * np.pi * j / n)), atol=1e-12)
    np.testing.assert_allclose(spectrum(Path().graph(n, 0)), 2 - 2 * np.cos(np.pi * j / n), atol=1e-12)
    np.testing.assert_allclose(spectrum(Complete().graph(n, 0)), [0.0, *[n] * (n - 1)], atol=1e-12)


def test_the_hub_of_a_star_is_rank_0():
    graph = Star().graph(8, 0)
    assert sorted(graph[0]) == list(range(1, 8))
    assert all(list(graph[i]) == [0] for i in range(1, 8))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_a_hypercube_links_numbers_that_differ_in_one_digit(n):
    graph = Hypercube().graph(n, 0)
    assert all(graph.has_edge(i, j) == ((i ^ j).bit_count() == 1) for i, j in product(range(n), repeat=2))
    assert n == 1 or spectrum(graph)[1] == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 6, 8, 13, 16])
def test_an_exponential_graph_links_ranks_a_power_of_two_apart(n):
    graph = Exponential().graph(n, 0)
    hops = {2**j for j in range(10) if 2**j < n}
    for i, j in product(range(n), repeat=2):
        assert graph.has_edge(i, j) == (i != j and ((i - j) % n in hops or (j - i) % n in hops))


@pytest.mark.parametrize("n", [1, 2, 3, 6, 8, 13])
def test_a_directed_exponential_graph_has_the_forward_half_of_the_links(n):
    graph = Exponential(directed=True).graph(n, 0)
    hops = {2**j for j in range(10) if 2**j < n}
    assert set(graph.edges) == {(i, (i + hop) % n) for i in range(n) for hop in hops}
    assert nx.utils.graphs_equal(graph.to_undirected(), Exponential().graph(n, 0))
    check_connected(graph, "here")


@pytest.mark.parametrize("sides", [(3, 4), (1, 5), (2, 2), (2, 3, 4), (7,)])
def test_lattices_are_products_of_paths_and_of_rings(sides):
    shape, n = "x".join(map(str, sides)), math.prod(sides)
    grid, torus = Grid(shape).graph(None, 0), Torus(shape).graph(n, 0)
    for piece, whole in ((Path, grid), (Ring, torus)):
        parts = [
            np.diag([float(g.degree(i)) for i in g]) - nx.to_numpy_array(g)
            for g in (piece().graph(s, 0) for s in sides)
        ]
        kron = np.zeros((n, n))
        for axis, part in enumerate(parts):
            left, right = math.prod(sides[:axis]), math.prod(sides[axis + 1 :])
            kron += np.kron(np.kron(np.eye(left), part), np.eye(right))
        np.testing.assert_array_equal(nx.laplacian_matrix(whole, nodelist=range(n)).toarray(), kron)


def test_without_a_shape_a_lattice_is_the_most_square_rectangle():
    assert nx.utils.graphs_equal(Torus().graph(12, 0), Torus("3x4").graph(None, 0))
    assert nx.utils.graphs_equal(Grid().graph(36, 0), Grid("6x6").graph(None, 0))
    assert nx.utils.graphs_equal(Torus().graph(7, 0), Ring().graph(7, 0))


def test_a_dumbbell_has_as_many_bridges_as_told():
    one, three = Dumbbell().graph(10, 0), Dumbbell(3).graph(10, 0)
    assert list(nx.bridges(one)) == [(0, 5)]
    assert three.size() - one.size() == 2
    assert nx.node_connectivity(three) == 3


@pytest.mark.parametrize(("half", "across"), [(6, None), (13, 8), (5, 1), (4, 4), (1, None)])
def test_castles_have_equal_degrees_and_the_cut_eigenvalue(half, across):
    graph = TwoCastles(across).graph(2 * half, 0)
    known = max(half - 1, 1) if across is None else across
    assert {degree for _, degree in graph.degree} == {half - 1 + known}
    cut = np.repeat([1.0, -1.0], half)
    laplacian = nx.laplacian_matrix(graph, nodelist=range(2 * half)).toarray()
    np.testing.assert_array_equal(laplacian @ cut, 2 * known * cut)


@pytest.mark.parametrize(("n", "hands"), [(12, 1), (12, 2), (2, 1), (15, 4)])
def test_an_octopus_is_a_clique_whose_members_have_hands_of_their_own(n, hands):
    graph, h = Octopus(hands).graph(n, 0), n // (1 + hands)
    assert nx.density(graph.subgraph(range(h))) in (1.0, 0.0 if h == 1 else 1.0)
    assert all(list(graph[r]) == [r % h] for r in range(h, n))
    assert {graph.degree(r) for r in range(h)} == {h - 1 + hands}


@pytest.mark.parametrize(("n", "path"), [(10, 0), (9, 3), (12, 2)])
def test_a_barbell_is_two_cliques_and_a_path(n, path):
    assert nx.utils.graphs_equal(Barbell(path).graph(n, 0), nx.barbell_graph((n - path) // 2, path))


@pytest.mark.parametrize("piece", DRAWN, ids=lambda piece: type(piece).__name__)
def test_a_draw_depends_on_the_seed_and_on_nothing_else(piece):
    first = piece.graph(20, 5)
    assert list(first) == list(range(20))
    assert nx.utils.graphs_equal(first, piece.graph(20, 5))
    assert all(nx.utils.graphs_equal(first, replace(piece, seed=5).graph(20, other)) for other in (1, 2))
    assert any(not nx.utils.graphs_equal(first, piece.graph(20, other)) for other in (6, 7))


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 30), st.integers(0, 2**32))
def test_drawn_graphs_have_the_degrees_and_sizes_that_their_law_fixes(n, seed):
    assert {d for _, d in RandomRegular(4).graph(n, seed).degree} == {4}
    assert BarabasiAlbert(2).graph(n, seed).size() == 2 * (n - 2)
    assert SmallWorld(4, 0.0).graph(n, seed).size() == 2 * n


def test_the_number_of_links_of_an_erdos_renyi_graph_is_p_of_all_pairs_within_five_sigma():
    pairs = 200 * 199 / 2
    links = ErdosRenyi(0.2).graph(200, 3).size()
    assert abs(links - 0.2 * pairs) < 5 * math.sqrt(pairs * 0.2 * 0.8)


def test_every_topology_named_in_the_registry_exists():
    named = {home.rpartition(":")[2] for home in BUILTIN["topology"].values()}
    pieces = {key for home in (lattices, cliques, drawn, files, near) for key in home.__all__ if key[0].isupper()}
    assert named == pieces


REFUSED = [
    (lambda: Ring().graph(None, 0), "'ring' has no size of its own: give --ranks N"),
    (lambda: ErdosRenyi(0.5).graph(None, 0), "'erdos-renyi' has no size of its own"),
    (lambda: TwoCastles().graph(None, 0), "'two-castles' has no size"),
    (lambda: Torus().graph(None, 0), "'torus' has no size"),
    (lambda: Path().graph(0, 0), "'path' got 0 ranks"),
    (lambda: Torus("2x4").graph(10, 0), "'torus:2x4' has 8 nodes, got 10 ranks. Give --ranks 8"),
    (lambda: Grid("3x0"), "'grid' has shape='3x0'"),
    (lambda: Torus("three"), "'torus' has shape='three'"),
    (lambda: Grid("3x"), "'grid' has shape='3x'"),
    (lambda: Hypercube().graph(6, 0), "power of two, got 6 ranks. Use 4 or 8"),
    (lambda: Dumbbell().graph(7, 0), "2 equal parts, got 7 ranks. Use 6 or 8"),
    (lambda: Dumbbell().graph(1, 0), "got 1 ranks. Use 2"),
    (lambda: Dumbbell(0), "bridges=0"),
    (lambda: Dumbbell(6).graph(10, 0), "bridges=6, and each of its two cliques has 5 ranks"),
    (lambda: TwoCastles(0), "across=0"),
    (lambda: TwoCastles(7).graph(12, 0), "across=7.*6 ranks"),
    (lambda: Octopus(2).graph(10, 0), "3 equal parts, got 10 ranks. Use 9 or 12"),
    (lambda: Octopus(0), "hands=0"),
    (lambda: Barbell(-1), "path=-1"),
    (lambda: Barbell(3).graph(10, 0), "2 equal parts and 3 more, got 10 ranks. Use 9 or 11"),
    (lambda: Barbell(3).graph(2, 0), "got 2 ranks. Use 5"),
    (lambda: ErdosRenyi(1.5), "p=1.5"),
    (lambda: ErdosRenyi(math.nan), "p=nan"),
    (lambda: ErdosRenyi(0.5, -1), "seed=-1"),
    (lambda: ErdosRenyi(0.0).graph(9, 0), r"p=0.0 and 9 ranks is not connected.*9 components.*log\(n\)/n = 0.244"),
    (lambda: RandomRegular(0), "d=0"),
    (lambda: RandomRegular(3).graph(7, 0), "d=3 needs an even number of ranks, got 7. Use 8"),
    (lambda: RandomRegular(4).graph(4, 0), "d=4 needs at least 5 ranks, got 4"),
    (lambda: RandomRegular(1).graph(6, 0), "3 components"),
    (lambda: SmallWorld(3), "k=3. k is an even number"),
    (lambda: SmallWorld(4).graph(4, 0), "k=4 needs at least 5 ranks, got 4"),
    (lambda: BarabasiAlbert(0), "m=0"),
    (lambda: BarabasiAlbert(5).graph(5, 0), "m=5 needs at least 6 ranks, got 5"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_does_not_fit_is_refused_in_a_sentence_with_the_numbers(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()


def test_a_small_world_that_falls_apart_is_refused_and_not_redrawn():
    with pytest.raises(ConfigError, match=r"'small-world' with k=2, p=1\.0 and 400 ranks is not connected"):
        SmallWorld(2, 1.0).graph(400, 0)


def test_components_are_listed_and_long_ones_abbreviated():
    graph = nx.disjoint_union(nx.path_graph(9), nx.empty_graph(6))
    listed = r"7 components, \{0, 1, 2, 3, \.\.\., 8\}, \{9\}, \{10\}, \{11\} and more\. Add edges, or raise p"
    with pytest.raises(ConfigError, match="here is not connected: it falls into " + listed):
        check_connected(graph, "here")


def test_a_directed_graph_must_be_strongly_connected():
    ring = nx.DiGraph([(0, 1), (1, 2), (2, 0)])
    check_connected(ring, "here")
    with pytest.raises(ConfigError, match=r"here is not strongly connected.*3 components, \{0\}, \{1\}, \{2\}"):
        check_connected(nx.DiGraph([(0, 1), (1, 2)]), "here")


# files

COUNTS = {
    "abilene": (11, 14),
    "dumbbell-10": (10, 21),
    "florentine": (15, 20),
    "geant": (22, 36),
    "karate": (34, 78),
    "nsfnet": (14, 21),
    "octopus-12": (12, 21),
    "ring-lattice-16": (16, 32),
    "star-8": (8, 7),
    "two-castles-12": (12, 60),
    "two-worlds-26": (26, 260),
}


def test_the_bundled_graphs_are_those_that_these_tests_know():
    assert set(bundled()) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_every_bundled_graph_is_connected_and_has_its_known_size_and_its_source(name):
    graph = File(name).graph(None, 0)
    assert (len(graph), graph.size()) == COUNTS[name]
    assert list(graph) == list(range(len(graph)))
    check_connected(graph, name)
    assert bundled_sources()[name] == graph.graph["source"]
    assert len(graph.graph["source"]) > 30
    assert graph.graph["source"].endswith(".")
    assert len({label for _, label in graph.nodes(data="label")}) == len(graph)


def test_bundled_data_exercise_every_format():
    assert {path.suffix for path in bundled().values()} >= {".graphml", ".gml", ".edges", ".adj", ".json"}


def test_networks_that_networkx_knows_too_are_the_same_here():
    karate, ours = nx.karate_club_graph(), File("karate").graph(34, 0)
    assert {(*sorted(e), w) for *e, w in karate.edges(data="weight")} == {
        (*sorted(e), w) for *e, w in ours.edges(data="weight")
    }
    florentine = File("florentine").graph(None, 0)
    named = nx.relabel_nodes(florentine, dict(florentine.nodes(data="label")))
    assert nx.utils.edges_equal(named.edges, nx.florentine_families_graph().edges)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("two-castles-12", TwoCastles().graph(12, 0)),
        ("two-worlds-26", TwoCastles(8).graph(26, 0)),
        ("octopus-12", Octopus().graph(12, 0)),
        ("dumbbell-10", Dumbbell().graph(10, 0)),
        ("star-8", Star().graph(8, 0)),
        ("ring-lattice-16", SmallWorld(4, 0.0).graph(16, 0)),
    ],
)
def test_adversarial_files_are_what_the_generators_make(name, made):
    assert nx.utils.edges_equal(File(name).graph(None, 0).edges, made.edges)


def test_two_worlds_have_the_algebraic_connectivity_16():
    assert spectrum(File("two-worlds-26").graph(None, 0))[1] == pytest.approx(16.0, abs=1e-12)


def test_every_city_of_abilene_and_nsfnet_survives_the_loss_of_any_one():
    assert nx.node_connectivity(File("abilene").graph(None, 0)) == 2
    assert nx.node_connectivity(File("nsfnet").graph(None, 0)) == 2
    assert {d for _, d in File("nsfnet").graph(None, 0).degree} == {2, 3, 4}


WRITERS = {
    ".graphml": nx.generate_graphml,
    ".gml": nx.generate_gml,
    ".edges": nx.generate_edgelist,
    ".txt": lambda graph: nx.generate_edgelist(graph, data=["weight"]),
    ".edgelist": lambda graph: (f"{u},{v},{w}" for u, v, w in graph.edges(data="weight")),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_networkx_writes_comes_back_with_its_weights(tmp_path, suffix):
    graph = nx.Graph()
    graph.add_weighted_edges_from([(10, 9, 0.5), (9, 2, 2.0), (2, 10, 1e-3)])
    back = file(tmp_path, f"g{suffix}", "\n".join(WRITERS[suffix](graph))).graph(3, 0)
    assert [back.nodes[i]["label"] for i in range(3)] == ["2", "9", "10"]
    assert {(*sorted(e), w) for *e, w in back.edges(data="weight")} == {(1, 2, 0.5), (0, 1, 2.0), (0, 2, 1e-3)}


@pytest.mark.parametrize("key", ["edges", "links"])
def test_node_link_json_comes_back_under_both_of_its_names_for_links(tmp_path, key):
    links = '[{"source": "a", "target": "b", "weight": 3}]'
    text = f'{{"directed": true, "nodes": [{{"id": "b"}}, {{"id": "a"}}], "{key}": {links}}}'
    graph = file(tmp_path, "g.json", text).graph(None, 0)
    assert graph.is_directed()
    assert dict(graph.nodes(data="label")) == {0: "b", 1: "a"}
    assert list(graph.edges(data="weight")) == [(1, 0, 3.0)]
    assert type(graph.edges[1, 0]["weight"]) is float


def test_self_loops_are_dropped_and_of_parallel_links_the_first_stays(tmp_path):
    loops = file(tmp_path, "g.edges", "# a remark\n1000 1000\n1000 7 2.5  # and another\n7 1000 9\n").graph(None, 0)
    assert list(loops.edges(data="weight")) == [(0, 1, 2.5)]
    gml = "graph [ multigraph 1 node [ id 3 ] node [ id 500 ] "
    gml += " ".join(f"edge [ source {u} target {v} ]" for u, v in ((3, 500), (500, 3), (500, 500))) + " ]"
    assert list(file(tmp_path, "g.gml", gml).graph(None, 0).edges) == [(0, 1)]


def test_labels_that_are_no_numbers_keep_the_order_of_the_file(tmp_path):
    graph = file(tmp_path, "g.adjlist", "zoe adam\nadam 10\n2\n").graph(4, 0)
    assert list(graph.nodes(data="label")) == [(0, "zoe"), (1, "adam"), (2, "10"), (3, "2")]


BROKEN = [
    ("g.graphml", "<graphml><graph>", "cannot be read as .graphml"),
    ("g.gml", "graph [ node [", "cannot be read as .gml"),
    ("g.json", "{", "cannot be read as .json"),
    ("g.json", "[1, 2]", "cannot be read as .json"),
    ("g.json", "{}", "cannot be read as .json"),
    ("g.edges", "1 2 3 4\n", "cannot be read as .edges: line '1 2 3 4'"),
    ("g.edges", "1\n", "line '1' is not two nodes"),
    ("g.edges", "# nothing\n", "has no nodes"),
    ("g.adj", "", "has no nodes"),
    ("g.csv", "1,2", "suffix '.csv'. Allowed: .graphml, .gml"),
    ("g", "1 2", "suffix ''"),
    ("g.edges", "1 2 heavy\n", "link 1 - 2 has weight 'heavy'. A weight is a finite number above 0"),
    ("g.edges", "1 2 nan\n", "weight 'nan'"),
    ("g.edges", "1 2 inf\n", "weight 'inf'"),
    ("g.edges", "1 2 0\n", "weight '0'"),
    ("g.edges", "1 2 -1\n", "weight '-1'"),
]


@pytest.mark.parametrize(("name", "text", "sentence"), BROKEN, ids=[f"{n} {s}" for n, _, s in BROKEN])
def test_a_broken_file_is_one_sentence(tmp_path, name, text, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        file(tmp_path, name, text).graph(None, 0)
    assert name in str(caught.value)


def test_a_file_that_is_not_text_is_one_sentence(tmp_path):
    (tmp_path / "g.gml").write_bytes(bytes(range(256)))
    with pytest.raises(ConfigError, match=r"cannot be read as \.gml"):
        File(str(tmp_path / "g.gml")).graph(None, 0)


def test_missing_files_and_misspelt_names_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.gml' does not exist"):
        File(str(tmp_path / "nowhere.gml")).graph(None, 0)
    with pytest.raises(ConfigError, match=r"unknown bundled graph 'abilen'\. Did you mean 'abilene'"):
        File("abilen").graph(None, 0)
    with pytest.raises(ConfigError, match=r"'file:abilene' has 11 nodes, got 10 ranks\. Give --ranks 11"):
        File("abilene").graph(10, 0)


def test_an_installed_package_finds_the_graphs_inside_itself(tmp_path, monkeypatch):
    (tmp_path / "topologies").mkdir()
    (tmp_path / "topologies" / "pair.edges").write_text("# source: Two.\n0 1\n", encoding="utf-8")
    (tmp_path / "topologies" / "README.md").write_text("no graph", encoding="utf-8")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "graphs" / "files.py"))
    assert bundled_sources() == {"pair": "Two."}
    assert len(File("pair").graph(None, 0)) == 2


def test_every_reader_is_named_in_the_manual_page():
    assert all(suffix in (File.__doc__ or "") for suffix in READERS)
