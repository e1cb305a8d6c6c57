"""The momentum of accelerated proximal gradients, FISTA, with restart."""

from __future__ import annotations

__all__ = ["momentum"]


def momentum(t: float, anew: bool) -> tuple[float, float]:
    """How much of the last step to add to the iterate, (t - 1) / t+, and t+ = (1 + sqrt(1 + 4 t^2)) / 2.

    ``anew``: t is 1 again, so that nothing is added. A method begins with t = 1.
    Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009; O'Donoghue and Candes, Found. Comput. Math. 15, 2015 (the
    restart).
    """
    t = 1.0 if anew else t
    later = (1 + (1 + 4 * t * t) ** 0.5) / 2
    return (t - 1) / later, later
