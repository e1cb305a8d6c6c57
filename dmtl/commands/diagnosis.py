"""What the texts of launchers and MPI libraries mean, as pure functions: they are given all that they judge.

A launcher and a library must be of one MPI: else every process is rank 0 of 1, the most common of all MPI troubles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dmtl.commands.console import counted
from dmtl.transports.mpi import Launch, mismatch

__all__ = [
    "Check",
    "Family",
    "Loaded",
    "belongs",
    "cores_check",
    "family",
    "fault_check",
    "launcher_check",
    "library_check",
    "local_ranks",
    "mpirun_check",
    "root_check",
    "threads_check",
    "versions_check",
]


class Check(NamedTuple):
    """One line of the doctor's report."""

    name: str
    status: str
    """ok, warning or problem"""
    value: Any
    """for programs"""
    text: str
    """what was found"""
    cure: str = ""
    """what to do about it, one sentence"""


class Loaded(NamedTuple):
    """What came of loading MPI."""

    library: str
    """what it calls itself; empty where it could not be loaded"""
    size: int
    """ranks in its world, 0 where it could not be loaded"""
    error: str = ""


class Family(NamedTuple):
    """Whose MPI a text speaks of."""

    name: str
    """empty where it is none that is known"""
    version: str

    @property
    def major(self) -> int:
        """First number of the version, 0 if there is none."""
        found = re.match(r"\d+", self.version)
        return int(found[0]) if found else 0

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


_PATTERNS = (
    ("Open MPI", r"Open MPI\)? v?(\d[\w.]*)"),
    ("Open MPI", r"\(Open(?:RTE| RTE)\) v?(\d[\w.]*)"),
    ("Intel MPI", r"Intel\(R\) MPI Library\D*(\d[\d.]*)"),
    ("MVAPICH", r"MVAPICH2?\S* [Vv]ersion\s*:?\s*(\d\S*)"),
    ("MPICH", r"MPICH [Vv]ersion\s*:?\s*(\d\S*)"),
    ("MPICH", r"HYDRA build details:\s+Version:\s*(\d\S*)"),
)

_KIN = {"MPICH", "Intel MPI", "MVAPICH"}
"""They share the way in which a launcher tells a process its rank."""

_LOCAL = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_STEP_TASKS_PER_NODE",
)

_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

_NO_MPIRUN = "Install one with pip install 'dmtl[mpi]' or load your cluster's MPI module; the simulator needs none."


def family(text: str) -> Family:
    """Find out whose MPI a library's or a launcher's version text speaks of."""
    for name, pattern in _PATTERNS:
        found = re.search(pattern, text)
        if found:
            return Family(name, found[1].rstrip(".,"))
    return Family("", "")


def belongs(library: Family, launcher: Family) -> str:
    """'same' MPI, 'version' of it, 'kin' or 'other'; 'unknown' if one of them is."""
    if not library.name or not launcher.name:
        return "unknown"
    if library.name == launcher.name:
        return "same" if library.major == launcher.major else "version"
    return "kin" if {library.name, launcher.name} <= _KIN else "other"


def local_ranks(environment: Mapping[str, str]) -> int:
    """How many ranks the launcher started on this machine, 1 where it does not say; the most on any under Slurm."""
    for key in _LOCAL:
        counts = [int(count) for count in re.findall(r"(?<![x\d])\d+", environment.get(key, ""))]
        if counts:
            return max(counts)
    return 1


def versions_check(versions: Mapping[str, str]) -> Check:
    """Versions of what dmtl stands on, empty for what is missing."""
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    missing = [name for name, version in versions.items() if not version]
    if missing:
        return Check("versions", "problem", dict(versions), text, f"Install it: pip install {' '.join(missing)}.")
    return Check("versions", "ok", dict(versions), text)


def launcher_check(launched: Launch) -> Check:
    """Who started this process."""
    if not launched.name:
        return Check("launcher", "ok", launched._asdict(), "none: this process was started alone")
    text = f"{launched.name} started {counted(launched.size, 'rank')}"
    return Check("launcher", "ok", launched._asdict(), text)


def library_check(launched: Launch, loaded: Loaded) -> Check:
    """Whether MPI can be loaded and sees the ranks that were started."""
    if not loaded.library:
        cure = "Install one with pip install 'dmtl[mpi]', load your cluster's MPI module, or use the simulator."
        return Check("MPI library", "problem", loaded._asdict(), f"cannot be loaded: {loaded.error}", cure)
    name = str(family(loaded.library)).strip() or loaded.library.split(",")[0].strip()
    if launched.size > 1 and loaded.size == 1:
        text, _, rest = mismatch(launched, loaded.library).partition(". ")
        cure = rest.partition(";")[0].rstrip(".") + "."  # the rest of it sends people to the doctor
        if launched.name == "Slurm":
            cure = "Start with srun --mpi=pmix or --mpi=pmi2; srun --mpi=list shows what your Slurm has."
        return Check("MPI library", "problem", loaded._asdict(), text, cure)
    if loaded.size != launched.size and launched.name:
        text = f"{name} sees {counted(loaded.size, 'rank')} and {launched.name} started {launched.size}"
        return Check("MPI library", "warning", loaded._asdict(), text, "Start with that library's own mpirun.")
    text = f"{name}, world of {counted(loaded.size, 'rank')}"
    return Check("MPI library", "ok", loaded._asdict(), text)


def mpirun_check(library: str, path: str, version: str, srun: str, works: bool = False) -> Check:
    """Whether the mpirun at ``path`` is of the loaded library; ``works``: this process is in a sound MPI job."""
    if not path:
        if srun:
            return Check("mpirun", "ok", srun, f"none on PATH; srun is {srun}")
        return Check("mpirun", "ok" if works else "warning", None, "none on PATH", "" if works else _NO_MPIRUN)
    mine, its = family(library), family(version)
    text = f"{path}, {its}" if its.name else f"{path}, {version.strip().partition(chr(10))[0] or 'says no version'}"
    kin = belongs(mine, its)
    if kin == "same" or not library:
        return Check("mpirun", "ok", path, text)
    if kin == "other":
        cure = f"Put the mpirun of {mine.name} first on PATH, or every process will be rank 0 of 1."
        return Check("mpirun", "warning" if works else "problem", path, f"{text}, but the library is {mine}", cure)
    if kin == "unknown":
        cure = "If every process is rank 0 of 1, start with the library's own mpirun."
        return Check("mpirun", "warning", path, f"{text}; cannot tell whether it fits the library", cure)
    cure = f"It may work; if not, put the mpirun of {mine} first on PATH."
    return Check("mpirun", "warning", path, f"{text}, but the library is {mine}", cure)


def fault_check(library: str, info: str) -> Check:
    """Whether a run can outlive a dead rank; ``info`` is what ``ompi_info`` prints, empty where there is none."""
    mine, name = family(library), "fault tolerance"
    found = re.search(r"^\s*(?:FT MPI|Fault Tolerance) support:\s*(\w+)", info, re.MULTILINE)
    built = found is None or found[1] == "yes"
    if mine.name == "Open MPI" and mine.major >= 5 and built:
        return Check(name, "ok", True, "available with mpirun --with-ft ulfm")
    if mine.name == "Open MPI" and mine.major >= 5:
        cure = "Have Open MPI built with --with-ft=ulfm; until then a dead rank ends the job."
        return Check(name, "warning", False, f"this {mine} was built without ULFM", cure)
    text = f"not with {mine}" if mine.name else "unknown without an MPI library"
    return Check(name, "warning", False, text, "Open MPI 5 has it; without, a dead rank ends the job.")


def threads_check(environment: Mapping[str, str], ranks: int, cores: int) -> Check:
    """Whether the ranks' BLAS threads fit on the cores of this machine."""
    given = next((environment[key] for key in _THREADS if environment.get(key)), "")
    found = re.match(r"\d+", given)
    if not found:
        cure = "Set OMP_NUM_THREADS=1, or start with the command dmtl, which does."
        return Check("threads", "warning", None, "number of BLAS threads not set: as many as cores per rank", cure)
    threads = int(found[0])
    text = f"{threads} for BLAS per rank"
    if threads > 1 and threads * ranks > cores:
        cure = f"Set DMTL_THREADS={max(1, cores // ranks)} and unset OMP_NUM_THREADS, or they fight for the cores."
        return Check("threads", "warning", threads, f"{text}, {ranks} ranks on {cores} cores", cure)
    return Check("threads", "ok", threads, text)


def cores_check(ranks: int, cores: int) -> Check:
    """Whether each rank of this machine has a core."""
    text = f"{counted(cores, 'core')} for {counted(ranks, 'rank')} here"
    if ranks > cores:
        return Check(
            "cores", "warning", cores, text, "Use more machines or fewer ranks: all wait for those that share."
        )
    return Check("cores", "ok", cores, text)


def root_check(root: bool, mpirun: str, environment: Mapping[str, str]) -> Check:
    """Whether mpirun will refuse because of who asks; ``mpirun`` is its version text."""
    if not root:
        return Check("user", "ok", False, "an ordinary user")
    keys = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    if family(mpirun).name != "Open MPI" or all(environment.get(key) == "1" for key in keys):
        return Check("user", "ok", True, "root")
    cure = f"Start as an ordinary user, or in a container set {keys[0]}=1 and {keys[1]}=1."
    return Check("user", "warning", True, "root, for whom Open MPI's mpirun refuses to start anything", cure)
