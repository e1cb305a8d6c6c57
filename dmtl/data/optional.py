"""Packages that only some data need, found when they are asked for and never before."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dmtl.errors import ConfigError

__all__ = ["installed_file", "missing", "optional_module"]


def missing(piece: str, package: str) -> ConfigError:
    """Make the error for data that need a package which is not there."""
    return ConfigError(f"data {piece!r} needs {package}: pip install 'dmtl[data]'.")


def optional_module(piece: str, package: str, name: str) -> Any:
    """Import module ``name`` of an optional package."""
    try:
        return import_module(name)
    except ImportError as error:
        raise missing(piece, package) from error


def installed_file(piece: str, package: str, name: str, path: str) -> Path:
    """Find a file inside an installed package ``name`` without importing the package, which may take a second."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise missing(piece, package)
    place = Path(spec.submodule_search_locations[0], path)
    if not place.is_file():
        raise ConfigError(
            f"data {piece!r}: the installed {package} has no file {path!r}. Install another version of it."
        )
    return place
