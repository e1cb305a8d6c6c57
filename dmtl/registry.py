"""Every piece that can be named on the command line: kind -> name -> where it lives.

A line here and a file there is all that a new piece costs. Modules are imported when a name is asked for.
Others add pieces by entry points in the groups ``dmtl.algorithms``, ``dmtl.screens`` .. (the kind, and an s where it
has none), or name them by their place, ``FILE.py:CLASS`` (``dmtl.own``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from dmtl.errors import ConfigError, unknown
from dmtl.own import is_place, piece

__all__ = ["BUILTIN", "find", "kinds", "names", "where"]

BUILTIN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "algorithm": {
            "amtl": "dmtl.algorithms.amtl:AMTL",
            "central-fista": "dmtl.algorithms.central:CentralFISTA",
            "central-ista": "dmtl.algorithms.central:CentralISTA",
            "central-pnopt": "dmtl.algorithms.central_pnopt:CentralPNOPT",
            "central-sparsa": "dmtl.algorithms.central_sparsa:CentralSpaRSA",
            "clustered": "dmtl.algorithms.clustered:ClusteredMTL",
            "clustered-fl": "dmtl.algorithms.clustered_fl:ClusteredFL",
            "collaborative": "dmtl.algorithms.collaborative:Collaborative",
            "cross-stitch": "dmtl.algorithms.cross_stitch:CrossStitch",
            "dada": "dmtl.algorithms.dada:Dada",
            "dadmm": "dmtl.algorithms.dadmm:DADMM",
            "dgsp": "dmtl.algorithms.pursuit:DGSP",
            "diffusion": "dmtl.algorithms.diffusion:Diffusion",
            "dinuzzo": "dmtl.algorithms.dinuzzo:Dinuzzo",
            "dirty": "dmtl.algorithms.dirty:DirtyModel",
            "dmtc": "dmtl.algorithms.dmtc:DMTC",
            "dmtc-joint": "dmtl.algorithms.dmtc_joint:DMTCJoint",
            "dmtrl": "dmtl.algorithms.dmtrl:DMTRL",
            "dnsp": "dmtl.algorithms.pursuit:DNSP",
            "drom": "dmtl.algorithms.drom:DROM",
            "dsml": "dmtl.algorithms.dsml:DSML",
            "extra": "dmtl.algorithms.proximal_extra:Extra",
            "fedavg-gossip": "dmtl.algorithms.fedavg_gossip:FedAvgGossip",
            "fedprox-gossip": "dmtl.algorithms.fedprox_gossip:FedProxGossip",
            "fedem": "dmtl.algorithms.fedem:FedEM",
            "fedspd": "dmtl.algorithms.fedspd:FedSPD",
            "frank-wolfe": "dmtl.algorithms.frank_wolfe:FrankWolfe",
            "gradient-tracking": "dmtl.algorithms.gradient_tracking:GradientTracking",
            "hierarchical": "dmtl.algorithms.clustered:Hierarchical",
            "ifca": "dmtl.algorithms.ifca:IFCA",
            "joint-sparse": "dmtl.algorithms.joint_sparse:JointSparse",
            "laplacian": "dmtl.algorithms.laplacian:Laplacian",
            "laplacian-diffusion": "dmtl.algorithms.laplacian_diffusion:LaplacianDiffusion",
            "local": "dmtl.algorithms.local:Local",
            "many-task-hierarchy": "dmtl.algorithms.many_task_hierarchy:ManyTaskHierarchy",
            "mean-regularised": "dmtl.algorithms.mean_regularised:MeanRegularised",
            "mgda": "dmtl.algorithms.mgda:MGDA",
            "mgda-ub": "dmtl.algorithms.mgda:MGDAUB",
            "mocha": "dmtl.algorithms.mocha:MOCHA",
            "model-propagation": "dmtl.algorithms.model_propagation:ModelPropagation",
            "network-lasso": "dmtl.algorithms.network_lasso:NetworkLasso",
            "nids": "dmtl.algorithms.nids:NIDS",
            "pairwise-gossip": "dmtl.algorithms.pairwise_gossip:PairwiseGossip",
            "pdmm": "dmtl.algorithms.pdmm:PDMM",
            "pfedme": "dmtl.algorithms.pfedme:PFedMe",
            "pg-extra": "dmtl.algorithms.proximal_extra:ProximalExtra",
            "pmtl": "dmtl.algorithms.pmtl:PMTL",
            "private-coordinate-descent": "dmtl.algorithms.coordinate_descent:PrivateCoordinateDescent",
            "relationship": "dmtl.algorithms.relationship:Relationship",
            "relationship-network": "dmtl.algorithms.relationship_network:RelationshipNetwork",
            "resilient-mtl": "dmtl.algorithms.resilient_mtl:ResilientMTL",
            "rmtfl": "dmtl.algorithms.robust_mtl:RMTFL",
            "robust-mtl": "dmtl.algorithms.robust_mtl:RobustMTL",
            "shared-subspace": "dmtl.algorithms.shared_subspace:SharedSubspace",
            "smtl": "dmtl.algorithms.smtl:SMTL",
            "trace-norm": "dmtl.algorithms.trace_norm:TraceNorm",
            "uncertainty-weighted": "dmtl.algorithms.uncertainty_weighted:UncertaintyWeighted",
        },
        "attack": {
            "alie": "dmtl.attacks.alie:ALIE",
            "boost": "dmtl.attacks.boost:Boost",
            "constant": "dmtl.attacks.constant:Constant",
            "dissensus": "dmtl.attacks.dissensus:Dissensus",
            "drag": "dmtl.attacks.drag:Drag",
            "drift": "dmtl.attacks.drift:Drift",
            "dual": "dmtl.attacks.dual:Dual",
            "extreme": "dmtl.attacks.extreme:Extreme",
            "fang-krum": "dmtl.attacks.fang_krum:FangKrum",
            "fang-trim": "dmtl.attacks.fang_trim:FangTrim",
            "flood": "dmtl.attacks.flood:Flood",
            "gaussian": "dmtl.attacks.gaussian:Gaussian",
            "hidden": "dmtl.attacks.hidden:Hidden",
            "ipm": "dmtl.attacks.ipm:IPM",
            "isolation": "dmtl.attacks.isolation:Isolation",
            "line-search": "dmtl.attacks.line_search:LineSearch",
            "loss-hugging": "dmtl.attacks.loss_hugging:LossHugging",
            "mimic": "dmtl.attacks.mimic:Mimic",
            "min-max": "dmtl.attacks.min_max:MinMax",
            "min-sum": "dmtl.attacks.min_max:MinSum",
            "mute": "dmtl.attacks.mute:Mute",
            "nan": "dmtl.attacks.nan:NaN",
            "omit": "dmtl.attacks.omit:Omit",
            "oversize": "dmtl.attacks.oversize:Oversize",
            "shrink": "dmtl.attacks.shrink:Shrink",
            "sign-flip": "dmtl.attacks.sign_flip:SignFlip",
            "silent": "dmtl.attacks.silent:Silent",
            "sleeper": "dmtl.attacks.sleeper:Sleeper",
            "spectral": "dmtl.attacks.spectral:Spectral",
            "stale": "dmtl.attacks.stale:Stale",
            "sybil": "dmtl.attacks.sybil:Sybil",
            "truncate": "dmtl.attacks.truncate:Truncate",
            "two-faced": "dmtl.attacks.two_faced:TwoFaced",
            "uniform-noise": "dmtl.attacks.uniform_noise:UniformNoise",
            "wrong-type": "dmtl.attacks.wrong_type:WrongType",
            "zero-sum": "dmtl.attacks.zero_sum:ZeroSum",
        },
        "compressor": {
            "bfloat16": "dmtl.compressors.rounded:BFloat16",
            "float32": "dmtl.compressors.rounded:Float32",
            "quantise": "dmtl.compressors.quantise:Quantise",
            "random-k": "dmtl.compressors.random_k:RandomK",
            "top-k": "dmtl.compressors.top_k:TopK",
        },
        "data": {
            "chem97": "dmtl.data.schools:Chem97",
            "digits": "dmtl.data.digits:Digits",
            "digits-one-vs-rest": "dmtl.data.digits:DigitsOneVsRest",
            "exam": "dmtl.data.schools:Exam",
            "file": "dmtl.data.file:File",
            "hsb82": "dmtl.data.schools:Hsb82",
            "localisation": "dmtl.data.localisation:Localisation",
            "mixture": "dmtl.data.mixture:Mixture",
            "multi-mnist": "dmtl.data.multi_mnist:MultiMNIST",
            "synthetic": "dmtl.data.synthetic:Synthetic",
            "watch": "dmtl.data.watch:Watch",
        },
        "features": {
            "polynomial": "dmtl.data.features:Polynomial",
            "rbf": "dmtl.data.features:RBF",
            "stumps": "dmtl.data.stumps:Stumps",
        },
        "partition": {
            "dirichlet": "dmtl.data.partition:Dirichlet",
            "dirichlet-groups": "dmtl.data.skews:DirichletGroups",
            "iid": "dmtl.data.partition:IID",
            "natural": "dmtl.data.partition:Natural",
            "quantity-skew": "dmtl.data.skews:QuantitySkew",
            "shards": "dmtl.data.partition:Shards",
        },
        "penalty": {
            "clustered": "dmtl.penalties.spectral:Clustered",
            "columns": "dmtl.penalties.norms:Columns",
            "dirty": "dmtl.penalties.sums:Dirty",
            "l1": "dmtl.penalties.norms:Entries",
            "l1inf": "dmtl.penalties.norms:Peaks",
            "l21": "dmtl.penalties.norms:Rows",
            "laplacian": "dmtl.penalties.quadratic:Laplacian",
            "mean": "dmtl.penalties.quadratic:Mean",
            "mtrl": "dmtl.penalties.spectral:Relationship",
            "network-lasso": "dmtl.penalties.network:Fused",
            "nuclear": "dmtl.penalties.spectral:LowRank",
            "robust": "dmtl.penalties.sums:Robust",
            "robust-features": "dmtl.penalties.sums:RobustFeatures",
            "sparse-low-rank": "dmtl.penalties.sums:SparseLowRank",
            "squared-nuclear": "dmtl.penalties.spectral:SquaredNuclear",
            "tree": "dmtl.penalties.tree:Tree",
        },
        "poison": {
            "label-flip": "dmtl.data.poison:LabelFlip",
            "noise-features": "dmtl.data.poison:NoiseFeatures",
            "random-labels": "dmtl.data.poison:RandomLabels",
            "rotate-labels": "dmtl.data.poison:RotateLabels",
            "wrong-task": "dmtl.data.wrong_task:WrongTask",
        },
        "pre-screen": {
            "bucketing": "dmtl.screens.bucketing:Bucketing",
            "clip": "dmtl.screens.clip:Clip",
            "gate": "dmtl.screens.gate:Gate",
            "nnm": "dmtl.screens.nnm:NNM",
        },
        "screen": {
            "average": "dmtl.screens.average:Average",
            "balance": "dmtl.screens.balance:Balance",
            "bulyan": "dmtl.screens.bulyan:Bulyan",
            "centred-clipping": "dmtl.screens.centred_clipping:CentredClipping",
            "cge": "dmtl.screens.cge:CGE",
            "cs-he": "dmtl.screens.cs_he:CSHe",
            "cs-plus": "dmtl.screens.cs_plus:CSPlus",
            "faba": "dmtl.screens.faba:FABA",
            "gate-cap-anchor": "dmtl.screens.gate_cap_anchor:GateCapAnchor",
            "geometric-median": "dmtl.screens.geometric_median:GeometricMedian",
            "gts": "dmtl.screens.gts:GTS",
            "huber": "dmtl.screens.huber:Huber",
            "ios": "dmtl.screens.ios:IOS",
            "krum": "dmtl.screens.krum:Krum",
            "loss-weighted": "dmtl.screens.loss_weighted:LossWeighted",
            "mda": "dmtl.screens.mda:MDA",
            "meamed": "dmtl.screens.meamed:Meamed",
            "median": "dmtl.screens.median:Median",
            "multi-krum": "dmtl.screens.multi_krum:MultiKrum",
            "nna": "dmtl.screens.nna:NNA",
            "phocas": "dmtl.screens.phocas:Phocas",
            "rtc": "dmtl.screens.rtc:RTC",
            "self-centred-clipping": "dmtl.screens.self_centred_clipping:SelfCentredClipping",
            "sketch-guard": "dmtl.screens.sketch_guard:SketchGuard",
            "smea": "dmtl.screens.smea:SMEA",
            "trimmed-mean": "dmtl.screens.trimmed_mean:TrimmedMean",
            "tv": "dmtl.screens.tv:TV",
            "ubar": "dmtl.screens.ubar:UBAR",
            "w-msr": "dmtl.screens.w_msr:WMSR",
        },
        "shift": {
            "noise": "dmtl.data.shift:Noise",
            "rotation": "dmtl.data.shift:Rotation",
        },
        "task": {
            "bearing": "dmtl.tasks.bearing:Bearing",
            "gp-features": "dmtl.tasks.gp_features:GPFeatures",
            "hinge": "dmtl.tasks.hinge:Hinge",
            "least-squares": "dmtl.tasks.least_squares:LeastSquares",
            "logistic": "dmtl.tasks.logistic:Logistic",
            "many": "dmtl.tasks.many:Many",
            "mlp": "dmtl.tasks.mlp:MLP",
            "softmax": "dmtl.tasks.softmax:Softmax",
            "torch": "dmtl.tasks.torch:Torch",
        },
        "time-varying": {
            "activation": "dmtl.time_varying.activation:Activation",
            "file": "dmtl.time_varying.file:File",
            "matching": "dmtl.time_varying.matching:Matching",
            "one-peer-exponential": "dmtl.time_varying.one_peer_exponential:OnePeerExponential",
        },
        "topology": {
            "barabasi-albert": "dmtl.graphs.drawn:BarabasiAlbert",
            "barbell": "dmtl.graphs.cliques:Barbell",
            "complete": "dmtl.graphs.lattices:Complete",
            "dumbbell": "dmtl.graphs.cliques:Dumbbell",
            "erdos-renyi": "dmtl.graphs.drawn:ErdosRenyi",
            "exponential": "dmtl.graphs.lattices:Exponential",
            "file": "dmtl.graphs.files:File",
            "grid": "dmtl.graphs.lattices:Grid",
            "hypercube": "dmtl.graphs.lattices:Hypercube",
            "near": "dmtl.graphs.near:Near",
            "octopus": "dmtl.graphs.cliques:Octopus",
            "path": "dmtl.graphs.lattices:Path",
            "random-regular": "dmtl.graphs.drawn:RandomRegular",
            "ring": "dmtl.graphs.lattices:Ring",
            "small-world": "dmtl.graphs.drawn:SmallWorld",
            "star": "dmtl.graphs.lattices:Star",
            "torus": "dmtl.graphs.lattices:Torus",
            "two-castles": "dmtl.graphs.cliques:TwoCastles",
        },
        "weights": {
            "laplacian": "dmtl.topology:laplacian",
            "max-degree": "dmtl.topology:max_degree",
            "metropolis": "dmtl.topology:metropolis",
            "uniform": "dmtl.topology:uniform",
        },
    }
)


def kinds() -> list[str]:
    """All kinds of pieces, in alphabetical order."""
    return sorted(BUILTIN)


@cache
def _foreign(kind: str) -> dict[str, EntryPoint]:
    """Third parties' pieces of one kind; a built-in name cannot be shadowed."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"dmtl.{kind.removesuffix('s')}s".replace("-", "_")):
        if point.name in BUILTIN[kind] or point.name in found:
            raise ConfigError(
                f"the {kind} {point.name!r} of {point.value} has a name that is taken. "
                f"Rename its entry point or uninstall that package."
            )
        found[point.name] = point
    return found


def names(kind: str) -> list[str]:
    """All names of one kind, built-in and third-party, in alphabetical order."""
    if kind not in BUILTIN:
        raise unknown("kind", kind, BUILTIN)
    return sorted({*BUILTIN[kind], *_foreign(kind)})


def where(kind: str, name: str) -> str:
    """``module:attribute`` of a piece, without importing it."""
    if is_place(name):
        return name
    if name not in names(kind):
        raise unknown(kind, name, names(kind))
    foreign = _foreign(kind)
    return foreign[name].value if name in foreign else BUILTIN[kind][name]


def find(kind: str, name: str) -> Any:
    """Import and return a piece: a frozen dataclass whose fields are its settings, or a function for weights."""
    if is_place(name):
        return piece(kind, name)
    module, _, attribute = where(kind, name).partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ImportError as error:
        raise ConfigError(f"{kind} {name!r} cannot be imported: {error}.") from error
