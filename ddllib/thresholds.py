"""A threshold with a meaning: so many false alarms an hour, or such a share of normal frames.

It is chosen from scores of normal footage that was not trained on, and comes with the interval in
which the rate will lie on other footage. Frames of a clip resemble one another and clips differ, so
what counts as a sample is a stretch of footage, not a frame: the interval is as wide as the
stretches are unlike one another. ``ddllib.threshold_study`` measures how often it holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats

from ddllib.errors import DDLError
from ddllib.events import count_events, find_events, least_frames

Unit = Literal["alarms per hour", "share of frames"]
Method = Literal["counted", "extreme value"]
RELEASE = 0.75  # of the way from the usual score up to the threshold
CONFIDENCE = 0.9
STRETCHES = 16  # few clips are cut into about so many stretches
APART = 10  # a stretch lasts at least so many autocorrelation times
ENOUGH = 5  # independent alarms from which on they are counted, not extrapolated
SEEN = 4  # stretches that must have an alarm before their spread is believed
PEAKS = 20  # a tail is fitted to about so many of the highest peaks
CANDIDATES = 200
_NORMAL = stats.norm.ppf((np.arange(200) + 0.5) / 200)  # a normal distribution in 200 equal parts


@dataclass(frozen=True)
class Threshold:
    """A threshold, where an event that passed it ends again, and what it promises.

    ``rate`` is what was asked for in ``unit``. On other normal footage, ``over`` hours of it, the
    rate is meant to lie between ``low`` and ``high`` in 90 of 100 cases. ``method`` is "counted",
    or "extreme value" where the footage holds too few alarms to count, unless it was asked for;
    ``warning`` says in one line where there is too little footage.
    ``hours`` of normal footage in ``stretches`` were used, whose usual score was ``quiet``.
    """

    value: float
    release: float
    rate: float
    unit: Unit
    low: float
    high: float
    method: str
    warning: str | None
    quiet: float
    hours: float
    over: float
    stretches: int

    def asdict(self) -> dict:
        """Plain values, as ``events.json`` keeps them."""
        return asdict(self)

    def __str__(self) -> str:
        scale, unit = (100, "% of frames") if self.unit == "share of frames" else (1, self.unit)
        unit = "alarm per hour" if (unit, self.rate) == ("alarms per hour", 1) else unit
        low, rate, high = (_rounded(scale * v, 3) for v in (self.low, self.rate, self.high))
        return (
            f"threshold {self.value:.4g}: {rate} {unit}; "
            f"over {self.over:.3g} h of normal footage between {low} and {high}"
        )


@dataclass(frozen=True)
class Counts:
    """What stretches of normal footage hold at each of K candidate thresholds, rising.

    ``counts`` is n x K: alarms, or frames above; ``sizes`` n: hours, or frames. Both are of the
    ``unit`` in which the rate is asked for.
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
        """The lowest candidate from which on up no threshold has more than ``rate``."""
        return int(first_within(self.counts.sum(0) > rate * self.total))

    def dispersion(self, k: int) -> float:
        """How much more than chance the stretches differ at candidate ``k``; 1 is chance alone."""
        counts = self.counts[:, k]
        expected = counts.sum() * self.sizes / self.total
        if len(counts) < 2 or not counts.any():
            return 1.0
        return max(float(((counts - expected) ** 2 / expected).sum() / (len(counts) - 1)), 1.0)

    def spread(self, rate: float) -> float:
        """The dispersion to reckon with at the threshold for ``rate``.

        Where hardly any stretch has an alarm, the spread looks small and is not: so what counts is
        the dispersion from the chosen threshold down to that of twice the rate, and on until
        ``SEEN`` stretches have an alarm. Of frames, which come in clusters, it is the largest
        there; of alarms, which come one at a time, the mean.
        """
        chosen = self.lowest(rate)
        seen = np.flatnonzero((self.counts > 0).sum(0) >= min(SEEN, len(self.sizes)))
        lowest = min(self.lowest(2 * rate), int(seen[-1]) if len(seen) else 0, chosen)
        found = [self.dispersion(k) for k in range(lowest, chosen + 1)]
        return float(np.mean(found)) if self.unit == "alarms per hour" else max(found)


def first_within(over: np.ndarray) -> np.ndarray:
    """The first of K candidates from which on up none is ``over``, bool ... x K; integers ....

    Where even the last one is over, that one.
    """
    last = over.shape[-1] - 1
    behind = last - over[..., ::-1].argmax(-1) + 1  # the last one that is over
    return np.where(over.any(-1), np.minimum(behind, last), 0)


def choose_threshold(
    scores: Mapping[str, np.ndarray],
    rate: float,
    unit: Unit = "alarms per hour",
    frame_rate: float = 25.0,
    least_s: float = 0.0,
    over: float | None = None,
    method: Method | None = None,
    held_out_share: float = 1.0,
) -> Threshold:
    """The threshold that normal footage passes at ``rate``, with the interval for other footage.

    ``scores`` are N for each clip of normal footage that was not trained on, filtered as they will
    be when watching. ``rate`` is alarms per hour, each at least ``least_s`` seconds long, or a
    share of frames in (0, 1). The interval is for ``over`` hours of other footage, by default as
    much as was given. ``method`` None counts, and extrapolates only where there are too few alarms
    to count; then the interval holds ``rate`` itself and no more alarms than an hour has room for.
    The scores are of ``held_out_share``, in (0, 1], of all normal footage, the rest was trained on:
    the warning says how much of all to record. Raises ``DDLError`` for scores that are not finite,
    a clip without frames and a rate that cannot be meant.
    """
    if method is not None and method not in get_args(Method):
        raise DDLError(f"method is {method!r}; expected one of {', '.join(get_args(Method))}")
    clips = _checked(scores, rate, unit, frame_rate)
    quiet = float(np.median(np.concatenate(clips)))
    parts = stretches(clips)
    counts = count(parts, quiet, unit, frame_rate, least_s)
    seconds = sum(map(len, clips)) / frame_rate
    over = seconds / 3600 if over is None else over
    # Alarms come one at a time, frames above a threshold in clusters as large as their dispersion.
    held = rate * counts.total / (1 if unit == "alarms per hour" else counts.spread(rate))
    few = held < ENOUGH and unit == "alarms per hour"  # of frames, even few tell their share
    method = method or ("extreme value" if few else "counted")
    future = over if unit == "alarms per hour" else over * 3600 * frame_rate
    if method == "counted":
        value = float(counts.candidates[counts.lowest(rate)])
        low, high = interval(counts, rate, future)
    else:
        value, peaks = extrapolate(parts, quiet, rate, unit, frame_rate, least_s)
        low, high = tail_interval(counts, rate, future, peaks)
        if unit == "alarms per hour":
            low, high = min(low, rate), max(rate, min(high, _most(least_s, frame_rate)))
    return Threshold(
        value,
        release_of(value, quiet),
        rate,
        unit,
        low,
        high if unit == "alarms per hour" else min(high, 1.0),
        method,
        _warning(held, seconds, len(parts), method, held_out_share),
        quiet,
        seconds / 3600,
        over,
        len(parts),
    )


def _most(least_s: float, frame_rate: float) -> float:
    """As many alarms as an hour has room for: each as short as may be, and a frame between two."""
    return 3600 / (max(least_s, 1 / frame_rate) + 1 / frame_rate)


def release_of(threshold: float, quiet: float) -> float:
    """Where an event ends: ``RELEASE`` of the way from the usual score up to its threshold."""
    return quiet + RELEASE * (threshold - quiet)


def _checked(scores: Mapping, rate: float, unit: str, frame_rate: float) -> list[np.ndarray]:
    if unit not in get_args(Unit):
        raise DDLError(f"unit is {unit!r}; expected one of {', '.join(get_args(Unit))}")
    if not (0 < rate < (1 if unit == "share of frames" else np.inf) and frame_rate > 0):
        raise DDLError(
            f"rate is {rate} {unit} at {frame_rate} frames per second; expected numbers above 0, "
            "and a share below 1"
        )
    if not scores:
        raise DDLError("no normal footage to choose a threshold by; expected at least one clip")
    for name, values in scores.items():
        if not len(values) or not np.isfinite(values).all():
            raise DDLError(
                f"clip {name!r}: {'no scores' if not len(values) else 'a score is not finite'}; "
                "expected one finite score for each frame; score it again or leave it out"
            )
    return [np.asarray(scores[name], np.float64) for name in sorted(scores)]


def _warning(held: float, seconds: float, parts: int, method: Method, share: float) -> str | None:
    if held < ENOUGH:
        guess = "extrapolated" if method == "extreme value" else "counted from too few alarms"
        enough = seconds / 60 * ENOUGH / held
        apart = f", of which {_rounded(enough)} are kept for it," if share < 1 else ""
        return (
            f"this threshold is little more than a guess, {guess}: it is chosen by "
            f"{seconds / 60:.3g} min of normal footage, which hold {held:.2g} independent alarms "
            f"at this rate; expected {ENOUGH}; record {_rounded(enough / share)} min{apart} or ask "
            "for a higher rate"
        )
    if parts < 2 * SEEN:
        return (
            f"{seconds / 60:.3g} min of normal footage hold {parts} stretches unlike one another; "
            f"expected {2 * SEEN}: record at other hours too; the interval is a rough one"
        )
    return None


def _rounded(value: float, digits: int = 2) -> str:
    """To so many digits, never as a power of ten."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def autocorrelation_time(clips: list[np.ndarray]) -> float:
    """How many frames count as one: 1 + 2 x the sum of autocorrelations down to 0.05."""
    mean = np.concatenate(clips).mean()
    together, lag, time = sum(((c - mean) ** 2).sum() for c in clips), 1, 1.0
    longest = max(map(len, clips))
    while together > 0 and lag < longest:
        pairs = sum(((c[lag:] - mean) * (c[:-lag] - mean)).sum() for c in clips if len(c) > lag)
        count = sum(len(c) - lag for c in clips if len(c) > lag)
        share = pairs / count / (together / sum(map(len, clips)))
        if share < 0.05:
            break
        time, lag = time + 2 * share, lag + 1
    return time


def stretches(clips: list[np.ndarray]) -> list[np.ndarray]:
    """What may be taken as samples: clips, or where there are few of them, pieces of clips."""
    if len(clips) >= STRETCHES:
        return clips
    least = APART * autocorrelation_time(clips)
    each = sum(map(len, clips)) / STRETCHES
    return [
        part
        for clip in clips
        for part in np.array_split(clip, max(1, int(len(clip) / max(least, each))))
    ]


def count(
    parts: list[np.ndarray], quiet: float, unit: Unit, frame_rate: float, least_s: float
) -> Counts:
    """Count alarms, or frames above, in each stretch at thresholds from the median up."""
    joined = np.sort(np.concatenate(parts))
    above = 1 - np.geomspace(0.5, 1 / len(joined), CANDIDATES - 1)
    candidates = np.unique(np.append(np.quantile(joined, above), joined[-1]))
    sizes = np.array([len(part) for part in parts], float)
    if unit == "share of frames":
        counts = [len(p) - np.searchsorted(np.sort(p), candidates, "right") for p in parts]
        return Counts(candidates, np.array(counts, float), sizes, unit)
    least = least_frames(least_s, frame_rate)
    counts = [[count_events(p, t, release_of(t, quiet), least) for t in candidates] for p in parts]
    return Counts(candidates, np.array(counts, float), sizes / frame_rate / 3600, unit)


def interval(counts: Counts, rate: float, future: float) -> tuple[float, float]:
    """In which the rate on ``future`` hours, or frames, of other footage lies, 90 times in 100.

    A prediction, not a bound of the true rate: both the footage that the threshold is chosen by
    and the other have a spread. Where k alarms are allowed the threshold lies below the (k + 1)th
    highest of them, and of other footage so many pass that one as a negative binomial
    distribution says (Gumbel and von Schelling, 1950). What counts as one there is a cluster of as
    many alarms, or frames, as the dispersion says, widened as Student's t is for how few stretches
    tell it; the threshold lies anywhere in the next cluster, at its middle on average.
    """
    few = max(len(counts.sizes) - 1, 1)
    edge = (1 + CONFIDENCE) / 2
    cluster = counts.spread(rate) * (stats.t.ppf(edge, few) / stats.norm.ppf(edge)) ** 2
    allowed = (rate * counts.total + (cluster + 1) / 2) / cluster
    passing = stats.nbinom(allowed, counts.total / (counts.total + future))
    return _ends(passing.cdf, cluster, future)


def tail_interval(counts: Counts, rate: float, future: float, peaks: int) -> tuple[float, float]:
    """The same prediction for a threshold that was extrapolated from ``peaks`` highest peaks.

    Such a threshold errs by a factor. With L the logarithm of how much rarer alarms shall be than
    those peaks, the variance of that factor's logarithm is about (1 + L^2) over their number, for
    how many there are and for the scale of their tail (as of an exponential one; for its shape
    there is no term, which holds on simulated scores). Alarms are Poisson at a rate so uncertain,
    which is taken for log-normal: the fewer the peaks, the wider the interval.
    """
    cluster = counts.spread(rate)
    rarer = np.log(max(peaks, 1) / (rate * counts.total))
    error = ((1 + rarer**2) / (max(peaks, 1) / cluster)) ** 0.5
    expected = rate * future / cluster * np.exp(error * _NORMAL)

    def at_most(count: int) -> float:
        return stats.poisson.cdf(count, expected).mean()

    return _ends(at_most, cluster, future)


def _ends(at_most: Callable[[int], float], cluster: float, future: float) -> tuple[float, float]:
    """The rates that a distribution of clusters on ``future`` other hours, or frames, lies within.

    ``at_most`` is its distribution function. Five cases in 100 lie beyond either end; where the
    lower end is nought no rate can fall below it, and all ten lie above the upper one. Counts are
    whole numbers and part off no share exactly: ends that never part off more than five hold too
    often. Of a count's own probability half is taken to lie below it ("mid-P"; Lancaster, 1961),
    so that on average over rates five it is.
    """

    def below(count: int) -> float:
        return (at_most(count - 1) + at_most(count)) / 2

    edge = (1 + CONFIDENCE) / 2
    counts = range(1 << 40)
    least = bisect_left(counts, 1 - edge, key=below)
    most = bisect_right(counts, edge if least else CONFIDENCE, key=below) - 1
    return float(np.floor(least * cluster) / future), float(np.ceil(most * cluster) / future)


def extrapolate(
    parts: list[np.ndarray],
    quiet: float,
    rate: float,
    unit: Unit,
    frame_rate: float,
    least_s: float,
) -> tuple[float, int]:
    """The threshold beyond what was seen: a generalised Pareto tail of the highest peaks.

    Fitted by probability-weighted moments (Hosking and Wallis, 1987); its shape is kept within
    -0.5 and 0.5, since a few peaks do not tell it. Peaks are those of events, or single frames;
    how many there were comes with the threshold.
    """
    counts = count(parts, quiet, unit, frame_rate, least_s)
    level = counts.lowest(PEAKS / counts.total)
    base = float(counts.candidates[level])
    if unit == "share of frames":
        peaks = np.concatenate([part[part > base] for part in parts])
    else:
        release = release_of(base, quiet)
        found = (find_events(part, base, release, frame_rate, least_s) for part in parts)
        peaks = np.array([event.score for events in found for event in events])
    if len(peaks) < 3:
        return float(counts.candidates[-1]), len(peaks)
    excess = np.sort(peaks) - base
    mean = excess.mean()
    weighted = (np.arange(len(excess))[::-1] / (len(excess) - 1) * excess).mean()
    shape = float(np.clip(2 - mean / (mean - 2 * weighted), -0.5, 0.5)) or 1e-6
    scale = mean * (1 - shape)
    ratio = len(peaks) / counts.total / rate
    return base + scale / shape * (ratio**shape - 1), len(peaks)
