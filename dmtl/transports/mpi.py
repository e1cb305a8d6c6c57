"""Meeting MPI: which launcher started this process, and the one communicator that everything is built on."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from dmtl.errors import DmtlError, RevokedError, TransportError

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["Launch", "find_mpirun", "guard", "launch", "local_rank", "mismatch", "started", "world"]

_LAUNCHERS = (
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPICH or Intel MPI", "PMI_RANK", "PMI_SIZE"),
    ("MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)

_LOCAL = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PMI_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
    "SLURM_LOCALID",
)


class Launch(NamedTuple):
    """What the environment says of how this process was started."""

    name: str
    """the launcher; empty where there is none"""
    rank: int
    size: int

    @property
    def parallel(self) -> bool:
        """Whether this is a job of MPI ranks; a batch script's own single step is none."""
        return self.size > 1 or self.name not in ("", "Slurm")


def launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Read the launcher from the environment, without importing MPI."""
    for name, rank, size in _LAUNCHERS:
        if rank in environment and size in environment:
            return Launch(name, int(environment[rank]), int(environment[size]))
    return Launch("", 0, 1)


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Which of the ranks of its machine this process is; where the launcher does not say, its rank."""
    said = next((environment[name] for name in _LOCAL if name in environment), "")
    return int(said) if said.isdecimal() else launch(environment).rank


def started() -> bool:
    """Whether this process is one of several that MPI has connected; loads nothing."""
    module = sys.modules.get("mpi4py.MPI")
    return bool(module and module.Is_initialized() and not module.Is_finalized() and module.COMM_WORLD.size > 1)


def find_mpirun() -> str:
    """The mpirun that a shell would start, else the one beside this Python; empty if there is none."""
    return shutil.which("mpirun") or shutil.which("mpirun", path=str(Path(sys.executable).parent)) or ""


def world() -> MPI.Intracomm:
    """Start MPI and return the communicator of all ranks; from now on an uncaught exception ends the whole job.

    Raises TransportError where MPI cannot be loaded, or where the launcher is of another MPI than the one loaded.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise TransportError(
            f"MPI cannot be loaded: {str(error).splitlines()[0]}. "
            f"Install one with: pip install 'dmtl[mpi]', or use --transport simulated."
        ) from error
    comm = MPI.COMM_WORLD
    launched = launch()
    if launched.size > 1 and comm.size == 1:
        raise TransportError(mismatch(launched, MPI.Get_library_version()))
    guard()
    return comm


def guard() -> None:
    """From now on an uncaught exception on this rank is shown and ends the whole job."""
    if started():
        sys.excepthook = _abort_job


def mismatch(launched: Launch, library: str) -> str:
    """The sentence for 'every rank says rank 0 of 1'."""
    loaded = library.split(",")[0].strip().splitlines()[0]
    return (
        f"{launched.name} started {launched.size} processes, but the MPI library that was loaded is {loaded} and "
        f"sees 1 rank in each. Start with that library's own mpirun, or install the MPI that your launcher belongs to; "
        f"'dmtl doctor' shows both."
    )


def _abort_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what happened on this rank, then take the others down: they would wait for it for ever."""
    from mpi4py import MPI

    from dmtl.transports.ending import bring_down

    rank = MPI.COMM_WORLD.rank
    code = 1
    if isinstance(error, RevokedError):
        pass  # who failed has said it
    elif isinstance(error, DmtlError):
        print(f"dmtl: error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    else:
        text = "".join(traceback.format_exception(kind, error, trace))
        print(f"dmtl: rank {rank} on {socket.gethostname()} failed:\n{text}", file=sys.stderr, flush=True)
    bring_down(code)
