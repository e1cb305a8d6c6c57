"""Multi-task learning without a master.

The names below are loaded when they are first used: ``import dmtl`` costs no more than Python itself, because a
thousand ranks import it from one file system at the same time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmtl.build import Plan, plan
    from dmtl.config import Config, load
    from dmtl.errors import (
        CompatibilityError,
        ConfigError,
        DivergedError,
        DmtlError,
        ResultsError,
        TransportError,
    )
    from dmtl.node import Node, NodeState
    from dmtl.runner import run
    from dmtl.simulator import simulate
    from dmtl.topology import Topology
    from dmtl.types import Inbox, Mixed, Needs, Outbox, View

__version__ = "0.1.0"

_HOME = {
    "CompatibilityError": "errors",
    "Config": "config",
    "ConfigError": "errors",
    "DivergedError": "errors",
    "DmtlError": "errors",
    "Inbox": "types",
    "Mixed": "types",
    "Needs": "types",
    "Node": "node",
    "NodeState": "node",
    "Outbox": "types",
    "Plan": "build",
    "ResultsError": "errors",
    "Topology": "topology",
    "TransportError": "errors",
    "View": "types",
    "load": "config",
    "plan": "build",
    "run": "runner",
    "simulate": "simulator",
}

__all__ = [
    "CompatibilityError",
    "Config",
    "ConfigError",
    "DivergedError",
    "DmtlError",
    "Inbox",
    "Mixed",
    "Needs",
    "Node",
    "NodeState",
    "Outbox",
    "Plan",
    "ResultsError",
    "Topology",
    "TransportError",
    "View",
    "load",
    "plan",
    "run",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dmtl' has no attribute {name!r}")
    return getattr(import_module(f"dmtl.{_HOME[name]}"), name)
