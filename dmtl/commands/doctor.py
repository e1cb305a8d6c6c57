"""Look at the machine, and say of each thing whether it is well. The judgements are in ``diagnosis``.

MPI is loaded in a process of its own unless a launcher started this one: a broken MPI takes down what loads it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import requires

import click

from dmtl.commands import diagnosis
from dmtl.commands.check import cores
from dmtl.commands.console import print_json, print_table
from dmtl.commands.diagnosis import Check, Loaded
from dmtl.commands.programs import LIMIT, ompi_info, output, run_program
from dmtl.errors import TransportError
from dmtl.results import installed
from dmtl.transports.mpi import Launch, find_mpirun, launch, world

__all__ = ["examine", "extras", "load_apart", "packages_check", "print_doctor"]

_APART = "from mpi4py import MPI; print(MPI.COMM_WORLD.size); print(MPI.Get_library_version())"

_SKIPPED = ("dev", "mpi")
"""extras that say nothing here: MPI may come from elsewhere"""


def print_doctor(as_json: bool) -> int:
    """Print the report and return the exit code; of several ranks the lowest speaks."""
    launched = launch()
    checks = examine(launched, os.environ)
    problems = sum(check.status == "problem" for check in checks)
    if launched.rank == 0:
        if as_json:
            print_json({"problems": problems, "checks": [check._asdict() for check in checks]})
        else:
            _print(checks)
    return 4 if problems else 0


def examine(launched: Launch, environment: Mapping[str, str]) -> list[Check]:
    """Look at everything; ranks other than the lowest only load MPI, which all have to do together."""
    loaded = _load_here() if launched.parallel else load_apart()
    library = diagnosis.library_check(launched, loaded)
    if launched.rank:
        return [library]
    mpirun, srun = find_mpirun(), shutil.which("srun") or ""
    its = output([mpirun, "--version"]) if mpirun else ""
    here, have = diagnosis.local_ranks(environment), cores()
    works = launched.parallel and library.status == "ok"
    return [
        diagnosis.versions_check({"Python": sys.version.split()[0], **_versions(("dmtl", "numpy", "mpi4py"))}),
        diagnosis.launcher_check(launched),
        library,
        diagnosis.mpirun_check(loaded.library, mpirun, its, srun, works),
        diagnosis.fault_check(loaded.library, ompi_info(mpirun, its)),
        diagnosis.threads_check(environment, here, have),
        diagnosis.cores_check(here, have),
        diagnosis.root_check(hasattr(os, "geteuid") and os.geteuid() == 0, its, environment),
        packages_check(extras(requires("dmtl") or [])),
    ]


def load_apart(command: Sequence[str] = (sys.executable, "-c", _APART), limit: float = LIMIT) -> Loaded:
    """Load MPI in another process, which may crash or hang."""
    try:
        done = run_program(command, limit)
    except subprocess.TimeoutExpired:
        return Loaded("", 0, f"it took longer than {limit:g} s")
    except OSError as error:
        return Loaded("", 0, str(error))
    size, _, library = done.stdout.strip("\0\n ").partition("\n")
    if done.returncode or not size.isdecimal() or not library:
        said = done.stderr.strip().splitlines() or [f"the process that tried ended with {done.returncode}"]
        return Loaded("", 0, said[-1])
    return Loaded(library.strip("\0\n "), int(size))


def extras(requirements: Iterable[str]) -> dict[str, list[str]]:
    """The packages of each optional group, from a distribution's own requirements."""
    found: dict[str, list[str]] = {}
    for line in requirements:
        match = re.match(r"([\w.-]+).*;.*extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if match and match[2] not in _SKIPPED:
            found.setdefault(match[2], []).append(match[1])
    return found


def packages_check(groups: Mapping[str, Sequence[str]]) -> Check:
    """Which optional packages are there; none of them is necessary."""
    value = {group: _versions(names) for group, names in groups.items()}
    rows = []
    for group, versions in value.items():
        missing = [name for name, number in versions.items() if not number]
        need = f"without {', '.join(missing)}: pip install 'dmtl[{group}]'" if missing else "complete"
        rows.append(f"{group}: {need}")
    return Check("options", "ok", value, "\n".join(rows) or "none are known")


def _print(checks: Sequence[Check]) -> None:
    rows = [(check.status, check.name, f"{check.text}\n{check.cure}".strip()) for check in checks]
    print_table("", rows)
    worst = {check.status for check in checks}
    end = "All is well."
    if worst != {"ok"}:
        end = "There is a problem." if "problem" in worst else "Nothing stops a run; see the warnings."
    click.echo(f"\n{end}")


def _load_here() -> Loaded:
    """Load MPI in this process, as the launcher expects of every rank."""
    trouble = ""
    try:
        world()
    except TransportError as error:
        trouble = str(error.__cause__ or error).partition("\n")[0]
    module = sys.modules.get("mpi4py.MPI")  # it is there too where it was loaded and sees one rank only
    if module is None:
        return Loaded("", 0, trouble)
    return Loaded(module.Get_library_version().strip("\0\n "), module.COMM_WORLD.size)


def _versions(names: Iterable[str]) -> dict[str, str]:
    return {name: installed(name) for name in names}
