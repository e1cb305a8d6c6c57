"""What a learned relation is worth on streams: 24 tasks of rank 3, and labels that are turned."""

from __future__ import annotations

import numpy as np
import pytest

from dmtl.build import plan
from dmtl.config import load
from dmtl.data.synthetic import Synthetic
from dmtl.errors import ConfigError
from dmtl.simulator import simulate


def online_errors(algorithm: str, seed: int, flips: float = 0.0) -> float:
    data = f"synthetic:shape=low-rank,features=40,rank=3,classes=2,rows=445,noise=0,flips={flips}"
    raw = {"data": data, "task": "hinge", "stream": 1, "test": 0.1, "algorithm": algorithm}
    made = plan(load({**raw, "topology": "complete", "ranks": 24, "seed": seed}))
    states = simulate([made.node(rank) for rank in range(24)], 400)
    return float(np.mean([state.model.online.wrong / state.model.online.rows for state in states]))


def test_it_makes_three_points_less_errors_than_ranks_that_learn_alone():
    """Alone by the best of the step sizes that benchmarks/online_streams.py tries."""
    alone = min(online_errors(spec, 0) for spec in ("local:step_size=0.2/sqrt(t)", "drom:g=0"))
    assert online_errors("drom", 0) < alone - 0.03


def test_a_fifth_of_flipped_labels_harms_less_with_a_cap():
    plain, capped = (np.mean([online_errors(f"drom:{cap}", seed, 0.2) for seed in (0, 1)]) for cap in ("", "cap=2"))
    assert capped < plain


def test_flips_turn_that_share_of_the_labels_and_nothing_else():
    still, turned = (Synthetic(rows=2000, tasks=3, classes=2, flips=flips).load(3, 4) for flips in (0.0, 0.2))
    assert np.array_equal(still.x, turned.x)
    assert np.array_equal(still.truth, turned.truth)
    assert np.mean(still.y != turned.y) == pytest.approx(0.2, abs=0.02)
    assert set(np.unique(turned.y)) == {0.0, 1.0}
    with pytest.raises(ConfigError, match=r"flips=0\.2\. flips is a share of labels"):
        Synthetic(flips=0.2)
    with pytest.raises(ConfigError, match=r"flips=1\.1"):
        Synthetic(classes=2, flips=1.1)
