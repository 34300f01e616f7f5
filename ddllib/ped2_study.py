"""How often the interval of a threshold holds on UCSD Ped2, for every run of it in the book.

    python -m ddllib.ped2_study [--splits 200] [--to FOLDER]

One run's dozen of clips say little: how often an interval holds over their splits is as much the
run's as the interval's. Recorded runs keep their scores, so the normal frames of the test clips,
from the first to the last of each stretch, can be split at random for all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ddllib.commands import run_command
from ddllib.errors import DDLError
from ddllib.files import write_json
from ddllib.little_study import held
from ddllib.records import Record, environment, find_records
from ddllib.settings import RESULTS, recorded
from ddllib.threshold_study import CASES, PED2_RATE, normal_stretches

NAME = "ped2.json"


def judged_by_labels(records: Sequence[Record]) -> list[Record]:
    """Those whose scores are of UCSD Ped2's test clips, not of altered training clips."""
    asked = {"data": "ped2", "held_out": 0}
    return [r for r in records if asked.items() <= recorded(r.facts["settings"]).items()]


def measure(
    records: Sequence[Record], rates: Sequence[float], splits: int, progress: bool = True
) -> dict:
    """How often the interval held for each run and ``rate``, a share of frames in (0, 1).

    Raises ``DDLError`` where there is no record.
    """
    if not records:
        raise DDLError(f"{RESULTS}: no record of Ped2's test clips; restore the folder")
    rows = []
    for record in tqdm(records, desc="runs", disable=not progress):
        clips = normal_stretches(record.scores, record.labels)
        shares = [held(clips, rate, PED2_RATE, splits) for rate in rates]
        facts = {"stretches": len(clips), "frames": sum(map(len, clips.values()))}
        rows.append({"run": record.name, **facts, "covered": shares})
    return {"rates": list(rates), "splits": splits, "rows": rows}


def lines(report: Mapping) -> list[str]:
    """What came of it, a sentence for each rate."""
    rows = report["rows"]
    shares = 100 * np.array([row["covered"] for row in rows])
    frames = sorted({row["frames"] for row in rows})
    many = " or ".join(str(count) for count in frames)
    return [
        f"{len(rows)} runs of Ped2, the {many} normal frames of the test clips of each split "
        f"{report['splits']} times; {100 * rate:g} % of frames asked for: held in {mean:.0f} % "
        f"of all splits, and in {low:.0f} to {high:.0f} % of those of a single run"
        for rate, mean, low, high in zip(
            report["rates"], shares.mean(0), shares.min(0), shares.max(0), strict=True
        )
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.ped2_study", description=__doc__)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("ped2_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    rates = [rate for name, _, rate in CASES if name == "ped2"]
    made_with = environment()
    report = measure(judged_by_labels(find_records(RESULTS)), rates, given.splits)
    print(*lines(report), sep="\n")
    if given.to:
        write_json(given.to / NAME, {**report, "environment": made_with})


if __name__ == "__main__":
    sys.exit(main())
