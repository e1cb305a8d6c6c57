"""The layers of ARCHITECTURE.md, read from the imports; and what importing dmtl may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dmtl"
LAYERS = (
    (
        *("errors", "types", "capabilities", "verdicts", "rng", "schedules", "mailbox", "starts", "sums"),
        *("penalties", "lifts", "consensus"),
    ),
    (
        *("links", "topology", "robustness", "agreement", "quality", "changing", "own"),
        *("graphs", "algorithms", "compressors", "screens", "attacks", "tasks", "data", "time_varying"),
    ),
    ("mixer", "node", "wire"),
    ("runner", "simulator", "virtual", "transports", "memory"),
    (
        "pieces",
        "registry",
        "specs",
        "config",
        "compat",
        "modes",
        "build",
        "results",
        "recorder",
        "checkpoints",
        "resume",
        "progress",
    ),
    ("launch", "session", "simulation", "stopping", "cli", "__main__", "__init__", "report", "commands"),
)
READS_FILES = {"graphs", "data", "time_varying", "own"}
USES_TORCH = PACKAGE / "tasks" / "network.py"
IMPURE = {"os", "pathlib", "time", "logging", "json", "mpi4py", "matplotlib", "torch"}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The module, or the folder of methods, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if name in names)


def imports(path: Path, anywhere: bool = True) -> set[str]:
    """Modules that a file imports; ``anywhere``: also inside functions. Imports for type checkers do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    nodes = ast.walk(tree) if anywhere else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_its_own_layer_or_one_below(path):
    mine = layer(part(path))
    for module in imports(path):
        if module.startswith("dmtl."):
            other = module.split(".")[1]
            assert layer(other) <= mine, f"{part(path)} (layer {mine}) imports {other} (layer {layer(other)})"


def test_topology_and_graphs_know_nothing_of_each_other():
    for path in files():
        known = {module.split(".")[1] for module in imports(path) if module.startswith("dmtl.")}
        assert not (part(path) == "topology" and "graphs" in known)
        assert not (part(path) == "graphs" and "topology" in known)


@pytest.mark.parametrize("kind", ["algorithms", "compressors", "screens", "attacks", "tasks", "data", "time_varying"])
def test_kinds_of_pieces_know_nothing_of_each_other(kind):
    kinds = {"algorithms", "compressors", "screens", "attacks", "tasks", "data", "time_varying"}
    allowed = {kind, "data"} if kind == "tasks" else {kind}  # a task is built from a Dataset
    for path in (PACKAGE / kind).glob("*.py"):
        known = {module.split(".")[1] for module in imports(path) if module.startswith("dmtl.")}
        assert not known & (kinds - allowed), path


@pytest.mark.parametrize("path", [path for path in files() if layer(part(path)) <= 2], ids=lambda path: path.stem)
def test_the_inner_layers_touch_no_file_clock_or_network(path):
    allowed = {"pathlib"} if part(path) in READS_FILES else {"torch"} if path == USES_TORCH else set()
    assert not {module.split(".")[0] for module in imports(path)} & (IMPURE - allowed)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_file_alone_imports_torch_and_only_inside_functions(path):
    assert "torch" not in {module.split(".")[0] for module in imports(path, anywhere=path != USES_TORCH)}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_transports_import_mpi(path):
    if part(path) != "transports":
        assert not [module for module in imports(path) if module.startswith("mpi4py")]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_small_and_functions_smaller(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import dmtl", {"numpy", "networkx", "mpi4py", "scipy", "matplotlib", "sklearn", "torch", "click", "msgspec"}),
        ("import dmtl.cli", {"numpy", "networkx", "mpi4py", "scipy", "matplotlib", "sklearn", "torch", "rich"}),
        ("import dmtl.launch", {"mpi4py", "scipy.optimize", "matplotlib", "sklearn", "torch", "pandas", "rich"}),
    ],
)
def test_imports_load_no_more_than_they_need(statement, unwanted):
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-Werror", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not unwanted & set(done.stdout.split())


def test_everything_that_the_package_offers_is_there():
    import dmtl

    assert sorted(dmtl.__all__) == dmtl.__all__
    for name in dmtl.__all__:
        assert getattr(dmtl, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trainer'"):
        _ = dmtl.trainer
