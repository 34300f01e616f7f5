"""Count alarms, or frames above a threshold, in stretches of normal footage.

Neighbouring frames are alike and clips differ, so a statistical sample is a stretch of footage, not
a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ddllib.camera.events import count_events, least_frames

Unit = Literal["alarms per hour", "share of frames"]
RELEASE = 0.75  # of the distance from the usual score up to the threshold
STRETCHES = 16  # a few clips are cut into about so many stretches
STRETCH_TIMES = 10  # autocorrelation times that a stretch lasts at least
MIN_STRETCHES = 4  # stretches that must have an alarm before their spread is trusted
ROUNDING = 1e-9  # relative; a smaller difference of scores is a rounding error
CANDIDATES = 200  # thresholds that are tried


@dataclass(frozen=True)
class Counts:
    """Counts in n stretches of normal footage at each of K candidate thresholds, in rising order.

    ``counts`` is n x K: alarms, or frames above; ``sizes`` n: hours, or frames. Which of the two
    is given by the ``unit`` of the rate.
    """

    candidates: np.ndarray
    counts: np.ndarray
    sizes: np.ndarray
    unit: Unit

    @property
    def total(self) -> float:
        """Hours, or frames, of all stretches."""
        return float(self.sizes.sum())

    def lowest(self, rate: float) -> int:
        """The lowest candidate k such that neither k nor a higher one exceeds ``rate``."""
        return int(first_within(self.counts.sum(0) > rate * self.total))

    def dispersion(self, k: int) -> float:
        """Variance of the counts at candidate ``k`` over that of a Poisson process; at least 1."""
        counts = self.counts[:, k]
        expected = counts.sum() * self.sizes / self.total
        if len(counts) < 2 or not counts.any():
            return 1.0
        return max(float(((counts - expected) ** 2 / expected).sum() / (len(counts) - 1)), 1.0)

    def spread(self, rate: float) -> float:
        """The dispersion to use for the threshold for ``rate``.

        If few stretches have an alarm, their dispersion is underestimated. So it is taken over all
        candidates from the chosen one down to that of twice the rate, and further down until
        ``MIN_STRETCHES`` stretches have an alarm. Frames come in clusters, so their value is the
        largest of these; alarms come one at a time, so theirs is the mean.
        """
        chosen = self.lowest(rate)
        stretches_hit = (self.counts > 0).sum(0)
        reliable = np.flatnonzero(stretches_hit >= min(MIN_STRETCHES, len(self.sizes)))
        lowest = min(self.lowest(2 * rate), int(reliable[-1]) if len(reliable) else 0, chosen)
        dispersions = [self.dispersion(k) for k in range(lowest, chosen + 1)]
        return float(np.mean(dispersions)) if self.unit == "alarms per hour" else max(dispersions)


def first_within(over: np.ndarray) -> np.ndarray:
    """The index of the first of K candidates from which on none is ``over``, bool ... x K.

    Integers of shape ``...``. It is the last index if even the last candidate is over.
    """
    last = over.shape[-1] - 1
    after_last_over = last - over[..., ::-1].argmax(-1) + 1
    return np.where(over.any(-1), np.minimum(after_last_over, last), 0)


def release_of(threshold: float, quiet: float) -> float:
    """The release: ``RELEASE`` of the distance from the usual score ``quiet`` to the threshold."""
    return quiet + RELEASE * (threshold - quiet)


def autocorrelation_time(clips: list[np.ndarray]) -> float:
    """Frames per independent sample: 1 + 2 x the sum of autocorrelations, until one is < 0.05."""
    joined = np.concatenate(clips)
    mean = joined.mean()
    if np.ptp(joined) <= ROUNDING * abs(mean):
        return 1.0  # a still picture: scores differ by rounding only
    squares, lag, time = sum(((c - mean) ** 2).sum() for c in clips), 1, 1.0
    longest = max(map(len, clips))
    while squares > 0 and lag < longest:
        pairs = sum(((c[lag:] - mean) * (c[:-lag] - mean)).sum() for c in clips if len(c) > lag)
        count = sum(len(c) - lag for c in clips if len(c) > lag)
        correlation = pairs / count / (squares / sum(map(len, clips)))
        if correlation < 0.05:
            break
        time, lag = time + 2 * correlation, lag + 1
    return time


def stretches(clips: list[np.ndarray]) -> list[np.ndarray]:
    """Split footage into statistical samples: the clips, or pieces of them if they are few."""
    if len(clips) >= STRETCHES:
        return clips
    shortest = STRETCH_TIMES * autocorrelation_time(clips)
    length = max(shortest, sum(map(len, clips)) / STRETCHES)  # frames, not whole
    return [
        part for clip in clips for part in np.array_split(clip, max(1, int(len(clip) / length)))
    ]


def count(
    parts: list[np.ndarray], quiet: float, unit: Unit, frame_rate: float, least_s: float
) -> Counts:
    """Count alarms, or frames above, in each stretch at thresholds from the median up."""
    joined = np.sort(np.concatenate(parts))
    quantiles = 1 - np.geomspace(0.5, 1 / len(joined), CANDIDATES - 1)
    candidates = np.unique(np.append(np.quantile(joined, quantiles), joined[-1]))
    sizes = np.array([len(part) for part in parts], float)
    if unit == "share of frames":
        counts = [len(p) - np.searchsorted(np.sort(p), candidates, "right") for p in parts]
        return Counts(candidates, np.array(counts, float), sizes, unit)
    least = least_frames(least_s, frame_rate)
    counts = [[count_events(p, t, release_of(t, quiet), least) for t in candidates] for p in parts]
    return Counts(candidates, np.array(counts, float), sizes / frame_rate / 3600, unit)
