"""The command line: ``dmtl``, ``python -m dmtl`` and ``srun dmtl`` are this one program."""

from __future__ import annotations

import os
import socket
import sys
import traceback

__all__ = ["main"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Run the command line; if this rank alone fails, say what it was and end the whole job."""
    for name in _THREADS:  # before numpy is loaded; as many threads as cores on every rank would fight for them
        os.environ.setdefault(name, os.environ.get("DMTL_THREADS", "1"))
    from dmtl.cli import cli

    try:
        code = cli(standalone_mode=False) or 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:
        code = _fail(error)
        _abort(code)
    sys.exit(code)


def _fail(error: BaseException) -> int:
    """Print one line for what a user can mend, a traceback for the rest; return the exit code."""
    import click

    from dmtl.errors import DmtlError

    if isinstance(error, click.ClickException):
        if _speaks():
            error.show()
        return error.exit_code
    if isinstance(error, DmtlError):
        if _speaks():
            print(f"dmtl: error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        print("dmtl: interrupted", file=sys.stderr, flush=True)
        return 130
    print(f"dmtl: process {os.getpid()} on {socket.gethostname()} failed:", file=sys.stderr)
    traceback.print_exception(error)
    sys.stderr.flush()
    return 1


def _speaks() -> bool:
    """Before MPI has started all ranks make the same mistake, and one says so; afterwards each speaks for itself."""
    from dmtl.transports.mpi import launch, started

    return started() or launch().rank == 0


def _abort(code: int) -> None:
    """Take the other ranks down: they would wait for ever for one that is gone."""
    from dmtl.transports.mpi import started

    if started():
        sys.modules["mpi4py.MPI"].COMM_WORLD.Abort(code)


if __name__ == "__main__":
    main()
