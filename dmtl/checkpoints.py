"""States on disk that a run can be taken up from: written aside and renamed, read only if whole."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from io import SEEK_END
from pathlib import Path
from typing import Any

import numpy as np

from dmtl.build import Plan
from dmtl.errors import ResultsError
from dmtl.mailbox import Mailbox
from dmtl.node import Node, NodeState
from dmtl.results import Saved, portable, restore, save_state

__all__ = ["Keeper", "Settled", "common", "revive", "saved_rounds", "settled"]

Settled = Callable[[int], int]
"""round before which a rank is -> the last round that all ranks must have come to by then"""

_FAR = 2**40
"""A round that no run comes to."""


class Keeper:
    """Writes one rank's checkpoints and takes away those that nobody can need any more."""

    def __init__(self, place: Path, rank: int, settled: Settled) -> None:
        self._place = place
        self._rank = rank
        self._settled = settled
        self._saved = -1

    def save(self, state: NodeState) -> None:
        """Write the state; of the checkpoints that all ranks have come to, two are left, since one may be torn."""
        round = state.view.round
        if round != self._saved:
            save_state(self._place / f"rank-{self._rank:04d}.ckpt-{round:06d}.npz", portable(state))
            self._saved = round
        files, everybodys = _files(self._place, self._rank), self._settled(round)
        for old in sorted(known for known in files if known <= everybodys)[:-2]:
            files[old].unlink(missing_ok=True)


def settled(job: Plan, node: Node) -> Settled:
    """How far a rank can be sure that all others are; from who waits for whom, without a word said about it."""
    if job.config.asynchronous:
        return lambda round: round  # nobody needs another's rounds: each goes on from its own
    if not node.message_shape[0]:
        return lambda round: 0  # nobody waits for anybody
    if job.changing:
        return lambda round: _all_have_come_to(job, node.view.rank, round)
    lag = _FAR - _all_have_come_to(job, node.view.rank, _FAR)
    return lambda round: max(0, round - lag)


def _all_have_come_to(job: Plan, rank: int, round: int) -> int:
    """The last round that all ranks must have come to when ``rank`` has come to ``round``.

    A rank has ended a round with the words of those that it hears in it, who therefore have come to that round. Only
    a rushing liar's fellows may be a round behind, because their last round's words stand in.
    """
    graph, changing = job.topology.graph, job.changing
    links = changing.links if changing else np.array(graph.edges, np.int64).reshape(-1, 2)
    both = links if graph.is_directed() else np.concatenate((links, links[:, ::-1]))
    source, target = both.T
    rushing = np.zeros(job.topology.size, np.bool_)
    rushing[[liar for liar, lie in job.lies.items() if lie.attack and lie.attack.rushing]] = True
    fellows = rushing[source] & rushing[target]
    here, sooner = np.arange(len(rushing)) == rank, np.zeros_like(rushing)
    while round > 0 and not here.all():
        round -= 1
        active = np.resize(changing.active(round), len(both)) if changing else True
        heard = here[target]
        here = here | sooner
        here[source[heard & active & ~fellows]] = True
        sooner[source[heard & fellows]] = True
    return round


_END = 22
"""Bytes of the last record of an archive, in which the number of its members stands."""


def saved_rounds(place: Path, rank: int) -> list[int]:
    """Rounds before which this rank's state can be read whole, the last first; its final state counts as well."""
    return sorted(_states(place, rank), reverse=True)


def common(rounds: Sequence[Sequence[int]]) -> int:
    """The last round that all ranks have; else the one that most have, else 0.

    ``rounds[r]`` are those of rank r. Ranks that lack it then go on from their own last state, or from the start.
    """
    counts = Counter(round for own in rounds for round in own)
    shared = [round for round, count in counts.items() if count == len(rounds)]
    if shared:
        return max(shared)
    return max(counts, key=lambda round: (counts[round], round)) if counts else 0


def revive(place: Path, node: Node, round: int) -> NodeState:
    """The state before ``round``; where this rank lacks it, that of its last round before, or its start.

    Raises ResultsError for a state that is not one of this node.
    """
    start = node.start()
    own = {known: path for known, path in _states(place, node.view.rank).items() if known <= round}
    if node.wire and node.wire.compressor.feedback and round not in own:
        raise ResultsError(
            f"{place}: a compressor says differences from what was said before, and rank {node.view.rank} has not "
            f"saved round {round}, from which the others go on. Start a new run."
        )
    if not own:
        return start._replace(view=node.seen(start.view._replace(round=round)))
    path = own[max(own)]
    try:
        saved: Saved = restore(portable(start), dict(_arrays(path)))
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from None
    return _alive(node, start, saved, round)


def _alive(node: Node, start: NodeState, saved: Saved, round: int) -> NodeState:
    view = node.seen(start.view._replace(round=round, trust=saved.trust))
    state = start._replace(view=view, model=saved.model, memory=saved.memory, attack=saved.attack)
    if saved.heard:
        flat, age = saved.heard
        box = Mailbox(node.view, node.message_shape, node.dtype)
        box.said[:], box.heard[:] = flat[0].reshape(box.said.shape), flat[1:].reshape(box.heard.shape)
        state = state._replace(inbox=box.open(age))
    return state._replace(past=saved.past, said=saved.said, copies=saved.copies)


def _states(place: Path, rank: int) -> dict[int, Path]:
    """round -> a file that can be read whole."""
    paths = (*_files(place, rank).values(), place / f"rank-{rank:04d}.npz")
    rounds = ((_arrays(path).get("round"), path) for path in paths)
    return {int(round): path for round, path in rounds if round is not None and round.dtype == int and not round.ndim}


def _files(place: Path, rank: int) -> dict[int, Path]:
    """round -> checkpoint, as the names say."""
    pattern = re.compile(rf"rank-{rank:04d}\.ckpt-(\d+)\.npz")
    found = ((pattern.fullmatch(path.name), path) for path in place.glob(f"rank-{rank:04d}.ckpt-*.npz"))
    return {int(match[1]): path for match, path in found if match}


def _arrays(path: Path) -> Mapping[str, Any]:
    """All arrays of a file; none where it is missing or torn, which their checksums show."""
    try:
        with path.open("rb") as raw, zipfile.ZipFile(raw) as archive:
            raw.seek(-_END, SEEK_END)
            # Checksums say nothing of an array that is not found because the list of them was cut short.
            if len(archive.infolist()) != int.from_bytes(raw.read(_END)[10:12], "little") or archive.testzip():
                return {}
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except Exception:  # a damaged archive may raise almost anything, and none of it matters here
        return {}
