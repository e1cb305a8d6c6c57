"""The manual writes itself, so every piece has to have what it is written from."""

import json
import sys
from types import MappingProxyType

import pytest
from click.testing import CliRunner

from dmtl import registry
from dmtl.cli import cli
from dmtl.commands.console import print_table, ranks_words, size_words
from dmtl.commands.docstrings import read
from dmtl.commands.manual import NEEDS, example, kind_of
from dmtl.errors import ConfigError
from dmtl.graphs.files import bundled
from dmtl.registry import kinds, names, where
from dmtl.specs import make, parse, settings
from dmtl.types import Needs

PIECES = [(kind, name) for kind in kinds() for name in names(kind)]


def dmtl(*arguments):
    done = CliRunner().invoke(cli, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return done.output


@pytest.fixture
def foreign(monkeypatch, tmp_path):
    """Register a screen whose module needs a package that nobody has."""
    source = (
        "import no_such_package_anywhere\n\n\nclass Sieve:\n"
        '    """A sieve: it lets small ones through.\n\n    Long story.\n    """\n\n'
        "    linear: ClassVar[bool] = False\n    mesh: float\n"
        '    """width of a hole"""\n    layers: int = 3\n    """how many\n    there are"""\n    bare: str = ""\n'
    )
    (tmp_path / "sieve_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    extended = {**registry.BUILTIN["screen"], "sieve": "sieve_module:Sieve", "lost": "no_module_here:Lost"}
    monkeypatch.setattr(registry, "BUILTIN", MappingProxyType({**registry.BUILTIN, "screen": extended}))
    yield
    sys.modules.pop("sieve_module", None)


@pytest.mark.parametrize(("kind", "name"), PIECES)
def test_every_piece_says_in_one_line_what_it_is_and_what_each_setting_means(kind, name):
    page = read(kind, name)
    assert len(page.summary) > 10
    assert page.summary.endswith(".")
    assert [setting.name for setting in page.settings] == list(settings(kind, name))
    assert [setting.name for setting in page.settings if not setting.doc] == []


@pytest.mark.parametrize(("kind", "name"), PIECES)
def test_every_piece_has_a_page_with_all_that_is_known_of_it(kind, name):
    page, text = read(kind, name), dmtl("show", name, "--kind", kind)
    assert text.startswith(f"{name} ({kind})\n")
    assert page.doc in text
    assert where(kind, name) in text
    assert example(page) in text
    rows = text.splitlines()
    for setting in page.settings:
        row = next(row for row in rows if row.startswith(f"  {setting.name} "))
        assert setting.type in row
        assert setting.doc.splitlines()[0] in row
        assert ("required" in row) == setting.required


@pytest.mark.parametrize(("kind", "name"), PIECES)
def test_the_example_of_every_page_is_a_piece_that_can_be_made(kind, name):
    words = example(read(kind, name)).split()
    assert words[:2] == ["dmtl", "run"]
    piece = words[-1].partition("=(")[2].removesuffix(")") if kind == "penalty" else words[-1].partition("+")[0]
    spec = parse(piece, kind)
    assert spec["name"] == name
    if kind != "weights":
        make(kind, spec)


def test_the_list_has_every_piece_once_under_its_kind_and_breaks_no_line():
    kind, seen = "", []
    for line in dmtl("list").splitlines():
        if line and not line.startswith(" "):
            kind = line
        elif line:
            seen.append((kind, line.split()[0]))
            page = line.split(maxsplit=1)[1]
            assert page.endswith(".")
    files = [("topology", f"file:{name}") for name in bundled()]
    assert files
    assert sorted(seen) == sorted([*PIECES, *files])


@pytest.mark.parametrize("word", ["screen", "screens"])
def test_one_kind_is_listed_alone_in_singular_and_plural(word):
    text = dmtl("list", word)
    assert text.startswith("screen\n")
    assert [line.split()[0] for line in text.splitlines()[1:]] == names("screen")


def test_every_kind_has_a_plural():
    plurals = {"topology": "topologies", "data": "data", "features": "features", "weights": "weights"}
    for kind in kinds():
        assert kind_of(plurals.get(kind, f"{kind}s")) == kind


def test_the_list_for_programs_has_types_defaults_and_meanings():
    pieces = json.loads(dmtl("list", "screens", "--json"))["screen"]
    assert [piece["name"] for piece in pieces] == names("screen")
    clipping = next(piece for piece in pieces if piece["name"] == "self-centred-clipping")
    tau, b, _ = clipping["settings"]
    assert (tau["name"], tau["type"], tau["default"], tau["required"]) == ("tau", "float | None", None, False)
    assert (b["name"], b["type"], b["default"], b["required"]) == ("b", "int", 1, False)
    assert "liars" in b["doc"]
    trimmed = next(piece for piece in pieces if piece["name"] == "trimmed-mean")
    assert trimmed["settings"][0]["required"]


def test_a_name_of_two_kinds_shows_both_pages_unless_the_kind_is_given():
    both = dmtl("show", "laplacian")
    assert "laplacian (algorithm)" in both
    assert "laplacian (weights)" in both
    assert "laplacian (algorithm)" not in dmtl("show", "laplacian", "--kind", "weights")


def test_a_whole_spec_and_a_bundled_graph_find_their_page_too():
    assert dmtl("show", "trimmed-mean:b=1") == dmtl("show", "trimmed-mean")
    assert dmtl("show", "file:abilene").startswith("file (topology)")


def test_unknown_names_and_kinds_get_the_nearest_right_one():
    with pytest.raises(ConfigError, match=r"unknown piece 'lapacian'. Did you mean 'laplacian'"):
        dmtl("show", "lapacian")
    with pytest.raises(ConfigError, match=r"unknown kind 'screnes'. Did you mean 'screen'"):
        dmtl("list", "screnes")
    with pytest.raises(ConfigError, match="unknown kind"):
        dmtl("show", "median", "--kind", "sieve")
    with pytest.raises(ConfigError, match="unknown screen 'laplacian'"):
        dmtl("show", "laplacian", "--kind", "screen")


def test_what_a_method_needs_and_a_liar_knows_is_said_in_words():
    assert set(NEEDS) == set(Needs)
    pdmm = dmtl("show", "pdmm")
    for flag in (Needs.PROX, Needs.FRESH, Needs.UNDIRECTED):
        assert NEEDS[flag] in pdmm
    assert NEEDS[Needs.DOUBLY_STOCHASTIC] not in pdmm
    assert NEEDS[Needs.DOUBLY_STOCHASTIC] in dmtl("show", "gradient-tracking")
    assert "listens before it speaks" in dmtl("show", "alie")
    assert "listens before it speaks" not in dmtl("show", "two-faced")
    assert "rushing   with of=mean only\n" in dmtl("show", "sign-flip")
    assert "knows     its own state; with of=mean its neighbours' messages of this round\n" in dmtl("show", "sign-flip")
    assert "the graph, every rule and everybody's data" in dmtl("show", "spectral")
    assert "2b + 1" in dmtl("show", "trimmed-mean")


def test_a_piece_whose_package_is_missing_is_listed_and_has_a_page_all_the_same(foreign):
    assert "A sieve: it lets small ones through." in dmtl("list", "screen")
    page = read("screen", "sieve")
    assert page.piece is None
    assert [setting[:4] for setting in page.settings] == [
        ("mesh", "float", True, None),
        ("layers", "int", False, 3),
        ("bare", "str", False, ""),
    ]
    assert [setting.doc for setting in page.settings] == ["width of a hole", "how many\nthere are", ""]
    text = dmtl("show", "sieve")
    assert "Long story." in text
    assert "no_such_package_anywhere" in text


def test_a_piece_that_is_nowhere_says_so_and_hides_no_other(foreign):
    text = dmtl("list", "screen")
    assert "no_module_here" in text
    assert "median" in text


def test_on_a_terminal_a_table_folds_into_its_last_column(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_table("", [("name", "word " * 20), ("[bold]", "short")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 40 for line in lines)
    assert lines[1].startswith(" " * 10 + "word")
    assert "[bold]" in lines[-1]


def test_in_a_pipe_an_entry_is_one_line_unless_it_has_several_itself(capsys):
    print_table("title", [("a", "word " * 60 + "end"), ("bcd", "one\ntwo")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["title", "  a    " + "word " * 60 + "end", "  bcd  one", "       two"]


def test_ranks_and_sizes_are_short():
    assert ranks_words([0, 1, 2, 3, 5, 7, 8]) == "0-3, 5, 7, 8"
    assert ranks_words(range(0, 100, 2), most=3) == "0, 2, 4 ..."
    assert ranks_words([]) == ""
    assert [size_words(size) for size in (0, 999, 999_999, 6272, 4.27e6, 2e9, 3e12, 5e15)] == [
        "0 bytes",
        "999 bytes",
        "1 MB",
        "6.27 kB",
        "4.27 MB",
        "2 GB",
        "3 TB",
        "5000 TB",
    ]
