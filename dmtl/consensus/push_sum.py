"""Averages on directed graphs and over links that lose messages: push-sum with running sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Block, Mask, Mat, Vec

__all__ = ["PushSum"]


class PushSum(NamedTuple):
    """A vector on its way to the average, as a mass and a weight whose ratio it is.

    In a round a rank keeps the share a_kk of its mass m and gives each neighbour l that hears it the share a_lk; the
    shares of a rank add up to one (``View.out_weights``), which a rank can see to without knowing who else gives what.
    So the mass of all ranks stays the same, the weights' sum is the number of ranks, and m / weight goes to the average
    on every strongly connected graph, directed or not.
    A lost message would take its mass with it. So a message does not say what is given but what has been given since
    the beginning: who has missed some gets all of it with the next that comes. The mass of all ranks and of all links,
    a_lk ``given`` of the giver less ``had`` of the taker, is what it was at the start, whatever is lost; the ratio goes
    to the average if no link is dead for ever. A link that dies drains the mass, and gives it all back when it is
    mended; until then the ranks agree on another mean, with fewer and fewer digits. Sums that run for ever round: after
    k rounds they have lost about log10(k) digits.

    Message: a_lk times mass and weight given so far, q + 1 numbers, one message per edge.
    Kempe, Dobra and Gehrke, "Gossip-based computation of aggregate information", FOCS 2003 (push-sum); Hadjicostis,
    Vaidya and Dominguez-Garcia, "Robust distributed average consensus via exchange of running sums", IEEE TAC 61, 2016.
    """

    mass: Vec
    """(q + 1,) the vector's mass, and the weight, last"""
    given: Vec
    """(q + 1,) all mass that it had in the rounds before, added up"""
    had: Mat
    """(k_in, q + 1) what each neighbour had said when it was heard last"""

    @classmethod
    def start(cls, x: Vec, sources: int) -> PushSum:
        """Before its first round, with the vector ``x`` (q,) and so many neighbours that it hears."""
        mass = np.append(x, x.dtype.type(1))
        return cls(mass, np.zeros_like(mass), np.zeros((sources, len(mass)), mass.dtype))

    @property
    def ratio(self) -> Vec:
        """(q,) its estimate of the average."""
        ratio: Vec = self.mass[:-1] / self.mass[-1]
        return ratio

    def said(self, out_weights: Vec) -> Block:
        """(k_out, 1, q + 1) its message to each neighbour."""
        words: Block = np.multiply.outer(out_weights[1:], self.given + self.mass)[:, None]
        return words

    def heard(self, messages: Mat, valid: Mask, out_weights: Vec) -> PushSum:
        """One round on, with the neighbours' messages (k_in, q + 1) to it, of the round in which it said its own."""
        had = np.where(valid[:, None], messages, self.had)
        mass = out_weights[0] * self.mass + np.add.reduce(had - self.had, axis=0)
        return PushSum(mass, self.given + self.mass, had)
