"""How often the interval that comes with a threshold holds, on real and on generated footage.

    python -m ddllib.threshold_study [--minutes 60] [--splits 200] [--to FOLDER]
    python -m ddllib.threshold_study --footage generated --first 360 --minutes 120

Normal footage is split at random, whole clips together, into two halves. A threshold is chosen by
one half, and the rate measured on the other is compared with the interval that was stated. Beside
it stand the interval that takes every frame or alarm for independent, and the one from drawing
clips again with replacement. Both ways to a threshold are tried on the same halves: counting, as
conformal prediction does, and a tail fitted to the peaks. Other minutes of the generated walkway
(``--first``) are footage that nothing of this was settled by.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ddllib import road
from ddllib.camera import LEAST_S, generated_scores
from ddllib.commands import run_command
from ddllib.evaluation import apply_protocol
from ddllib.events import count_events, least_frames
from ddllib.files import write_json
from ddllib.heldout import split
from ddllib.records import environment
from ddllib.scoring import score_clips
from ddllib.settings import Settings, load_profile
from ddllib.thresholds import (
    CONFIDENCE,
    Counts,
    Method,
    Threshold,
    Unit,
    autocorrelation_time,
    choose_threshold,
    count,
    first_within,
    stretches,
)

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
    found = {}
    for name in sorted(scores):
        edges = np.flatnonzero(np.diff(np.concatenate([[1], labels[name], [1]])))
        for first, stop in edges.reshape(-1, 2):
            found[f"{name}-{first}"] = apply_protocol(scores[name][first:stop], "median")
    return found


def ped2_clips(settings: Settings, progress: bool = True) -> Clips:
    """Filtered scores, N by clip, of all frames of UCSD Ped2 that are normal and not trained on.

    These are the clips that a run held out, and the normal frames of the test clips; the run is
    trained now if it is not there.
    """
    data = road.prepare(settings, progress)
    run = road.train(settings, data, progress)
    _, held = split(data, settings.held_out)

    def raw(clips: Mapping) -> Clips:
        return score_clips(run.model, clips, settings.patch_size, run.precision)

    kept = {f"held out {n}": apply_protocol(scores, "median") for n, scores in raw(held).items()}
    return kept | normal_stretches(raw(data.testing), data.labels)


def generated_minutes(
    settings: Settings, minutes: int, progress: bool = True, first: int = 0
) -> Clips:
    """Filtered scores of ordinary footage of the generated walkway, a minute to a clip.

    ``minutes`` from minute ``first`` on, scored by the profile's run, which is trained now if it is
    not there.
    """
    data = road.prepare(settings, progress)
    run = road.train(settings, data, progress)
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
    least = least_frames(LEAST_S, frame_rate)
    found = [count_events(c, chosen.value, chosen.release, least) for c in clips.values()]
    return sum(found) / (frames / frame_rate / 3600)


def independent(rate: float, future: float) -> tuple[float, float]:
    """The interval if every alarm, or frame, were independent of the others."""
    low, high = stats.poisson.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], rate * future)
    return low / future, high / future


def redrawn(counts: Counts, rate: float, future: float, rng) -> tuple[float, float]:
    """The interval from drawing stretches again: some to choose by, others to measure on."""
    many = len(counts.sizes)
    others = max(round(future / counts.total * many), 1)
    by, on = (rng.multinomial(drawn, np.full(many, 1 / many), DRAWS) for drawn in (many, others))
    over = by @ counts.counts > rate * (by @ counts.sizes)[:, None]
    chosen = first_within(over)
    rates = (on @ counts.counts)[np.arange(DRAWS), chosen] / (on @ counts.sizes)
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def study(clips: Clips, unit: Unit, rate: float, frame_rate: float, splits: int) -> dict:
    """One row: how often each interval held over the splits, and how wide it was."""
    held = {"stated": [], "independent": [], "redrawn": []}
    ways: dict[str, list[float]] = {method: [] for method in WAYS}
    rates, methods, rng = [], [], np.random.default_rng(0)
    for one, other in halves(clips, splits):
        frames = sum(map(len, other.values()))
        hours = frames / frame_rate / 3600
        chosen = choose_threshold(one, rate, unit, frame_rate, LEAST_S, over=hours)
        rates.append(measured(chosen, other, frame_rate))
        methods.append(chosen.method)
        for method in ways:
            by = chosen
            if method != chosen.method:
                by = choose_threshold(one, rate, unit, frame_rate, LEAST_S, method=method)
            ways[method].append(measured(by, other, frame_rate))
        future = hours if unit == "alarms per hour" else frames
        parts = stretches([one[name] for name in sorted(one)])
        counts = count(parts, chosen.quiet, unit, frame_rate, LEAST_S)
        held["stated"].append((chosen.low, chosen.high))
        held["independent"].append(independent(rate, future))
        held["redrawn"].append(redrawn(counts, rate, future, rng))
    return {
        "unit": unit,
        "rate": rate,
        "splits": splits,
        "extrapolated": methods.count("extreme value") / splits,
        "measured": np.quantile(rates, [0.05, 0.5, 0.95]).tolist(),
        "ways": {m: np.quantile(r, [0.05, 0.5, 0.95]).tolist() for m, r in ways.items()},
        **{name: _coverage(np.array(pairs), np.array(rates)) for name, pairs in held.items()},
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
    """Every case as plain values, with what the footage was and a threshold by all of it.

    Only footage that a case names is looked at; of the generated one ``minutes`` from ``first`` on.
    """
    made_with, names = environment(), dict.fromkeys(name for name, _, _ in cases)
    footage = {name: _footage(name, minutes, first, progress) for name in names}
    report = {
        "scores": {name: made_by for name, (_, _, made_by) in footage.items()},
        "footage": {name: describe(clips, rate) for name, (clips, rate, _) in footage.items()},
        "first_minute": first,
        "least_s": LEAST_S,
        "rows": [],
        "environment": made_with,
    }
    for name, unit, rate in cases:
        clips, frame_rate, _ = footage[name]
        row = {"footage": name, **study(clips, unit, rate, frame_rate, splits)}
        by_all = choose_threshold(clips, rate, unit, frame_rate, LEAST_S)
        report["rows"].append({**row, "by all": by_all.asdict()})
    return report


def _footage(name: str, minutes: int, first: int, progress: bool) -> tuple[Clips, float, str]:
    """Filtered scores by clip, the frames a second, and which run scored them."""
    from data_prep.demo.story import FRAME_RATE

    if name == "ped2":
        settings, rate = load_profile("ped2-table2", **PED2), PED2_RATE
        clips = ped2_clips(settings, progress)
    else:
        settings, rate = load_profile("demo"), FRAME_RATE
        clips = generated_minutes(settings, minutes, progress, first)
    return clips, rate, f"{settings.profile}/{settings.run_folder.name}"


def describe(clips: Clips, frame_rate: float) -> dict:
    """How much footage there is, and how many frames count as one."""
    frames = sum(map(len, clips.values()))
    return {
        "clips": len(clips),
        "frames": frames,
        "hours": frames / frame_rate / 3600,
        "frame_rate": frame_rate,
        "autocorrelation_s": autocorrelation_time(list(clips.values())) / frame_rate,
    }


def footage_lines(report: Mapping) -> list[str]:
    """What footage the study had, a line each, and how many splits were drawn."""
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
        held = {name: f"{100 * row[name]['covered']:.0f}" for name in INTERVALS}
        rows.append(
            {
                "footage": row["footage"],
                "asked for": f"{scale * row['rate']:g}{unit}",
                "measured": f"{scale * row['measured'][1]:.3g}",
                "interval": f"{stated['low']} – {stated['high']}",
                "width": stated["width"],
                **{INTERVALS[name]: share for name, share in held.items()},
            }
        )
    return pd.DataFrame(rows)


HONEST = (0.85, 0.95)  # of the splits: less is too sure of itself, more is wider than need be


def verdict(report: Mapping) -> str:
    """In how many cases the stated interval held as often as it should, a sentence."""
    covered = [row["stated"]["covered"] for row in report["rows"]]
    within = sum(HONEST[0] <= share <= HONEST[1] for share in covered)
    above = sum(share > HONEST[1] for share in covered)
    return (
        f"held in {100 * HONEST[0]:.0f} to {100 * HONEST[1]:.0f} % of the splits in {within} of "
        f"{len(covered)} cases, in more in {above}, in fewer in {len(covered) - within - above}; "
        f"by the number of splits alone a share is known to {_split_error(report):.0f} points, and "
        "other footage may differ by more"
    )


def _split_error(report: Mapping) -> float:
    """The standard error of a share of so many splits, in points, were they independent."""
    splits = min(row["splits"] for row in report["rows"])
    return 100 * (CONFIDENCE * (1 - CONFIDENCE) / splits) ** 0.5


def ways_table(report: Mapping) -> pd.DataFrame:
    """The rate that a threshold of either way had on the other half: median, and 90 in 100 splits.

    In the unit that was asked for, as in ``table``; "in use" is the way that is taken by itself.
    """
    rows = []
    for row in report["rows"]:
        scale, unit = (100, " %") if row["unit"] == "share of frames" else (1, " an hour")
        cells = {}
        for way, quantiles in row["ways"].items():
            low, middle, high = (f"{scale * value:.3g}" for value in quantiles)
            cells[WAYS[way]] = f"{middle} ({low} – {high})"
        used = WAYS["extreme value" if row["extrapolated"] > 0.5 else "counted"]
        asked = f"{scale * row['rate']:g}{unit}"
        rows.append({"footage": row["footage"], "asked for": asked, **cells, "in use": used})
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.threshold_study", description=__doc__)
    known = sorted({name for name, _, _ in CASES})
    parser.add_argument("--footage", nargs="*", choices=known, default=known)
    parser.add_argument("--minutes", type=int, default=60, help="generated footage, minutes")
    parser.add_argument("--first", type=int, default=0, help="the first of these minutes")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("threshold_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    cases = [case for case in CASES if case[0] in given.footage]
    report = measure(cases, given.minutes, given.splits, first=given.first)
    print(table(report).to_string(index=False), ways_table(report).to_string(index=False), sep="\n")
    if given.to:
        write_json(given.to / ("later.json" if given.first else "study.json"), report)


if __name__ == "__main__":
    sys.exit(main())
