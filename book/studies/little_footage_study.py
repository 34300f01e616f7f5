"""How often the interval of a threshold holds where there is as little footage as UCSD Ped2 has.

    python -m ddllib study little-footage [--sets 100] [--to FOLDER]

Ped2's normal clips are one set of a dozen. Splits of one set are similar, so how often an interval
holds over them (``threshold_study``) depends on the set as much as on the interval. Therefore many
sets are drawn from the generated walkway, each with as many clips as Ped2, of the same length in
autocorrelation times of the scores, and every set is split many times.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ddllib.camera.assembly import LEAST_S
from ddllib.camera.thresholds import choose_threshold
from ddllib.errors import DDLError
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.settings import load_profile
from studies.threshold_study import (
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

NAME = "little.json"


def as_little(facts: Mapping, other: Mapping) -> tuple[int, int]:
    """The number of clips and of frames per clip of ``other`` footage that equal ``facts`` in size.

    Both are from ``threshold_study.describe``. Clips are equal in number and in length, measured in
    autocorrelation times.
    """
    times = facts["frames"] / facts["clips"] / facts["frame_rate"] / facts["autocorrelation_s"]
    return facts["clips"], max(round(times * other["autocorrelation_s"] * other["frame_rate"]), 1)


def draw_sets(clips: Clips, count: int, frames: int, sets: int, seed: int = 0) -> Iterator[Clips]:
    """Sets of ``count`` randomly drawn clips, of each ``frames`` consecutive frames at random.

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
    """The share of random splits whose interval contains the measured share of frames."""
    is_within = []
    for first_half, second_half in halves(clips, splits, seed):
        hours = sum(map(len, second_half.values())) / frame_rate / 3600
        chosen = choose_threshold(
            first_half, rate, "share of frames", frame_rate, LEAST_S, over=hours
        )
        is_within.append(chosen.low <= measured(chosen, second_half, frame_rate) <= chosen.high)
    return float(np.mean(is_within))


def measure(
    ped2: Clips, generated: Clips, rates: Sequence[float], frame_rate: float, sets: int, splits: int
) -> dict:
    """For each rate how often the interval held: over all sets, and the central 90 % of sets.

    ``ped2`` and ``generated`` are filtered scores, N by clip, the latter at ``frame_rate`` per
    second; ``rates`` are shares of frames in (0, 1). Raises ``DDLError`` as ``draw_sets`` does.
    """
    count, frames = as_little(describe(ped2, PED2_RATE), describe(generated, frame_rate))
    clip_sets = list(draw_sets(generated, count, frames, sets))
    rows = []
    for rate in rates:
        shares = [held(clips, rate, frame_rate, splits, k) for k, clips in enumerate(clip_sets)]
        central_90 = np.quantile(shares, [0.05, 0.95]).tolist()
        rows.append({"rate": rate, "covered": float(np.mean(shares)), "single sets": central_90})
    return {"sets": sets, "splits": splits, "clips": count, "frames": frames, "rows": rows}


def lines(report: Mapping) -> list[str]:
    """The results, a sentence for each rate."""
    return [
        f"the walkway, {100 * row['rate']:g} % of frames asked for: the interval held in "
        f"{100 * row['covered']:.0f} % of all splits; for 90 of 100 sets, in "
        f"{100 * row['single sets'][0]:.0f} to {100 * row['single sets'][1]:.0f} % of their splits "
        f"({report['sets']} sets of {report['clips']} clips, each split {report['splits']} times)"
        for row in report["rows"]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study little-footage", description=__doc__)
    parser.add_argument(
        "--minutes", type=whole("minutes"), default=120, help="generated footage, minutes"
    )
    parser.add_argument("--sets", type=whole("sets"), default=100)
    parser.add_argument("--splits", type=whole("splits"), default=40)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study little-footage", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    from data_prep.demo.story import FRAME_RATE

    environment_facts = environment()
    ped2 = ped2_clips(load_profile("ped2-table2", **PED2))
    generated = generated_minutes(load_profile("demo"), options.minutes)
    rates = [rate for name, _, rate in CASES if name == "ped2"]
    report = measure(ped2, generated, rates, FRAME_RATE, options.sets, options.splits)
    print(*lines(report), sep="\n")
    if options.to:
        write_json(options.to / NAME, {**report, "environment": environment_facts})
