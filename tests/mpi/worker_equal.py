"""Run a list of experiments on MPI ranks and compare each rank's state with the simulator's, bit for bit.

Started by test_equal.py under mpirun, with the path of a schedule of links; prints one line per rank: how many
experiments were equal.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from dmtl.build import Plan, plan
from dmtl.config import load
from dmtl.errors import CompatibilityError
from dmtl.registry import names
from dmtl.results import flatten, portable
from dmtl.runner import run
from dmtl.simulator import simulate
from dmtl.transports.mpi import world
from dmtl.transports.sync import connect

ROUNDS = 12
ALGORITHMS = (
    "local",
    "collaborative:full_rows=10",
    "collaborative:gossip=true",
    "cross-stitch:rate=3",
    "dada:pace=1,warm_up=2,full_rows=10",
    "diffusion",
    "laplacian:strength=0.5",
    "laplacian-diffusion:polynomial=0.5 0.1",
    "amtl:relaxation=0.3,dynamic=true",
    "pairwise-gossip",
    "dgsp:rank=2,power_steps=1",
    "dinuzzo:steps=2",
    "dnsp:rank=2,power_steps=1",
    "drom:g=0.1,period=2",
    "drom:sums=gossip,g=0.1,rounds=2,history=3,cap=3.0",
    "drom:sums=local,g=0.1,clip=1",
    "dsml",
    "fedavg-gossip:steps=3,momentum=0.5",
    "fedprox-gossip:steps=2",
    "fedem:epochs=2",
    "fedem:one=true,learners=2",
    "fedspd:merge_from=7",
    "frank-wolfe:power_steps=2",
    "dmtc:radius=2",
    "dmtc-joint:tasks=2,relearn=3",
    "dmtrl",
    "gradient-tracking",
    "clustered",
    "hierarchical",
    "clustered-fl:tol1=9.0,tol2=0.1",
    "ifca:epochs=2",
    "joint-sparse",
    "relationship",
    "relationship:form=lifted",
    "relationship-network:period=2",
    "rmtfl",
    "robust-mtl",
    "smtl",
    "trace-norm",
    "trace-norm:form=lifted,engine=pg-extra",
    "trace-norm:form=factorised,rank=2",
    "uncertainty-weighted:learn=gradient",
    "nids:penalty=(robust:low_rank=0.1)",
    "pg-extra:penalty=(clustered:k=2)",
    "extra",
    "dadmm:penalty=(l1:strength=0.01),common=true",
    "dirty:engine=dadmm",
    "many-task-hierarchy:order=1-0",
    "mean-regularised:engine=extra",
    "network-lasso:strength=0.1",
    "pdmm",
    "pfedme:steps=2,local_rounds=2",
    "shared-subspace:rank=2,warm_up=4",
    "mgda",
    "mgda:form=neighbourhood",
    "mgda:form=sketch,m=4,normalise=loss+",
    "mgda-ub:m=4",
    "mocha:passes=0.5,least=0.1,drop=0.2",
    "pmtl",
    "model-propagation:full_rows=10",
    "private-coordinate-descent:wake=0.5",
    "resilient-mtl:gamma=0.5,warm_up=2",
    "resilient-mtl:score=paper,warm_up=0,guard=0",
    "resilient-mtl:score=held-out,gamma=0.5,warm_up=2",
    "resilient-mtl:rule=distance-f",
    "private-coordinate-descent:epsilon=0.5,delta=0.01,step_size=0.1",
)
SETTINGS = {
    "balance": "gamma=2",
    "centred-clipping": "tau=0.5",
    "dual": "inner=dissensus",
    "gate-cap-anchor": "warm_up=1",
    "huber": "tau=0.5",
    "omit": "anew=true",
    "sketch-guard": "gamma=0.5,width=2",
    "sleeper": "t0=4,inner=(line-search:direction=away)",
    "stale": "s=3",
    "trimmed-mean": "b=1",
    "tv": "lam=0.1",
}
"""of pieces whose settings have no defaults, or whose defaults would do nothing in so few rounds"""
PIPES = (
    "nnm:f=1+median",
    "clip:1+average",
    "gate+nna:b=1",
    "bucketing:s=2+median",
    "self-centred-clipping:oracle=true",
)


def every(kind: str) -> list[str]:
    return [f"{name}:{SETTINGS[name]}" if name in SETTINGS else name for name in names(kind)]


def experiments(n: int):
    """Every method on the plain average, every screen under one attack, every attack under one screen."""
    base = {"data": "synthetic:rows=20,features=5", "topology": "complete", "seed": 3, "rounds": ROUNDS, "force": True}
    base["held_out"] = 0.25
    for algorithm in ALGORITHMS:
        yield {**base, "algorithm": algorithm}
        yield {**base, "algorithm": algorithm, "topology": "ring" if n > 2 else "path", "dtype": "float32"}
    for gap in (100, 1e-9):  # one that is met on the way, and one that is not
        yield {**base, "algorithm": "joint-sparse", "stop": f"gap={gap}", "task": "least-squares:l2=0.1"}
    for features in ("rbf:count=10", "polynomial"):
        yield {**base, "algorithm": "dinuzzo", "features": features}
    yield {**base, "task": "least-squares:batch=3"}
    perceptron = {**base, "task": "mlp:hidden=4x3,batch=5"}
    for algorithm in ("diffusion:step_size=0.1", "resilient-mtl:gamma=0.5,warm_up=2"):
        yield {**perceptron, "algorithm": algorithm, "private": "head", "dtype": "float32"}
    yield from compressed(n, base)
    yield {**base, "stream": 2, "algorithm": "laplacian:step_size=0.1/sqrt(t)"}
    yield {**base, "stream": 2, "algorithm": "resilient-mtl:gamma=0.5,warm_up=2"}
    for algorithm in ("cross-stitch", "mgda:form=sketch", "mgda-ub", "relationship-network"):  # layer by layer
        digits = {**base, "data": "digits", "task": "mlp:hidden=4x3,batch=5", "private": "head", "held_out": 0.0}
        yield {**digits, "algorithm": f"{algorithm}{',' if ':' in algorithm else ':'}step_size=0.1"}
    if n > 1:
        yield from troubles(n, base)
    if n < 3:
        return
    count, attacks = 2 if n > 4 else 1, ("alie", "two-faced", "sign-flip", "silent", "dissensus")
    for i, screen in enumerate((*every("screen"), *PIPES)):
        liars = [{"count": count, "attack": attacks[i % len(attacks)]}]
        yield {**base, "screen": screen, "byzantine": liars, "dtype": ("float64", "float32")[i % 2]}
    parts = (("fedem", "ubar:rho=0.7"), ("fedem:one=true", "loss-weighted"), ("fedspd", "gate-cap-anchor:radius=1"))
    for algorithm, screen in parts:  # vectors that are judged by the rows that are theirs
        yield {**base, "algorithm": algorithm, "screen": screen, "byzantine": [{"count": count, "attack": "alie"}]}
    for i, attack in enumerate(every("attack")):
        liars = [{"count": count, "attack": attack}]
        method = ("diffusion", "gradient-tracking", "network-lasso")[i % 3]
        yield {**base, "algorithm": method, "screen": ("median", "cs-plus")[i % 2], "byzantine": liars}
    mixed = [{"ranks": [0], "attack": "alie"}, {"ranks": [2], "attack": "sign-flip", "poison": "label-flip"}]
    yield {**base, "algorithm": "gradient-tracking", "byzantine": mixed}
    yield {**base, "algorithm": "pdmm", "byzantine": mixed}


def compressed(n: int, base: dict):
    """Every compressor with methods that say the same to all and one that does not, and under liars."""
    for i, compressor in enumerate(every("compressor")):
        for algorithm in ("gradient-tracking", "pdmm", "laplacian"):
            yield {**base, "compressor": compressor, "algorithm": algorithm, "dtype": ("float64", "float32")[i % 2]}
        if n > 2:
            for attack in ("alie", "two-faced", "silent", "oversize"):
                liars = [{"count": 2 if n > 4 else 1, "attack": attack}]
                yield {**base, "compressor": compressor, "screen": "median", "byzantine": liars}
    for compressor in ("bfloat16", "quantise:feedback=false"):
        for trouble in ({"link": "age=2,drop=0.2"}, {"time_varying": "matching"}) if n > 1 else ():
            yield {**base, **trouble, "compressor": compressor}


def troubles(n: int, base: dict):
    """Links that delay, lose, are cut or take turns, and a late rank: for each method that takes it, and for liars."""
    split = {"splits": [f"{'|'.join(['0', f'1-{n - 1}'])}@3-7"], "join": f"{n - 1}@5"}
    turns = [{"time_varying": piece} for piece in ("matching", "activation:p=0.5", *(["file:SCHEDULE"] * (n > 2)))]
    kinds = [{"link": "age=4,drop=0.1"}, {"link": "drop=0.2"}, split, *turns, {**turns[0], **split, "link": "drop=0.1"}]
    one_peer = {"topology": "exponential:directed=true", "weights": "uniform", "time_varying": "one-peer-exponential"}
    for place, kind in enumerate(kinds):
        # Many ranks take long: there each method meets every second kind of trouble, and all of them on few.
        for algorithm in ALGORITHMS if n <= 4 else ALGORITHMS[place % 2 :: 2]:
            yield {**base, **kind, "algorithm": algorithm}
        yield {**base, **kind, "screen": "median", "dtype": "float32"}
    yield {**base, **one_peer}
    yield {**base, **one_peer, "link": "drop=0.2", **split}
    if n > 2:
        for kind in (*kinds, one_peer):
            for attack in ("alie", "two-faced"):
                liars = [{"count": 2 if n > 4 else 1, "attack": attack}]
                yield {**base, **kind, "screen": "median", "byzantine": liars}


def digest(state) -> str:
    """Of every number that the state carries to the next round."""
    found = hashlib.sha256()
    for key, value in sorted(flatten(portable(state)).items()):
        found.update(f"{key} {value.dtype} {value.shape} ".encode() + value.tobytes())
    return found.hexdigest()


def simulated(job: Plan) -> list[str]:
    """What the simulator makes of all ranks."""
    return [digest(state) for state in simulate([job.node(rank) for rank in range(job.topology.size)], ROUNDS)]


def main(schedule: str) -> int:
    """Run everything on MPI, then everything in the simulator, of which each rank takes its share."""
    comm = world()
    jobs, ours = [], []
    for raw in experiments(comm.size):
        raw = {key: f"file:{schedule}" if value == "file:SCHEDULE" else value for key, value in raw.items()}
        try:
            job = plan(load(raw), comm.size)
        except CompatibilityError:  # too few neighbours for this screen, or a method that takes no late messages
            continue
        node = job.node(comm.rank)
        exchange = connect(comm, node)
        jobs.append(raw)
        ours.append(digest(run(node, exchange, ROUNDS)))
        exchange.close()
    share = {at: simulated(plan(load(jobs[at]), comm.size)) for at in range(comm.rank, len(jobs), comm.size)}
    theirs = {at: found[comm.rank] for part in comm.allgather(share) for at, found in part.items()}
    for at, raw in enumerate(jobs):
        if ours[at] != theirs[at]:
            print(f"rank {comm.rank} differs: {raw}", flush=True)
    equal = sum(ours[at] == theirs[at] for at in range(len(jobs)))
    print(f"rank {comm.rank}: {equal} of {len(jobs)} equal", flush=True)
    return 0


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main(*sys.argv[1:]))
