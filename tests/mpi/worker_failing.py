"""``dmtl run`` with a task that fails on one rank: worker_failing.py OUT RANK abort|continue|early.

'early': the rank is killed while it makes its task, before all ranks have met.
"""

from __future__ import annotations

import os
import signal
import sys

import dmtl.tasks.least_squares as module
from dmtl.__main__ import main
from dmtl.transports.mpi import launch

out, rank, policy = sys.argv[1:]
gradient, build = module.LeastSquaresTask.grad, module.LeastSquares.build
calls = 0


def failing(self, w, rng=None):
    global calls
    calls += 1
    if calls == 30:
        raise RuntimeError("the sensor is on fire")
    return gradient(self, w, rng)


def dying(self, data):
    os.kill(os.getpid(), signal.SIGKILL)


if launch().rank == int(rank):
    if policy == "early":
        module.LeastSquares.build = dying
    else:
        module.LeastSquaresTask.grad = failing
flags = [] if policy == "early" else ["--on-failure", policy]
sys.argv = ["dmtl", "run", "--data", "synthetic:rows=20,features=4", "--rounds", "100", "--out", out, *flags]
main()
