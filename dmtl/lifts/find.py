"""Which penalty has which lift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmtl.errors import ConfigError
from dmtl.lifts.bordered import Fraction, Trace
from dmtl.lifts.composed import Composed
from dmtl.lifts.lift import Lift
from dmtl.lifts.whole import Common, Heights, Lengths, Middle
from dmtl.penalties.norms import Peaks, Rows
from dmtl.penalties.penalty import Penalty
from dmtl.penalties.quadratic import Mean
from dmtl.penalties.spectral import Clustered, LowRank, Relationship, SquaredNuclear
from dmtl.penalties.sums import Dirty, Robust, RobustFeatures

__all__ = ["check_lift", "lift_of"]


def _two(penalty: Any, ranks: int) -> Lift:
    shared, own = penalty.parts
    return Composed(lift_of(shared, ranks), own)


_LIFTS: dict[type, tuple[str, Callable[[Any, int], Lift]]] = {
    Clustered: ("clustered", lambda g, ranks: Fraction(g.cost, g.eta, 1 + g.eta, float(g.k))),
    Dirty: ("dirty", _two),
    Peaks: ("l1inf", lambda g, ranks: Heights(g.strength, ranks)),
    Rows: ("l21", lambda g, ranks: Lengths(g.strength, ranks)),
    Mean: ("mean", lambda g, ranks: Middle(g.strength)),
    Relationship: ("mtrl", lambda g, ranks: Fraction(g.strength / 2, ridge=g.ridge)),
    LowRank: ("nuclear", lambda g, ranks: Trace(g.strength, ranks)),
    Robust: ("robust", _two),
    RobustFeatures: ("robust-features", _two),
    SquaredNuclear: ("squared-nuclear", lambda g, ranks: Fraction(g.strength / 2)),
}
"""The name and the lift of each penalty that has one, from its settings and the number of ranks"""


def lift_of(penalty: Penalty | None, ranks: int, common: bool = False) -> Lift:
    """The lift of a penalty that couples ``ranks`` tasks; ``common``: of one model for all, as without a penalty."""
    if penalty is None or common:
        return Common(penalty, ranks)
    return _LIFTS[type(penalty)][1](penalty, ranks)


def check_lift(method: str, penalty: Any, common: bool = False) -> None:
    """Refuse a penalty without a lift, and one of two parts, or of a graph, for one model."""
    if penalty is None or (type(penalty) in _LIFTS and not common):
        return
    if not common:
        known = ", ".join(name for name, _ in _LIFTS.values())
        raise ConfigError(f"'{method}' has penalty={penalty}, which has no lifted form. Those that have one: {known}.")
    if not isinstance(penalty, Penalty) or penalty.copies != 1:
        raise ConfigError(
            f"'{method}' has penalty={penalty} and common=true, which is for penalties of one model, such as l1. "
            f"Leave common out."
        )
