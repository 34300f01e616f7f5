"""Benchmark: what a watch saves by not scoring what does not move.

    python -m ddllib benchmark still [--run RUN] [--frames 600] [--to record.json]

Two streams of grey frames at the run's working size are watched with and without ``--still skip``
in one process, in turns: ``still``, in which three objects pass (``still_streams``), and
``walkway``, ordinary minutes of the generated scene, in which people walk all the time. Told are
the share of frames that were not scored, and the processor's time for a frame with all that a watch
does but decoding: scores, filter, table. The threshold is above all scores: no alarm is raised.
Without ``--run`` it is the run of ``benchmark cameras``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from data_prep.live.sources import Frame
from ddllib.camera.still_scorer import StillScorer, check_skips
from ddllib.camera.watch import watch
from ddllib.devices import describe_device
from ddllib.experiments.still_streams import Visit, still_stream
from ddllib.experiments.walkway_run import SIZES, named, walkway_run, walkway_settings
from ddllib.io.commands import Parser, frames_per_second, run_command, whole
from ddllib.io.files import write_json
from ddllib.methods import method_of
from ddllib.records import environment
from ddllib.runs import Run
from ddllib.training import load_run

ROUNDS = 3  # of each stream, with and without in turns; the median counts


@dataclass(frozen=True)
class Saved:
    """What skipping saved: milliseconds of the processor for a frame, the share not scored."""

    stream: str
    frames: int
    reused_share: float
    scored_ms: float
    skipped_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib benchmark still``; returns the exit status."""
    parser = Parser(prog="python -m ddllib benchmark still", description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a trained run; without it one is made")
    parser.add_argument("--frames", type=whole("frames", 100), default=600, help="of a stream")
    parser.add_argument("--rate", type=frames_per_second, default=10.0, help="frames per second")
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("benchmark", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    run = load_run(options.run or walkway_run(walkway_settings(SIZES["360p"], options.rate)))
    check_skips(method_of(run.settings).scorer(run), run.settings.method)
    side = run.settings.size
    streams = {"still": _still, "walkway": _walkway}
    rows = [
        saved(run, name, make((side, side), options.frames), options.rate)
        for name, make in streams.items()
    ]
    print(pd.DataFrame(map(asdict, rows)).round(3).to_string(index=False))
    if options.to:
        record = {"device": describe_device(run.device), "environment": environment()}
        record |= {"run": named(options.run), "rate": options.rate, "rounds": ROUNDS}
        write_json(options.to, record | {"rows": [asdict(row) for row in rows]})


def saved(run: Run, name: str, images: Sequence[np.ndarray], rate: float) -> Saved:
    """Watch a stream, uint8 1 x H x W each, with and without skipping, ``ROUNDS`` times."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    reused = 0
    for _ in range(ROUNDS):
        for skips, times in costs.items():
            frames = [
                Frame(k, k / rate, image, k == 0, time.monotonic())
                for k, image in enumerate(images)
            ]
            scorer = method_of(run.settings).scorer(run)
            with tempfile.TemporaryDirectory() as folder:
                began = time.process_time()
                scorer = StillScorer(scorer) if skips else scorer
                report = watch(frames, scorer, folder, tell=lambda line: None)
                times.append((time.process_time() - began) / len(images) * 1e3)
            reused = report.reused or reused
    scored_ms, skipped_ms = (float(np.median(costs[skips])) for skips in (False, True))
    return Saved(name, len(images), reused / len(images), scored_ms, skipped_ms)


def _still(size: tuple[int, int], count: int) -> list[np.ndarray]:
    height, width = size
    visits = [
        Visit(count // 3, max(height // 12, 1), max(height // 30, 1), 2.0, 40.0),
        Visit(count // 2, height // 3, height // 8, 4.0, 60.0),
        Visit(3 * count // 4, max(height // 20, 1), max(height // 40, 1), 1.0, 70.0),
    ]
    return [image[None] for image, _ in still_stream(count, size, visits)]


def _walkway(size: tuple[int, int], count: int) -> list[np.ndarray]:
    from data_prep.demo import ordinary

    greys = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in ordinary(0, 0, count))
    return [cv2.resize(g, size[::-1], interpolation=cv2.INTER_AREA)[None] for g in greys]
