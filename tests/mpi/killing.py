"""Kill ranks of a real job at a random moment, and hold its survivors against a simulation of what they noticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmtl.build import plan
from dmtl.config import load, read_file
from dmtl.node import Node
from dmtl.results import read_log
from dmtl.simulator import simulate

__all__ = ["Outcome", "judge", "kill_when"]


class Outcome(NamedTuple):
    """What was left of a job."""

    finished: bool
    """exit code 0, and every survivor has written its end and its model"""
    torn: int
    """lines of survivors' files that are not whole"""
    same: bool
    """every survivor's model is, bit for bit, the simulation's in which the dead fall silent when they were missed"""
    missed: dict[int, int]
    """dead rank -> the round in which a neighbour missed it first"""


def kill_when(process: subprocess.Popen[str], place: Path, rank: int, round: int, wait: float = 0.0) -> None:
    """SIGKILL a rank once its file has a line of that round or later, and so many seconds have gone by."""
    path = place / f"rank-{rank:04d}.jsonl"
    while process.poll() is None:
        lines = read_log(path)[0] if path.exists() else []
        if any(line["event"] == "round" and line["round"] >= round for line in lines):
            end = time.monotonic() + wait
            while time.monotonic() < end:
                os.sched_yield()
            os.kill(lines[0]["pid"], signal.SIGKILL)
            return
        os.sched_yield()


def judge(code: int, place: Path, dead: set[int]) -> Outcome:
    """Look at the files of a job that is over."""
    job = plan(load(read_file(str(place / "config.toml"))))
    alive = [rank for rank in range(job.topology.size) if rank not in dead]
    logs = {rank: read_log(place / f"rank-{rank:04d}.jsonl") for rank in range(job.topology.size)}
    ends = [rank for rank in alive if any(line["event"] == "end" for line in logs[rank][0])]
    models = {rank: _model(place, rank) for rank in ends}
    first_silent = {  # the dead have missed others while they lived
        (line["rank"], rank): line["round"] for rank in logs for line in logs[rank][0] if line["event"] == "lost"
    }

    def ageing(round: int, source: int, target: int) -> int:
        return -1 if round >= first_silent.get((source, target), round + 1) else 0

    nodes = [_deaf(job.node(rank), ageing) for rank in range(job.topology.size)]
    states = simulate(nodes, job.config.rounds)
    same = all(np.array_equal(model, states[rank].x) for rank, model in models.items())
    missed = {rank: min(round for (who, _), round in first_silent.items() if who == rank) for rank, _ in first_silent}
    return Outcome(code == 0 and ends == alive, sum(logs[rank][1] for rank in alive), same, missed)


def _deaf(node: Node, ageing: Any) -> Node:
    return Node(node.view, node.task, node.algorithm, node.screen, node.attack, node.dtype, node.rushers, ageing)


def _model(place: Path, rank: int) -> Any:
    with np.load(place / f"rank-{rank:04d}.npz") as arrays:
        return arrays["model.x"]


def command(out: Path, *more: str) -> list[str]:
    """The arguments of a job that lives long enough to be killed."""
    small = ["--data", "synthetic:rows=20,features=4", "--algorithm", "laplacian", "--rounds", "2000"]
    return ["-m", "dmtl", "run", *small, "--eval-every", "50", "--out", str(out), *more]


def describe(outcome: Outcome) -> str:
    """One line for a table or a failed test."""
    return json.dumps(outcome._asdict())
