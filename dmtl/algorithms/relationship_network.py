"""Relationship networks: tasks near their neighbours, in a metric that is learnt for each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite, prod
from typing import ClassVar, NamedTuple

import numpy as np

from dmtl.algorithms.power import check_count
from dmtl.capabilities import Layer, Layered
from dmtl.consensus.chart import Chart
from dmtl.consensus.exact import Averaging
from dmtl.errors import ConfigError
from dmtl.schedules import Schedule, check_schedule, step_size
from dmtl.types import Inbox, Mat, Mix, Needs, Task, Vec, View

__all__ = ["OnChart", "RelationshipNetwork", "State"]

NEEDS = Needs.FRESH | Needs.UNDIRECTED | Needs.UNSCREENED | Needs.STATIC


class Place(NamedTuple):
    """A layer as a matrix."""

    where: slice
    rows: int
    columns: int

    def matrix(self, w: Vec) -> Mat:
        """(rows, columns) of the parameters ``w`` (d,)."""
        return w[self.where].reshape(self.rows, self.columns)


class State(NamedTuple):
    """The model, the metric of each layer, and the moments that are on their way."""

    x: Vec
    """(d,) the model"""
    left: tuple[Mat, ...]
    """(rows, rows) S1^-1 of each layer, its largest eigenvalue 1"""
    right: tuple[Mat, ...]
    """(columns, columns) S2^-1 of each layer, its largest eigenvalue 1"""
    moments: Vec
    """(pieces p,) the own moments of this period; the averages of all ranks', as far as they are known"""
    mean: Vec
    """(p,) the piece on its way"""
    age: int
    """rounds of this period so far"""
    turns: int
    """periods so far: S1 is learnt in the even ones, S2 in the odd ones"""


@dataclass(frozen=True, slots=True)
class RelationshipNetwork:
    r"""Relationship network: a tensor normal prior on the layers of all tasks, its precision among tasks the graph's.

    Problem: min over w_1 .. w_T of sum_t f_t(w_t) + strength/2 sum over layers of vec(W)'(S1 x S2 x S3)^-1 vec(W),
    W (D1, D2, T) the layer of all tasks, S1 the covariance of its rows (inputs), S2 that of its columns (outputs), and
    S3^-1 = I - M + delta I that of tasks, M the symmetric mixing weights. The term is an edge sum of distances in a
    metric, strength/2 (sum_{edges st} m_st |W_s - W_t|^2 + delta sum_t |W_t|^2), |V|^2 = tr(S1^-1 V S2^-1 V').
    Update: w_t+ = w_t - mu (grad f_t(w_t) + strength S1^-1 (W_t - sum_s m_ts W_s + delta W_t) S2^-1), layer by layer.
    Every ``period`` rounds S1 is learnt with S2 fixed, then S2 with S1 fixed (flip-flop):
    S1 = A D1 / tr A + eps I, A = sum_{st} (S3^-1)_st W_s S2^-1 W_t', which is a sum over ranks of what each knows of
    itself and its links; S2 likewise. The sums are exact averages, sent piece by piece along with the models.
    Guarantee: for what S1 and S2 are, constant mu <= 1 / (L + strength (2 + delta)) goes down the objective; S1 = S2 =
    I, with delta = 0, is 'laplacian'. No joint objective goes down in both, because of the next point.
    What is ours: the precision of tasks is given by the graph, where the paper learns S3, a full matrix that some rank
    would have to see all tasks for; S1 and S2 are scaled to a least eigenvalue of 1, so the pull is nowhere stronger
    than that of 'laplacian' and gives way where tasks differ most, and ``strength`` keeps its meaning, which with
    covariances at their natural scale it does not. A layer with more than two axes is a matrix whose columns are its
    last axis; a task without layers is one column. It has no defence against liars.

    Message: the model and a piece of the moments, d + q / (period / s) numbers, q the sum over layers of the larger of
    D1 (D1 + 1) / 2 and D2 (D2 + 1) / 2, s the number of distinct eigenvalues of the Laplacian, f = 1.
    Long, Cao, Wang and Yu, "Learning multiple tasks with multilinear relationship networks", NIPS 2017.
    """

    strength: float = 1.0
    """weight of the prior, at least 0"""
    delta: float = 0.1
    """how strongly models are drawn to 0 besides, at least 0"""
    eps: float = 0.1
    """share of the identity in S1 and S2, above 0; a large one keeps them there"""
    period: int = 20
    """rounds in which one of S1 and S2 is learnt, at least 1; no less than an exact average takes"""
    step_size: Schedule | None = None
    """mu; left out: 1 / (L + strength (2 + delta)), L the Lipschitz constant of the task's gradient"""

    needs: ClassVar[Needs] = NEEDS

    def __post_init__(self) -> None:
        check_schedule(self.step_size, "'relationship-network' step_size")
        check_count("relationship-network", "period", self.period)
        for name, value in (("strength", self.strength), ("delta", self.delta)):
            if not (isfinite(value) and value >= 0):
                raise ConfigError(f"'relationship-network' has {name}={value}. It is a finite number of at least 0.")
        if not (isfinite(self.eps) and self.eps > 0):
            raise ConfigError(f"'relationship-network' has eps={self.eps}. It is a finite number above 0.")

    def charted(self, chart: Chart) -> OnChart:
        """The method on that graph."""
        return OnChart(self, chart)


@dataclass(frozen=True, slots=True)
class OnChart:
    """'relationship-network' on a graph."""

    settings: RelationshipNetwork
    chart: Chart = field(repr=False)

    needs: ClassVar[Needs] = NEEDS

    @property
    def step_size(self) -> Schedule | None:
        """The settings'."""
        return self.settings.step_size

    def message_shape(self, task: Task) -> tuple[int, int]:
        """(1, d + p): the model, and a piece of moments."""
        return 1, task.dim + self._piece(task)

    def init(self, x0: Vec, task: Task, view: View) -> State:
        """Start at ``x0`` with S1 = S2 = I; there is nothing to learn from in the first period."""
        places, piece = _places(task), self._piece(task)
        left = tuple(np.eye(place.rows) for place in places)
        right = tuple(np.eye(place.columns) for place in places)
        moments = np.zeros(piece * self._pieces, x0.dtype)
        return State(x0, left, right, moments, moments[:piece], 0, -1)

    def send(self, state: State, view: View) -> tuple[Vec, ...]:
        """The model and a piece of moments."""
        return (np.concatenate((state.x, state.mean)),)

    def step(self, state: State, inbox: Inbox, mix: Mix, task: Task, view: View) -> State:
        """A step of the model and a round of the moments; at the end of a period, the metric."""
        valid, words = inbox.valid, inbox.messages[:, 0]
        models, places = words[:, : task.dim], _places(task)
        moved = self._moved(state, models[valid], view.weights[1:][valid], places, task, view)
        state = self._averaged(state, words[:, task.dim :], valid)
        if state.age >= max(self.settings.period, self._pieces * len(self.chart.spectrum)):
            state = self._learnt(state, places)
            own = self._moments(state, models[valid], view.weights[1:][valid], places)
            moments = np.zeros_like(state.moments)
            moments[: len(own)] = own
            state = state._replace(moments=moments, mean=moments[: len(state.mean)], age=0)
        return state._replace(x=moved)

    @property
    def _pieces(self) -> int:
        """How many pieces of moments are averaged in a period, one after the other."""
        return max(1, self.settings.period // max(1, len(self.chart.spectrum)))

    def _piece(self, task: Task) -> int:
        sizes = (max(place.rows, place.columns) for place in _places(task))
        return -(-sum(size * (size + 1) // 2 for size in sizes) // self._pieces)

    def _moved(self, state: State, models: Mat, weights: Vec, places: list[Place], task: Task, view: View) -> Vec:
        """The model after a gradient step."""
        x, delta, strength = state.x, self.settings.delta, self.settings.strength
        apart = weights.sum() * x - weights @ models + x.dtype.type(delta) * x
        pull = np.empty_like(x)
        for place, left, right in zip(places, state.left, state.right, strict=True):
            pull[place.where] = (left @ place.matrix(apart) @ right).ravel()
        mu = step_size(self.step_size, view.round, task, strength * (2 + delta))
        moved: Vec = x - x.dtype.type(mu) * (task.grad(x, view.batch()) + x.dtype.type(strength) * pull)
        return moved

    def _averaged(self, state: State, pieces: Mat, valid: np.ndarray) -> State:
        """One round of the piece on its way; where it is complete it is kept, and the next one sets out."""
        rounds, size = len(self.chart.spectrum), len(state.mean)
        number, done = divmod(state.age, rounds) if rounds else (self._pieces, 0)
        if number >= self._pieces:
            return state._replace(age=state.age + 1)
        mean = Averaging(state.mean, done).heard(pieces, valid, self.chart.spectrum)
        if not mean.complete(self.chart.spectrum):
            return state._replace(mean=mean.x, age=state.age + 1)
        moments = state.moments.copy()
        moments[number * size : (number + 1) * size] = mean.x
        fresh = moments[(number + 1) * size : (number + 2) * size]
        return state._replace(moments=moments, mean=fresh if len(fresh) else mean.x, age=state.age + 1)

    def _moments(self, state: State, models: Mat, weights: Vec, places: list[Place]) -> Vec:
        """This rank's part of A, the upper triangles of all layers; of rows or of columns, whichever is next."""
        found, rows_next = [], state.turns % 2 == 0
        for place, left, right in zip(places, state.left, state.right, strict=True):
            own, metric = place.matrix(state.x).astype(np.float64), right if rows_next else left
            apart = [(self.settings.delta, own)]
            apart += [(w / 2, own - place.matrix(model)) for w, model in zip(weights, models, strict=True)]
            parts = [weight * (v if rows_next else v.T) @ metric @ (v.T if rows_next else v) for weight, v in apart]
            total = np.sum(parts, axis=0)
            found.append(total[np.triu_indices(len(total))])
        return np.concatenate(found)

    def _learnt(self, state: State, places: list[Place]) -> State:
        """S1 or S2 of all layers from the average of all ranks' moments."""
        if state.turns < 0:
            return state._replace(turns=0)
        rows, found, at = state.turns % 2 == 0, [], 0
        for place in places:
            size = place.rows if rows else place.columns
            upper, at = state.moments[at : at + size * (size + 1) // 2], at + size * (size + 1) // 2
            matrix = np.zeros((size, size))
            matrix[np.triu_indices(size)] = upper
            found.append(precision(matrix + np.triu(matrix, 1).T, self.settings.eps))
        state = state._replace(turns=state.turns + 1)
        return state._replace(left=tuple(found)) if rows else state._replace(right=tuple(found))


def precision(a: Mat, eps: float) -> Mat:
    """(A D / tr A + eps I)^-1 over its largest eigenvalue, (D, D); I where A is 0."""
    values, vectors = np.linalg.eigh(a)
    values = np.maximum(values, 0)  # only rounding and lies make them less
    if not values.mean() > 0:
        return np.eye(len(a))
    spread = values / values.mean() + eps
    found: Mat = (vectors * (spread.min() / spread)) @ vectors.T
    return found


def _places(task: Task) -> list[Place]:
    """The layers as matrices."""
    layers = task.layers.values() if isinstance(task, Layered) else [Layer(slice(0, task.dim), (task.dim, 1))]
    return [Place(layer.where, prod(layer.shape[:-1]), layer.shape[-1]) for layer in layers]
