"""The seven concepts as types: what a piece gets and gives. See ARCHITECTURE.md for how they meet.

Letters used everywhere: ``d`` parameters, ``k`` neighbours, ``f`` vectors in one message, ``n`` ranks.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dmtl.rng import NETWORK, Purpose, stream

__all__ = [
    "Algorithm",
    "Attack",
    "Block",
    "Exchange",
    "Inbox",
    "Mask",
    "Mat",
    "Mix",
    "Mixed",
    "Needs",
    "Outbox",
    "PreScreen",
    "Screen",
    "Task",
    "TimeVarying",
    "Vec",
    "View",
]

Vec = NDArray[np.floating[Any]]
"""(d,) one flat parameter vector."""
Mat = NDArray[np.floating[Any]]
"""(k, d) or (1 + k, d) one vector per row."""
Block = NDArray[np.floating[Any]]
"""(k, f, d) one message of f vectors per neighbour."""
Mask = NDArray[np.bool_]

S = TypeVar("S")


class Needs(enum.Flag):
    """What a method asks of its surroundings; the builder checks it and names what is missing."""

    NOTHING = 0
    PROX = enum.auto()
    """the task has a proximal map"""
    FRESH = enum.auto()
    """every message is of this round: stale ones break an invariant"""
    UNDIRECTED = enum.auto()
    """whoever listens to me also talks to me"""
    DOUBLY_STOCHASTIC = enum.auto()
    """rows and columns of the weight matrix sum to one"""
    EDGEWISE = enum.auto()
    """reads the neighbours one by one; if it asks a screen, then for its trust and not for an average"""
    UNSCREENED = enum.auto()
    """asks no screen at all: whichever is named has no effect"""
    SMOOTH = enum.auto()
    """the task knows the Lipschitz constant of its gradient"""
    STATIC = enum.auto()
    """counts on every link in every round: it works with the spectrum of the graph"""
    CURVED = enum.auto()
    """the task knows its Hessian"""
    DUAL = enum.auto()
    """the task's loss is a mean over rows, with a dual that has a number per row"""
    WEIGHTED = enum.auto()
    """the task takes weights for its rows, and blends predictions"""


class View(NamedTuple):
    """What one rank may know. Nothing in it depends on what other ranks hold.

    A tuple and not a dataclass because one is made in every round.
    """

    rank: int
    sources: tuple[int, ...]
    """in-neighbours, ascending; row p of every inbox array is from ``sources[p]``"""
    targets: tuple[int, ...]
    """out-neighbours, ascending; row p of an outbox is for ``targets[p]``"""
    weights: Vec
    """(1 + k_in,) mixing weights, self first, summing to one"""
    out_weights: Vec
    """(1 + k_out,) column weights, self first; for push-sum only"""
    couplings: Vec
    """(k_in,) the graph's own edge weights, 1 where the graph has none"""
    seed: int
    stochastic: bool
    """whether gradients are to be drawn on mini-batches"""
    colluders: tuple[int, ...]
    """the Byzantine ranks, as Byzantine ranks know each other; empty on an honest rank whose screen is no oracle"""
    trust: Vec
    """(k_in,) what the screen let through of each neighbour last round, 1 at the start"""
    round: int

    def rng(self, purpose: Purpose) -> np.random.Generator:
        """This rank's stream for one purpose in this round."""
        return stream(self.seed, purpose, self.rank, self.round)

    def plan(self) -> np.random.Generator:
        """The stream that all colluders share in this round, so that they need not talk."""
        return stream(self.seed, Purpose.COLLUSION, NETWORK, self.round)

    def batch(self, ahead: int = 0) -> np.random.Generator | None:
        """What ``Task.grad`` takes as ``rng``: the stream of this round or ``ahead``; None for the full batch."""
        return stream(self.seed, Purpose.BATCH, self.rank, self.round + ahead) if self.stochastic else None


class Outbox(NamedTuple):
    """What a rank says in one round."""

    own: tuple[Vec, ...]
    """f vectors of length d, said to every neighbour; empty if the method has a message per edge"""
    edges: Block | None = None
    """(k_out, f, d) one message per target: an edge-wise method's, or a liar's"""


class Inbox(NamedTuple):
    """What a rank heard in one round.

    The arrays are the transport's buffers, read-only, and hold only until the next round: copy what you keep.
    """

    messages: Block
    """(k_in, f, d)"""
    age: NDArray[np.int64]
    """(k_in,) rounds since it was sent: 0 fresh, -1 nothing there (never came, silent, dead)"""
    rows: tuple[Mat, ...]
    """f matrices (1 + k_in, d): the own vector first, then the neighbours'; one product averages them"""
    flat: Mat
    """(1 + k_in, f * d) all rows at once, in one piece of memory"""
    cap: float
    """the largest Euclidean norm that a message may have"""

    @property
    def valid(self) -> Mask:
        """(k_in,) came, finite, and no larger than the cap; computed anew at each call."""
        flat = self.messages.reshape(len(self.messages), self.messages[:1].size)
        with np.errstate(all="ignore"):  # a lie may overflow, and inf <= cap is what refuses it
            small: Mask = np.vecdot(flat, flat) <= self.cap**2
        return small & (self.age >= 0)


class Mixed(NamedTuple):
    """A screen's answer."""

    value: Vec
    """(d,)"""
    trust: Vec
    """(k,) in [0, 1]: the share of each neighbour that was used"""
    memory: Any = ()
    """what the screen remembers for its next round: a NamedTuple of arrays"""
    why: NDArray[np.int8] | None = None
    """(k,) codes of ``verdicts.Why``: why each neighbour's message was not used in full; None: no more to say"""


class Task(Protocol):
    """Local data behind a loss on one flat vector. ``rng`` None means the full batch."""

    @property
    def dim(self) -> int:
        """Length d of the parameter vector."""

    def loss(self, w: Vec, rng: np.random.Generator | None = None) -> float:
        """Training objective at ``w`` (d,)."""

    def grad(self, w: Vec, rng: np.random.Generator | None = None) -> Vec:
        """A (sub)gradient of ``loss`` at ``w``, (d,)."""

    def evaluate(self, w: Vec) -> Mapping[str, float]:
        """Numbers on data that ``loss`` never saw, by name: ``test_error``, ``held_out_loss`` ..."""


class Mix(Protocol):
    """The screen, bound to this round's inbox: the one way in which averaging methods touch their neighbours."""

    def __call__(self, row: int = 0, own: Vec | None = None) -> Vec:
        """Robust weighted average (d,) of one message row; ``own`` stands in for what this rank sent."""

    def trust(self, row: int = 0, own: Vec | None = None) -> Vec:
        """(k_in,) how much of each neighbour the screen would use; 0 for a refused message."""

    def refuse(self, rows: Mask) -> None:
        """Treat the messages in ``rows`` (k_in,) as if they had not come; for the rest of this step."""

    def instead(self, words: Block, there: Mask, weights: Vec) -> None:
        """Average ``words`` (k_in, f, d) that are ``there`` with ``weights`` (1 + k_in,), own first, from now on."""


class Algorithm(Protocol[S]):
    """A method: three pure functions of an explicit state.

    ``S`` is a NamedTuple of arrays whose field ``x`` is the current model.
    """

    needs: ClassVar[Needs]

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(f, d) of one message; f = 0 for a method that never talks."""

    def init(self, x0: Vec, task: Task, view: View) -> S:
        """The state before round 0."""

    def send(self, state: S, view: View) -> tuple[Vec, ...] | Block:
        """f vectors for every neighbour, or (k_out, f, d), one message per edge."""

    def step(self, state: S, inbox: Inbox, mix: Mix, task: Task, view: View) -> S:
        """The state after this round's messages."""


class Screen(Protocol):
    """A robust replacement for the weighted average."""

    linear: ClassVar[bool]
    """True for a fixed weighted sum: a bad row then shows in the result, and rows are examined only if it does"""

    def least_neighbours(self) -> int:
        """Fewest neighbours it can work with; below it the builder refuses."""

    def capacity(self, neighbours: int) -> int:
        """Most liars among that many neighbours of which it bounds the influence."""

    def init(self, task: Task, view: View) -> Any:
        """What it remembers before round 0, per message row; ``()`` for the many that remember nothing."""

    def __call__(self, rows: Mat, weights: Vec, memory: Any, task: Task, view: View) -> Mixed:
        """Combine ``rows`` (1 + k, d), the own vector first, with ``weights`` (1 + k,).

        Refused rows are gone, from ``view`` too: row 1 + p is from ``view.sources[p]``.
        """


class PreScreen(Protocol):
    """A map of the rows before a screen sees them; it composes with ``+``."""

    def least_neighbours(self) -> int:
        """Fewest neighbours it can work with."""

    def capacity(self, neighbours: int) -> int:
        """Most liars of which it bounds the influence by itself, whatever screen comes after it."""

    def __call__(self, rows: Mat, weights: Vec, task: Task, view: View) -> Mat:
        """Return new rows (1 + k, d), fewer if it is ``capabilities.Merging``; row 0, the own one, stays as it was."""


class Attack(Protocol):
    """A replacement for the outbox, one message per edge, so that two-faced lies are ordinary."""

    @property
    def rushing(self) -> bool:
        """True: it hears this round's messages before it speaks; else it knows last round's."""

    @property
    def knowledge(self) -> str:
        """What it must know: 'own' state, its 'neighbours' last messages, 'rushing': this round's, or 'omniscient'.

        An omniscient one knows this round's and what ``attacks.case.Case`` tells, which is handed to ``informed``
        before round 0. Both are ClassVars of the class, or properties where they depend on settings.
        """

    def init(self, task: Task, view: View) -> Any:
        """What it remembers before round 0; ``()`` for most."""

    def __call__(self, outbox: Block, inbox: Inbox, memory: Any, task: Task, view: View) -> tuple[Block, Any]:
        """The lies (k_out, f, d) in place of the honest ``outbox`` (read-only), and what it remembers."""


class TimeVarying(Protocol):
    """Which links of the base graph are in use in a round: a pure function, so that no rank needs to ask another."""

    def active(self, links: NDArray[np.int64], ranks: int, round: int, seed: int) -> Mask:
        """(m,) which of the ``links`` (m, 2), each (source, target), carry messages in this round.

        A link of an undirected base graph is there once, as (u, v) with u < v: its two directions are on or off
        together. Raises ConfigError where the base graph lacks what the piece needs.
        """


class Exchange(Protocol):
    """A whole transport, in two halves, so that work can go on in between and a rushing liar can listen first."""

    stale: bool
    """whether it may deliver messages of earlier rounds"""

    def send(self, outbox: Outbox) -> None:
        """Give this round's messages away; returns before they have arrived."""

    def receive(self) -> Inbox:
        """Wait for this round's messages."""

    def close(self) -> None:
        """Free what is held."""
