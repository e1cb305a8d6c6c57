"""One message a round, and yet the exact average after a few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmtl.errors import ConfigError
from dmtl.types import Mask

__all__ = ["OnePeerExponential"]


@dataclass(frozen=True, slots=True)
class OnePeerExponential:
    """One-peer exponential: in round t rank i sends to i + 2^(t mod tau) mod n alone, tau = ceil(log2 n).

    Each rank says one thing and hears one in every round; with the weights 'uniform' it gives 1/2 to each:
    W_ii = W_ij = 1/2 for j = i - 2^(t mod tau) mod n. For n a power of two the product of any tau rounds in a row is
    the exact average, 1/n everywhere; for other n disagreement shrinks with the rounds as on any graph. It needs the
    directed exponential graph, or any directed graph that has those links.

    Ying, Yuan, Chen, Hu, Pan and Yin, "Exponential graph is provably efficient for decentralized deep training",
    NeurIPS 2021.
    """

    def active(self, links: NDArray[np.int64], ranks: int, round: int, seed: int) -> Mask:
        """The links that lead as many ranks on as this round says; nothing is drawn."""
        tau = (ranks - 1).bit_length()
        if tau == 0:
            return np.zeros(len(links), np.bool_)
        hops = (links[:, 1] - links[:, 0]) % ranks
        count = np.bincount(hops, minlength=ranks)
        for hop in (1 << j for j in range(tau)):
            if count[hop] != ranks:
                raise ConfigError(
                    f"'one-peer-exponential' needs directed links from every rank i to i + {hop} mod {ranks}, and the "
                    f"base graph lacks some. Use the topology exponential:directed=true and the weights 'uniform'."
                )
        now: Mask = hops == 1 << round % tau
        return now
