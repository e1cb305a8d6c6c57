"""Three hosts on one machine, joined by a network that may be slow and lossy.

``python hosts.py DELAY LOSS COMMAND...`` runs a command on the first of them, ``PLACES`` tells mpirun of all three.

A host is a set of Linux namespaces (network, host name, mounts, System V IPC) inside one user namespace: it needs no
root where users may open /dev/net/tun, has a /dev/shm of its own, and its names are seen by nobody else, so runs
cannot collide. Process numbers and files are shared with the machine. The network is a tun device per host, and this
program carries the packets between them: a kernel without netem can have delay and loss too. A host is held by a
process that ends everything on it when its line to this program breaks, however this program ended.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from time import monotonic

ADDRESSES = {"anna": "10.0.0.1", "bert": "10.0.0.2", "carl": "10.0.0.3"}
PLACES = ("--host", ",".join(f"{name}:2" for name in ADDRESSES), "--bind-to", "none")
"""Two ranks on each. Every host would bind its first rank to the machine's first core."""

_OPEN_TUN, _PLAIN_TUN = 0x400454CA, 0x1001
_ENTER = "nsenter --net --uts --mount --ipc --target"


def across(delay: float = 0.0, loss: float = 0.0) -> tuple[str, ...]:
    """What to put before a command that is to run on the first host.

    Each packet between hosts takes ``delay`` seconds, and a share ``loss`` of them gets lost.
    """
    return ("unshare", "--user", "--map-root-user", sys.executable, __file__, str(delay), str(loss))


def hold(name: str, address: str) -> None:
    """Be a host: send its network device up the line, and stay until the line breaks."""
    line = socket.socket(fileno=0)
    socket.sethostname(name)
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _OPEN_TUN, struct.pack("16sH22x", b"eth0", _PLAIN_TUN))
    for command in (
        "mount -t tmpfs tmpfs /dev/shm",
        "ip link set lo up",
        f"ip addr add {address}/24 dev eth0",
        "ip link set eth0 up",
    ):
        subprocess.run(command.split(), stdin=subprocess.DEVNULL, check=True)
    socket.send_fds(line, [b"up"], [device])
    os.close(device)
    line.recv(1)
    while others := _on_this_host():
        for pid in others:
            os.kill(pid, signal.SIGKILL)


def _on_this_host() -> list[int]:
    """Living processes that share this process's network."""
    here, found = os.stat("/proc/self/ns/net"), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.path.samestat(os.stat(entry / "ns" / "net"), here) and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def start(name: str, address: str) -> tuple[int, int, socket.socket]:
    """Start a host; its process, its network device and the line that keeps it."""
    ours, theirs = socket.socketpair()
    command = ["unshare", "--net", "--uts", "--mount", "--ipc", sys.executable, __file__, "hold", name, address]
    process = subprocess.Popen(command, stdin=theirs)
    theirs.close()
    _, devices, _, _ = socket.recv_fds(ours, 2, 1)
    if not devices:
        sys.exit(f"{name} did not come up")
    return process.pid, devices[0], ours


def carry(devices: dict[bytes, int], delay: float, loss: float, until: int) -> None:
    """Carry packets between devices, by IPv4 address, until the process behind ``until`` has ended."""
    draw, number, lost = random.Random(0), 0, 0
    under_way: list[tuple[float, int, int, bytes]] = []
    while True:
        wait = max(0.0, under_way[0][0] - monotonic()) if under_way else None
        ready, _, _ = select.select([until, *devices.values()], [], [], wait)
        if until in ready:
            print(f"hosts: {number} packets, {lost} lost", file=sys.stderr)
            return
        for device in ready:
            packet = os.read(device, 65536)
            target = devices.get(packet[16:20])
            if target is None:  # IPv6 looks for routers
                continue
            number += 1
            if draw.random() < loss:
                lost += 1
            else:
                heapq.heappush(under_way, (monotonic() + delay, number, target, packet))
        while under_way and under_way[0][0] <= monotonic():
            _, _, target, packet = heapq.heappop(under_way)
            os.write(target, packet)


def main(delay: float, loss: float, command: list[str]) -> int:
    """Make the hosts, run the command on the first, and return its exit code."""
    hosts = {name: start(name, address) for name, address in ADDRESSES.items()}
    devices = {socket.inet_aton(ADDRESSES[name]): device for name, (_, device, _) in hosts.items()}
    pids = {name: str(pid) for name, (pid, _, _) in hosts.items()}
    settings = {
        **{f"HOST_{name}": pid for name, pid in pids.items()},
        "PRTE_MCA_plm_ssh_agent": f"{sys.executable} {__file__} enter",
        "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
        "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "self,sm,tcp",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "TMPDIR": "/dev/shm",
    }
    inside = [*_ENTER.split(), next(iter(pids.values())), f"--wd={Path.cwd()}", *command]
    running = subprocess.Popen(inside, env={**os.environ, **settings}, stdin=subprocess.DEVNULL)
    carry(devices, delay, loss, os.pidfd_open(running.pid))
    return running.wait()


def enter(name: str, *command: str) -> None:
    """Run a command on a host, called as ssh would be: by the launcher, which runs on the first host."""
    there = [*_ENTER.split(), os.environ[f"HOST_{name}"], f"--wd={Path.cwd()}"]
    os.execvp("nsenter", [*there, "sh", "-c", " ".join(command)])


if __name__ == "__main__":
    match sys.argv[1]:
        case "hold":
            hold(*sys.argv[2:])
        case "enter":
            enter(*sys.argv[2:])
        case delay:
            sys.exit(main(float(delay), float(sys.argv[2]), sys.argv[3:]))
