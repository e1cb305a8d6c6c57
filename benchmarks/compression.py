"""Accuracy against bytes: what do compressed messages cost, and what do they save?

    python benchmarks/compression.py [--ranks 16] [--rounds 600] [--seeds 3] [--out compression.png]
    python benchmarks/compression.py --data FOLDER --task mlp:hidden=32 --step 0.2   # MNIST, FOLDER/mnist.npz

All ranks of a network learn one model of ten digits, each from rows of its own, drawn so that ranks differ in their
digits (Dirichlet, alpha 0.5). The accuracy is the mean over ranks of that of a rank's model on all ranks' test rows.
Everything runs in the simulator; bytes are those that the messages have. 'gain' is how many times fewer bytes a rank
has sent than without compression when it comes, for good, to within half a point of where that one ends.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import DivergedError
from dmtl.simulator import simulate

PIECES = (
    "",
    "float32",
    "bfloat16",
    "quantise:bits=8",
    "quantise:bits=4",
    "quantise:bits=2",
    "quantise:bits=1",
    "top-k:share=0.1",
    "top-k:share=0.05,values=bfloat16",
    "top-k:share=0.01,values=bfloat16",
    "random-k:share=0.1",
    "random-k:share=0.05,values=bfloat16",
)
METHODS = ("diffusion", "gradient-tracking")
POINT = 0.005


class Course(NamedTuple):
    """How one run went."""

    bytes: np.ndarray
    """(m,) what a rank has sent, on average"""
    accuracy: np.ndarray
    """(m,) mean over ranks"""
    message: int
    """bytes of one message"""


def course(raw: dict[str, Any], every: int) -> Course:
    """Run one configuration."""
    job = plan(load(raw))
    ranks = job.topology.size
    nodes = [job.node(rank) for rank in range(ranks)]
    parts = [job.dataset(rank) for rank in range(ranks)]
    every_row = {key: np.concatenate([getattr(part, key) for part in parts]) for key in ("test_x", "test_y")}
    judge = job.task.build(replace(parts[0], **every_row))
    links = np.mean([len(node.view.targets) for node in nodes])
    found: dict[int, list[float]] = {}

    def record(rank: int, state: Any, _: Any) -> None:
        found.setdefault(state.view.round, []).append(1 - judge.evaluate(state.x)["test_error"])

    simulate(nodes, job.config.rounds, record, every)
    rounds = np.array(sorted(found))
    accuracy = np.array([np.mean(found[round]) for round in rounds])
    return Course(rounds * links * nodes[0].weight, accuracy, nodes[0].weight)


def reached(one: Course, level: float) -> float:
    """Bytes sent when the accuracy comes to a level for good; infinity if it does not."""
    below = np.flatnonzero(one.accuracy < level)
    first = below[-1] + 1 if len(below) else 0
    return float(one.bytes[first]) if first < len(one.bytes) else float("inf")


def mean_course(raw: dict[str, Any], seeds: int, every: int) -> Course | None:
    """The mean over seeds; None where a run diverges."""
    try:
        runs = [course({**raw, "seed": seed}, every) for seed in range(seeds)]
    except DivergedError:
        return None
    return Course(runs[0].bytes, np.mean([run.accuracy for run in runs], axis=0), runs[0].message)


def picture(found: dict[str, dict[str, Course]], place: Path) -> None:
    """Draw accuracy against bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * len(found), 5), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axis, (method, courses) in zip(axes, found.items(), strict=True):
        for number, (name, one) in enumerate(courses.items()):
            style = {"color": "black", "linewidth": 2.5} if not name else {"color": f"C{number % 10}"}
            line = "-" if number <= 10 else "--"
            axis.plot(one.bytes[1:], one.accuracy[1:], line, label=name or "as they are, float64", **style)
        axis.set(xscale="log", xlabel="bytes that a rank has sent", title=method)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy on all test rows, mean over ranks")
    axes[-1].legend(fontsize="small", loc="lower right")
    figure.savefig(place, dpi=120)


def main() -> None:
    """Run all, print a table in Markdown and save the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="folder with mnist.npz; left out: the digits of scikit-learn")
    parser.add_argument("--task", default="softmax")
    parser.add_argument("--step", type=float, help="step size; left out: the method's own")
    parser.add_argument("--ranks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--out", default="compression.png")
    given = parser.parse_args()
    raw = {"ranks": given.ranks, "rounds": given.rounds, "topology": "torus", "task": given.task, "standardise": False}
    raw |= {"partition": "dirichlet:alpha=0.5", "data": "digits"}
    if given.data:
        raw["data"] = f"file:{images(Path(given.data))}"
    found: dict[str, dict[str, Course]] = {}
    print("| method | compressor | bytes of a message | of the whole | accuracy | gain |")
    print("| --- | --- | --: | --: | --: | --: |")
    for method in given.methods:
        spec = f"{method}:step_size={given.step}" if given.step else method
        runs = {
            name: mean_course({**raw, "algorithm": spec, "compressor": name or None}, given.seeds, given.every)
            for name in PIECES
        }
        found[method] = {name: one for name, one in runs.items() if one}
        plain = found[method][""]
        level = plain.accuracy[-1] - POINT
        for name, one in runs.items():
            if one is None:
                print(f"| {method} | {name} | diverges | | | |")
                continue
            gain = reached(plain, level) / reached(one, level)
            end = (
                f"{100 * one.accuracy[-1]:.2f} | {gain:.1f}" if gain else f"{100 * one.accuracy[-1]:.2f} | not reached"
            )
            print(
                f"| {method} | {name or 'none'} | {one.message} | {one.message / plain.message:.3f} | {end} |",
                flush=True,
            )
    picture(found, Path(given.out))


def images(folder: Path) -> Path:
    """MNIST's training rows, every fifth of them, pixels in [0, 1], as a file of one task; beside the picture."""
    place = Path("compression-mnist.npz")
    with np.load(folder / "mnist.npz") as file:
        rows = np.random.default_rng(0).permutation(len(file["y"]))[::5]
        x = file["X"][rows].reshape(len(rows), -1) / 255.0
        np.savez(place, x=x, y=file["y"][rows].astype(int), task=np.zeros(len(rows), int))
    return place


if __name__ == "__main__":
    main()
