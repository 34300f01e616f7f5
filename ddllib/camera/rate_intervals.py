"""Prediction intervals for the rate of alarms on other footage, for two kinds of threshold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import numpy as np
from scipy import stats

from ddllib.camera.normal_counts import Counts

CONFIDENCE = 0.9
_NORMAL = stats.norm.ppf((np.arange(200) + 0.5) / 200)  # 200 quantiles of the normal distribution


def interval(counts: Counts, rate: float, future: float) -> tuple[float, float]:
    """The interval that holds the rate on ``future`` hours, or frames, of other footage.

    It is a prediction interval of confidence 0.9, not a bound of the true rate: both the footage
    that the threshold is chosen by and the other footage vary. If k alarms are allowed, the
    threshold lies just below the (k + 1)th highest peak. How many peaks of other footage exceed
    that one follows a negative binomial distribution (Gumbel and von Schelling, 1950). Here the
    unit is a cluster of alarms, or frames, not one of them. Its size is the dispersion, enlarged by
    the ratio of Student's t to the normal distribution, since few stretches measure it. The
    threshold lies somewhere in the next cluster, on average in its middle.
    """
    degrees_of_freedom = max(len(counts.sizes) - 1, 1)
    edge = (1 + CONFIDENCE) / 2
    widening = stats.t.ppf(edge, degrees_of_freedom) / stats.norm.ppf(edge)
    cluster = counts.spread(rate) * widening**2
    clusters_allowed = (rate * counts.total + (cluster + 1) / 2) / cluster
    clusters = stats.nbinom(clusters_allowed, counts.total / (counts.total + future))
    return _ends(clusters.cdf, cluster, future)


def tail_interval(counts: Counts, rate: float, future: float, peaks: int) -> tuple[float, float]:
    """The same prediction for a threshold that was extrapolated from ``peaks`` highest peaks.

    The true rate at such a threshold differs from ``rate`` by a random factor. Let L be the
    logarithm of how much rarer alarms are than those peaks. The variance of the factor's logarithm
    is about (1 + L^2) / number of peaks: 1 for the number itself, L^2 for the scale of the tail, as
    for an exponential tail. The error of the tail's shape is left out; simulated scores agree.
    Alarms are Poisson with this log-normal rate: the fewer the peaks, the wider the interval.
    """
    cluster = counts.spread(rate)
    log_ratio = np.log(max(peaks, 1) / (rate * counts.total))  # L
    deviation = ((1 + log_ratio**2) / (max(peaks, 1) / cluster)) ** 0.5
    expected = rate * future / cluster * np.exp(deviation * _NORMAL)

    def at_most(count: int) -> float:
        return stats.poisson.cdf(count, expected).mean()

    return _ends(at_most, cluster, future)


def _ends(at_most: Callable[[int], float], cluster: float, future: float) -> tuple[float, float]:
    """The interval of rates from a distribution of clusters on ``future`` hours, or frames.

    ``at_most`` is its cumulative distribution function. Five cases in 100 lie beyond each end. If
    the lower end is 0 no rate lies below it, so all ten lie above the upper end. Counts are whole
    numbers, so no end cuts off exactly five; ends that never cut off more would be too wide. So
    half of a count's own probability is taken to lie below it ("mid-P"; Lancaster, 1961), and on
    average over rates five are cut off.
    """

    def below(count: int) -> float:
        return (at_most(count - 1) + at_most(count)) / 2

    edge = (1 + CONFIDENCE) / 2
    counts = range(1 << 40)
    low = bisect_left(counts, 1 - edge, key=below)
    high = bisect_right(counts, edge if low else CONFIDENCE, key=below) - 1
    return float(np.floor(low * cluster) / future), float(np.ceil(high * cluster) / future)
