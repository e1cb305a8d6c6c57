"""Run a list of experiments on MPI ranks and compare each rank's state with the simulator's, bit for bit.

Started by test_equal.py under mpirun; prints one line per rank: how many experiments were equal.
"""

from __future__ import annotations

import sys

import numpy as np

from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import CompatibilityError
from dmtl.results import flatten, portable
from dmtl.runner import run
from dmtl.simulator import simulate
from dmtl.transports.mpi import world
from dmtl.transports.sync import connect

ROUNDS = 12
ALGORITHMS = (
    "local",
    "diffusion",
    "laplacian:strength=0.5",
    "amtl:relaxation=0.3,dynamic=true",
    "pairwise-gossip",
    "gradient-tracking",
    "network-lasso:strength=0.1",
    "pdmm",
)
SCREENS = (
    "average",
    "median",
    "trimmed-mean:b=1",
    "self-centred-clipping",
    "cs-plus:b=1",
    "nnm:f=1+median",
    "clip:1+average",
)
ATTACKS = ("sign-flip", "gaussian", "alie", "dissensus", "two-faced", "nan", "silent")


def experiments(n: int):
    """Every method on the plain average, then every screen under every attack, two liars where there are enough."""
    base = {"data": "synthetic:rows=20,features=5", "topology": "complete", "seed": 3, "rounds": ROUNDS}
    for algorithm in ALGORITHMS:
        yield {**base, "algorithm": algorithm}
        yield {**base, "algorithm": algorithm, "topology": "ring" if n > 2 else "path", "dtype": "float32"}
    yield {**base, "task": "least-squares:batch=3"}
    if n < 3:
        return
    for screen in SCREENS:
        for attack in ATTACKS:
            for algorithm in ("diffusion", "network-lasso"):
                liars = [{"count": 2 if n > 4 else 1, "attack": attack}]
                yield {**base, "algorithm": algorithm, "screen": screen, "byzantine": liars}
    mixed = [{"ranks": [0], "attack": "alie"}, {"ranks": [2], "attack": "sign-flip", "poison": "label-flip"}]
    yield {**base, "algorithm": "gradient-tracking", "byzantine": mixed}
    yield {**base, "algorithm": "pdmm", "byzantine": mixed}


def state_of(state) -> dict[str, bytes]:
    return {key: value.tobytes() for key, value in flatten(portable(state)).items()}


def main() -> int:
    comm = world()
    equal, total = 0, 0
    for raw in experiments(comm.size):
        try:
            job = plan(load(raw), comm.size)
        except CompatibilityError:  # too few neighbours for this screen at this size
            continue
        total += 1
        node = job.node(comm.rank)
        exchange = connect(comm, node)
        ours = state_of(run(node, exchange, ROUNDS))
        exchange.close()
        theirs = simulate([job.node(rank) for rank in range(comm.size)], ROUNDS)[comm.rank]
        if ours == state_of(theirs):
            equal += 1
        else:
            print(f"rank {comm.rank} differs: {raw}", flush=True)
    print(f"rank {comm.rank}: {equal} of {total} equal", flush=True)
    return 0


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main())
