"""Stopping on a certificate: a run that ends when a bound on the network's objective says so, without a master."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple, Protocol

import numpy as np

from dmtl.capabilities import Certified, Telling
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.consensus.extrema import Largest
from dmtl.errors import ConfigError
from dmtl.types import Algorithm, Block, Inbox, Mix, Needs, Task, Vec, View

__all__ = ["CertifiedStop", "State", "parse_stop"]

_EXACT = Needs.FRESH | Needs.UNDIRECTED | Needs.STATIC | Needs.UNSCREENED
"""what has to be so that numbers may travel with a method's messages and be averaged exactly"""

_MORE = 2
"""numbers that travel with each message"""
_ENDLESS = 1e10
"""what is said of a term that is infinite or larger: an infinite number would be no message"""
_KNOWN = 1e9
"""the largest bound: a sum with an endless term in it is far above it"""


class _Inner(Algorithm[Any], Certified, Protocol):
    """What can be stopped so."""


class State(NamedTuple):
    """The method's own state, and two bounds on their way: one is being averaged while the one before is agreed on."""

    x: Vec
    """(d,) the method's model; in the end the one of which the bound is"""
    inner: Any
    """the method's state"""
    mean: Averaging
    """(1,) the average of all ranks' terms for the models ``sampled``"""
    sampled: Vec
    """(d,)"""
    most: Largest
    """(1,) the largest of what the ranks have found for the models ``held``"""
    held: Vec
    """(d,)"""
    bound: float
    """what was agreed on last, the same on all ranks; infinite before"""
    over: bool
    """whether the run ends with the models ``held``"""


@dataclass(frozen=True, slots=True)
class CertifiedStop:
    """Another method, with an end: when its objective is at most ``gap`` above the least, all ranks stop together.

    Each rank has a term of a bound (``Certified``). An exact average of S rounds, S the number of distinct nonzero
    eigenvalues of the graph's Laplacian, gives every rank the sum, equal but for rounding; the largest of these, after
    as many rounds as the diameter D, is the same on all ranks, bit for bit. So all decide alike, in the same round, and
    nobody is asked. A graph with diameter D has S >= D: while one bound is averaged the one before is agreed on, a new
    one begins every S rounds, and the run ends S + D rounds after the first models that are good enough. Those are the
    models that it ends with, whatever the method has done since. The bound is as good as the arithmetic: sums of T
    terms lose T roundings. It costs two numbers a message, and what the terms cost, once in S rounds.

    It has no defence against liars, and a lost message makes the average inexact.
    """

    inner: _Inner
    chart: Chart = field(repr=False)
    gap: float

    @property
    def needs(self) -> Needs:
        """The method's and its own."""
        return self.inner.needs | _EXACT

    def lacks(self, task: Task) -> str:
        """What the bound would need that this task does not have."""
        return self.inner.lacks(task)

    def tell(self, state: State, view: View) -> Mapping[str, Any]:
        """What the method tells."""
        return self.inner.tell(state.inner, view) if isinstance(self.inner, Telling) else {}

    def over(self, state: State) -> bool:
        """Whether the bound has been met."""
        return state.over

    def bound(self, state: State) -> float:
        """The bound that was agreed on last."""
        return state.bound

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(f, d + 2): the method's message, and two numbers more; only these where it says nothing."""
        f, d = self.inner.message_shape(task)
        return (f, d + _MORE) if f else (1, _MORE)

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """The method's start, of which nothing is known before neighbours have been heard."""
        inner = self.inner.init(x0, task, view)
        nothing = np.array([_ENDLESS], x0.dtype)
        return State(inner.x, inner, Averaging(nothing), inner.x, Largest(nothing), inner.x, np.inf, False)

    def send(self, state: State, view: View) -> tuple[Vec, ...] | Block:
        """The method's words, the first vector with both numbers behind it, others with zeros."""
        words = self.inner.send(state.inner, view)
        more = np.concatenate((state.mean.x, state.most.x))
        if isinstance(words, tuple):
            behind = [more, *[np.zeros_like(more)] * (len(words) - 1)]
            return tuple(map(np.append, words, behind)) if words else (more,)
        longer = np.zeros((*words.shape[:2], words.shape[2] + _MORE), words.dtype)
        longer[..., :-_MORE] = words
        longer[:, 0, -_MORE:] = more
        return longer

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """The method's step, and a round of both numbers."""
        if state.over:
            return state
        told, valid = inbox.messages[:, 0, -_MORE:], inbox.valid
        inner = self.inner.step(state.inner, _shorter(inbox, *self.inner.message_shape(task)), mix, task, view)
        mean, most = state.mean, state.most.heard(told[:, 1:], valid)
        if not mean.complete(self.chart.spectrum):
            mean = mean.heard(told[:, :1], valid, self.chart.spectrum)
        state = state._replace(x=inner.x, inner=inner, mean=mean, most=most)
        if most.complete(self.chart.diameter):
            state = self._decided(state)
        if state.over or not mean.complete(self.chart.spectrum):
            return state
        found = mean.x * mean.x.dtype.type(self.chart.ranks)
        begun = self._begun(inner, task, view)
        return state._replace(mean=begun, sampled=self.inner.vouched(inner), most=Largest(found), held=state.sampled)

    def _begun(self, inner: Any, task: Task, view: View) -> Averaging:
        """The own term, before its first round.

        A term that is far below 0 is raised, which leaves the sum a bound, so that it cannot hide an endless one.
        """
        own = self.inner.certificate(inner, task, view)
        own = min(max(own, -_ENDLESS / (2 * self.chart.ranks)), _ENDLESS) if isfinite(own) else _ENDLESS
        return Averaging(np.array([own], inner.x.dtype))

    def _decided(self, state: State) -> State:
        """What all ranks agree on about the models ``held``."""
        found = float(state.most.x[0])
        if found <= self.gap:
            return state._replace(x=state.held, bound=found, over=True)
        return state._replace(bound=found if found <= _KNOWN else np.inf)


def _shorter(inbox: Inbox, f: int, d: int) -> Inbox:
    """What the method hears: its own numbers, of all neighbours that were heard with all of theirs."""
    rows = tuple(row[:, :d] for row in inbox.rows[:f])
    flat = np.concatenate(rows, axis=1) if rows else inbox.flat[:, :0]
    age = np.where(inbox.valid, inbox.age, -1)
    return Inbox(inbox.messages[:, :f, :d], age, rows, flat, inbox.cap)


def parse_stop(text: str) -> float:
    """The gap of ``gap=VALUE``."""
    key, _, value = text.partition("=")
    try:
        gap = float(value)
    except ValueError:
        gap = np.nan
    if key.strip() != "gap" or not 0 < gap <= _KNOWN:
        raise ConfigError(
            f"stop is {text!r}. Write gap=VALUE, how far the objective may be above its least, such as gap=1e-6: a "
            f"number above 0 and at most {_KNOWN:g}."
        )
    return gap
