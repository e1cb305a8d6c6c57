"""Pieces as text: ``torus:2x4``, ``trimmed-mean:b=1``, ``nnm:f=2+trimmed-mean:b=2``, or a table in a TOML file.

A piece of the user's own is ``own.py:Class:key=value`` or ``package.module:Class:key=value``.
A setting may be a piece itself: ``sleeper:t0=50,inner=(alie:z=1.5)``; the brackets may go where it has no comma.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from dmtl.errors import ConfigError, unknown
from dmtl.own import is_place
from dmtl.penalties.penalty import Penalty
from dmtl.registry import find
from dmtl.types import Attack

__all__ = ["PIECES", "Spec", "describe", "make", "parse", "parse_chain", "settings"]

Spec = dict[str, Any]
"""``name`` and the settings that were given; the key '' is a value without a key, which goes to the first field"""

PIECES: Mapping[Any, str] = {Attack: "attack", Penalty: "penalty", Penalty | None: "penalty"}
"""Types of settings that are pieces themselves, and the kinds of these"""


def parse(text: str | Mapping[str, Any], where: str) -> Spec:
    """Read one piece; ``where`` is the flag or key it came from."""
    if not isinstance(text, str):
        if "name" not in text:
            raise ConfigError(f"{where} has no 'name'. Write {where} = {{ name = ..., key = value }} or a string.")
        return dict(text)
    name, _, rest = text.strip().partition(":")
    if is_place(name):
        attribute, _, rest = rest.partition(":")
        name = f"{name}:{attribute}"
    if not name:
        raise ConfigError(f"{where} is empty. Write a name, or name:key=value.")
    spec: Spec = {"name": name}
    for part in _parts(rest) if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "", part
        if key.strip() in spec or not value.strip():
            raise ConfigError(f"{where} is {text!r}: {part!r} is not understood. Write name:value,key=value.")
        spec[key.strip().replace("-", "_")] = value.strip()
    return spec


def parse_chain(text: str | list[Any] | Mapping[str, Any], where: str) -> list[Spec]:
    """Read pieces joined by ``+``, or a list of them."""
    parts: list[Any] = text.split("+") if isinstance(text, str) else text if isinstance(text, list) else [text]
    return [parse(part, where) for part in parts]


def settings(kind: str, name: str) -> dict[str, Any]:
    """The fields of a piece and their types, in order."""
    piece = find(kind, name)
    if not dataclasses.is_dataclass(piece):
        return {}
    hints = typing.get_type_hints(piece)
    return {field.name: hints[field.name] for field in dataclasses.fields(piece)}


def make(kind: str, spec: Spec) -> Any:
    """Make a piece from its spec; every wrong setting is named."""
    name = spec["name"]
    hints = settings(kind, name)
    values: dict[str, Any] = {}
    for key, value in spec.items():
        if key == "name":
            continue
        field = key or next(iter(hints), "")
        if field not in hints:
            raise _unknown_setting(kind, name, key or str(value), hints)
        if field in values:
            raise ConfigError(f"{kind} {name!r} has {field!r} twice. Give it once.")
        if hints[field] in PIECES:
            values[field] = make(PIECES[hints[field]], parse(_bare(value), f"{field} of {kind} {name!r}"))
        else:
            values[field] = _convert(value, hints[field], f"{kind} {name!r} has {field}={value!r}")
    piece = find(kind, name)
    missing = [field.name for field in dataclasses.fields(piece) if _required(field) and field.name not in values]
    if missing:
        raise ConfigError(f"{kind} {name!r} needs {missing[0]!r}. Write {name}:{missing[0]}=VALUE.")
    return piece(**values)


def describe(kind: str, piece: Any) -> Spec:
    """The full spec of a piece: its name and every setting that is not None."""
    from dmtl.registry import names, where

    place = f"{type(piece).__module__}:{type(piece).__qualname__}"
    name = next((name for name in names(kind) if where(kind, name) == place), place)
    values = {key: (getattr(piece, key), PIECES.get(hint)) for key, hint in settings(kind, name).items()}
    given = {key: pair for key, pair in values.items() if pair[0] is not None}
    return {"name": name, **{key: describe(part, value) if part else value for key, (value, part) in given.items()}}


def _parts(text: str) -> list[str]:
    """Cut at the commas that are in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _bare(value: Any) -> Any:
    """A piece without the brackets or quotation marks around it."""
    around = isinstance(value, str) and value[:1] + value[-1:] in ("()", '""', "''")
    return value[1:-1] if around else value


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _unknown_setting(kind: str, name: str, got: str, hints: Mapping[str, Any]) -> ConfigError:
    if not hints:
        return ConfigError(f"{kind} {name!r} has no settings, got {got!r}. Write {name} alone.")
    return unknown(f"setting of {kind} {name!r}:", got, hints)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Turn text into the type of a field; a number that is also allowed to be a string is a number."""
    members = typing.get_args(hint) or (hint,)
    if isinstance(value, str) and str in members and float in members:
        try:
            return float(value)
        except ValueError:
            return value
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`", "")
        raise ConfigError(f"{where}. {reason[0].upper()}{reason[1:]}.") from None
