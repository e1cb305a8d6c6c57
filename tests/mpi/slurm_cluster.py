"""A real Slurm cluster on this machine: munged, slurmctld and a slurmd per node, all of it in one folder.

Every node is this host under another name and port. Whatever was started is stopped by its process id, jobs included.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo")

_CROWDED = {
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    **{f"{name}_ALLOW_RUN_AS_ROOT{suffix}": "1" for name in ("OMPI", "PRTE") for suffix in ("", "_CONFIRM")},
}
"""Every node takes this host's cores for its own: ranks that wait have to let others run, on any core."""

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={place}/munge.socket,cred_expire={expire}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=2,bf_interval=2
PlugStackConfig=/dev/null
MpiDefault=none
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=60
"""


class Cluster(NamedTuple):
    """A running cluster: what to give its clients, and how to ask it."""

    place: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]]
    """by name: munged, slurmctld, n1, n2, ..."""

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints; fails with what it says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, ExitCode, Restarts, ..."""
        words = self.ask("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def processes(self, node: str = "") -> list[int]:
        """Process ids of the daemons and of the jobs, or of the jobs on one node: all that know this configuration."""
        marks = {f"SLURM_CONF={self.place}/slurm.conf".encode()}
        marks |= {f"SLURMD_NODENAME={node}".encode()} if node else set()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if marks <= set((process / "environ").read_bytes().split(b"\0")):
                    found.append(int(process.name))
        return found

    def kill(self, node: str = "") -> None:
        """Kill these processes, as a crash would."""
        for number in self.processes(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def until(self, holds: Callable[[], object], limit: float = 120) -> None:
        """Ask until it holds."""
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.1)

    def logs(self) -> str:
        """The ends of all logs, for a test that fails."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.place.glob("*.log")))


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    if os.geteuid():
        return "a cluster of one's own needs root"
    lacking = [name for name in _PROGRAMS if not shutil.which(name, path=_path())]
    return f"there is no {', '.join(lacking)}: apt-get install slurm-wlm munge" if lacking else ""


@contextlib.contextmanager
def slurm_cluster(place: Path, nodes: int = 3, cpus: int = 2, expire: int = 5) -> Iterator[Cluster]:
    """Start ``nodes`` nodes of ``cpus`` processors; a requeued job waits ``expire`` seconds."""
    names = [f"n{number + 1}" for number in range(nodes)]
    _configure(place, names, cpus, expire)
    environment = {**_clean(), **_CROWDED, "PATH": _path(), "SLURM_CONF": str(place / "slurm.conf")}
    cluster = Cluster(place, environment, {})
    try:
        files = [f"--{key}-file={place}/munge.{key}" for key in ("key", "pid", "seed")]
        _start(cluster, "munged", ["munged", "--foreground", "--force", f"--socket={place}/munge.socket", *files])
        cluster.until((place / "munge.socket").exists)
        _start(cluster, "slurmctld", ["slurmctld", "-D"])
        for name in names:
            _start(cluster, name, ["slurmd", "-D", "-N", name])
        cluster.until(lambda: _idle(cluster) == nodes)
        yield cluster
    finally:
        _stop(cluster)


def _configure(place: Path, names: Sequence[str], cpus: int, expire: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name in ("state", *names):
        (place / name).mkdir()
    key = place / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    host, ports = socket.gethostname(), _free_ports(1 + len(names))
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=2000"
        for name, port in zip(names, ports[1:], strict=True)
    ]
    text = _CONF.format(host=host, place=place, ports=ports, expire=expire, nodes="\n".join(lines))
    (place / "slurm.conf").write_text(text)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _clean() -> dict[str, str]:
    """This environment without a launcher's marks: the tests may themselves run in a job."""
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "OMPI_COMM", "PMI", "PRTE_MCA"))
    }


def _start(cluster: Cluster, name: str, command: Sequence[str]) -> None:
    with (cluster.place / f"{name}.out.log").open("wb") as log:
        cluster.daemons[name] = subprocess.Popen(
            command, env=cluster.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cluster.place
        )


def _idle(cluster: Cluster) -> int:
    done = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], env=cluster.environment, capture_output=True, text=True)
    return done.stdout.split().count("idle")


def _stop(cluster: Cluster) -> None:
    """End the daemons, then what the jobs have left."""
    for daemon in reversed(cluster.daemons.values()):
        daemon.terminate()
    for daemon in cluster.daemons.values():
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    while cluster.processes():
        cluster.kill()
        time.sleep(0.1)
