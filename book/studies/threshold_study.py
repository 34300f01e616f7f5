"""How often a threshold's interval contains the measured rate, on real and generated footage.

    python -m ddllib study thresholds [--minutes 60] [--splits 200] [--to FOLDER]
    python -m ddllib study thresholds --footage generated --first 360 --minutes 120

Normal footage is split at random, whole clips together, into two halves. A threshold is chosen by
one half, and the rate measured on the other is compared with the stated interval, with the interval
that treats every frame or alarm as independent, and with a bootstrap interval over clips. Both ways
to choose a threshold are tried on the same halves: counting, as in conformal prediction, and a tail
fitted to the peaks. Other minutes of the generated walkway (``--first``) are footage on which no
choice of this method was based.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ddllib import pipeline
from ddllib.camera.assembly import LEAST_S, generated_scores
from ddllib.camera.events import count_events, least_frames
from ddllib.camera.normal_counts import (
    Counts,
    Unit,
    autocorrelation_time,
    count,
    first_within,
    stretches,
)
from ddllib.camera.rate_intervals import CONFIDENCE
from ddllib.camera.thresholds import Method, Threshold, choose_threshold
from ddllib.evaluation import apply_protocol
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.pseudo_anomalies.held_out import split
from ddllib.records import environment
from ddllib.scoring import Scorer
from ddllib.settings import Settings, load_profile

PED2 = {"held_out": 4, "epochs": 4, "size": 192}  # over the profile ped2-table2
PED2_RATE = 10.0  # frames per second of UCSD Ped2
DRAWS = 400
INTERVALS = {"stated": "held", "independent": "independent", "redrawn": "redrawn"}
WAYS: dict[Method, str] = {"counted": "by counting", "extreme value": "by the tail"}
CASES: tuple[tuple[str, Unit, float], ...] = (
    ("ped2", "share of frames", 0.01),
    ("ped2", "share of frames", 0.05),
    ("generated", "share of frames", 0.01),
    ("generated", "share of frames", 0.05),
    ("generated", "alarms per hour", 2.0),
    ("generated", "alarms per hour", 12.0),
    ("generated", "alarms per hour", 30.0),
)
Clips = dict[str, np.ndarray]


def normal_stretches(scores: Mapping, labels: Mapping) -> Clips:
    """The runs of normal frames of labelled clips, each filtered by itself, N scores."""
    stretches_by_name = {}
    for name in sorted(scores):
        edges = np.flatnonzero(np.diff(np.concatenate([[1], labels[name], [1]])))
        for first, stop in edges.reshape(-1, 2):
            stretches_by_name[f"{name}-{first}"] = apply_protocol(
                scores[name][first:stop], "median"
            )
    return stretches_by_name


def ped2_clips(settings: Settings, progress: bool = True) -> Clips:
    """Filtered scores, N by clip, of all frames of UCSD Ped2 that are normal and not trained on.

    These are the held-out clips of a run and the normal frames of the test clips; the run is
    trained if necessary.
    """
    data = pipeline.prepare(settings, progress)
    run = pipeline.train(settings, data, progress)
    _, held_out = split(data, settings.held_out)

    def raw(clips: Mapping) -> Clips:
        return Scorer(run.model, settings.patch_size, run.precision).clips(clips)

    filtered = {
        f"held out {n}": apply_protocol(scores, "median") for n, scores in raw(held_out).items()
    }
    return filtered | normal_stretches(raw(data.testing), data.labels)


def generated_minutes(
    settings: Settings, minutes: int, progress: bool = True, first: int = 0
) -> Clips:
    """Filtered scores of ordinary footage of the generated walkway, a minute to a clip.

    ``minutes`` from minute ``first`` on, scored by the profile's run (trained if necessary).
    """
    data = pipeline.prepare(settings, progress)
    run = pipeline.train(settings, data, progress)
    scores = generated_scores(settings, data, run, minutes, progress, first)
    return {name: apply_protocol(values, "median") for name, values in scores.items()}


def halves(clips: Clips, splits: int, seed: int = 0) -> Iterator[tuple[Clips, Clips]]:
    """Random halves of the clips, ``splits`` times."""
    rng, names = np.random.default_rng(seed), sorted(clips)
    for _ in range(splits):
        order = [names[k] for k in rng.permutation(len(names))]
        middle = len(names) // 2
        yield {n: clips[n] for n in order[:middle]}, {n: clips[n] for n in order[middle:]}


def measured(chosen: Threshold, clips: Clips, frame_rate: float) -> float:
    """The rate of a threshold on other normal footage, in the threshold's unit."""
    frames = sum(map(len, clips.values()))
    if chosen.unit == "share of frames":
        return sum(int((c > chosen.value).sum()) for c in clips.values()) / frames
    min_frames = least_frames(LEAST_S, frame_rate)
    event_counts = [
        count_events(c, chosen.value, chosen.release, min_frames) for c in clips.values()
    ]
    return sum(event_counts) / (frames / frame_rate / 3600)


def independent(rate: float, future: float) -> tuple[float, float]:
    """The interval if every alarm, or frame, were independent of the others."""
    low, high = stats.poisson.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], rate * future)
    return low / future, high / future


def redrawn(counts: Counts, rate: float, future: float, rng) -> tuple[float, float]:
    """The bootstrap interval over stretches: some to choose a threshold, others to measure on."""
    stretch_count = len(counts.sizes)
    future_count = max(round(future / counts.total * stretch_count), 1)
    choosing, measuring = (
        rng.multinomial(size, np.full(stretch_count, 1 / stretch_count), DRAWS)
        for size in (stretch_count, future_count)
    )
    exceeds = choosing @ counts.counts > rate * (choosing @ counts.sizes)[:, None]
    level = first_within(exceeds)
    rates = (measuring @ counts.counts)[np.arange(DRAWS), level] / (measuring @ counts.sizes)
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def study(clips: Clips, unit: Unit, rate: float, frame_rate: float, splits: int) -> dict:
    """One row: how often each interval held over the splits, and how wide it was."""
    intervals = {"stated": [], "independent": [], "redrawn": []}
    rates_of_way: dict[str, list[float]] = {method: [] for method in WAYS}
    rates, methods, rng = [], [], np.random.default_rng(0)
    for first_half, second_half in halves(clips, splits):
        frames = sum(map(len, second_half.values()))
        hours = frames / frame_rate / 3600
        threshold = choose_threshold(first_half, rate, unit, frame_rate, LEAST_S, over=hours)
        rates.append(measured(threshold, second_half, frame_rate))
        methods.append(threshold.method)
        for method in rates_of_way:
            other_threshold = threshold
            if method != threshold.method:
                other_threshold = choose_threshold(
                    first_half, rate, unit, frame_rate, LEAST_S, method=method
                )
            rates_of_way[method].append(measured(other_threshold, second_half, frame_rate))
        future = hours if unit == "alarms per hour" else frames
        parts = stretches([first_half[name] for name in sorted(first_half)])
        counts = count(parts, threshold.quiet, unit, frame_rate, LEAST_S)
        intervals["stated"].append((threshold.low, threshold.high))
        intervals["independent"].append(independent(rate, future))
        intervals["redrawn"].append(redrawn(counts, rate, future, rng))
    return {
        "unit": unit,
        "rate": rate,
        "splits": splits,
        "extrapolated": methods.count("extreme value") / splits,
        "measured": np.quantile(rates, [0.05, 0.5, 0.95]).tolist(),
        "ways": {m: np.quantile(r, [0.05, 0.5, 0.95]).tolist() for m, r in rates_of_way.items()},
        **{name: _coverage(np.array(pairs), np.array(rates)) for name, pairs in intervals.items()},
    }


def _coverage(pairs: np.ndarray, rates: np.ndarray) -> dict:
    low, high = pairs.T
    return {
        "covered": float(((low <= rates) & (rates <= high)).mean()),
        "low": float(np.median(low)),
        "high": float(np.median(high)),
        "width": float(np.median(high - low)),
    }


def measure(
    cases: Sequence, minutes: int, splits: int, progress: bool = True, first: int = 0
) -> dict:
    """Every case as plain values, with facts about the footage and a threshold from all of it.

    Only footage that a case names is used; of the generated one ``minutes`` from ``first`` on.
    """
    environment_facts, names = environment(), dict.fromkeys(name for name, _, _ in cases)
    footage = {name: _footage(name, minutes, first, progress) for name in names}
    report: dict = {
        "scores": {name: run for name, (_, _, run) in footage.items()},
        "footage": {name: describe(clips, rate) for name, (clips, rate, _) in footage.items()},
        "first_minute": first,
        "least_s": LEAST_S,
        "rows": [],
        "environment": environment_facts,
    }
    for name, unit, rate in cases:
        clips, frame_rate, _ = footage[name]
        row = {"footage": name, **study(clips, unit, rate, frame_rate, splits)}
        full_threshold = choose_threshold(clips, rate, unit, frame_rate, LEAST_S)
        report["rows"].append({**row, "by all": full_threshold.asdict()})
    return report


def _footage(name: str, minutes: int, first: int, progress: bool) -> tuple[Clips, float, str]:
    """Filtered scores by clip, frames per second, and the run that scored them."""
    from data_prep.demo.story import FRAME_RATE

    if name == "ped2":
        settings, rate = load_profile("ped2-table2", **PED2), PED2_RATE
        clips = ped2_clips(settings, progress)
    else:
        settings, rate = load_profile("demo"), FRAME_RATE
        clips = generated_minutes(settings, minutes, progress, first)
    return clips, rate, f"{settings.profile}/{settings.run_folder.name}"


def describe(clips: Clips, frame_rate: float) -> dict:
    """The amount of footage and the autocorrelation time of its scores."""
    frames = sum(map(len, clips.values()))
    return {
        "clips": len(clips),
        "frames": frames,
        "hours": frames / frame_rate / 3600,
        "frame_rate": frame_rate,
        "autocorrelation_s": autocorrelation_time(list(clips.values())) / frame_rate,
    }


def footage_lines(report: Mapping) -> list[str]:
    """The footage of the study, a line each, and the number of splits."""
    lines = [
        f"{name}: {facts['clips']} clips, {60 * facts['hours']:.1f} minutes of normal footage"
        for name, facts in report["footage"].items()
    ]
    return [*lines, f"{report['rows'][0]['splits']} random splits in halves"]


def table(report: Mapping) -> pd.DataFrame:
    """A row for each case: the rate asked for, what was measured, and how often intervals held.

    Rates are false alarms an hour, or per cent of frames; intervals held in per cent of the splits.
    """
    rows = []
    for row in report["rows"]:
        scale, unit = (100, " %") if row["unit"] == "share of frames" else (1, " an hour")
        stated = {name: f"{scale * row['stated'][name]:.3g}" for name in ("low", "high", "width")}
        shares = {name: f"{100 * row[name]['covered']:.0f}" for name in INTERVALS}
        rows.append(
            {
                "footage": row["footage"],
                "asked for": f"{scale * row['rate']:g}{unit}",
                "measured": f"{scale * row['measured'][1]:.3g}",
                "interval": f"{stated['low']} – {stated['high']}",
                "width": stated["width"],
                **{INTERVALS[name]: share for name, share in shares.items()},
            }
        )
    return pd.DataFrame(rows)


# Of the splits: with less an interval is too narrow, with more too wide.
EXPECTED_COVERAGE = (0.85, 0.95)


def verdict(report: Mapping) -> str:
    """In how many cases the stated interval held as often as expected, a sentence."""
    covered = [row["stated"]["covered"] for row in report["rows"]]
    low, high = EXPECTED_COVERAGE
    within = sum(low <= share <= high for share in covered)
    above = sum(share > high for share in covered)
    return (
        f"in {within} of {len(covered)} cases the interval held in {100 * low:.0f} to "
        f"{100 * high:.0f} % of the splits, as it promises; in {above} it held more often, in "
        f"{len(covered) - within - above} less often. So many splits give such a share to "
        f"{_split_error(report):.0f} points; other footage may differ by more"
    )


def _split_error(report: Mapping) -> float:
    """The standard error of a share of so many splits, in points, were they independent."""
    splits = min(row["splits"] for row in report["rows"])
    return 100 * (CONFIDENCE * (1 - CONFIDENCE) / splits) ** 0.5


def ways_table(report: Mapping) -> pd.DataFrame:
    """The rate of a threshold of either way on the other half: median and central 90 % of splits.

    Rates have the unit of ``table``; "in use" is the way that is chosen automatically.
    """
    rows = []
    for row in report["rows"]:
        scale, unit = (100, " %") if row["unit"] == "share of frames" else (1, " an hour")
        cells = {}
        for way, quantiles in row["ways"].items():
            low, middle, high = (f"{scale * value:.3g}" for value in quantiles)
            cells[WAYS[way]] = f"{middle} ({low} – {high})"
        way_used = WAYS["extreme value" if row["extrapolated"] > 0.5 else "counted"]
        wanted_rate = f"{scale * row['rate']:g}{unit}"
        rows.append(
            {"footage": row["footage"], "asked for": wanted_rate, **cells, "in use": way_used}
        )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study thresholds", description=__doc__)
    footage_names = sorted({name for name, _, _ in CASES})
    parser.add_argument("--footage", nargs="*", choices=footage_names, default=footage_names)
    parser.add_argument(
        "--minutes", type=whole("minutes"), default=60, help="generated footage, minutes"
    )
    parser.add_argument(
        "--first", type=whole("a minute", least=0), default=0, help="the first of these minutes"
    )
    parser.add_argument("--splits", type=whole("splits"), default=200)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study thresholds", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    cases = [case for case in CASES if case[0] in options.footage]
    report = measure(cases, options.minutes, options.splits, first=options.first)
    print(table(report).to_string(index=False), ways_table(report).to_string(index=False), sep="\n")
    if options.to:
        write_json(options.to / ("later.json" if options.first else "study.json"), report)
