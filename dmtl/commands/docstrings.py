"""What a piece's source says of it: docstring, settings, and the string after each setting, which Python drops.

A piece whose module cannot be imported, because a package is missing, is read all the same.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from dmtl.registry import find, where
from dmtl.specs import PIECES, describe, settings

__all__ = ["Page", "Setting", "read"]

Definition: TypeAlias = ast.ClassDef | ast.FunctionDef


class Setting(NamedTuple):
    """One field of a piece."""

    name: str
    type: str
    required: bool
    default: Any
    """None where it is required"""
    doc: str


class Page(NamedTuple):
    """What is known of a piece without making one."""

    kind: str
    name: str
    doc: str
    settings: tuple[Setting, ...]
    piece: Any
    """the class or function; None where it cannot be imported"""
    trouble: str
    """why not"""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.doc or self.trouble).partition("\n")[0]


def read(kind: str, name: str) -> Page:
    """Read one piece; raises ConfigError for an unknown kind or name."""
    place = where(kind, name)
    try:
        piece = find(kind, name)
    except Exception as error:  # a third party's import may raise anything, and the manual goes on
        source = _unimported(place)
        doc = (ast.get_docstring(source) if source else None) or ""
        return Page(kind, name, doc, tuple(_written(source)), None, str(error))
    doc = inspect.getdoc(piece) or ""
    return Page(kind, name, doc, tuple(_known(kind, name, piece)), piece, "")


def _known(kind: str, name: str, piece: Any) -> Iterator[Setting]:
    """The settings of an imported piece."""
    hints = settings(kind, name)
    docs = {setting.name: setting.doc for setting in _written(_imported(piece))}
    for field in dataclasses.fields(piece) if hints else ():
        default, required = field.default, False
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        elif default is dataclasses.MISSING:
            default, required = None, True
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            default = describe(PIECES[hints[field.name]], default)["name"]
        yield Setting(field.name, _type_words(hints[field.name]), required, default, docs.get(field.name, ""))


def _type_words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


def _written(definition: Definition | None) -> Iterator[Setting]:
    """The settings as they stand in a class's source."""
    if not isinstance(definition, ast.ClassDef):
        return
    body = definition.body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        hint = ast.unparse(statement.annotation)
        if "ClassVar" not in hint:
            default = _literal(statement.value) if statement.value else None
            yield Setting(statement.target.id, hint, statement.value is None, default, _string(after))


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)


def _string(statement: ast.stmt | None) -> str:
    """The text of a bare string, cleaned; empty for any other statement."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        text = statement.value.value
        return inspect.cleandoc(text) if isinstance(text, str) else ""
    return ""


def _imported(piece: Any) -> Definition | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(piece)))
    except (OSError, TypeError):  # installed without its source
        return None
    return _definition(tree, piece.__name__)


def _unimported(place: str) -> Definition | None:
    """Find a definition in its file; packages above the module are imported, the module itself is not."""
    module, _, attribute = place.partition(":")
    try:
        spec = find_spec(module)
        return _definition(ast.parse(Path(str(spec and spec.origin)).read_text("utf-8")), attribute)
    except (ImportError, OSError, SyntaxError, UnicodeDecodeError):
        return None


def _definition(tree: ast.Module, name: str) -> Definition | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    return None
