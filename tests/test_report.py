"""The report of real small runs, made by the command line in this process: table, JSON, pictures, page."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from dmtl.cli import cli
from dmtl.errors import ConfigError, ResultsError
from dmtl.report import page as pages
from dmtl.report import text as texts
from dmtl.report.reading import read_run
from dmtl.report.summary import Outcome, Series, Summary
from dmtl.report.trust_map import given
from dmtl.report.words import number, quartiles, short

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

COMMON = ("--data", "synthetic:rows=30,features=4", "--topology", "ring", "--ranks", "5", "--rounds", "12", "-q")
LIES = ("--byzantine", "3,", "--attack", "sign-flip", "--screen", "self-centred-clipping:b=1")

PICTURES = (
    *("errors.png", "curves.png", "trust-1-alone.png", "trust-2-together.png", "trust-3-lied-to.png"),
    *("strips-2-together.png", "strips-3-lied-to.png"),  # who never talks has no trust to show
    *("matrix-2-together.png", "matrix-3-lied-to.png"),
)


def dmtl(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "mpi4py.MPI", raising=False)  # another test of this process may have loaded it
        for name, extra in (("alone", ("--algorithm", "local")), ("together", ()), ("lied-to", LIES)):
            dmtl("run", *COMMON, *extra, "--name", name, "--out", str(place / name))
    return str(place / "alone"), str(place / "together"), str(place / "lied-to")


@pytest.fixture(scope="module")
def page(runs: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    hostile = place / "alone"
    shutil.copytree(runs[0], hostile)
    file = hostile / "rank-0000.jsonl"
    file.write_text(file.read_text().replace('"rank 0"', '"<script>alert($1^$)</script>"'))
    result = dmtl("report", str(hostile), *runs[1:], "--html", "--out", str(place / "out"))
    assert result.stdout.rstrip().endswith(f"pictures and page: {place / 'out' / 'report.html'}")
    return place / "out"


class Elements(HTMLParser):
    """All start tags with their attributes, and what is open at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def html(page: Path) -> Elements:
    return Elements((page / "report.html").read_text("utf-8"))


def test_json_is_all_that_is_on_standard_output(runs: tuple[str, ...]) -> None:
    document = json.loads(dmtl("report", *runs, "--json").stdout)
    assert set(document) == {"version", "warnings", "runs", "grid"}
    assert [run["name"] for run in document["runs"]] == ["alone", "together", "lied-to"]
    assert [run["liars"] for run in document["runs"]] == [0, 0, 1]
    assert [run["alone"] for run in document["runs"]] == [None, "alone", "alone"]


def test_json_says_what_the_ranks_wrote_last(runs: tuple[str, ...]) -> None:
    run = json.loads(dmtl("report", *runs, "--json").stdout)["runs"][2]
    errors, gains = [], []
    for rank in (0, 1, 2, 4):
        alone, this = (
            json.loads((Path(place) / f"rank-{rank:04d}.jsonl").read_text().splitlines()[-2])
            for place in (runs[0], runs[2])
        )
        errors.append(this["test_rmse"])
        gains.append(alone["test_rmse"] - this["test_rmse"])
    assert run["error"] == pytest.approx(np.mean(errors), rel=1e-12)
    assert run["worst"] == max(errors)
    assert run["gain"] == pytest.approx(np.mean(gains), rel=1e-12)
    assert (run["gained"], run["lost"]) == (sum(g > 0 for g in gains), sum(g < 0 for g in gains))
    assert run["bytes_per_link"] == 5 * 8  # four features and the bias
    assert run["bytes_per_rank"] == 12 * 2 * 5 * 8


def test_the_table_has_a_line_per_run_and_per_person_and_fits_a_batch_log(runs: tuple[str, ...]) -> None:
    text = dmtl("report", *runs).stdout
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for name in ("alone", "together", "lied-to"):
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    people = [line for line in lines if line.startswith("rank ")]
    assert len(people) == 5
    assert people[3].split()[-1] == "liar"
    assert "\x1b" not in text


def test_of_a_crowd_of_runs_only_what_they_have_in_common_is_shown(
    runs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    believing = tmp_path / "believing"
    dmtl("run", *COMMON, *LIES[:4], "--force", "--name", "believing", "--out", str(believing))
    places = [*runs, believing, *(shutil.copytree(believing, tmp_path / str(copy)) for copy in range(21))]
    calls: list[tuple[str, int]] = []
    for place, name in ((texts, "grid"), (pages, "_setup"), (pages, "_people")):
        call = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda *these, name=name, call=call: calls.append((name, len(these[0]))) or call(*these)
        )
    result = dmtl("report", *map(str, places), "--html", "--out", str(tmp_path / "out"))
    assert calls == [("grid", 25), ("_people", 0)]  # each run is read, and none is told
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["error", "of"]
    assert not [line for line in lines if line.startswith("rank ")]
    assert any(line.startswith("25 runs: too many") for line in lines)
    assert [file.name for file in (tmp_path / "out").glob("*.png")] == ["heat.png"]
    page = Elements((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert page.open == []
    assert len(page.all("img")) == 1
    assert len(page.all("pre")) == 0  # the settings of each run are in its folder


def test_long_names_of_many_runs_still_fit_a_batch_log(runs: tuple[str, ...], tmp_path: Path) -> None:
    places = []
    for number_, screen in enumerate(("self-centred-clipping:b=1", "nnm:f=1+trimmed-mean:b=0") * 4):
        place = str(tmp_path / str(number_))
        name = f"a-name-that-is-long-{number_}"
        method = ("--algorithm", "network-lasso", "--screen", screen, "--byzantine", "1,", "--attack", "dissensus")
        dmtl("run", *COMMON, *method, "--name", name, "--out", place)
        places.append(place)
    lines = dmtl("report", runs[0], *places).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("rank 4") for line in lines) == 2  # nine runs are two tables
    assert "self-centred-" in "\n".join(lines)


def test_warnings_go_to_standard_error_and_into_the_json(runs: tuple[str, ...], tmp_path: Path) -> None:
    place = tmp_path / "torn"
    shutil.copytree(runs[1], place)
    (place / "rank-0004.jsonl").unlink()
    result = dmtl("report", str(place), "--json")
    assert "dmtl: warning: " in result.stderr
    assert "no file of rank 4" in result.stderr
    assert "no file of rank 4" in json.loads(result.stdout)["warnings"][0]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is not a run folder"):
        dmtl("report", str(tmp_path / "nowhere"))


def test_pictures_are_png_files_with_something_in_them(page: Path) -> None:
    assert {path.name for path in page.glob("*.png")} == set(PICTURES)
    for path in page.glob("*.png"):
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert min(width, height) > 400
        assert len(content) > 10_000


def test_the_page_needs_no_other_file(page: Path, html: Elements) -> None:
    text = (page / "report.html").read_text("utf-8")
    assert html.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in html.found}
    for _, attributes in html.found:
        for key in ("src", "href", "srcset", "data"):
            assert (attributes.get(key) or "data:").startswith("data:")
    for outside in ("http:", "https:", "url(", "@import"):
        assert outside not in text


def test_the_pictures_in_the_page_are_those_beside_it(page: Path, html: Elements) -> None:
    embedded = [base64.b64decode((image["src"] or "").partition("base64,")[2]) for image in html.all("img")]
    assert embedded == [(page / name).read_bytes() for name in PICTURES]


def test_the_page_can_be_heard(html: Elements) -> None:
    assert html.all("html")[0]["lang"] == "en"
    assert all(len(image["alt"] or "") > 20 for image in html.all("img"))
    assert all(head.get("scope") in ("col", "row") for head in html.all("th"))
    assert len(html.all("caption")) >= 3
    assert len(html.all("h1")) == 1
    assert all("aria-label" in region for region in html.all("div") if region.get("role") == "region")


def test_what_ranks_call_themselves_is_text_and_never_markup(page: Path) -> None:
    text = (page / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text


def test_the_page_has_the_configuration_and_the_surroundings(page: Path, html: Elements) -> None:
    text = (page / "report.html").read_text("utf-8")
    assert len(html.all("details")) == 3
    assert "name = &#34;self-centred-clipping&#34;" in text
    assert "none: simulated in one process" in text
    assert "dmtl run --config" in text


def test_the_page_comes_into_the_first_run_without_out(runs: tuple[str, ...], tmp_path: Path) -> None:
    place = tmp_path / "copy"
    shutil.copytree(runs[1], place)
    result = dmtl("report", str(place), "--html", "--json")
    assert json.loads(result.stdout)["runs"][0]["alone"] is None
    assert str(place / "report.html") in result.stderr
    assert (place / "errors.png").is_file()
    assert read_run(place).size == 5  # pictures are in nobody's way


def test_without_matplotlib_the_table_comes_and_pictures_say_what_to_install(
    runs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("dmtl.report.page.find_spec", lambda name: None if name == "matplotlib" else real(name))
    assert dmtl("report", *runs).exit_code == 0
    with pytest.raises(ConfigError, match=r"need matplotlib and jinja2: pip install 'dmtl\[report\]'"):
        dmtl("report", *runs, "--html")


def test_the_table_loads_neither_matplotlib_nor_jinja2(runs: tuple[str, ...]) -> None:
    code = (
        "import sys; from dmtl.report.text import print_report; print_report((sys.argv[1],), False, False, None); "
        "assert not {'matplotlib', 'jinja2', 'mpi4py', 'scipy.optimize'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, runs[0]], check=True, capture_output=True)


def test_pictures_leave_pyplot_alone(runs: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; from dmtl.report.text import print_report\n"
        "print_report((sys.argv[1],), False, True, sys.argv[2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, runs[2], str(tmp_path)], check=True, capture_output=True)


def summary_of(errors: list[float | None], name: str = "run", alone: str | None = None) -> Summary:
    outcomes = tuple(Outcome(rank, f"school {rank}", False, error, 1.0, None) for rank, error in enumerate(errors))
    series = Series((0, 1), (1e300, 1.0), (1e300, 1.0), (float("nan"), 1e300))
    plain = dict.fromkeys(Summary.__dataclass_fields__)
    plain |= {"name": name, "alone": alone, "metric": "test_rmse", "ranks": len(errors), "outcomes": outcomes}
    return Summary(**{**plain, "series": series})  # type: ignore[arg-type]


def test_a_crowd_is_told_by_quartiles() -> None:
    assert quartiles(summary_of([float(value) for value in range(101)])) == [0, 25, 50, 75, 100]
    assert quartiles(summary_of([None, None])) == [None] * 5


@pytest.mark.parametrize("ranks", [1, 3, 30])
def test_runs_that_came_apart_or_measured_nothing_are_drawn_all_the_same(ranks: int) -> None:
    from dmtl.report.figures import curves, errors, png

    whole = summary_of([0.5] * ranks, "alone")
    wild = summary_of([1e200] * ranks, "wild", "alone")
    nothing = summary_of([None] * ranks, "nothing")
    for figure in (errors([whole, wild, nothing]), curves([whole, wild, nothing]), errors([nothing])):
        assert len(png(figure)) > 4000


def test_the_same_runs_give_the_same_pictures(runs: tuple[str, ...], page: Path) -> None:
    from dmtl.report.figures import png
    from dmtl.report.trust_map import trust_map

    assert png(trust_map(read_run(runs[1]), "together")) == (page / "trust-2-together.png").read_bytes()


def test_arrows_are_coloured_by_the_last_trust_and_not_at_all_without_messages(runs: tuple[str, ...]) -> None:
    silent, _, lied = map(read_run, runs)
    assert np.isnan(given(silent.ranks[0])).all()
    line = json.loads((Path(runs[2]) / "rank-0002.jsonl").read_text().splitlines()[-2])
    assert given(lied.ranks[2]) == line["trust"]
    assert 0 < min(line["trust"]) < 1


def test_lying_neighbours_are_distrusted_in_the_end(runs: tuple[str, ...]) -> None:
    run = json.loads(dmtl("report", runs[2], "--json").stdout)["runs"][0]
    assert run["trust_liars"] < run["trust_honest"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.12345, "0.123"), (1.0, "1.00"), (12.34, "12.3"), (123456.0, "1e+05"), (1e-9, "1e-09")],
)
def test_numbers_have_about_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_names_of_pieces_are_short_in_the_table() -> None:
    assert short("nnm:f=1+trimmed-mean:b=0") == "nnm+trimmed-mean"
    assert short("") == "-"
