"""Benchmark: an exported run beside the project's own scoring of a stream, on one core.

    python -m ddllib benchmark export --run RUN [--rounds 7] [--to record.json]

A watch encodes each frame once and keeps its features; an exported file takes whole windows and
encodes each frame T times. Whether another runtime is quicker all the same is measured here, also
as ``watch --backend openvino`` uses it, which encodes each frame once, too. All ways score
the same frames in turn, each with one thread; times are processor times of this process, which
count little of what else runs on the machine.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from ddllib.devices import bfloat16_unit, describe_device, resolve_device
from ddllib.export import command
from ddllib.export.formats import FORMATS, Ask
from ddllib.export.runtime import OpenVinoModel
from ddllib.export.window import ScoredWindow, as_onnx
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.streaming import StreamScorer

FRAMES = 24  # scored in a turn
OURS = "this project, frame by frame"

# A frame, uint8 C0 x H x W, to the score of the newest window; None until there is a window.
Push = Callable[[np.ndarray], float | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib benchmark export``; returns the exit status."""
    parser = Parser(prog="python -m ddllib benchmark export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    parser.add_argument("--rounds", type=whole("rounds"), default=7)
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("benchmark", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    for kind in FORMATS.values():
        kind.check_packages()
    export_options = command.parser().parse_args([str(options.run), "--to", "onnx"])
    ready, scorer = command.scorer_to_export(export_options)
    shape = FRAMES, ready.known.channels, *ready.known.size
    frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ways = ways_of(ready.run.model, scorer, shape[1:], Path(folder))
            rows = measure(ways, frames, options.rounds)
    finally:
        torch.set_num_threads(threads)
    print(pd.DataFrame(rows).to_string(index=False))
    if options.to:
        facts = {"device": describe_device(resolve_device("cpu")), "environment": environment()}
        facts |= {"run": ready.run.folder.resolve().name, "shape": list(shape)}
        write_json(options.to, {**facts, "rounds": options.rounds, "rows": rows})


def ways_of(
    model: nn.Module, scorer: StreamScorer, shape: tuple[int, int, int], folder: Path
) -> dict[str, Push]:
    """Every way to score a stream of frames of ``shape``, C0 x H x W; files go to ``folder``."""
    ways = {OURS: _own(scorer)}
    if bfloat16_unit():
        arguments = scorer.patch, "bfloat16", scorer.ignore, scorer.score, scorer.terms.scaled
        rounded = StreamScorer(model, *arguments)
        rounded.terms.calibrate(scorer.terms.calibration)
        ways[f"{OURS}, in bfloat16"] = _own(rounded)
    graph = as_onnx(ScoredWindow(model, scorer), shape[0], shape[1:])
    for name, kind in FORMATS.items():
        path = folder / f"window{kind.suffix}"
        kind.write(graph, {}, path)
        ways[f"{name}, whole windows"] = _whole_windows(kind.opened(path), scorer)
    if hasattr(model, "encode_frames"):
        for precision in ("float32", "bfloat16") if bfloat16_unit() else ("float32",):
            quick = copy.deepcopy(scorer)
            quick.model = OpenVinoModel(model, shape[1:], precision)
            name = f"openvino, each frame encoded once, in {precision}"
            ways[name.removesuffix(", in float32")] = _own(quick)
    return ways


def measure(ways: Mapping[str, Push], frames: np.ndarray, rounds: int) -> list[dict]:
    """A row for each way: milliseconds of the processor a frame, and how it compares with ours.

    ``ratio`` is the median over the rounds of our time over this one's, above 1 for what is
    quicker; ``difference`` the largest difference of a score from ours.
    """
    scores = {name: _scores(push, frames) for name, push in ways.items()}  # warms up, too
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, push in ways.items():
            began = time.process_time()
            _scores(push, frames)
            seconds[name].append((time.process_time() - began) / len(frames))
    return [
        {
            "way": name,
            "ms_of_cpu": 1000 * statistics.median(taken),
            "ratio": float(np.median(np.divide(seconds[OURS], taken))),
            "difference": float(np.abs(scores[name] - scores[OURS]).max()),
        }
        for name, taken in seconds.items()
    ]


def _scores(push: Push, frames: np.ndarray) -> np.ndarray:
    """The scores of the frames that have a whole window in ``frames``."""
    answers = [push(frame) for frame in frames]
    return np.array([score for score in answers if score is not None])


def _own(scorer: StreamScorer) -> Push:
    def push(frame: np.ndarray) -> float | None:
        scored = scorer.push(frame)
        return None if scored is None else scored.score

    return push


def _whole_windows(ask: Ask, scorer: StreamScorer) -> Push:
    window: deque[np.ndarray] = deque(maxlen=scorer.model.temporal)

    def push(frame: np.ndarray) -> float | None:
        window.append(frame)
        full = len(window) == window.maxlen
        return float(ask(np.stack(window)[None])[0][0]) if full else None

    return push
