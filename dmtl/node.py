"""One task node: a task, a method, a screen, and perhaps a lie. Pure: it talks to nobody and touches no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dmtl.capabilities import Dividing, Ending, Showing
from dmtl.changing import Changing
from dmtl.errors import DivergedError
from dmtl.mailbox import CAP, Mailbox, per_edge, replaced
from dmtl.mixer import Mixer
from dmtl.starts import first_model
from dmtl.types import Algorithm, Attack, Block, Inbox, Outbox, Screen, Task, Vec, View
from dmtl.wire import Compressor, Copies, Wire

__all__ = ["Ageing", "Mixer", "Node", "NodeState"]

_new = tuple.__new__

Ageing = Callable[[int, int, int], int]
"""(round, source, target) -> how many rounds old the message is that arrives; -1: none does."""


class NodeState(NamedTuple):
    """All that a node carries from one round to the next."""

    view: View
    """what the node knows in the round to come"""
    model: Any
    """the algorithm's state; its field ``x`` is the model"""
    memory: tuple[Any, ...]
    """the screen's, one per message row"""
    attack: Any
    """the liar's"""
    inbox: Inbox
    """what was heard last; all of it missing before round 0"""
    past: tuple[Block, ...] = ()
    """what came in the rounds before, the newest last, where messages may be late"""
    said: Block | None = None
    """(k_out, f, d) a rushing liar's last words, which reach its fellows a round later"""
    why: NDArray[np.int8] | None = None
    """codes of ``verdicts.Why`` from the screen, one per message of row 0 that reached it; None: nothing to say"""
    copies: Copies | tuple[()] = ()
    """what both ends of each edge know of what was said on it, where messages are compressed"""

    @property
    def x(self) -> Vec:
        """(d,) the node's current model."""
        x: Vec = self.model.x
        return x


class Node:
    """What stays the same on a rank for a whole run."""

    __slots__ = (
        "ageing",
        "algorithm",
        "attack",
        "changing",
        "divides",
        "dtype",
        "ends",
        "hides",
        "joins",
        "limit",
        "linear",
        "ones",
        "reach",
        "rows",
        "rushers",
        "screen",
        "shows",
        "task",
        "varies",
        "view",
        "wire",
    )

    def __init__(
        self,
        view: View,
        task: Task,
        algorithm: Algorithm[Any],
        screen: Screen,
        attack: Attack | None = None,
        dtype: DTypeLike = np.float64,
        rushers: Container[int] = (),
        ageing: Ageing | None = None,
        reach: int = 0,
        changing: Changing | None = None,
        joins: int = 0,
        compressor: Compressor | None = None,
    ) -> None:
        """``view`` is that of round 0; ``dtype`` float64 or float32 is that of models and messages.

        ``rushers`` are the ranks whose attack is rushing; only such a rank needs to know them. ``ageing`` makes
        messages late, by up to ``reach`` rounds, or lost; ``changing`` says which links are in use in a round; before
        round ``joins`` the node does nothing. ``compressor`` makes the messages shorter that travel.
        """
        self.dtype = np.dtype(dtype)
        self.ones = np.ones(len(view.sources), self.dtype)
        self.ones.flags.writeable = False
        self.view = view._replace(
            weights=view.weights.astype(self.dtype),
            out_weights=view.out_weights.astype(self.dtype),
            couplings=view.couplings.astype(self.dtype),
            trust=self.ones,
        )
        self.task = task
        self.algorithm = algorithm
        self.screen = screen
        self.linear = screen.linear
        # A row beyond the cap leaves at least that share of itself in a plain sum, unless another one cancels it,
        # and two lies that cancel do no harm to an average. Below this square nothing needs to be examined.
        self.limit = float(CAP[self.dtype.itemsize] * view.weights.min() / 2) ** 2
        self.attack = attack
        self.rushers = rushers
        self.rows = algorithm.message_shape(task)[0]
        self.ends = algorithm if isinstance(algorithm, Ending) else None
        """a method that finds out when it is done"""
        self.shows = algorithm if isinstance(algorithm, Showing) else None
        """a method whose messages are vectors of another task"""
        self.divides = algorithm if isinstance(algorithm, Dividing) else None
        """a method whose vectors are models for parts of the rows"""
        self.ageing = ageing
        self.reach = reach
        self.changing = changing
        self.joins = joins
        self.varies = changing is not None or joins > 0
        self.hides = changing is not None or ageing is not None or (compressor is not None and self.rushing)
        """whether ``reaching`` and ``hear`` have anything to do"""
        self.wire = Wire.of(compressor, algorithm, task, self.view, self.dtype) if compressor and self.rows else None
        """what makes messages shorter; None: they travel as they are"""

    @property
    def message_shape(self) -> tuple[int, int]:
        """(f, d) of what it says."""
        return self.algorithm.message_shape(self.task)

    @property
    def rushing(self) -> bool:
        """Whether it listens before it speaks."""
        return self.attack is not None and self.attack.rushing

    @property
    def form(self) -> tuple[tuple[int, int], np.dtype[Any]]:
        """Shape and type of a message as it travels."""
        return (self.message_shape, self.dtype) if self.wire is None else self.wire.form

    @property
    def weight(self) -> int:
        """Bytes of a message as it travels."""
        (f, d), dtype = self.form
        return f * d * dtype.itemsize

    def mailbox(self) -> Mailbox:
        """Buffers that fit its messages as they travel."""
        return Mailbox(self.view, *self.form)

    def start(self, x0: Vec | None = None) -> NodeState:
        """The state before round 0, at the model ``x0`` (d,), where the task starts, or at zero."""
        x = first_model(self.task, self.view.seed) if x0 is None else x0
        model = self.algorithm.init(np.asarray(x, self.dtype), self.task, self.seen(self.view))
        shown = self.shown(model)
        memory = tuple(self.screen.init(task, self.view) for task in self.judged(model, self.view))
        plot = () if self.attack is None else self.attack.init(shown, self.view)
        mailbox = Mailbox(self.view, self.message_shape, self.dtype)
        mailbox.clear()
        nothing = mailbox.open()
        said = self.mailbox().edges if self.rushing else None
        copies = () if self.wire is None else self.wire.start()
        past = (nothing.messages,) * self.reach
        return NodeState(self.seen(self.view), model, memory, plot, nothing, past, said, None, copies)

    def shown(self, model: Any) -> Task:
        """The task of which messages are vectors; ``model`` is the algorithm's state."""
        return self.task if self.shows is None else self.shows.shown(model, self.task)

    def judged(self, model: Any, view: View) -> Sequence[Task]:
        """For each vector of a message, the task by which it is judged; ``model`` is the algorithm's state."""
        if self.divides is None:
            return (self.shown(model),) * self.rows
        return self.divides.parts(model, self.task, view)

    def speak(self, state: NodeState, heard: Inbox) -> tuple[Outbox, NodeState]:
        """What it says this round; a liar has ``heard`` last round's messages, or this round's if it is rushing."""
        message = self.algorithm.send(state.model, state.view)
        honest = _new(Outbox, (message, None) if isinstance(message, tuple) else ((), message))
        if self.attack is None:
            return (honest, state) if self.wire is None else self._packed(honest, state)
        truth = per_edge(honest, len(state.view.targets), self.message_shape, self.dtype)
        lies, plot = self.attack(truth, heard, state.attack, self.shown(state.model), state.view)
        state, outbox = state._replace(attack=plot), Outbox(honest.own, lies)
        if self.wire is not None:
            outbox, state = self._packed(outbox, state)
        return outbox, state._replace(said=outbox.edges) if self.attack.rushing else state

    def _packed(self, outbox: Outbox, state: NodeState) -> tuple[Outbox, NodeState]:
        """What travels of an outbox, lies and all."""
        assert self.wire is not None
        packed, copies = self.wire.packed(outbox, state.copies, state.view.round)
        return packed, state._replace(copies=copies)

    def opened(self, state: NodeState, inbox: Inbox) -> tuple[Inbox, NodeState]:
        """What came, as vectors again; as soon as it has come, and once."""
        if self.wire is None:
            return inbox, state
        found, copies = self.wire.opened(inbox, state.copies, state.view.round)
        return found, state._replace(copies=copies)

    def reaching(self, state: NodeState, inbox: Inbox) -> Inbox:
        """What reaches it of what came: the same, or messages of earlier rounds, or none.

        Over a link that is not in use nothing comes, and its weight is this rank's own.
        """
        view = state.view
        ages = np.zeros(len(view.sources), np.int64)
        if self.ageing is not None:
            ages[:] = [self.ageing(view.round, source, view.rank) for source in view.sources]
        if self.changing is not None:
            ages[~self.changing.row(view.rank, view.round).hears] = -1
        return replaced(inbox, ages, state.past) if ages.any() else inbox

    def hear(self, state: NodeState, inbox: Inbox) -> tuple[Inbox, NodeState]:
        """What reaches it, once it has spoken itself, and the state that keeps what came."""
        if self.wire is not None and self.rushing:  # it had not spoken yet when it opened them
            inbox = self.wire.beside(inbox, state.copies)
        reaches = self.reaching(state, inbox)
        if self.reach:
            state = state._replace(past=(*state.past[1:], inbox.messages.copy()))
        return reaches, state

    def step(self, state: NodeState, inbox: Inbox) -> NodeState:
        """The state after this round's messages."""
        view = state.view
        if self.varies and view.round < self.joins:
            return state._replace(view=self.seen(view._replace(round=view.round + 1)), inbox=inbox)
        mixer = Mixer(self, state, inbox)
        mix = mixer if self.wire is None else self.wire.relaxed(mixer, state.copies)
        model = self.algorithm.step(state.model, inbox, mix, self.task, view)
        x = model.x
        if x is not mixer.sound and not math.isfinite(x.dot(x)):
            raise DivergedError(
                f"rank {view.rank} diverged in round {view.round}: {self.algorithm} made a model that is not finite. "
                f"Lower the step size."
            )
        # Made in every round: the bare constructor takes half the time of the class call.
        after = _new(View, view[:-2] + (mixer.trusted, view.round + 1))  # noqa: RUF005
        if self.varies:
            after = self.seen(after)
        copies = () if self.wire is None else self.wire.settled(state.copies)
        past, said = state.past, state.said
        return _new(NodeState, (after, model, mixer.memory, state.attack, inbox, past, said, mixer.why, copies))

    def seen(self, view: View) -> View:
        """A view with the weights of its round."""
        if self.changing is None:
            return view
        return view._replace(weights=self.changing.row(view.rank, view.round).weights.astype(self.dtype))
