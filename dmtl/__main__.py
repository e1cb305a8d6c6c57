"""The command line: ``dmtl``, ``python -m dmtl`` and ``srun dmtl`` are this one program."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from dmtl.errors import DmtlError

__all__ = ["main"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Run the command line; if this rank alone fails, say what it was and end the whole job."""
    for name in _THREADS:  # before numpy is loaded; as many threads as cores on every rank would fight for them
        os.environ.setdefault(name, os.environ.get("DMTL_THREADS", "1"))
    # OpenBLAS says so of some float32 products by chance, for lanes that it drops; nodes check what is finite
    warnings.filterwarnings("ignore", "invalid value encountered in matmul", RuntimeWarning)
    from dmtl.cli import cli

    try:
        code = cli(standalone_mode=False) or 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:
        code = _fail(error)
    sys.exit(code)


def _fail(error: BaseException) -> int:
    """Print one line for what a user can mend, a traceback for the rest; return the exit code, or end the job."""
    import click

    from dmtl.errors import DmtlError, RevokedError
    from dmtl.transports.mpi import launch, started

    if isinstance(error, click.ClickException | DmtlError) and not started():
        if launch().parallel:
            return _fail_together(error)
        if isinstance(error, DmtlError):
            print(f"dmtl: error: {error}", file=sys.stderr)
        else:
            error.show()
        return error.exit_code
    # Who failed has said why, and gives the job its exit code.
    code = 0 if isinstance(error, RevokedError) else _fail_alone(error)
    if started():  # the other ranks would wait for ever for one that is gone
        from dmtl.transports.ending import bring_down

        bring_down(code)
    return code


def _fail_together(error: click.ClickException | DmtlError) -> int:
    """Before MPI has started all ranks make the same mistake: let them meet, and one of them say so."""
    from dmtl.errors import ConfigError, DmtlError, TransportError
    from dmtl.transports.agree import agree
    from dmtl.transports.mpi import launch, world

    mistake = error if isinstance(error, DmtlError) else ConfigError(error.format_message())
    try:
        say, code = "", mistake.exit_code
        if not isinstance(error, TransportError):
            code, say = agree(world(), "", mistake)
        elif launch().rank == 0:
            say = f"error: {error}"
        else:
            time.sleep(1)  # MPI cannot be used, and the launcher ends the job with the first that leaves
    except TransportError as broken:
        return _fail_together(broken)
    if say:
        print(f"dmtl: {say}", file=sys.stderr, flush=True)
    return code


def _fail_alone(error: BaseException) -> int:
    """Print what happened on this rank."""
    import click

    from dmtl.errors import DmtlError

    if isinstance(error, DmtlError):
        print(f"dmtl: error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        print("dmtl: interrupted", file=sys.stderr, flush=True)
        return 130
    print(f"dmtl: process {os.getpid()} on {socket.gethostname()} failed:", file=sys.stderr)
    traceback.print_exception(error)
    sys.stderr.flush()
    return 1


if __name__ == "__main__":
    main()
