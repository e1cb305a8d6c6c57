"""Shoulder exercises seen by a smart watch: ten people, one task each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dmtl.data.optional import installed_file
from dmtl.data.pool import Pool
from dmtl.errors import ConfigError
from dmtl.types import Mat

__all__ = ["Watch"]

HERTZ = 50
FEATURES = 8 * 12 + 15


@dataclass(frozen=True, slots=True)
class Watch:
    """Ten people (tasks), seven shoulder exercises (classes), accelerometer and gyroscope of a watch at 50 Hz.

    Each of the 140 recordings (10 people x 7 exercises x 2 sides) is cut into sliding windows, and each window (s, 6)
    becomes 111 numbers: mean, standard deviation, minimum, quartiles, maximum, mean absolute difference, root mean
    square, skewness, kurtosis and rate of mean crossings of the six channels and of the magnitudes of acceleration and
    rotation, and the 15 correlations of the channels. A recording is a group: windows overlap, and so no recording
    may be in training and in test. The features are ours; the recordings come with the package seglearn.

    Burns, Leung, Hardisty, Whyne, Henry, McLachlin, Shoulder physiotherapy exercise recognition, Physiological
    Measurement 2018.
    """

    window: float = 2.0
    """seconds in a window"""
    step: float = 1.0
    """seconds from the start of one window to the start of the next"""

    def __post_init__(self) -> None:
        if not 0.1 <= self.window < np.inf:
            raise ConfigError(f"'watch' has window={self.window}. window is the length in seconds, at least 0.1.")
        if not 1 / HERTZ <= self.step < np.inf:
            raise ConfigError(f"'watch' has step={self.step}. step is a time in seconds, at least {1 / HERTZ}.")

    def load(self, ranks: int, seed: int) -> Pool:
        """Read the recordings and describe their windows; ``ranks`` and ``seed`` are not looked at."""
        path = installed_file("watch", "seglearn", "seglearn", "data/watch_dataset.npy")
        # a pickle, but a part of the installed package, which is code just as well
        raw = np.load(path, allow_pickle=True).item()
        parts = [self._describe(recording) for recording in raw["X"]]
        group = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        subjects, person = np.unique(raw["subject"], return_inverse=True)
        return Pool(
            x=np.concatenate(parts),
            y=np.asarray(raw["y"], dtype=np.float64)[group],
            task=person.astype(np.int64)[group],
            group=group.astype(np.int64),
            classes=len(raw["y_labels"]),
            labels=tuple(str(subject) for subject in subjects),
        )

    def _describe(self, recording: Mat) -> Mat:
        """Features (windows, 111) of one recording (samples, 6)."""
        size, hop = round(self.window * HERTZ), round(self.step * HERTZ)
        if size > len(recording):
            longest = len(recording) / HERTZ
            raise ConfigError(
                f"'watch' has window={self.window}, and a recording has {longest} s. Give a shorter window."
            )
        accelerated, turned = (np.linalg.norm(recording[:, part], axis=1) for part in (slice(3), slice(3, 6)))
        channels = np.column_stack([recording, accelerated, turned])
        return _features(sliding_window_view(channels, size, axis=0)[::hop])


def _features(windows: Mat) -> Mat:
    """(w, 111) statistics of windows (w, 8, s)."""
    size = windows.shape[-1]
    mean = windows.mean(axis=-1)
    centred = windows - mean[..., None]
    std = np.sqrt((centred**2).mean(axis=-1))
    unit = centred / np.where(std > 0, std, 1)[..., None]
    square = unit * unit  # a power of 3 or 4 would take ten times as long
    crossings = (np.diff(np.signbit(centred), axis=-1)).mean(axis=-1)
    statistics = (
        mean,
        std,
        *np.quantile(windows, (0.0, 0.25, 0.5, 0.75, 1.0), axis=-1),
        np.abs(np.diff(windows, axis=-1)).mean(axis=-1),
        np.sqrt((windows**2).mean(axis=-1)),
        (square * unit).mean(axis=-1),
        (square * square).mean(axis=-1),
        crossings,
    )
    first, second = np.triu_indices(6, k=1)
    correlations = (unit @ unit.swapaxes(1, 2) / size)[:, first, second]
    return np.concatenate([*statistics, correlations], axis=1)
