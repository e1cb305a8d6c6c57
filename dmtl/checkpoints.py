"""States on disk that a run can be taken up from: written aside and renamed, read only if whole."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from dmtl.node import Node, NodeState
from dmtl.results import Saved, portable, restore, save_state
from dmtl.topology import Topology

__all__ = ["Keeper", "common", "revive", "saved_rounds", "to_keep"]

Files = dict[int, Path]
"""round -> the file of the state before that round"""


class Keeper:
    """Writes one rank's checkpoints and takes away those that nobody can need any more."""

    def __init__(self, place: Path, rank: int, keep: int) -> None:
        """``keep`` is how many to leave."""
        self._place = place
        self._rank = rank
        self._keep = keep

    def save(self, state: NodeState) -> None:
        """Write the state, unless it is there; the oldest of too many are removed."""
        path = self._place / f"rank-{self._rank:04d}.ckpt-{state.view.round:06d}.npz"
        if not path.exists():
            save_state(path, portable(state))
        for _, old in sorted(_files(self._place, self._rank).items())[: -self._keep]:
            old.unlink(missing_ok=True)


def to_keep(topology: Topology, every: int) -> int:
    """How many checkpoints a rank has to leave so that all ranks have one round in common.

    Two, and one for each checkpoint by which one rank may be ahead of another: synchronous ranks differ by at most
    the diameter, and that is at most the way from rank 0 to any other and back.
    """
    graph, n = topology.graph, topology.size
    if n == 1 or not every:
        return 2
    there = nx.single_source_shortest_path_length(graph, 0)
    back = nx.single_source_shortest_path_length(graph.reverse(), 0) if graph.is_directed() else there
    around: int = max(there.values()) + max(back.values())
    return 2 + ceil(around / every)


def saved_rounds(place: Path, rank: int) -> list[int]:
    """Rounds before which this rank's state can be read whole, the last first; its final state counts as well."""
    rounds = [round for round, path in _files(place, rank).items() if _arrays(path)]
    final = _arrays(place / f"rank-{rank:04d}.npz")
    return sorted({*rounds, *([int(final["round"])] if "round" in final else [])}, reverse=True)


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
    """The state before ``round``; where this rank lacks it, that of its last round before, or its start."""
    own = [known for known in saved_rounds(place, node.view.rank) if known <= round]
    start = node.start()
    if not own:
        return start._replace(view=node.seen(start.view._replace(round=round)))
    path = _files(place, node.view.rank).get(own[0], place / f"rank-{node.view.rank:04d}.npz")
    saved: Saved = restore(portable(start), dict(_arrays(path)))
    return _alive(node, start, saved, round)


def _alive(node: Node, start: NodeState, saved: Saved, round: int) -> NodeState:
    view = node.seen(start.view._replace(round=round, trust=saved.trust))
    state = start._replace(view=view, model=saved.model, memory=saved.memory, attack=saved.attack)
    if saved.heard:
        flat, age = saved.heard
        box = node.mailbox()
        box.said[:], box.heard[:] = flat[0].reshape(box.said.shape), flat[1:].reshape(box.heard.shape)
        state = state._replace(inbox=box.open(age))
    return state._replace(past=saved.past, said=saved.said)


def _files(place: Path, rank: int) -> Files:
    pattern = re.compile(rf"rank-{rank:04d}\.ckpt-(\d+)\.npz")
    found = ((pattern.fullmatch(path.name), path) for path in place.glob(f"rank-{rank:04d}.ckpt-*.npz"))
    return {int(match[1]): path for match, path in found if match}


def _arrays(path: Path) -> Mapping[str, Any]:
    """All arrays of a file; none where it is missing or torn, which their checksums show."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(path) as file:
        return dict(file)
    return {}
