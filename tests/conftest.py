"""One BLAS thread before numpy is imported: the simulator and MPI ranks must take the same products."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
