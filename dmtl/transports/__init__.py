"""How messages travel. Only this folder imports mpi4py."""
