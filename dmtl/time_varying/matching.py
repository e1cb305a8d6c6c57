"""Pairs that meet by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmtl.rng import NETWORK, Purpose, stream
from dmtl.types import Mask

__all__ = ["Matching"]


@dataclass(frozen=True, slots=True)
class Matching:
    """Random matching: each rank talks to one neighbour at most, and no two ranks that could talk are both idle.

    Every link draws a priority, all orders being equally likely; then links are taken by priority, each unless one of
    its ends is taken. With the weights 'metropolis' the two ranks of a pair take their mean. Not all maximal matchings
    are equally likely. On a directed base graph a link is taken in its one direction, and both its ends are busy.
    Ours: a whole matching in each round, where gossip has a single pair. All links that are the best at both their ends
    are taken at once, again and again, which gives the same matching.

    Boyd, Ghosh, Prabhakar and Shah, "Randomized gossip algorithms", IEEE Transactions on Information Theory 52(6),
    2006; Dyer and Frieze, "Randomized greedy matching", Random Structures & Algorithms 2(1), 1991; for all at once
    Blelloch, Fineman and Shun, "Greedy sequential maximal independent set and matching are parallel on average",
    SPAA 2012.
    """

    def active(self, links: NDArray[np.int64], ranks: int, round: int, seed: int) -> Mask:
        """The greedy matching of this round's priorities."""
        priority = stream(seed, Purpose.GRAPH, NETWORK, round).permutation(len(links))  # 0 is the best
        taken = np.zeros(len(links), np.bool_)
        left = np.arange(len(links))
        u, v = links.T
        while len(left):
            best = np.full(ranks, len(links))
            np.minimum.at(best, u, priority)
            np.minimum.at(best, v, priority)
            won = (best[u] == priority) & (best[v] == priority)
            taken[left[won]] = True
            busy = np.zeros(ranks, np.bool_)
            busy[u[won]] = busy[v[won]] = True
            free = ~(busy[u] | busy[v])
            left, u, v, priority = left[free], u[free], v[free], priority[free]
        return taken
