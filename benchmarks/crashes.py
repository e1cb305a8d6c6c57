"""Does a network outlive any of its members? Ranks of real jobs are killed at random moments, each rank in turn.

    python benchmarks/crashes.py [--repeats 50] [--ranks 8] [--deaths 1] [--seed 0] [--first 0]

Every job is `dmtl run` under `mpirun --with-ft ulfm`, and writes a checkpoint every 10 rounds, so that some ranks die
while they write. A repetition counts as finished if mpirun returns 0 and every survivor has written its end and its
model; its lines are torn if one of them is not whole; it is exact if every survivor's model is, bit for bit, that of a
simulation in which the dead rank is silent for each neighbour from the round on in which that neighbour missed it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import mpi_job, say, table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.mpi.killing import Outcome, command, judge, kill_when


def once(ranks: int, victims: list[int], rounds: list[int], waits: list[float]) -> Outcome:
    """One job of which these ranks are killed one after the other, each so many seconds after a round."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "out"
        arguments = command(place, "--checkpoint-every", "10")
        process = subprocess.Popen(
            mpi_job(ranks, sys.executable, arguments, "--with-ft", "ulfm"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for victim, round, wait in zip(victims, rounds, waits, strict=True):
            kill_when(process, place, victim, round, wait)
        _, said = process.communicate(timeout=300)
        outcome = judge(process.returncode, place, set(victims))
        if not (outcome.finished and outcome.same):
            say(f"exit code {process.returncode}, and on standard error:\n{said}")
        return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("repeats", 50), ("ranks", 8), ("deaths", 1), ("seed", 0), ("first", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    rows = []
    for repeat in range(options.first, options.first + options.repeats):
        victims = [repeat % options.ranks]
        rest = [rank for rank in range(options.ranks) if rank not in victims]
        victims += draw.sample(rest, options.deaths - 1)
        rounds = sorted(50 * draw.randrange(35) for _ in victims)
        outcome = once(options.ranks, victims, rounds, [draw.random() * 0.05 for _ in victims])
        rows.append(outcome)
        say(f"{repeat + 1}: ranks {victims}: {outcome}")
    counts = [sum(row.finished for row in rows), sum(row.torn == 0 for row in rows), sum(row.same for row in rows)]
    missed = [min(row.missed.values()) for row in rows if row.missed]
    print(table(["jobs", "finished", "no torn line", "exact", "rounds of death"], [
        [str(len(rows)), *(f"{count} of {len(rows)}" for count in counts), f"{min(missed)} to {max(missed)}"],
    ]))  # fmt: skip
    sys.exit(any(count < len(rows) for count in counts))


if __name__ == "__main__":
    main()
