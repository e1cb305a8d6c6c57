"""Pieces by the names that they have on the command line; their modules are imported when a name is asked for.

``pieces.py`` lists those that come with dmtl. Others add theirs by entry points in the groups ``dmtl.algorithms``,
``dmtl.screens`` .. (the kind, and an s where it has none), or name them by their place, ``FILE.py:CLASS``
(``dmtl.own``).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dmtl.errors import ConfigError, unknown
from dmtl.own import is_place, piece
from dmtl.pieces import BUILTIN

__all__ = ["find", "kinds", "names", "where"]


def kinds() -> list[str]:
    """All kinds of pieces, in alphabetical order."""
    return sorted(BUILTIN)


@cache
def _foreign(kind: str) -> dict[str, EntryPoint]:
    """Third parties' pieces of one kind; a built-in name cannot be shadowed."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"dmtl.{kind.removesuffix('s')}s".replace("-", "_")):
        if point.name in BUILTIN[kind] or point.name in found:
            raise ConfigError(
                f"the {kind} {point.name!r} of {point.value} has a name that is taken. "
                f"Rename its entry point or uninstall that package."
            )
        found[point.name] = point
    return found


def names(kind: str) -> list[str]:
    """All names of one kind, built-in and third-party, in alphabetical order."""
    if kind not in BUILTIN:
        raise unknown("kind", kind, BUILTIN)
    return sorted({*BUILTIN[kind], *_foreign(kind)})


def where(kind: str, name: str) -> str:
    """``module:attribute`` of a piece, without importing it."""
    if is_place(name):
        return name
    if name not in names(kind):
        raise unknown(kind, name, names(kind))
    foreign = _foreign(kind)
    return foreign[name].value if name in foreign else BUILTIN[kind][name]


def find(kind: str, name: str) -> Any:
    """Import and return a piece: a frozen dataclass whose fields are its settings, or a function for weights."""
    if is_place(name):
        return piece(kind, name)
    module, _, attribute = where(kind, name).partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise ConfigError(f"{kind} {name!r} cannot be imported: {error}.") from error
