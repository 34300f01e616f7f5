"""Benchmark: the speed of our path compared with the textbook path.

    python -m ddllib benchmark [--cases small paper] [--judge ped2-cpu] [--to record.json]

Both paths have the same weights and images and alternate in one process; times are medians over
the rounds. The table shows each speed-up with the largest difference of the results, the memory,
and the share of the speed that this machine reaches in a matrix product. ``--judge`` scores
a trained profile's test clips both ways and compares the AUC. ``benchmark cameras``, ``benchmark
export``, ``benchmark still`` and ``benchmark terms`` measure something else, each in a module of
its name.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ddllib import pipeline
from ddllib.devices import (
    can_compile,
    describe_device,
    resolve_device,
)
from ddllib.evaluation import evaluate
from ddllib.experiments import (
    benchmark_cameras,
    benchmark_export,
    benchmark_still,
    benchmark_terms,
    speedups,
    textbook,
)
from ddllib.experiments.benchmark_tables import (
    judged_table,
    size_sentence,
    speed_table,
    speedup_table,
)
from ddllib.experiments.benchmark_work import (
    CASES,
    COMPILED,
    TEXTBOOK,
    WORK,
    Case,
    Way,
    precisions_of,
    read_clip,
    sample_of,
    settings_of,
    work_of,
    write_images,
)
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.scoring import Scorer, as_input
from ddllib.settings import Settings, load_profile

TF32 = "TF32"
TURN = 2.0  # seconds of timed work in a turn, at least
WARM_UP_REPEATS = 2  # not timed: the first calls allocate memory that later ones reuse
TIMED_REPEATS = 3  # timed, at least: single calls of some seconds vary by a quarter


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    others = {
        "cameras": benchmark_cameras,
        "export": benchmark_export,
        "still": benchmark_still,
        "terms": benchmark_terms,
    }
    if arguments and arguments[0] in others:
        return others[arguments[0]].main(arguments[1:])
    parser = Parser(prog="python -m ddllib benchmark", description=__doc__)
    parser.add_argument("--rounds", type=whole("rounds"), default=3)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--cases", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--judge", metavar="PROFILE", help="a profile whose run is trained")
    parser.add_argument(
        "--speedups", action="store_true", help="also measure without each speedup in turn"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("benchmark", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    judge_settings = load_profile(options.judge, device=options.device) if options.judge else None
    device = resolve_device(options.device)
    report = measure([CASES[name] for name in options.cases], options.device, options.rounds)
    if options.speedups:
        report["means"] = [
            row
            for name in options.cases
            for row in speedup_rows(CASES[name].on(device), device, options.rounds)
        ]
    if judge_settings:
        report["judged"] = judge(judge_settings)
    print(report["device"])
    for name, speed in report["ceilings"].items():
        print(f"matrix product, {name}: {speed / 1e12:.2f} TFLOP/s")
    print(size_sentence(report))
    for rows in (speed_table(report), judged_table(report), speedup_table(report)):
        print(rows.to_string(index=False))
    if options.to:
        write_json(options.to, report)


def measure(cases: Sequence[Case], device_name: str, rounds: int) -> dict:
    """All measurements as plain values: the machine, its ceilings and a row for each way."""
    device = resolve_device(device_name)
    report = {
        "device": describe_device(device),
        "environment": environment(),
        "ceilings": {n: matrix_product(device, n) for n in matrix_precisions(device)},
        "rows": [],
    }
    for case in cases:
        for what in WORK:
            report["rows"] += rows_of(case.on(device), what, device, rounds, report["ceilings"])
    return report


def matrix_precisions(device: torch.device) -> list[str]:
    """Precisions with a measured ceiling; on a GPU also TF32, the default of convolutions."""
    return ["float32", "bfloat16", *([TF32] if device.type == "cuda" else [])]


def matrix_product(device: torch.device, precision: str) -> float:
    """The machine's ceiling: FLOP per second of a large square matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.float32 if precision == TF32 else getattr(torch, precision)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in "ab")
    previous = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == TF32
    try:
        return 2 * side**3 / alternate({"product": lambda: a @ b}, 5, device)["product"]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = previous


def alternate(ways: Mapping[str, Callable], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each way; the ways alternate in every round.

    In its turn a way is timed ``TIMED_REPEATS`` times, or for ``TURN`` seconds if it is quick,
    after ``WARM_UP_REPEATS`` untimed calls.
    """
    seconds_of_way: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with _backend_settings(name):
                seconds_of_way[name] += _turn(way, device)[WARM_UP_REPEATS:]
    return {name: statistics.median(seconds) for name, seconds in seconds_of_way.items()}


def _turn(way: Callable, device: torch.device) -> list[float]:
    """Seconds of each call of a way in its turn, the first ``WARM_UP_REPEATS`` included."""
    seconds: list[float] = []
    while len(seconds) < WARM_UP_REPEATS + TIMED_REPEATS or sum(seconds[WARM_UP_REPEATS:]) < TURN:
        started = time.perf_counter()
        way()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds


def _backend_settings(name: str) -> contextlib.AbstractContextManager:
    """The textbook path uses PyTorch's default flags, ours the flags of this project."""
    if name == TEXTBOOK:  # by default PyTorch uses TF32 in convolutions
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)
    return contextlib.nullcontext()


def rows_of(case: Case, what: str, device: torch.device, rounds: int, ceilings) -> list[dict]:
    """One row for each way of scoring or training at one size."""
    with tempfile.TemporaryDirectory() as folder:
        names = [TEXTBOOK, *precisions_of(device)]
        if what == "training" and can_compile(device):
            names.append(COMPILED)
        ways = {name: WORK[what](case, device, Path(folder), name) for name in names}
        # Training changes the weights, so only the first results of each way are comparable.
        outcome = {name: way() for name, way in ways.items()}
        seconds = alternate(ways, rounds, device)
        if device.type == "cuda":
            peaks = {name: gpu_memory(way) for name, way in ways.items()}
        else:
            peaks = {name: peak_memory(case, what, name) for name in ways}
    windows, work = work_of(case, what)
    literal = TF32 if device.type == "cuda" else "float32"
    precision = {TEXTBOOK: literal, COMPILED: precisions_of(device)[-1]}
    return [
        {
            "case": case.name,
            "size": case.size,
            "latent_dim": case.latent_dim,
            "what": what,
            "way": name,
            "seconds": total / windows,
            "ratio": seconds[TEXTBOOK] / total,
            "difference": float(np.abs(outcome[name] - outcome[TEXTBOOK]).max()),
            "share": work / total / ceilings[precision.get(name, name)],
            "peak_mib": peaks[name],
        }
        for name, total in seconds.items()
    ]


def gpu_memory(way: Way) -> float:
    """Peak MiB of GPU memory of one way above the memory in use before."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def peak_memory(case: Case, what: str, name: str) -> float | None:
    """Peak MiB of one way, in its own process, above the memory in use before.

    None where the system does not provide it.
    """
    if not Path("/proc/self/status").is_file():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_peak_of_process, case, what, name).result()


def _peak_of_process(case: Case, what: str, name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        way = WORK[what](case, torch.device("cpu"), Path(folder), name)
        WORK[what](replace(case, size=32, latent_dim=8), torch.device("cpu"), Path(folder), name)()
        before = _memory_status("VmRSS")  # after all code is loaded
        with _backend_settings(name):
            way()
        return _memory_status("VmHWM") - before


def _memory_status(name: str) -> float:
    """MiB that this process uses (VmRSS) or used at most (VmHWM), as Linux reports."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


def speedup_rows(case: Case, device: torch.device, rounds: int) -> list[dict]:
    """How many times longer the work takes without each speedup; records call it a means."""
    with tempfile.TemporaryDirectory() as folder:
        clip = torch.from_numpy(read_clip(write_images(Path(folder), case.frames), case.size))
    clip, starts = clip.to(device), [k % (case.frames - 2) for k in range(case.batch)]
    settings = settings_of(case, precisions_of(device)[-1], device)
    frames = clip[:18].float().div(255).expand(-1, 3, -1, -1)
    batch = sample_of(case, clip, starts)
    seconds = {
        "scoring": alternate(speedups.scoring_without(settings, frames), rounds, device),
        "training": alternate(speedups.training_without(settings, batch), rounds, device),
    }
    return [
        {
            "case": case.name,
            "what": what,
            "means": name,
            "ratio": total / seconds_without[speedups.WITH_ALL],
        }
        for what, seconds_without in seconds.items()
        for name, total in seconds_without.items()
        if name != speedups.WITH_ALL
    ]


def judge(settings: Settings) -> dict:
    """The AUC of a trained run's test clips scored by each way, and the largest score difference.

    Trains the run first if necessary.
    """
    data = pipeline.prepare(settings, progress=False)
    run = pipeline.train(settings, data, progress=False)
    patch, model = settings.patch_size, run.model

    def slow(clip: np.ndarray) -> np.ndarray:
        def read(start: int) -> torch.Tensor:
            return as_input(clip[start : start + model.temporal], 3).transpose(0, 1)

        return textbook.score_clip(model, read, len(clip), patch)

    scores = {TEXTBOOK: {name: slow(clip) for name, clip in data.testing.items()}}
    for precision in precisions_of(run.device):
        scores[precision] = Scorer(model, patch, precision).clips(data.testing)
    return {
        "run": f"{settings.profile}/{settings.run_folder.name}",
        "protocol": settings.protocol,
        "auc": {w: evaluate(s, data.labels, settings.protocol).auc for w, s in scores.items()},
        "difference": {
            way: max(float(np.abs(way_scores[n] - scores[TEXTBOOK][n]).max()) for n in way_scores)
            for way, way_scores in scores.items()
        },
    }
