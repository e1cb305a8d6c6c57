"""A schedule that somebody wrote down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.types import Mask

__all__ = ["File"]

LARGE = 10**9
"""ranks and rounds are below it"""


class Schedule(NamedTuple):
    """What a file says, links in the order of their rounds."""

    rounds: int
    """one more than the last round named"""
    round: NDArray[np.int64]
    """(e,) ascending"""
    link: NDArray[np.int64]
    """(e, 2)"""
    line: NDArray[np.int64]
    """(e,) where it stands: a line from 1 on, or in JSON a round"""


@dataclass(frozen=True)  # without slots, so that the file is read once
class File:
    """A schedule from a file: which links are in use in which round.

    Text has one round a line, ``ROUND: u-v u-v ...``; rounds count from 0, may come in any order and may be left out,
    and then no link is in use in them. A # starts a comment. On an undirected base graph u-v and v-u are the same; on
    a directed one u-v is the link by which v hears u. A file called .json is a list with an entry per round, each a
    list of links: ``[[[0, 1], [2, 3]], [], [[1, 2]]]``. The base graph must have every link that is named; the whole
    file is checked in round 0. A measured contact network, binned into rounds, is a schedule of this kind.

    Holme and Saramäki, "Temporal networks", Physics Reports 519(3), 2012, for graphs that are given by their contacts.
    """

    path: str
    """path of the file"""
    repeat: bool = True
    """start again after the last round named; else no link is in use from then on"""

    @cached_property
    def schedule(self) -> Schedule:
        """The file's content; raises ConfigError with the number of every line that is not understood."""
        try:
            text = Path(self.path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"'file:{self.path}' cannot be read: {error}. Give the path of a schedule.") from None
        parsed = _json(text, self.path) if self.path.endswith(".json") else _text(text, self.path)
        if not parsed:
            raise ConfigError(f"'file:{self.path}' has no rounds. Write lines such as 0: 0-1 2-3.")
        entries = [(round, line, u, v) for round, (line, links) in sorted(parsed.items()) for u, v in links]
        table = np.array(entries, np.int64).reshape(-1, 4)
        return Schedule(max(parsed) + 1, table[:, 0], table[:, 2:], table[:, 1])

    def active(self, links: NDArray[np.int64], ranks: int, round: int, seed: int) -> Mask:
        """The links that the file names for this round; nothing is drawn."""
        schedule = self.schedule
        known = links[:, 0] * ranks + links[:, 1]
        # A link from a higher to a lower rank is there if and only if the (strongly connected) graph is directed.
        undirected = not (links[:, 0] > links[:, 1]).any()
        if round == 0:
            self._check(_keys(schedule.link, ranks, undirected), known)
        now = round % schedule.rounds if self.repeat else round
        start, stop = np.searchsorted(schedule.round, [now, now + 1])
        return np.isin(known, _keys(schedule.link[start:stop], ranks, undirected))

    def _check(self, keys: NDArray[np.int64], known: NDArray[np.int64]) -> None:
        """Refuse links that the base graph lacks."""
        stray = np.flatnonzero(~np.isin(keys, known))
        if len(stray):
            line, link = self.schedule.line[stray], self.schedule.link[stray]
            bad = [f"{number} ({u}-{v})" for number, (u, v) in zip(line.tolist(), link.tolist(), strict=True)]
            place = "rounds" if self.path.endswith(".json") else "lines"
            raise ConfigError(
                f"'file:{self.path}' names links that the base graph lacks, in {place} {_some(bad)}. "
                f"Add them to the topology or take them out."
            )


def _keys(links: NDArray[np.int64], ranks: int, undirected: bool) -> NDArray[np.int64]:
    """(e,) one number per link, -1 where an end is no rank."""
    ends = np.sort(links, axis=1) if undirected else links
    return np.where((ends < ranks).all(axis=1), ends[:, 0] * ranks + ends[:, 1], -1)


Parsed = dict[int, tuple[int, list[tuple[int, int]]]]
"""round -> line and links"""


def _text(text: str, path: str) -> Parsed:
    found: Parsed = {}
    bad = []
    for number, round, links in _lines(text):
        if links is None or round in found:
            bad.append(f"{number} ({'not understood' if links is None else f'round {round} again'})")
        else:
            found[round] = number, links
    if bad:
        raise ConfigError(f"'file:{path}' has bad lines: {_some(bad)}. A line is ROUND: u-v u-v ..., each round once.")
    return found


def _lines(text: str) -> Iterator[tuple[int, int, list[tuple[int, int]] | None]]:
    """Number, round and links of each line that says something; None for links if it is not understood."""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        head, _, tail = line.partition(":")
        words = [re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", word) for word in tail.split()]
        if ":" in line and re.fullmatch(r"[0-9]{1,9}", head.strip()) and all(words):
            yield number, int(head), [(int(word[1]), int(word[2])) for word in words if word]
        else:
            yield number, -1, None


def _json(text: str, path: str) -> Parsed:
    import msgspec  # here, because few schedules come this way

    rank = Annotated[int, msgspec.Meta(ge=0, lt=LARGE)]
    try:
        rounds = msgspec.json.decode(text, type=list[list[tuple[rank, rank]]])
    except msgspec.DecodeError as error:
        reason = str(error).replace("`", "")
        raise ConfigError(f"'file:{path}': {reason}. A schedule is a list of lists of links [u, v].") from None
    return {round: (round, links) for round, links in enumerate(rounds)}


def _some(words: list[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
