"""A PyTorch module as a function of one flat vector. PyTorch is known here alone, and loaded when it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dmtl.capabilities import Layer
from dmtl.errors import ConfigError
from dmtl.types import Mat, Vec

__all__ = ["Criterion", "Network", "Tensor", "criterion", "device_of", "threads"]

CHUNK = 256
"""rows that go through a module at once where no gradient is wanted, so that memory does not grow with the data"""
Tensor = Any
"""torch.Tensor"""


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConfigError("task 'torch' needs PyTorch: pip install 'dmtl[torch]'.") from error
    return torch


def threads(count: int) -> None:
    """Let PyTorch compute with so many threads in this process."""
    _torch().set_num_threads(count)


def device_of(name: str, place: int = 0) -> str:
    """'cpu' or 'cuda:0' and so on, for the ``place``-th rank of a machine; raises ConfigError where it is not there."""
    cuda = _torch().cuda
    count = cuda.device_count() if cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return "cpu"
    wanted = place % max(count, 1) if name in ("auto", "cuda") else int(name.removeprefix("cuda:"))
    if wanted >= count:
        raise ConfigError(f"'torch' has device={name}, and the number of GPUs that PyTorch sees is {count}. Use cpu.")
    return f"cuda:{wanted}"


@dataclass(frozen=True, eq=False)
class Criterion:
    """A loss of the outputs of a module."""

    name: str
    mean: Callable[[Tensor, Tensor], Tensor]
    """of all rows"""
    rows: Callable[[Tensor, Tensor], Tensor]
    """(m,) of each row"""

    def check(self, module: str, outputs: Tensor, y: Tensor, classes: int) -> None:
        """Refuse outputs that it cannot be of, and what is no loss."""
        shape = tuple(getattr(outputs, "shape", ()))
        if self.name == "cross-entropy" and not (len(shape) == 2 and shape[1] >= classes):
            raise ConfigError(
                f"{module} makes outputs of shape {shape} of {len(y)} rows, and the data have {classes} classes: "
                f"it needs a score for each, {(len(y), classes)}."
            )
        if self.name == "mse" and shape != tuple(y.shape):
            raise ConfigError(f"{module} makes outputs of shape {shape} of {len(y)} rows; mse needs one number a row.")
        try:
            value = self.mean(outputs, y)
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(f"loss {self.name} fails: {type(error).__name__}: {error}.") from error
        if tuple(getattr(value, "shape", (0,))) != () or not value.requires_grad:
            raise ConfigError(
                f"loss {self.name} makes {_shown(value)} of {len(y)} rows, and a loss is one number with a gradient. "
                f"Return its mean over rows, a torch tensor without axes."
            )


def criterion(name: str, own: Callable[[Tensor, Tensor], Tensor] | None) -> Criterion:
    """'cross-entropy', 'mse', or the user's ``own`` function of outputs and targets, a mean over rows."""
    torch = _torch()
    if own is not None:

        def rows(scores: Tensor, y: Tensor) -> Tensor:
            return torch.stack([own(scores[i : i + 1], y[i : i + 1]).reshape(()) for i in range(len(y))])

        return Criterion(name, own, rows)
    functional = torch.nn.functional
    function = functional.cross_entropy if name == "cross-entropy" else functional.mse_loss
    return Criterion(name, function, lambda scores, y: function(scores, y, reduction="none"))


class Network:
    """A module whose parameters are views of one flat tensor of single precision."""

    def __init__(self, place: str, made: Callable[..., Any], sizes: Mapping[str, int], device: str) -> None:
        """``made`` is the class, or a function that returns a module; it is told those ``sizes`` that it takes.

        ``place`` is what messages call it. 'features' is among the sizes.
        """
        torch = _torch()
        self.place, self.made, self.sizes, self.device = place, made, sizes, device
        self.module = self._new(0).to(device)
        self.learnt = _learnt(self.module)
        _refuse(place, self.module, self.learnt)
        self.dim = sum(int(each.numel()) for each in self.learnt.values())
        self.flat = torch.empty(self.dim, dtype=torch.float32, device=device)
        for each, where in zip(self.learnt.values(), self._views(self.flat), strict=True):
            each.data = where.copy_(each.data)

    def _new(self, seed: int) -> Any:
        """A module with its own first parameters, drawn from that seed."""
        torch = _torch()
        try:
            known = set(inspect.signature(self.made).parameters)
        except ValueError:  # made in C
            known = set()
        with self._drawing(seed):
            try:
                module = self.made(**{name: size for name, size in self.sizes.items() if name in known})
            except Exception as error:  # the user's code may raise anything
                raise ConfigError(f"{self.place} makes no module: {type(error).__name__}: {error}.") from error
            if not isinstance(module, torch.nn.Module):
                raise ConfigError(f"{self.place} makes a {type(module).__name__}, not a torch.nn.Module.")
            if any(map(torch.nn.parameter.is_lazy, module.parameters())):  # these find out their sizes by a first row
                with torch.no_grad():
                    module.eval()(torch.zeros(1, self.sizes["features"]))
        return module.float()

    def _views(self, flat: Tensor) -> Iterator[Tensor]:
        """The parts of a flat tensor, each in the shape of its parameter."""
        at = 0
        for each in self.learnt.values():
            yield flat[at : at + each.numel()].view(each.shape)
            at += each.numel()

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The parts of the vector by the name of the child module; within a lone child by that of its children."""
        names = [name.split(".") for name in self.learnt]
        depth = 1
        while len({tuple(name[:depth]) for name in names}) == 1 and all(len(name) > depth + 1 for name in names):
            depth += 1
        found: dict[str, Layer] = {}
        at = 0
        for name, each in zip(names, self.learnt.values(), strict=True):
            key = ".".join(name[:depth])
            before = found.get(key)
            first, at = before.where.start if before else at, at + each.numel()
            found[key] = Layer(slice(first, at), (at - first,) if before else tuple(each.shape))
        return found

    def start(self, seed: int) -> Vec:
        """(d,) the module's own first parameters."""
        found: Vec = np.concatenate([each.detach().numpy().ravel() for each in _learnt(self._new(seed)).values()])
        return found

    def rows(self, x: Mat, y: Vec, whole: bool) -> tuple[Tensor, Tensor]:
        """Rows and targets on the device: numbers in single precision, or targets that are whole."""
        torch = _torch()
        kind = torch.long if whole else torch.float32
        return torch.tensor(x, dtype=torch.float32).to(self.device), torch.tensor(y, dtype=kind).to(self.device)

    def check(self, loss: Criterion, x: Tensor, y: Tensor, classes: int) -> None:
        """Try rows before round 0; raise ConfigError for what would go wrong in it."""
        before = {name: each.clone() for name, each in self.module.named_buffers()}
        self.module.train()
        try:
            with self._drawing(0), self._exact():
                outputs = self._forward(x)
        except Exception as error:  # the user's code may raise anything
            raise ConfigError(
                f"{self.place} fails on rows of shape {tuple(x.shape)}: {type(error).__name__}: "
                f"{' '.join(str(error).split())}."
            ) from error
        changed = [name for name, each in self.module.named_buffers() if not each.equal(before[name])]
        if changed:
            raise ConfigError(
                f"{self.place} changes {changed[0]!r} when it learns, and that is no parameter: it would not travel."
            )
        loss.check(self.place, outputs, y, classes)

    def outputs(self, w: Vec, x: Tensor) -> Tensor:
        """What the module makes of rows at ``w``, without drawing anything."""
        torch = _torch()
        self._load(w)
        self.module.eval()
        with torch.no_grad(), self._exact():
            return torch.cat([self._forward(part) for part in x.split(CHUNK)]) if len(x) else self._forward(x)

    def blended(self, models: Mat, shares: Vec, x: Tensor, classes: bool) -> Tensor:
        """The mean of the outputs of ``models`` (m, d), with ``shares``; of classes, of what their scores mean."""
        found: Any = 0.0
        for w, share in zip(models, shares, strict=True):
            outputs = self.outputs(w, x)
            found = found + float(share) * (outputs.softmax(1) if classes and outputs.ndim == 2 else outputs)
        return found.clamp(min=_torch().finfo(_torch().float32).tiny).log() if classes and found.ndim == 2 else found

    def value(self, loss: Criterion, w: Vec, x: Tensor, y: Tensor, seed: int) -> float:
        """The loss of rows at ``w``, with what ``seed`` draws for dropout."""
        torch = _torch()
        self._load(w)
        self.module.train()
        with torch.no_grad(), self._drawing(seed), self._exact():
            return float(loss.mean(self._forward(x), y))

    def gradient(
        self, loss: Criterion, w: Vec, x: Tensor, y: Tensor, l2: float, weights: Vec | None, seed: int | None
    ) -> Vec:
        """(d,) that of the loss of rows at ``w``, each times its weight, and of the ridge; with ``seed`` dropout draws.

        Backpropagation adds to views of the vector that is returned: nothing is put together afterwards.
        """
        torch = _torch()
        self._load(w)
        self.module.train(seed is not None)
        found = self.flat * l2
        for each, part in zip(self.learnt.values(), self._views(found), strict=True):
            each.grad = part
        with self._drawing(seed), self._exact():
            outputs = self._forward(x)
            if weights is None:
                value = loss.mean(outputs, y)
            else:
                value = (loss.rows(outputs, y) * torch.tensor(weights, dtype=torch.float32).to(self.device)).mean()
            value.backward()
        for each in self.learnt.values():
            each.grad = None
        gradient: Vec = found.cpu().numpy()
        return gradient.astype(w.dtype, copy=False)

    def _forward(self, x: Tensor) -> Tensor:
        outputs = self.module(x)
        return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs

    def _load(self, w: Vec) -> None:
        """Put ``w`` where the parameters are: one copy, in which memory lies the same in every process."""
        if self.device == "cpu":
            np.copyto(self.flat.numpy(), w, casting="same_kind")
        else:
            self.flat.copy_(_torch().from_numpy(np.array(w, np.float32)))

    @contextmanager
    def _drawing(self, seed: int | None) -> Iterator[None]:
        """Let PyTorch draw from ``seed`` inside, and go on afterwards as if nothing had happened."""
        torch = _torch()
        if seed is None:
            yield
            return
        with torch.random.fork_rng([] if self.device == "cpu" else [self.device]):
            torch.manual_seed(seed)
            yield

    @contextmanager
    def _exact(self) -> Iterator[None]:
        """Single precision as it is, and the same numbers each time, on a GPU too."""
        if self.device == "cpu":
            yield
            return
        with _torch().backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield


def _learnt(module: Any) -> dict[str, Any]:
    """The parameters that ask for a gradient, by name; one that is used twice is there once."""
    return {name: each for name, each in module.named_parameters() if each.requires_grad}


def _refuse(place: str, module: Any, learnt: Mapping[str, Any]) -> None:
    """Refuse a module that a vector of numbers is not all of."""
    if not learnt:
        raise ConfigError(f"{place} has no parameter to learn.")
    odd = next((name for name, each in learnt.items() if each.dtype != _torch().float32), None)
    if odd:
        raise ConfigError(f"{place} has {odd!r} of {learnt[odd].dtype}, and only real numbers can travel.")
    running = [name for name, _ in module.named_buffers() if name.split(".")[-1].startswith("running_")]
    if running:
        raise ConfigError(
            f"{place} keeps running statistics, {running[0]!r}, and these are no parameters: they would not travel. "
            f"Use GroupNorm or LayerNorm, or track_running_stats=False."
        )


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"a tensor of shape {tuple(shape)}"
