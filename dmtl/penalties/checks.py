"""Refusing settings that no penalty can have."""

from __future__ import annotations

import math

from dmtl.errors import ConfigError

__all__ = ["check_positive", "check_strength"]


def check_strength(penalty: str, strength: float, name: str = "strength") -> None:
    """Refuse a weight that is negative or not finite."""
    if not (math.isfinite(strength) and strength >= 0):
        raise ConfigError(f"'{penalty}' has {name}={strength}. {name} is a weight, a finite number of at least 0.")


def check_positive(penalty: str, value: float, name: str) -> None:
    """Refuse a number that is not above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"'{penalty}' has {name}={value}. {name} is a finite number above 0.")
