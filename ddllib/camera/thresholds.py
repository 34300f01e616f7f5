"""Choose a threshold for a given rate of false alarms per hour, or share of normal frames.

It is chosen from scores of normal footage that was not trained on, and comes with an interval for
the rate on other footage. Neighbouring frames are alike and clips differ, so a statistical sample
is a stretch of footage, not a frame: the more the stretches differ, the wider the interval.
``book/studies/threshold_study.py`` measures how often the interval holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np

from data_prep.preparing.advise import ENOUGH_ALARMS
from ddllib.camera.events import count_events, find_events, least_frames
from ddllib.camera.normal_counts import (
    MIN_STRETCHES,
    Counts,
    Unit,
    count,
    release_of,
    stretches,
)
from ddllib.camera.rate_intervals import interval, tail_interval
from ddllib.errors import DDLError

Method = Literal["counted", "extreme value"]  # to choose by; "given" was not chosen
PEAKS = 20  # about how many of the highest peaks a tail is fitted to
LARGEST_SHAPE = 0.5  # bound of the absolute value of a fitted tail's shape parameter


@dataclass(frozen=True)
class Threshold:
    """A threshold, its release, and the false alarm rate to expect.

    ``rate`` is the rate asked for, in ``unit``. On ``over`` hours of other normal footage the rate
    should lie between ``low`` and ``high`` in 90 of 100 cases. ``method`` is "counted", or "extreme
    value" if the footage holds too few alarms to count; the caller can also choose it;
    "given" if the user set the threshold (``given_threshold``). ``warning`` says in one line if
    there is too little footage. ``hours`` of normal footage in ``stretches`` were used; ``quiet``
    is their median score.
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
            f"threshold {self.value:.4g}: {rate} {unit} on normal footage, "
            f"between {low} and {high} over {self.over:.3g} h of it"
        )


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
    """The threshold that normal footage exceeds at ``rate``, with the interval for other footage.

    ``scores`` are N for each clip of normal footage that was not trained on, filtered as in the
    watch. ``rate`` is alarms per hour, each at least ``least_s`` seconds long, or a share of frames
    in (0, 1). The interval is for ``over`` hours of other footage, by default as long as this one.
    ``method`` None counts, and extrapolates only if there are too few alarms to count; then the
    interval is made to include ``rate`` and ends at the largest possible number of alarms per hour.
    The scores are of ``held_out_share``, in (0, 1], of all normal footage; the rest was trained on.
    The warning uses it to say how much to record in all. Raises ``DDLError`` for scores that are
    not finite, a clip without frames and an impossible rate.
    """
    if method is not None and method not in get_args(Method):
        raise DDLError(f"method is {method!r}; expected one of {', '.join(get_args(Method))}")
    clips = _checked(scores, rate, unit, frame_rate)
    quiet = float(np.median(np.concatenate(clips)))
    parts = stretches(clips)
    counts = count(parts, quiet, unit, frame_rate, least_s)
    seconds = sum(map(len, clips)) / frame_rate
    over = seconds / 3600 if over is None else over
    # Alarms are independent; frames above a threshold come in clusters as large as the dispersion.
    independent = rate * counts.total / (1 if unit == "alarms per hour" else counts.spread(rate))
    too_few = independent < ENOUGH_ALARMS and unit == "alarms per hour"
    method = method or ("extreme value" if too_few else "counted")
    future = over if unit == "alarms per hour" else over * 3600 * frame_rate
    if method == "counted":
        value = float(counts.candidates[counts.lowest(rate)])
        low, high = interval(counts, rate, future)
    else:
        value, peaks = extrapolate(parts, quiet, rate, unit, frame_rate, least_s)
        low, high = tail_interval(counts, rate, future, peaks)
        if unit == "alarms per hour":
            low, high = min(low, rate), max(rate, min(high, _largest_rate(least_s, frame_rate)))
    return Threshold(
        value,
        release_of(value, quiet),
        rate,
        unit,
        low,
        high if unit == "alarms per hour" else min(high, 1.0),
        method,
        _warning(independent, seconds, len(parts), method, held_out_share),
        quiet,
        seconds / 3600,
        over,
        len(parts),
    )


def given_threshold(
    scores: Mapping[str, np.ndarray], value: float, frame_rate: float, least_s: float, over: float
) -> Threshold:
    """A threshold that the user set, with the rate of alarms that normal footage has at it.

    The arguments are those of ``choose_threshold``. Raises ``DDLError`` for a ``value`` that is not
    above the usual score of normal footage.
    """
    clips = _checked(scores, 1.0, "alarms per hour", frame_rate)
    quiet, parts = float(np.median(np.concatenate(clips))), stretches(clips)
    if not quiet < value < np.inf:
        raise DDLError(
            f"threshold is {value:g}; expected a number above {quiet:.4g}, the median score of "
            "normal footage"
        )
    release, least = release_of(value, quiet), least_frames(least_s, frame_rate)
    alarms = np.array([[count_events(part, value, release, least)] for part in parts], float)
    hours = np.array([len(part) for part in parts]) / frame_rate / 3600
    counts = Counts(np.array([value]), alarms, hours, "alarms per hour")
    rate = float(alarms.sum() / counts.total)
    low, high = interval(counts, rate, over)
    facts = (quiet, counts.total, over, len(parts))
    return Threshold(value, release, rate, "alarms per hour", low, high, "given", None, *facts)


def _largest_rate(least_s: float, frame_rate: float) -> float:
    """The largest possible alarms per hour: each as short as allowed, one frame between two."""
    return 3600 / (max(least_s, 1 / frame_rate) + 1 / frame_rate)


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


def _warning(alarms: float, seconds: float, parts: int, method: Method, share: float) -> str | None:
    """What to record, if the footage holds too few independent ``alarms`` or too few ``parts``."""
    minutes = seconds / 60
    if alarms < ENOUGH_ALARMS:
        guess = "extrapolated" if method == "extreme value" else "counted from too few alarms"
        minutes_needed = minutes * ENOUGH_ALARMS / alarms
        held_out = f", of which {_rounded(minutes_needed)} are kept for it," if share < 1 else ""
        return (
            f"this threshold is little more than a guess ({guess}). Record "
            f"{_rounded(minutes_needed / share)} min{held_out} or ask for a higher rate. It is "
            f"chosen by {minutes:.3g} min of normal footage, which hold {alarms:.2g} independent "
            f"alarms at this rate; expected {ENOUGH_ALARMS}"
        )
    if parts < 2 * MIN_STRETCHES:
        return (
            "the interval is a rough one. Record normal footage at other hours too. There are "
            f"{minutes:.3g} min in {parts} stretches unlike one another; "
            f"expected {2 * MIN_STRETCHES}"
        )
    return None


def _rounded(value: float, digits: int = 2) -> str:
    """A number with so many significant digits, without an exponent."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def extrapolate(
    parts: list[np.ndarray],
    quiet: float,
    rate: float,
    unit: Unit,
    frame_rate: float,
    least_s: float,
) -> tuple[float, int]:
    """Extrapolate the threshold with a generalised Pareto tail of the highest peaks.

    Fitted by probability-weighted moments (Hosking and Wallis, 1987). The shape is kept within
    -0.5 and 0.5 (``LARGEST_SHAPE``), since a few peaks do not determine it. Peaks are those of
    events, or single frames. Returns the threshold and the number of peaks.
    """
    counts = count(parts, quiet, unit, frame_rate, least_s)
    level = counts.lowest(PEAKS / counts.total)
    base = float(counts.candidates[level])
    if unit == "share of frames":
        peaks = np.concatenate([part[part > base] for part in parts])
    else:
        release = release_of(base, quiet)
        events = (find_events(part, base, release, frame_rate, least_s) for part in parts)
        peaks = np.array([event.score for event in chain.from_iterable(events)])
    if len(peaks) < 3:
        return float(counts.candidates[-1]), len(peaks)
    excess = np.sort(peaks) - base
    mean = excess.mean()
    weighted = (np.arange(len(excess))[::-1] / (len(excess) - 1) * excess).mean()
    # Equal peaks, as from copies of a clip, have a spread of 0 or a rounding error of either sign:
    # then the smallest spread that the bound of the shape allows is taken.
    spread = max(mean - 2 * weighted, mean / (2 + LARGEST_SHAPE))
    shape = float(np.clip(2 - mean / spread, -LARGEST_SHAPE, LARGEST_SHAPE)) or 1e-6
    scale = mean * (1 - shape)
    ratio = len(peaks) / counts.total / rate
    return float(base + scale / shape * (ratio**shape - 1)), len(peaks)
