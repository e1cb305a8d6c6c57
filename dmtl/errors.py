"""What can go wrong, and the exit code that says so.

    DmtlError
      ConfigError(ValueError)         wrong input, found before round 0           exit 2
        CompatibilityError            each piece is fine, not together            exit 2
      DivergedError(ArithmeticError)  a rank's own iterate is no longer finite    exit 3
      TransportError(RuntimeError)    MPI failed, or the ranks disagree           exit 4
        RevokedError                  another rank ends the job                   its exit code
      ResultsError(OSError)           a run folder cannot be used or written      exit 5

A message is one sentence or two: the place, what was got, what is allowed, how to mend it.
What a *neighbour* sends is never an exception: it is refused, counted, and the round goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CompatibilityError",
    "ConfigError",
    "DivergedError",
    "DmtlError",
    "ResultsError",
    "RevokedError",
    "TransportError",
    "unknown",
]


class DmtlError(Exception):
    """Root of every error that dmtl raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class ConfigError(DmtlError, ValueError):
    """Wrong input, found before round 0."""

    exit_code = 2


class CompatibilityError(ConfigError):
    """Pieces that are right one by one and do not work together."""


class DivergedError(DmtlError, ArithmeticError):
    """A rank's own iterate is not finite any more."""

    exit_code = 3


class TransportError(DmtlError, RuntimeError):
    """MPI failed, or the ranks do not agree on what they run."""

    exit_code = 4


class RevokedError(TransportError):
    """Another rank has failed, has said why, and takes this one down with it: nothing more to say."""


class ResultsError(DmtlError, OSError):
    """A run folder is missing, taken, of another configuration, or cannot be written."""

    exit_code = 5


def unknown(what: str, got: str, allowed: Iterable[str]) -> ConfigError:
    """Make the error for an unknown name: what was got, the nearest right one, all that is allowed."""
    names = sorted(allowed)
    near = get_close_matches(got, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"unknown {what} {got!r}.{hint} Allowed: {', '.join(names) or 'none'}.")
