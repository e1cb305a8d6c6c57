"""The manual that writes itself: what pieces there are, and the page of each, from the registry and the source."""

from __future__ import annotations

import inspect
from typing import Any

import click

from dmtl.commands.console import print_json, print_table
from dmtl.commands.docstrings import Page, Setting, read
from dmtl.errors import unknown
from dmtl.graphs.files import bundled, bundled_sources
from dmtl.own import is_place
from dmtl.registry import kinds, names, where
from dmtl.types import Needs

__all__ = ["NEEDS", "example", "kind_of", "print_list", "print_page"]

NEEDS = {
    Needs.PROX: "a task with a proximal map",
    Needs.FRESH: "all messages of the same round: late ones break it",
    Needs.UNDIRECTED: "links that go both ways",
    Needs.DOUBLY_STOCHASTIC: "weights whose rows and columns sum to one",
    Needs.EDGEWISE: "its neighbours one by one; a screen, where it asks one, gives it trust and no average",
    Needs.UNSCREENED: "no screen: whichever is named has no effect",
    Needs.SMOOTH: "a task with a smooth gradient",
    Needs.STATIC: "the same links in every round",
    Needs.CURVED: "a task that knows its Hessian",
    Needs.DUAL: "a task with a dual, a number per row",
    Needs.WEIGHTED: "a task that takes weights for its rows and blends predictions",
}
"""What a method asks of its surroundings, in words."""

_KNOWLEDGE = {
    "own": "its own state",
    "neighbours": "its neighbours' messages of the round before",
    "rushing": "its neighbours' messages of this round",
    "omniscient": "its neighbours' messages of this round, the graph, every rule and everybody's data",
}

_FLAGS = {
    "attack": "--byzantine 1 --attack {}",
    "compressor": "--compress {}",
    "penalty": "--algorithm central-fista:penalty=({})",
    "poison": "--byzantine 1 --poison {}",
    "pre-screen": "--screen {}+median",
}

_SAMPLES = {"int": "2", "float": "0.5", "Penalty": "l21"}


def print_list(kind: str | None, as_json: bool) -> None:
    """Print all pieces, or those of one kind, a line each."""
    chosen = [kind_of(kind)] if kind else kinds()
    if as_json:
        print_json({each: [_entry(page) for page in _pages(each)] for each in chosen})
        return
    for number, each in enumerate(chosen):
        if number:
            click.echo()
        print_table(each, [(page.name, page.summary) for page in _pages(each)])


def print_page(name: str, kind: str | None) -> None:
    """Print the manual page of a piece; of all that share the name, if no kind is given."""
    if is_place(name):
        _print(read(kind_of(kind or "task"), name))
        return
    name, _, rest = name.partition(":")
    if name == "file" and rest in bundled():
        kind = kind or "topology"
    chosen = [kind_of(kind)] if kind else [each for each in kinds() if name in names(each)]
    if not chosen:
        raise unknown("piece", name, {other for each in kinds() for other in names(each)})
    for number, each in enumerate(chosen):
        if number:
            click.echo()
        _print(read(each, name))


def kind_of(text: str) -> str:
    """The kind that is meant, in singular or plural."""
    for kind in kinds():
        if text in (kind, f"{kind}s", f"{kind.removesuffix('y')}ies", kind.removesuffix("s")):
            return kind
    raise unknown("kind", text, kinds())


def example(page: Page) -> str:
    """The command line that uses a piece, with its required settings or else its first one."""
    given = [setting for setting in page.settings if setting.required]
    if not given:
        given = [setting for setting in page.settings[:1] if setting.default not in (None, "")]
    spec = ",".join(map(_sample, given))
    text = f"{page.name}:{spec}" if spec else page.name
    return "dmtl run " + _FLAGS.get(page.kind, f"--{page.kind} {{}}").format(text)


def _sample(setting: Setting) -> str:
    if setting.required and setting.type == "str":
        return setting.name.upper()  # the first value needs no key
    value = _SAMPLES.get(setting.type, "VALUE") if setting.required else _default_words(setting.default)
    return f"{setting.name}={value}"


def _pages(kind: str) -> list[Page]:
    """All pieces of a kind, and the graphs that come along in files."""
    pages = [read(kind, name) for name in names(kind)]
    if kind == "topology":
        sources = bundled_sources()
        pages += [Page(kind, f"file:{name}", source, (), None, "") for name, source in sources.items()]
    return sorted(pages, key=lambda page: page.name)


def _entry(page: Page) -> dict[str, Any]:
    return {"name": page.name, "summary": page.summary, "settings": [each._asdict() for each in page.settings]}


def _print(page: Page) -> None:
    click.secho(f"{page.name} ({page.kind})", bold=True)
    click.echo(f"\n{page.doc}\n" if page.doc else "")
    if page.settings:
        print_table("settings", [_row(setting) for setting in page.settings])
        click.echo()
    print_table("", [*_traits(page), ("lives in", where(page.kind, page.name)), ("example", example(page))])


def _row(setting: Setting) -> tuple[str, str, str, str]:
    default = "required" if setting.required else _default_words(setting.default)
    return setting.name, setting.type, default, setting.doc


def _default_words(default: Any) -> str:
    if default is None or default == "":
        return "none" if default is None else "empty"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _traits(page: Page) -> list[tuple[str, str]]:
    """What a class says of itself besides its settings."""
    piece = page.piece
    if piece is None:
        return [("trouble", page.trouble)]
    if page.kind == "algorithm":
        asked = [words for flag, words in NEEDS.items() if flag in piece.needs]
        return [("needs", "\n".join(asked) or "nothing")]
    if page.kind == "attack":
        return [("knows", _knows(piece.knowledge)), ("rushing", _rushes(piece.rushing))]
    rows = []
    if page.kind in ("screen", "pre-screen"):
        rows.append(("least neighbours", _doc(piece.least_neighbours)))
    if page.kind == "screen":
        rows.append(("liars it bounds", _doc(piece.capacity)))
    return rows


def _knows(knowledge: Any) -> str:
    """Of a class; where it depends on settings, what the property says."""
    return _entry_words(knowledge) if isinstance(knowledge, property) else _KNOWLEDGE.get(knowledge, knowledge)


def _rushes(rushing: Any) -> str:
    if isinstance(rushing, property):
        return _entry_words(rushing)
    return "yes: it listens before it speaks" if rushing else "no"


def _entry_words(attribute: property) -> str:
    """A property's sentence as an entry of a table."""
    sentence = _doc(attribute)
    return sentence[:1].lower() + sentence[1:].removesuffix(".")


def _doc(method: Any) -> str:
    """What a piece says of one of its methods; the numbers depend on settings that nobody has given yet."""
    return (inspect.getdoc(method) or "").partition("\n")[0]
