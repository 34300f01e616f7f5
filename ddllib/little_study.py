"""How often the interval of a threshold holds where there is as little footage as UCSD Ped2 has.

    python -m ddllib.little_study [--sets 100] [--to FOLDER]

Ped2's normal clips are one set of a dozen. Splits of one set are much alike: how often an interval
holds over them says as much of the set as of the interval (``ddllib.threshold_study``). So many
sets are drawn from the generated walkway, each of as many clips, as long for how long scores
remember, and every set is split many times.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ddllib.camera import LEAST_S
from ddllib.commands import run_command
from ddllib.errors import DDLError
from ddllib.files import write_json
from ddllib.records import environment
from ddllib.settings import load_profile
from ddllib.threshold_study import (
    CASES,
    PED2,
    PED2_RATE,
    Clips,
    describe,
    generated_minutes,
    halves,
    measured,
    ped2_clips,
)
from ddllib.thresholds import choose_threshold

NAME = "little.json"


def as_little(facts: Mapping, other: Mapping) -> tuple[int, int]:
    """How many clips of how many frames of ``other`` footage are as little as ``facts``.

    Both are of ``threshold_study.describe``. As many clips, each of as many autocorrelation times.
    """
    times = facts["frames"] / facts["clips"] / facts["frame_rate"] / facts["autocorrelation_s"]
    return facts["clips"], max(round(times * other["autocorrelation_s"] * other["frame_rate"]), 1)


def draw_sets(clips: Clips, count: int, frames: int, sets: int, seed: int = 0) -> Iterator[Clips]:
    """Sets of ``count`` clips drawn at random, of each so many frames in a row from somewhere.

    Raises ``DDLError`` where there are too few clips, or shorter ones.
    """
    names, rng = sorted(clips), np.random.default_rng(seed)
    if len(names) < count or min(map(len, clips.values())) < frames:
        raise DDLError(
            f"{len(names)} clips to draw from; expected {count} or more, of {frames} frames each: "
            "give more minutes"
        )
    for _ in range(sets):
        starts = {
            names[k]: int(rng.integers(len(clips[names[k]]) - frames + 1))
            for k in rng.choice(len(names), count, replace=False)
        }
        yield {name: clips[name][start : start + frames] for name, start in starts.items()}


def held(clips: Clips, rate: float, frame_rate: float, splits: int, seed: int = 0) -> float:
    """The share of random splits in which the interval held the share of frames that was found."""
    found = []
    for one, other in halves(clips, splits, seed):
        over = sum(map(len, other.values())) / frame_rate / 3600
        chosen = choose_threshold(one, rate, "share of frames", frame_rate, LEAST_S, over=over)
        found.append(chosen.low <= measured(chosen, other, frame_rate) <= chosen.high)
    return float(np.mean(found))


def measure(
    ped2: Clips, generated: Clips, rates: Sequence[float], frame_rate: float, sets: int, splits: int
) -> dict:
    """For each rate how often the interval held: over all sets, and of single ones 90 in 100.

    ``ped2`` and ``generated`` are filtered scores, N by clip, the latter at ``frame_rate`` per
    second; ``rates`` are shares of frames in (0, 1). Raises ``DDLError`` as ``draw_sets`` does.
    """
    count, frames = as_little(describe(ped2, PED2_RATE), describe(generated, frame_rate))
    drawn = list(draw_sets(generated, count, frames, sets))
    rows = []
    for rate in rates:
        shares = [held(own, rate, frame_rate, splits, k) for k, own in enumerate(drawn)]
        between = np.quantile(shares, [0.05, 0.95]).tolist()
        rows.append({"rate": rate, "covered": float(np.mean(shares)), "single sets": between})
    return {"sets": sets, "splits": splits, "clips": count, "frames": frames, "rows": rows}


def lines(report: Mapping) -> list[str]:
    """What came of it, a sentence for each rate."""
    return [
        f"{report['sets']} sets of {report['clips']} clips of the walkway, each set split "
        f"{report['splits']} times; {100 * row['rate']:g} % of frames asked for: held in "
        f"{100 * row['covered']:.0f} % of all splits, and in {100 * row['single sets'][0]:.0f} to "
        f"{100 * row['single sets'][1]:.0f} % of those of a single set, in 90 of 100 sets"
        for row in report["rows"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.little_study", description=__doc__)
    parser.add_argument("--minutes", type=int, default=120, help="generated footage, minutes")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("little_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    from data_prep.demo.story import FRAME_RATE

    made_with = environment()
    ped2 = ped2_clips(load_profile("ped2-table2", **PED2))
    generated = generated_minutes(load_profile("demo"), given.minutes)
    rates = [rate for name, _, rate in CASES if name == "ped2"]
    report = measure(ped2, generated, rates, FRAME_RATE, given.sets, given.splits)
    print(*lines(report), sep="\n")
    if given.to:
        write_json(given.to / NAME, {**report, "environment": made_with})


if __name__ == "__main__":
    sys.exit(main())
