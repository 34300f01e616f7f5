"""Benchmark: what each term of the score costs beside the paper's.

    python -m ddllib benchmark terms [--case small] [--to record.json]

One model scores one clip by each score in turn, once as a clip and once frame by frame, as a stream
is watched. Told is the processor's time for a frame, the model's included, and its ratio to that of
the paper's score.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib import calibration
from ddllib.devices import describe_device, resolve_device
from ddllib.experiments.baselines import PLAIN
from ddllib.experiments.benchmark_work import (
    CASES,
    PATCH,
    precisions_of,
    read_clip,
    settings_of,
    settle,
    write_images,
)
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.scoring import Scorer
from ddllib.streaming import StreamScorer
from ddllib.training import new_run

SCORES = (PLAIN, "contrast", "motion", "averaged distance", "averaged contrast")
Work = Callable[[Scorer, np.ndarray], None]  # a scorer, and a clip uint8 N x C0 x H x W to score


@dataclass(frozen=True)
class Cost:
    """Milliseconds of the processor for a frame, and how many times the paper's score that is."""

    way: str
    score: str
    ms: float
    ratio: float


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib benchmark terms``; returns the exit status."""
    parser = Parser(prog="python -m ddllib benchmark terms", description=__doc__)
    parser.add_argument("--case", choices=[*CASES], default="small")
    parser.add_argument("--rounds", type=whole("rounds"), default=5)
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("benchmark", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    device, case = resolve_device("cpu"), CASES[options.case]
    precision = precisions_of(device)[-1]
    with tempfile.TemporaryDirectory() as folder:
        clip = read_clip(write_images(Path(folder), case.frames), case.size)
    model = new_run(settings_of(case, "float32", device)).model
    settle(model, clip, device)
    patch, rows = PATCH * case.size // 256, []
    for way, (kind, work) in WAYS.items():
        scorers = {score: kind(model, patch, precision, score=score) for score in SCORES}
        for scorer in scorers.values():
            calibration.measure(scorer, {"clip": clip})
        rows += costs(way, scorers, work, clip, options.rounds)
    print(pd.DataFrame(map(asdict, rows)).round(3).to_string(index=False))
    if options.to:
        record = {"device": describe_device(device), "environment": environment()}
        record |= {"size": case.size, "latent_dim": case.latent_dim, "precision": precision}
        write_json(options.to, record | {"rows": [asdict(row) for row in rows]})


def costs(
    way: str, scorers: Mapping[str, Scorer], work: Work, clip: np.ndarray, rounds: int
) -> list[Cost]:
    """What each score costs in turn; the median of the rounds counts, one before is not timed."""
    times: dict[str, list[float]] = {score: [] for score in scorers}
    for _ in range(rounds + 1):
        for score, scorer in scorers.items():
            began = time.process_time()
            work(scorer, clip)
            times[score].append((time.process_time() - began) / len(clip) * 1e3)
    medians = {score: statistics.median(known[1:]) for score, known in times.items()}
    return [Cost(way, score, ms, ms / medians[PLAIN]) for score, ms in medians.items()]


def _as_clip(scorer: Scorer, clip: np.ndarray) -> None:
    scorer.clip(clip)


def _as_stream(scorer: StreamScorer, clip: np.ndarray) -> None:
    for frame in clip:
        scorer.push(frame)
    scorer.finish()


WAYS: dict[str, tuple[type[Scorer], Work]] = {
    "clip": (Scorer, _as_clip),
    "stream": (StreamScorer, _as_stream),
}
