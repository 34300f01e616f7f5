"""How often the interval of a threshold holds on UCSD Ped2, for every run of it in the book.

    python -m ddllib study ped2 [--splits 200] [--to FOLDER]

The dozen clips of one run say little, since all splits share the run's scores. Records hold the
scores of many runs, so the normal stretches of the test clips are split at random for each run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ddllib.errors import DDLError
from ddllib.experiments.baselines import has_plain_score
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.paths import RESULTS
from ddllib.records import Record, environment, find_records
from ddllib.settings import recorded
from studies.little_footage_study import held
from studies.threshold_study import CASES, PED2_RATE, normal_stretches

NAME = "ped2.json"


def judged_by_labels(records: Sequence[Record]) -> list[Record]:
    """The runs of DDL with scores of UCSD Ped2's test clips, not of altered training clips.

    Of the scores of one run those by the paper's score are taken.
    """
    values = {"data": "ped2", "held_out": 0}
    trained = [r for r in records if r.is_trained and r.method == "ddl" and has_plain_score(r)]
    return [r for r in trained if values.items() <= recorded(r.facts["settings"]).items()]


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
    """The results, a sentence for each rate."""
    rows = report["rows"]
    shares = 100 * np.array([row["covered"] for row in rows])
    frames = sorted({row["frames"] for row in rows})
    counts = " or ".join(str(count) for count in frames)
    return [
        f"Ped2, {100 * rate:g} % of frames asked for: the interval held in {mean:.0f} % of all "
        f"splits, and in {low:.0f} to {high:.0f} % of those of a single run ({len(rows)} runs; the "
        f"{counts} normal frames of the test clips were split {report['splits']} times for each)"
        for rate, mean, low, high in zip(
            report["rates"], shares.mean(0), shares.min(0), shares.max(0), strict=True
        )
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study ped2", description=__doc__)
    parser.add_argument("--splits", type=whole("splits"), default=200)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study ped2", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    rates = [rate for name, _, rate in CASES if name == "ped2"]
    environment_facts = environment()
    report = measure(judged_by_labels(find_records(RESULTS)), rates, options.splits)
    print(*lines(report), sep="\n")
    if options.to:
        write_json(options.to / NAME, {**report, "environment": environment_facts})
