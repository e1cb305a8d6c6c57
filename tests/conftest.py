"""One BLAS thread before numpy is imported: the simulator and MPI ranks must take the same products."""

import os

from hypothesis import settings

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

# A shared machine may take its time over one example; and CI is to fail for a change, not for a draw.
settings.register_profile("dmtl", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("dmtl")
