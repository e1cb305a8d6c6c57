"""What one rank writes down of a run: its evaluations and its end, into its own files."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dmtl.build import Plan
from dmtl.capabilities import Predicting, Telling
from dmtl.node import Node, NodeState
from dmtl.results import RankLog, portable, read_log, save_state, surroundings, writing
from dmtl.types import Inbox, Needs
from dmtl.verdicts import words

__all__ = ["Recorder"]

_NEVER = 2**62


class Recorder:
    """Called with a state and the messages that led to it; a context manager around one rank's run."""

    def __init__(self, place: Path, plan: Plan, node: Node, identity: str = "", resumed: int | None = None) -> None:
        """``identity`` is that of the data; ``resumed`` the round that a run is taken up from, None for a new one."""
        self._place = place
        self._node = node
        self._view = node.view
        before = 0.0
        name = f"rank-{node.view.rank:04d}"
        with writing(place):
            (place / ".stopped").unlink(missing_ok=True)
            for old in (*place.glob(f".{name}.*"), *(place.glob(f"{name}.*") if resumed is None else ())):
                old.unlink()  # what a rank leaves that is killed while it writes, and another run's files
        if resumed is not None:
            lines = read_log(place / f"{name}.jsonl")[0]
            known = [line for line in lines if line["event"] == "round" and line.get("round", _NEVER) <= resumed]
            before = float(known[-1].get("seconds") or 0.0) if known else 0.0
        self._log = RankLog(place, node.view.rank, mode="w" if resumed is None else "a")
        self._began = perf_counter() - before
        self._shows_own = Needs.UNSCREENED not in plan.algorithm.needs
        self._sent = len(node.view.targets) * node.weight
        again = {} if resumed is None else {"resumed": resumed}
        self._log.write("start", **self._introduction(plan), **again, identity=identity, **surroundings())

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is not None:
            self._log.write("failed", error=f"{type(error).__name__}: {error}")
        self._log.__exit__()

    def __call__(self, state: NodeState, inbox: Inbox, **more: float) -> dict[str, Any]:
        """Write one evaluation, with whatever else is known of it, and return it."""
        task, view, who = self._node.task, state.view, self._node.algorithm
        line = {
            "round": view.round,
            "loss": task.loss(state.x),
            **(who.evaluate(state.model, task) if isinstance(who, Predicting) else task.evaluate(state.x)),
            "trust": view.trust,
            "verdicts": words(inbox, view.trust, state.why) if view.round else [],
            "age": inbox.age,
            "refused": int((~inbox.valid).sum()) if view.round else 0,
            "distance": self._distances(inbox) if view.round else [],
            "bytes": self._sent * view.round,
            "seconds": perf_counter() - self._began,
            **(who.tell(state.model, view) if isinstance(who, Telling) else {}),
            **self._bound(state),
            **more,
        }
        if len(line["trust"]) and np.isnan(line["trust"]).all():
            line["verdicts"] = []  # nobody was judged
        self._log.write("round", **line)
        return line

    def note(self, event: str, **values: Any) -> None:
        """Write a line about something else that happened."""
        self._log.write(event, **values, seconds=perf_counter() - self._began)

    def finish(self, state: NodeState) -> None:
        """Write the final state and the last line."""
        save_state(self._place / f"rank-{self._view.rank:04d}.npz", portable(state))
        self.note("end", round=state.view.round, **self._bound(state))

    def _bound(self, state: NodeState) -> dict[str, float]:
        """How far the network's objective is above its least, at most, where the method knows."""
        ends = self._node.ends
        return {} if ends is None else {"bound": ends.bound(state.model)}

    def _introduction(self, plan: Plan) -> dict[str, Any]:
        rank = self._view.rank
        lie = plan.lies.get(rank)
        return {
            "rank": rank,
            "label": plan.label(rank),
            "byzantine": lie is not None,
            "sources": self._view.sources,
            "targets": self._view.targets,
            "parameters": self._node.task.dim,
            "message": self._node.message_shape,
        }

    def _distances(self, inbox: Inbox) -> list[float]:
        """How far each neighbour's first vector was from the own one; empty where the method says no such thing."""
        if not (self._shows_own and inbox.rows):
            return []
        rows = inbox.rows[0]
        with np.errstate(all="ignore"):  # a lie may be anything
            return [float(np.linalg.norm(row - rows[0])) for row in rows[1:]]
