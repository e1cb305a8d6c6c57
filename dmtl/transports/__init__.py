"""How messages travel. Only this folder imports mpi4py."""

import os

# All windows are of shared memory. Open MPI's UCX component is not for those, and where it finds no network that suits
# it, it writes an error for each window to standard error. To be said before MPI is loaded.
os.environ.setdefault("OMPI_MCA_osc", "^ucx")
