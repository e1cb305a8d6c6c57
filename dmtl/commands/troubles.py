"""What is imposed on a run, in words: links that come and go, messages that are late or lost, ranks that are slow."""

from __future__ import annotations

from typing import Any

from dmtl.build import Plan
from dmtl.changing import coverage
from dmtl.commands.console import Line, counted, ranks_words
from dmtl.links import Conditions, Link, Split

__all__ = ["trouble_lines"]


def trouble_lines(job: Plan) -> list[Line]:
    """The section of ``dmtl check`` about time-varying links and imposed conditions."""
    return [*_changing_lines(job), *_condition_lines(job.conditions)]


def _changing_lines(job: Plan) -> list[Line]:
    """Whether the links that take turns can bring all ranks together."""
    spec = job.config.time_varying
    if job.changing is None or spec is None:
        return [Line("time_varying", None, "no: all links are in use in all rounds")]
    found = coverage(job.changing)
    after, count = found.connected_after, found.rounds_to_1e6
    never = f"warning: not within {found.rounds} rounds, so some ranks may never hear of each other"
    unknown = "not computed above 200 ranks" if job.changing.size > 200 else f"never, as {found.rounds} rounds look"
    return [
        Line("time_varying", spec, str(spec["name"])),
        Line(
            "connected_after",
            after,
            never if after is None else f"{counted(after, 'round')}, by the links used until then",
        ),
        Line("rounds_to_1e6", count, unknown if count is None else f"{count} shrink a disagreement to a millionth"),
    ]


def _condition_lines(imposed: Conditions) -> list[Line]:
    """One line for each kind of condition that is imposed."""
    link, splits, joins, slow = imposed.link, imposed.splits, imposed.joins, imposed.slow
    came = [f"rank {rank} from round {round}" for rank, round in sorted(joins.items())]
    late = [f"rank {rank} {factor:g} times" for rank, factor in sorted(slow.items())]
    return [
        Line("link", {key: getattr(link, key) for key in Link.__slots__}, _link_words(link)),
        Line("splits", [_plain(split) for split in splits], "\n".join(map(_split_words, splits)) or "none"),
        Line("joins", dict(joins), ", ".join(came) or "all ranks are there from the start"),
        Line("slow", dict(slow), ", ".join(late) or "none"),
        Line("pace", imposed.pace, f"a round takes {imposed.pace:g} s at least" if imposed.pace else "none"),
    ]


def _link_words(link: Link) -> str:
    words = [
        f"a message takes {link.delay:g} s" if link.delay else "",
        f"up to {link.jitter:g} s more" if link.jitter else "",
        f"{100 * link.drop:.3g} % are lost" if link.drop else "",
        f"up to {link.age} rounds late" if link.age else "",
    ]
    return ", ".join(word for word in words if word) or "sound"


def _plain(split: Split) -> dict[str, Any]:
    return {"groups": _groups(split), "first": split.first, "end": split.end}


def _groups(split: Split) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for rank, number in sorted(split.group.items()):
        groups.setdefault(number, []).append(rank)
    return list(groups.values())


def _split_words(split: Split) -> str:
    apart = " | ".join(ranks_words(group) for group in _groups(split))
    return f"{apart} in rounds {split.first} .. {split.end - 1}"
