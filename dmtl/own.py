"""The user's own code, named by its place: ``FILE.py:NAME`` or ``package.module:NAME``."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from dmtl.errors import ConfigError, unknown

__all__ = ["files", "is_place", "named", "piece"]

_PIECE = ("least_neighbours", "capacity", "__call__")

MEMBERS: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "algorithm": (("needs", "message_shape", "init", "send", "step"), ("needs", "charted")),
        "attack": (("rushing", "knowledge", "init", "__call__"),),
        "data": (("load",),),
        "features": (("drawn",),),
        "partition": (("assign",),),
        "penalty": (("value", "prox"),),
        "poison": (("__call__",), ("lender", "lent")),
        "pre-screen": (_PIECE,),
        "screen": (("linear", "init", *_PIECE),),
        "task": (("build",), ("loss", "grad", "evaluate")),
        "time-varying": (("active",),),
        "topology": (("graph",),),
    }
)
"""What a class of each kind has; where there are several sets, one of them is enough."""


def is_place(name: str) -> bool:
    """Whether this is where code is and no name of a piece, which has no dot."""
    return "." in name


def files(settings: Any) -> list[str]:
    """The files of code that are named anywhere in a configuration, in alphabetical order."""
    if isinstance(settings, str):
        file, _, name = settings.rpartition(":")
        return [file] if file.endswith(".py") and name.isidentifier() else []
    if isinstance(settings, Mapping):
        settings = list(settings.values())
    parts = settings if isinstance(settings, list | tuple) else ()
    return sorted({file for part in parts for file in files(part)})


def named(place: str, what: str) -> Any:
    """What is at a place; ``what`` it is for stands first in the sentence that says why it is not there."""
    module, _, name = place.rpartition(":")
    if not module or not name.isidentifier():
        raise ConfigError(f"{what} is {place!r}. Write FILE.py:NAME or package.module:NAME.")
    found = _file(str(Path(module).resolve()), module) if module.endswith(".py") else _module(module)
    if not hasattr(found, name):
        mine = [key for key, value in vars(found).items() if getattr(value, "__module__", "") == found.__name__]
        raise unknown(f"name in {module}, of {what}:", name, mine)
    return getattr(found, name)


def piece(kind: str, place: str) -> Any:
    """The piece at a place: a frozen dataclass whose fields are its settings, or a function for weights.

    A task may also be a plain class that is made with a rank's data: then the other parameters of its constructor are
    the settings.
    """
    found = named(place, f"the {kind}")
    if kind not in MEMBERS:
        return found
    if not isinstance(found, type):
        raise ConfigError(f"the {kind} {place!r} is no class. Name a class.")
    lacks = [
        [name for name in names if not any(name in vars(base) for base in found.__mro__)] for names in MEMBERS[kind]
    ]
    if all(lacks):
        few = " or ".join(", ".join(repr(name) for name in some) for some in lacks)
        raise ConfigError(f"the {kind} {place!r} lacks {few}. ARCHITECTURE.md says what each kind of piece has.")
    bare = kind == "task" and bool(lacks[0])
    try:
        typing.get_type_hints(getattr(found, "__init__") if bare else found)  # noqa: B009
    except Exception as error:  # any expression may be written there
        raise ConfigError(f"the {kind} {place!r} has settings whose types cannot be read: {error}.") from error
    if bare:
        return _bound(found, place)
    if not dataclasses.is_dataclass(found):
        raise ConfigError(f"the {kind} {place!r} is no dataclass. Write @dataclass(frozen=True) above the class.")
    return found


@cache
def _bound(made: type, place: str) -> type:
    """The settings of a task that is itself made with a rank's data."""
    if dataclasses.is_dataclass(made):
        raise ConfigError(
            f"the task {place!r} lacks 'build'. A dataclass of settings has build(data), which binds them."
        )
    _data, *rest = inspect.signature(made).parameters.values()
    hints = typing.get_type_hints(getattr(made, "__init__"))  # noqa: B009
    fields = [_field(parameter, hints, place) for parameter in rest]

    def build(self: Any, data: Any) -> Any:
        return made(data, **{field: getattr(self, field) for field, _, _ in fields})

    more = {"build": build, "__doc__": made.__doc__, "__qualname__": made.__qualname__, "__module__": made.__module__}
    return dataclasses.make_dataclass(made.__name__, fields, namespace=more, frozen=True)


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any], place: str) -> tuple[str, Any, Any]:
    """A parameter of a constructor as a setting, of its annotated type or of its default's."""
    name, default = parameter.name, parameter.default
    if default is parameter.empty or not (name in hints or isinstance(default, bool | int | float | str)):
        raise ConfigError(f"the task {place!r} takes {name!r} without a plain default. Write {name}: float = 1.0.")
    return name, hints.get(name, type(default)), dataclasses.field(default=default)


@cache
def _file(path: str, given: str) -> ModuleType:
    """Run a file as a module that is called as it was given, which is how its classes are found again."""
    if not Path(path).is_file():
        raise ConfigError(f"there is no file {given!r}. Give its path from here, or a whole one.")
    spec = spec_from_file_location(given, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{given!r} is no file of Python.")
    _also(str(Path(path).parent))
    module = sys.modules[given] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        del sys.modules[given]
        raise ConfigError(f"{given!r} cannot be run: {type(error).__name__}: {error}{_line(error, path)}.") from error
    return module


def _module(name: str) -> ModuleType:
    _also(str(Path.cwd()))
    try:
        return import_module(name)
    except Exception as error:  # as above
        raise ConfigError(f"module {name!r} cannot be imported: {type(error).__name__}: {error}.") from error


def _also(folder: str) -> None:
    """Look for modules in that folder too, after all others: what lies beside the user's code belongs to it."""
    if folder not in sys.path:
        sys.path.append(folder)


def _line(error: Exception, path: str) -> str:
    """The last line of the file that an error went through."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        found = trace.tb_lineno if trace.tb_frame.f_code.co_filename == path else found
        trace = trace.tb_next
    return f", in line {found}" if found else ""
