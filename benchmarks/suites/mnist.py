"""Handwritten digits that each rank has another share of: mixtures of models, one model for all, and learning alone.

    python benchmarks/suites/mnist.py --data FOLDER [--model mlp] [--rounds 60] [--seeds 1] [--attack sign-flip]
    python benchmarks/suites/mnist.py --data FOLDER --model cnn --ranks 10 --rounds 30 --epochs 1 --radii 10

FOLDER holds mnist/mnist.npz: X (70000, 28, 28) and y. 15 ranks on Erdos-Renyi(0.5) share 7500 images drawn by the seed,
500 a rank: by Dirichlet(0.4) for each class, or by shards, two classes or so for each. Half of a rank's images are for
testing, so its test images have the labels in its own shares; a fifth of the others is held out. A round is a local
epoch on mini-batches of 32 and an average with the neighbours, in single precision. 'fedem' mixes three components, or
what --components says (of more than three, responsibilities below 0.01 make no gradient); 'fedavg-gossip' has one model
for all; 'alone' trains as that one does and hears nobody. --model mlp has a hidden layer of 64 by numpy (50,890
parameters), and cnn two convolutions by PyTorch (21,840).

Each method has three steps, with one or three local epochs; the setting with the best mean accuracy on held-out images
is taken, without liars. Under a screen the step is chosen again in the same way (with --plain-steps it is that of plain
averages), and so is the radius of 'gate-cap-anchor' for 'fedem', which cannot estimate it. Screens judge by the same
held-out images. They are the three that stood best against 34 attacks in heat_map.py. The two liars are the pair of
ranks that is the smallest part of any honest rank's neighbours: screens promise nothing where liars are half of them.
Figures are test accuracies of the honest in percent: the mean over ranks, and the mean over the worst tenth of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product, starmap
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))

from harness import figures, say, table, worst

from dmtl.build import plan
from dmtl.config import load
from dmtl.errors import DivergedError
from dmtl.node import Node
from dmtl.simulator import simulate
from dmtl.specs import make, parse
from dmtl.topology import Topology

EACH = 500
"""images of a rank"""
GRID = {"alone": (0.03, 0.1, 0.3), "fedavg-gossip": (0.03, 0.1, 0.3), "fedem": (0.1, 0.3, 0.5)}
"""steps to choose from"""
GRAPH = "erdos-renyi:p=0.5"
FEW = 3
SPARSE = 0.01
"""responsibilities below it make no gradient, where components are more than a few"""
STEPS = 7
"""of a local epoch, or about so many: 200 rows in batches of 32"""
PARTITIONS = ("dirichlet:alpha=0.4,least=20", "shards")
ANCHORED = "gate-cap-anchor"
SCREENS = ("average", ANCHORED, "ubar:rho=0.6", "geometric-median")
MODELS = {
    "mlp": {"name": "mlp", "hidden": "64", "batch": 32},
    "cnn": {"name": "torch", "module": f"{__file__}:cnn", "batch": 32, "device": "cpu"},
}


class Setting(NamedTuple):
    """Of a method."""

    step_size: float
    epochs: int
    components: int
    """of 'fedem', or 0"""

    def __str__(self) -> str:
        told = {**self._asdict(), "sparse": SPARSE if self.components > FEW else 0}
        return ",".join(f"{name}={value}" for name, value in told.items() if value)


class Choice(NamedTuple):
    """What held-out images chose, and its run without liars."""

    setting: Setting
    screen: str
    found: dict[str, np.ndarray]


def cnn(features: int, classes: int) -> Any:
    """Two convolutions of 5 x 5 to 10 and 20 channels with pooling, and layers of 50 and 10."""
    from torch import nn

    images = nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU())
    deep = nn.Sequential(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(images, deep, nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, classes))


def prepared(source: Path, place: Path, images: int, seed: int) -> str:
    """Images drawn by the seed, as the data source 'file' reads them."""
    path = place / f"mnist-{seed}.npz"
    if not path.exists():
        with np.load(source / "mnist" / "mnist.npz") as file:
            x, y = file["X"], file["y"]
        some = np.random.default_rng(seed).choice(len(x), images, replace=False)
        pixels = (x[some].reshape(images, -1) / 255 - 0.1307) / 0.3081
        np.savez(path, x=pixels, y=y[some].astype(np.int64), task=np.zeros(images, np.int64))
    return str(path)


def raw(asked: argparse.Namespace, path: str, seed: int, **more: Any) -> dict[str, Any]:
    """A run as a configuration."""
    return {
        "data": {"name": "file", "path": path},
        "task": MODELS[asked.model],
        "test": 0.5,
        "held_out": 0.2,
        "standardise": False,
        "dtype": "float32",
        "topology": GRAPH,
        "rounds": asked.rounds,
        "ranks": asked.ranks,
        "seed": seed,
        **more,
    }


def liars_among(ranks: int, seed: int) -> list[int]:
    """The two that are the smallest part of the neighbours of the honest rank that hears most of them."""
    graph = make("topology", parse(GRAPH, "graph")).graph(ranks, seed)

    def most(pair: tuple[int, ...]) -> float:
        return max(len({*graph[rank]} & {*pair}) / graph.degree(rank) for rank in graph if rank not in pair)

    return list(min(combinations(range(ranks), 2), key=most))


def apart(nodes: Sequence[Node]) -> list[Node]:
    """The same ranks without a link."""
    alone = Topology(nx.empty_graph(len(nodes)), np.eye(len(nodes)))
    return [
        Node(
            alone.view(rank, node.view.seed, stochastic=True), node.task, node.algorithm, node.screen, dtype=node.dtype
        )
        for rank, node in enumerate(nodes)
    ]


def accuracies(told: dict[str, Any], alone: bool) -> dict[str, np.ndarray]:
    """Of the honest, on held-out and on test images, in percent; 0 where a model was not finite."""
    job = plan(load(told), told["ranks"])
    nodes = [job.node(rank) for rank in range(told["ranks"])]
    nodes = apart(nodes) if alone else nodes
    try:
        states = simulate(nodes, told["rounds"])
    except DivergedError as error:  # a step that is too long, or a lie that was too much
        say(str(error).split(":")[0])
        return dict.fromkeys(("held_out", "test"), np.zeros(len(nodes) - len(job.lies)))
    found = []
    for node, state in zip(nodes, states, strict=True):
        evaluate = getattr(node.algorithm, "evaluate", None)
        found.append(evaluate(state.model, node.task) if evaluate else node.task.evaluate(state.x))
    honest = [figures for rank, figures in enumerate(found) if rank not in job.lies]
    return {
        kind: 100 * (1 - np.array([figures[f"{kind}_error"] for figures in honest])) for kind in ("held_out", "test")
    }


class Suite:
    """All runs on one partition of one seed; what is chosen is chosen once."""

    def __init__(self, asked: argparse.Namespace, path: str, partition: str, seed: int) -> None:
        self.asked, self.path, self.partition, self.seed = asked, path, partition, seed

    def once(
        self, method: str, setting: Setting, screen: str = "average", liars: bool = False
    ) -> dict[str, np.ndarray]:
        """One run."""
        begin, name = perf_counter(), "fedavg-gossip" if method == "alone" else method
        lying = [{"ranks": liars_among(self.asked.ranks, self.seed), "attack": self.asked.attack}] if liars else []
        more = {"partition": self.partition, "algorithm": f"{name}:{setting}", "byzantine": lying}
        told = raw(self.asked, self.path, self.seed, **more, screen=screen, force=True)
        found = accuracies(told, method == "alone")
        say(
            f"{self.partition} {self.seed} {method}:{setting}, {screen}, {'two liars' if liars else 'no liars'}: "
            f"held out {found['held_out'].mean():.2f}, test {found['test'].mean():.2f} / {worst(found['test']):.2f}, "
            f"{perf_counter() - begin:.0f} s"
        )
        return found

    @cache  # noqa: B019  # as long as the script
    def best(self, method: str, screen: str) -> Choice:
        """The choice with the best held-out accuracy: of all settings by plain averages, of all steps by a screen."""
        counts = self.asked.components if method == "fedem" else [0]
        settings = list(starmap(Setting, product(GRID[method], self.asked.epochs, counts)))
        if screen != "average":
            plain = self.best(method, "average").setting
            steps = [plain.step_size] if self.asked.plain_steps else GRID[method]
            settings = [plain._replace(step_size=step) for step in steps]
        pairs = [(setting, spelled) for setting in settings for spelled in self.spellings(method, setting, screen)]
        choices = [Choice(*pair, self.once(method, *pair)) for pair in pairs]
        found = max(choices, key=lambda choice: float(choice.found["held_out"].mean()))
        say(f"{self.partition} {self.seed} {method} by {found.screen}: {found.setting}")
        return found

    def spellings(self, method: str, setting: Setting, screen: str) -> list[str]:
        """A screen's settings: the model of 'gate-cap-anchor' learns as 'alone' does, or as one component."""
        if screen != ANCHORED:
            return [screen]
        learns = setting if method == "fedem" else self.best("alone", "average").setting
        plain = f"{screen}:step_size={learns.step_size},steps={STEPS * learns.epochs}"
        return [f"{plain},radius={radius}" for radius in self.asked.radii] if method == "fedem" else [plain]

    def tested(self, method: str, screen: str, liars: bool) -> np.ndarray:
        """Test accuracies."""
        choice = self.best(method, screen)
        found = self.once(method, choice.setting, choice.screen, liars) if liars else choice.found
        return found["test"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DMTL_DATA"), help="the folder of the data sets")
    parser.add_argument("--model", choices=list(MODELS), default="mlp")
    parser.add_argument("--ranks", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3], help="local ones to choose from")
    parser.add_argument("--components", type=int, nargs="+", default=[3], help="of fedem, to choose from")
    parser.add_argument("--radii", type=float, nargs="+", default=[1.0, 10.0], help="to choose from; one: that one")
    parser.add_argument("--plain-steps", action="store_true", help="screens take the step that plain averages take")
    parser.add_argument("--attack", default="sign-flip")
    parser.add_argument("--partitions", nargs="+", default=list(PARTITIONS))
    parser.add_argument("--methods", nargs="+", default=list(GRID), choices=list(GRID))
    parser.add_argument("--screens", nargs="+", default=list(SCREENS))
    asked = parser.parse_args()
    if not asked.data:
        parser.error("give the folder of the data sets: --data FOLDER, or set DMTL_DATA")
    with tempfile.TemporaryDirectory() as place:
        lines = []
        paths = [prepared(asked.data, Path(place), EACH * asked.ranks, seed) for seed in range(asked.seeds)]
        every = {part: [Suite(asked, path, part, seed) for seed, path in enumerate(paths)] for part in asked.partitions}
        for method in asked.methods:
            for screen in asked.screens[: 1 if method == "alone" else None]:
                for liars in (False, True)[: 1 if method == "alone" else None]:
                    cells = []
                    for suites in every.values():
                        found = [suite.tested(method, screen, liars) for suite in suites]
                        cells.extend(figures(found))
                    shown = "" if method == "alone" else screen.split(":")[0]
                    lines.append([method, shown, "two" if liars else "none", *cells])
                    say(" | ".join(lines[-1]))
        heads = [text for part in asked.partitions for text in (part.split(":")[0], "worst tenth")]
        print(table(["method", "screen", "liars", *heads], lines))


if __name__ == "__main__":
    main()
