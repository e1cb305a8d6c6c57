"""What goes wrong on the way: messages late or lost, a network cut in two, ranks that come later or are slow.

All of it is a pure function of (seed, round, source, target), so that it is the same on MPI and in the simulator, and
the same again after a resume.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from dmtl.errors import ConfigError
from dmtl.rng import Purpose, stream

__all__ = ["Conditions", "Link", "Split", "parse_joins", "parse_link", "parse_slow", "parse_split"]


TICK = 1e-3
"""Virtual seconds of a round where no pace is given."""
_MOST = 10**9
"""No number in these texts is greater."""


@dataclass(frozen=True, slots=True)
class Link:
    """What every link does to its messages."""

    delay: float = 0.0
    """seconds that a message takes"""
    jitter: float = 0.0
    """most seconds more, drawn uniformly for each message"""
    drop: float = 0.0
    """probability that a message is lost"""
    age: int = 0
    """rounds that a message may take, drawn uniformly from 0 .. age; the newest that has come stands until the next"""


@dataclass(frozen=True, slots=True)
class Split:
    """A network cut into groups for some rounds; links inside a group stay."""

    group: Mapping[int, int]
    """rank -> its group"""
    first: int
    """round in which the cut begins"""
    end: int
    """round in which it is healed"""

    def cuts(self, round: int, source: int, target: int) -> bool:
        """Whether that link is cut in that round."""
        return self.first <= round < self.end and self.group[source] != self.group[target]


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that is imposed on a network; the empty one changes nothing."""

    seed: int = 0
    link: Link = Link()
    splits: tuple[Split, ...] = ()
    joins: Mapping[int, int] = field(default_factory=dict)
    """rank -> the round in which it joins; the others are there from the start"""
    slow: Mapping[int, float] = field(default_factory=dict)
    """rank -> how many times as long it takes for a round"""
    pace: float = 0.0
    """seconds that a round of a rank that is not slow takes at least"""

    @property
    def timed(self) -> bool:
        """Whether anything is said about seconds."""
        return bool(self.pace or self.slow or self.link.delay or self.link.jitter)

    @property
    def reach(self) -> int:
        """Rounds that one has to look back for the newest message that has come."""
        return 3 * self.link.age

    @property
    def hides(self) -> bool:
        """Whether a message may be late or lost in counted rounds."""
        return bool(self.splits or self.joins or self.link.drop or self.link.age)

    def age(self, round: int, source: int, target: int) -> int:
        """How many rounds old the message is that ``target`` has of ``source`` in that round; -1: none.

        Where messages may be late, the newest that has come stands; where they are only lost, a lost one is silence.
        Of a link that was not in use when a message was said, that message never comes.
        """
        if not self.open(round, source, target):
            return -1
        for age in range(min(self.reach, round) + 1):
            if self._taken(round - age, source, target) <= age and self.open(round - age, source, target):
                return age
        return -1

    def open(self, round: int, source: int, target: int) -> bool:
        """Whether that link is in use; both of its ends know."""
        begun = max(self.joins.get(source, 0), self.joins.get(target, 0))
        return round >= begun and not any(split.cuts(round, source, target) for split in self.splits)

    def wait(self, round: int, source: int, target: int) -> float:
        """Seconds that a message takes which is not lost."""
        link = self.link
        return link.delay + (link.jitter * self._draw(round, source, target)[1] if link.jitter else 0.0)

    def delay(self, round: int, source: int, target: int) -> float:
        """Seconds that a message takes; infinite for one that is lost."""
        lost = self.link.drop and self._draw(round, source, target)[0] < self.link.drop
        return float("inf") if lost else self.wait(round, source, target)

    def cost(self, rank: int, round: int) -> float:
        """Seconds that a round of this rank takes on a virtual clock."""
        return (self.pace or TICK) * self.slow.get(rank, 1.0)

    def _taken(self, round: int, source: int, target: int) -> float:
        """Rounds that the message of that round takes; infinite for one that is lost."""
        if not (self.link.drop or self.link.age):
            return 0
        lost, share = self._draw(round, source, target)
        return float("inf") if lost < self.link.drop else int(share * (self.link.age + 1))

    def _draw(self, round: int, source: int, target: int) -> tuple[float, float]:
        """Two numbers in [0, 1) for each message: whether it is lost, and how late it is."""
        lost, share = stream(self.seed, Purpose.LINK, source, round * 2**20 + target).random(2).tolist()
        return lost, share


def parse_link(text: str) -> Link:
    """Read ``delay=0.05,jitter=0.02,drop=0.01,age=20``; every part may be left out."""
    values: dict[str, float] = {}
    for part in text.split(",") if text else ():
        key, _, value = (word.strip() for word in part.partition("="))
        number = _number(value)
        sound = 0 <= number <= _MOST and (key != "age" or number.is_integer())
        if key not in ("delay", "jitter", "drop", "age") or key in values or not sound:
            raise ConfigError(
                f"link is {text!r}: {part!r} is not understood. Write delay=SECONDS, jitter=SECONDS, "
                f"drop=PROBABILITY or age=ROUNDS, each once and joined by commas."
            )
        values[key] = number
    if values.get("drop", 0) >= 1:
        raise ConfigError(f"link has drop={values['drop']:g}. It is a probability, at least 0 and below 1.")
    return Link(values.get("delay", 0.0), values.get("jitter", 0.0), values.get("drop", 0.0), int(values.get("age", 0)))


def parse_slow(text: str, ranks: int) -> dict[int, float]:
    """Read ``3:10x,5:2x``: rank and how many times as long it takes."""
    slow: dict[int, float] = {}
    for part in text.split(",") if text else ():
        rank, _, times = part.partition(":")
        factor = _number(times.strip().removesuffix("x"))
        if not 1 <= factor <= _MOST:
            raise ConfigError(f"slow is {text!r}: {part!r} is not RANK:TIMESx, such as 3:10x, with TIMES at least 1.")
        slow[_rank(rank, ranks, f"slow is {text!r}", slow)] = factor
    return slow


def parse_joins(text: str, ranks: int) -> dict[int, int]:
    """Read ``3@100,5@200``: rank and the round in which it joins."""
    joins: dict[int, int] = {}
    for part in text.split(",") if text else ():
        rank, _, round = part.partition("@")
        begun = _whole(round)
        if begun < 0:
            raise ConfigError(f"join is {text!r}: {part!r} is not RANK@ROUND, such as 3@100.")
        joins[_rank(rank, ranks, f"join is {text!r}", joins)] = begun
    return joins


def parse_split(text: str, ranks: int) -> Split:
    """Read ``0-4|5-9@100-200``: groups of ranks, and the rounds from which and until which they are apart."""
    where = f"split is {text!r}"
    groups, _, span = text.partition("@")
    first, _, end = span.partition("-")
    if not 0 <= _whole(first) < _whole(end):
        raise ConfigError(f"{where}: the rounds are missing or wrong. Write GROUP|GROUP@FIRST-END, 0-4|5-9@100-200.")
    group: dict[int, int] = {}
    for number, part in enumerate(groups.split("|")):
        for word in part.split(","):
            low, dash, high = word.partition("-")
            bottom = _rank(low, ranks, where, group)
            top = _rank(high, ranks, where) if dash else bottom
            if top < bottom:
                raise ConfigError(f"{where}: {word.strip()!r} runs backwards. Write the lower rank first.")
            for rank in range(bottom, top + 1):
                group[_rank(str(rank), ranks, where, group)] = number
    left_out = sorted(set(range(ranks)) - set(group))
    if left_out or len(set(group.values())) < 2:
        what = f"rank {left_out[0]} is in no group" if left_out else "all ranks are in one group"
        raise ConfigError(f"{where}: {what}. Name every rank in one of at least two groups.")
    return Split(group, _whole(first), _whole(end))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _whole(text: str) -> int:
    """A whole number from 0 to a billion, or -1."""
    number = _number(text)
    return int(number) if text.strip().isdecimal() and number <= _MOST else -1


def _rank(text: str, ranks: int, where: str, named: Collection[int] = ()) -> int:
    rank = _whole(text)
    if not 0 <= rank < ranks:
        raise ConfigError(f"{where}: {text.strip()!r} is no rank. A rank is 0 .. {ranks - 1}.")
    if rank in named:
        raise ConfigError(f"{where}: rank {rank} is named twice. Name it once.")
    return rank
