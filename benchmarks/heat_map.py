"""All attacks against all screens on ten MPI ranks, as one heat map in the report.

    python benchmarks/heat_map.py [--out FOLDER] [--rounds 100] [--screens median ios] [--attacks alie mute]

Ten ranks on a complete graph share the handwritten digits that come with scikit-learn, unevenly (Dirichlet, 1); ranks
2 and 7 lie. Every registered screen meets every registered attack, plus nobody's; each meeting is a run as `dmtl run`
makes it, in its own folder, and the report over all of them has the map. Screens get b or f = 2 where they have such a
setting, and run with --force where two liars are too many for them: the map shows what becomes of them. A job runs one
meeting after the other; one that ends its job (a model that comes apart, a liar that broke with MPI) is followed by a
new job.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from harness import ROOT, mpi_job, say

from dmtl.registry import find, names

RANKS, LIARS = 10, [2, 7]
LONGEST = 900.0
"""seconds after which a job is ended"""
GIVEN = {
    "balance": "gamma=1",
    "bulyan": "f=1",
    "centred-clipping": "tau=1",
    "dual": "inner=sign-flip",
    "huber": "tau=1",
    "sketch-guard": "gamma=1",
    "sleeper": "t0=30,inner=sign-flip",
    "tv": "lam=0.1",
}
"""settings without a default; 1 is about half the distance of two honest models; of bulyan that many can be asked"""
SETTINGS: dict[str, Any] = {
    "data": "digits",
    "partition": "dirichlet:alpha=1",
    "held_out": 0.2,
    "topology": "complete",
    "algorithm": "diffusion",
    "ranks": RANKS,
    "seed": 1,
    "stall_warn": 0.0,
    "force": True,
    "overwrite": True,
}


def spec(kind: str, name: str) -> str:
    """The piece with its settings."""
    if name in GIVEN:
        return f"{name}:{GIVEN[name]}"
    count = next((field.name for field in fields(find(kind, name)) if field.name in ("b", "f")), None)
    return f"{name}:{count}=2" if kind == "screen" and count else name


def meetings(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The settings of each run; alone first, which the colours are measured from."""
    common = SETTINGS | {"rounds": asked.rounds, "eval_every": asked.rounds}
    yield common | {"algorithm": "local", "out": str(asked.out / "alone")}
    for screen in asked.screens:
        said = common | {"screen": spec("screen", screen)}
        yield said | {"out": str(asked.out / f"{screen}-none")}
        for attack in asked.attacks:
            lies = [{"ranks": LIARS, "attack": spec("attack", attack)}]
            # who breaks off is waited for by everybody; a rank that computes on a busy machine is not to be given up
            wait = 3.0 if hasattr(find("attack", attack), "protocol") else 120.0
            yield said | {"byzantine": lies, "patience": wait, "out": str(asked.out / f"{screen}-{attack}")}


def worker(todo: str, done: str) -> None:
    """One rank: one run after the other; the first rank notes what is done."""
    from mpi4py import MPI

    from dmtl.data.digits import Digits
    from dmtl.errors import DivergedError
    from dmtl.launch import start

    Digits.load = cache(Digits.load)  # the same digits for all runs of a job

    with open(done, "a", encoding="utf-8") as notes:
        for settings in json.loads(Path(todo).read_text(encoding="utf-8")):
            try:
                code = start(lambda settings=settings: settings, quiet=True)
            except DivergedError as error:
                say(str(error))
                MPI.COMM_WORLD.Abort(1)
            if MPI.COMM_WORLD.rank == 0:
                print(f"{code} {settings['out']}", file=notes, flush=True)


def finish(todo: list[dict[str, Any]], folder: Path) -> int:
    """Run all, with as many jobs as it takes, and return their number."""
    notes, rest, jobs = folder / "done.txt", todo, 0
    notes.write_text("", encoding="utf-8")
    while rest:
        (folder / "todo.json").write_text(json.dumps(rest), encoding="utf-8")
        before = len(notes.read_text(encoding="utf-8").splitlines())
        command = mpi_job(RANKS, sys.executable, [__file__, "--worker", str(folder / "todo.json"), str(notes)])
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(60)
        jobs += 1
        passed = len(notes.read_text(encoding="utf-8").splitlines()) - before
        if process.returncode or passed < len(rest):
            passed = min(passed + 1, len(rest))  # the one that ended the job
        rest = rest[passed:]
        say(f"{len(todo) - len(rest)} of {len(todo)} runs, {jobs} jobs")
    return jobs


def whole(place: Path) -> bool:
    """Whether a run is there already, by all ranks' final states: what was interrupted goes on."""
    return len(list(place.glob("rank-*.npz"))) == RANKS


def main() -> None:
    if "--worker" in sys.argv:
        worker(*sys.argv[-2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "heat-map")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--screens", nargs="+", default=names("screen"))
    parser.add_argument("--attacks", nargs="+", default=names("attack"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    begin, todo = perf_counter(), list(meetings(asked))
    jobs = finish([settings for settings in todo if not whole(Path(settings["out"]))], asked.out)
    ended = [settings["out"] for settings in todo if list(Path(settings["out"]).glob("rank-*"))]
    say(f"{len(ended)} of {len(todo)} runs left results; {jobs} jobs, {(perf_counter() - begin) / 60:.0f} minutes")
    report = [sys.executable, "-m", "dmtl", "report", *ended, "--html", "--out", str(asked.out / "report")]
    subprocess.run(report, check=True, timeout=LONGEST)


if __name__ == "__main__":
    main()
