"""Gaussian processes by random features: a rank's model is a posterior mean, and all ranks share the features."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from dmtl.data.features import RBF, mapped
from dmtl.data.pool import Dataset
from dmtl.errors import ConfigError
from dmtl.tasks.least_squares import LeastSquares, LeastSquaresTask
from dmtl.tasks.linear import misfit

__all__ = ["GPFeatures"]


@dataclass(frozen=True, slots=True)
class GPFeatures:
    """Regression with a Gaussian process prior, the Gaussian kernel, in random Fourier features.

    Prior: f(x) = signal phi(x)'w, w ~ N(0, I), phi the features of 'rbf', so cov(f(x), f(z)) is about
    signal^2 exp(-|x - z|^2 / (2 width^2)); y = f(x) + N(0, noise^2). The loss is -log p(w | data) noise^2 / m but for a
    constant: 1/(2m) sum_i (y_i - signal phi(x_i)'w)^2 + noise^2 / (2m) |w|^2. So its minimiser is the posterior mean,
    for the kernel that the features have; the more there are the nearer it is to the exact one.

    All ranks draw the same features from ``draw``, not from the seed of a run, or their models would not compare. With
    a whole network that agrees on one w, the mean is that of a process that all have in common, but for the prior,
    which then counts once a rank. It tells means and no variances: what others know is not in the own rows.
    Numbers, or two classes as -1 and +1. It is 'least-squares' on these features, and can all that it can.

    Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007; Rasmussen and Williams, "Gaussian
    processes for machine learning", MIT Press, 2006.
    """

    count: int = 200
    """number of features, even"""
    width: float | None = None
    """how far the kernel reaches; left out: the square root of the number of columns"""
    signal: float = 1.0
    """standard deviation of f, above 0"""
    noise: float = 0.3
    """standard deviation of y about f, above 0"""
    batch: int = 0
    """rows per mini-batch, drawn without replacement, where gradients are stochastic; 0: all rows even then"""
    draw: int = 0
    """which features are drawn; the same on all ranks"""

    def __post_init__(self) -> None:
        RBF(self.count, self.width)
        for name, value in (("signal", self.signal), ("noise", self.noise)):
            if not (isfinite(value) and value > 0):
                raise ConfigError(f"'gp-features' has {name}={value}. It is a standard deviation, a number above 0.")
        if self.batch < 0 or self.draw < 0:
            raise ConfigError(
                f"'gp-features' has batch={self.batch} and draw={self.draw}. They are whole numbers of at least 0."
            )

    def build(self, data: Dataset) -> LeastSquaresTask:
        """Bind the task to one rank's data."""
        if data.classes not in (0, 2):
            raise misfit("gp-features", "numbers or two classes", data.classes)
        rows = RBF(self.count, self.width).drawn(data.x.shape[1], self.draw)
        ridge = self.noise**2 / max(len(data.y), 1)
        shaped = mapped(data, lambda x: (self.signal * rows(x)).astype(x.dtype, copy=False))
        return LeastSquares(l2=ridge, batch=self.batch, bias=False).build(shaped)
