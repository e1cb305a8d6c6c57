"""What one rank knows of the learned relation of all tasks: its column of A Om, and no more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmtl.types import Mat, Vec

__all__ = ["Relation"]


class Relation(NamedTuple):
    """A rank's part of Om = base I/n + sum_s c_s v^s v^s', which Frank-Wolfe steps make of I/n; all times n.

    A step is Om <- (1 - g) Om + g v v'. What the rank's model asks of it is sum_j Om_ji a_j. Its own term is here as a
    weight on a_i, so that it is never behind; those of the others are as they were when the step was made, added up.
    So all of the past costs d numbers. With a history of R pairs, older ones are taken out again, and their shares
    go back to I/n: that keeps Om positive semidefinite and its trace at 1, for R (d + 2) numbers.
    """

    base: float
    """share of I/n"""
    own: float
    """n Om_ii"""
    others: Vec
    """(d,) n sum_{j != i} Om_ji a_j, each a_j of when its step was made"""
    steps: int
    """how many there were"""
    shares: Vec
    """(R,) c_s of the last R steps, the oldest first"""
    entries: Vec
    """(R,) v_i^s"""
    sums: Mat
    """(R, d) sum_{j != i} a_j v_j^s"""

    @classmethod
    def begun(cls, x0: Vec, history: int) -> Relation:
        """Om = I/n: everybody alone."""
        none = np.zeros(history, x0.dtype)
        return cls(1.0, 1.0, np.zeros_like(x0), 0, none, none, np.zeros((history, len(x0)), x0.dtype))

    def turned(self, g: float, v: float, rest: Vec, ranks: int) -> Relation:
        """After a step towards v v', with the own entry ``v`` and ``rest`` (d,) = sum_{j != i} a_j v_j."""
        keep, push = 1 - g, g * ranks * v
        base, own = keep * self.base, keep * self.own + push * v
        others: Vec = keep * self.others + push * rest
        if not len(self.shares):
            return self._replace(base=base, own=own, others=others, steps=self.steps + 1)
        share, entry = keep * float(self.shares[0]), float(self.entries[0])
        base, own = base + share, own + share * (1 - ranks * entry * entry)
        others -= share * ranks * entry * self.sums[0]
        shares = np.append(keep * self.shares[1:], self.shares.dtype.type(g))
        entries = np.append(self.entries[1:], self.entries.dtype.type(v))
        return Relation(base, own, others, self.steps + 1, shares, entries, np.concatenate((self.sums[1:], rest[None])))

    def pull(self, a: Vec) -> Vec:
        """(d,) n sum_j Om_ji a_j, with the own ``a`` of now."""
        pull: Vec = self.own * a + self.others
        return pull
