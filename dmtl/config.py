"""What a run is: one flat, validated description, from defaults < file < flags, the same on every rank."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from dmtl.errors import ConfigError, unknown
from dmtl.links import parse_link
from dmtl.specs import Spec, parse, parse_chain

__all__ = ["Config", "Liars", "combine", "digest", "identity", "load", "read_file", "to_toml"]

_DATA = ("data", "shift", "features", "task", "partition")
PIECES = (*_DATA, "topology", "time_varying", "algorithm", "compressor")
HOUSEKEEPING = (
    *("name", "out", "overwrite", "transport", "ranks", "trace", "force"),
    *("checkpoint_every", "on_failure", "patience", "stall_warn", "slow", "pace"),
)
"""Settings that change no number of a run, and so not its identity."""
_TIMING = ("transport", "slow", "pace", "max_age")
"""Settings that change numbers only where ranks do not wait for each other."""
_AT_LEAST_0 = (
    *("rounds", "eval_every", "seed", "ranks", "stall_warn", "stream"),
    *("patience", "checkpoint_every", "pace", "max_age", "seconds"),
)


def _piece(name: str) -> Any:
    return msgspec.field(default_factory=lambda: {"name": name})


class Liars(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A group of Byzantine ranks that lie in the same way."""

    count: int = 0
    """how many, placed by the seed; 0 where ``ranks`` says which"""
    ranks: tuple[int, ...] = ()
    attack: Spec | None = None
    """what they send; None: the truth"""
    poison: Spec | None = None
    """what they do to their own data before they learn from it"""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One run. Pieces are specs: a name and its settings."""

    name: str = "run"
    data: Spec = _piece("synthetic")
    task: Spec | None = None
    """None: least-squares, logistic or softmax, by the data"""
    partition: Spec | None = None
    """None: natural where the data have several tasks, else iid"""
    tasks: str = ""
    """which natural tasks to take, '0-7'; empty: all"""
    test: float = 0.3
    """share of each rank's groups that is kept for testing"""
    held_out: float = 0.0
    """share of the training groups kept for tuning and for screens that judge by data, which take 0.3 if it is 0"""
    standardise: bool = True
    """each rank scales its features by its own training rows"""
    shift: Spec | None = None
    """a change of features that each rank has in its own way; None: none"""
    features: Spec | None = None
    """features made of these, the same map on all ranks; None: as they are"""
    stream: int = 0
    """new training rows that a rank sees in each round, in the order of the data; 0: all rows in all rounds"""
    private: str = ""
    """layers of the task that stay at home, 'head' or 'hidden2,head'; empty: all parameters are shared"""
    topology: Spec = _piece("ring")
    weights: str = "metropolis"
    time_varying: Spec | None = None
    """which links are in use in a round; None: all of them in all rounds"""
    algorithm: Spec = _piece("diffusion")
    compressor: Spec | None = None
    """what makes messages shorter; None: they travel as they are"""
    screen: list[Spec] = msgspec.field(default_factory=lambda: [{"name": "average"}])
    """pre-screens in order, then the screen; 'auto': gate-cap-anchor where ranks differ in task, else cs-plus"""
    byzantine: list[Liars] = []
    rounds: int = 100
    stop: str = ""
    """'gap=1e-6': stop where the objective is proven to be that near to its least; empty: after all rounds"""
    eval_every: int = 0
    """rounds between evaluations; 0: about fifty in a run"""
    seed: int = 0
    dtype: Literal["float64", "float32"] = "float64"
    ranks: int = 0
    """0: as many as MPI started, or as there are tasks"""
    link: str = ""
    """what links do to messages: 'delay=0.05,jitter=0.02,drop=0.01,age=20'"""
    splits: tuple[str, ...] = ()
    """the network cut into groups for some rounds: '0-4|5-9@100-200'"""
    join: str = ""
    """ranks that come later: '3@100'"""
    slow: str = ""
    """ranks that take longer for a round: '3:10x'"""
    pace: float = 0.0
    """seconds that a round takes at least; virtual seconds in the simulators"""
    max_age: int = 1000
    """rounds after which an asynchronous neighbour that says nothing new counts as silent; 0: never"""
    seconds: float = 0.0
    """asynchronous ranks stop after so long; 0: after their rounds only"""
    transport: Literal["auto", "sync", "async", "simulated", "simulated-async"] = "auto"
    """auto: sync where a launcher started this process, else simulated"""
    force: bool = False
    """run pieces that do not go together, and mark the results"""
    on_failure: Literal["abort", "continue"] = "abort"
    """what an exception on one rank means for the others"""
    patience: float = 600.0
    """seconds after which a neighbour that does not answer is given up; 0: never"""
    checkpoint_every: int = 0
    """rounds between checkpoints; 0: only when a signal ends the run"""
    out: str = ""
    """folder for the results; empty: runs/NAME-HASH"""
    overwrite: bool = False
    stall_warn: float = 60.0
    """seconds after which a waiting rank says for whom; 0: never"""
    trace: bool = False
    """write every message of the run"""

    def __post_init__(self) -> None:
        for key in _AT_LEAST_0:
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}. It must be at least 0.")
        for key in ("test", "held_out"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}. It is a share, at least 0 and below 1.")
        if not self.name or "/" in self.name:
            raise ConfigError(f"name is {self.name!r}. It becomes a folder's name: at least one letter, no '/'.")

    @property
    def asynchronous(self) -> bool:
        """Whether ranks go on without waiting for each other."""
        return self.transport in ("async", "simulated-async")

    @property
    def every(self) -> int:
        """Rounds between evaluations."""
        return self.eval_every or max(1, self.rounds // 50)


def read_file(path: str) -> dict[str, Any]:
    """Read a TOML file of settings."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}. Give the path of a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not TOML: {error}.") from None


def combine(file: Mapping[str, Any], flags: Mapping[str, Any], assignments: Sequence[str] = ()) -> dict[str, Any]:
    """Lay flags over a file, and ``key.key=value`` assignments over both."""
    raw: dict[str, Any] = {key.replace("-", "_"): value for key, value in file.items()}
    raw.update(flags)
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r} has no '='. Write --set algorithm.step_size=0.1.")
        _assign(raw, path.strip().replace("-", "_").split("."), _value(value.strip()))
    return raw


def load(raw: Mapping[str, Any]) -> Config:
    """Validate raw settings; every mistake is one sentence."""
    known = {field.name for field in msgspec.structs.fields(Config)}
    for key in raw:
        if key not in known:
            raise unknown("setting", key, known)
    plain = dict(raw)
    for key in PIECES:
        if plain.get(key) is not None:
            plain[key] = parse(plain[key], key)
    if "screen" in plain:
        plain["screen"] = parse_chain(plain["screen"], "screen")
    if "byzantine" in plain:
        plain["byzantine"] = [_liars(group) for group in plain["byzantine"]]
    try:
        return msgspec.convert(plain, Config, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        reason, _, place = str(error).replace("`", "").partition(" - at ")
        raise ConfigError(f"setting {place.strip('$.') or 'file'}: {reason[0].lower()}{reason[1:]}.") from None


def to_toml(config: Config) -> str:
    """The whole configuration as TOML, which ``load`` reads back."""
    import tomli_w

    plain = msgspec.to_builtins(config)
    return tomli_w.dumps({key: _without_none(value) for key, value in plain.items() if value is not None})


def identity(config: Config) -> dict[str, Any]:
    """All settings that can change a number of a run."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    link = parse_link(config.link)
    plain["link"] = astuple(link if config.asynchronous else replace(link, delay=0.0, jitter=0.0))
    for key in {*HOUSEKEEPING, *_TIMING} - set(_TIMING if config.asynchronous else ()):
        plain.pop(key)
    for key in ("compressor", "features", "private", "shift", "stream"):
        if not plain[key]:  # a run without is the run that it was before there were any
            plain.pop(key)
    return plain


def digest(config: Config) -> str:
    """Hexadecimal identity of a run."""
    return hashlib.sha256(msgspec.json.encode(identity(config), order="deterministic")).hexdigest()


def _liars(group: Any) -> dict[str, Any]:
    plain = dict(group)
    for key in ("attack", "poison"):
        if plain.get(key) is not None:
            plain[key] = parse(plain[key], f"byzantine {key}")
    return plain


def _assign(raw: dict[str, Any], path: list[str], value: Any) -> None:
    """Set one value; a piece given as text is opened into its settings first."""
    head, *rest = path
    if not rest:
        raw[head] = value
        return
    inner = raw.get(head, {})
    if head in PIECES:
        default = getattr(Config(), head) or {}
        inner = parse(raw.get(head, default), head)
    elif not isinstance(inner, dict):
        raise ConfigError(f"--set {'.'.join(path)}: {head!r} has no settings of its own. Give {head} whole.")
    raw[head] = dict(inner)
    _assign(raw[head], rest, value)


def _value(text: str) -> Any:
    """A TOML value, or else a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list | tuple) else value
