"""How fast the method runs here, against the textbook path.

    python -m ddllib.benchmark [--cases small paper] [--judge ped2-cpu] [--to record.json]

Both paths have the same weights and the same images and take turns in one process; medians over
the rounds. The table shows each ratio beside the largest difference of what came out, the memory
it took, and the share of this machine's measured matrix product that is reached. ``--judge`` scores
a trained profile's test clips both ways and compares the AUC.
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
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from ddllib import means, road, textbook
from ddllib.commands import run_command
from ddllib.devices import (
    can_compile,
    describe_device,
    resolve_device,
    resolve_precision,
    searched_kernels,
)
from ddllib.evaluation import evaluate
from ddllib.files import write_json
from ddllib.means import flops
from ddllib.memory import keep_freed_memory
from ddllib.models import Conv3DSkipUNet
from ddllib.records import environment
from ddllib.scoring import as_input, score_clip, score_clips
from ddllib.settings import Settings, load_profile
from ddllib.training import new_optimiser, new_run, train_step
from ddllib.windows import paint_boxes

PATCH = 16  # pixels at size 256
BOX = (0.3, 0.4, 0.45, 0.8)  # where a pseudo-anomaly lies, relative to the frame
TEXTBOOK = "textbook"
COMPILED = "compiled"
TF32 = "TF32"
TURN = 2.0  # seconds that a way works in its turn, at least, once it is warm
FIRST_TIMES = 2  # that do not count: memory that is kept from then on has yet to be found
TIMES = 3  # that count, at least: single ones of some seconds differ by a quarter


@dataclass(frozen=True)
class Case:
    """One size to measure: `frames` of a clip to score, `batch` windows to train on."""

    name: str
    size: int
    latent_dim: int
    frames: int
    batch: int

    def on(self, device: torch.device) -> Case:
        """A GPU takes more at a time: windows as the paper trains on, frames for 64 windows."""
        return replace(self, frames=66, batch=10) if device.type == "cuda" else self


CASES = {c.name: c for c in (Case("small", 128, 64, 66, 10), Case("paper", 256, 512, 18, 2))}

# A way to do some work: it is called with nothing and gives what came out of it.
Way = Callable[[], np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--cases", nargs="*", choices=[*CASES], default=[*CASES])
    parser.add_argument("--judge", metavar="PROFILE", help="a profile whose run is trained")
    parser.add_argument("--means", action="store_true", help="also leave out one means at a time")
    parser.add_argument("--to", type=Path, metavar="FILE", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("benchmark", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    judged = load_profile(given.judge, device=given.device) if given.judge else None
    device = resolve_device(given.device)
    report = measure([CASES[name] for name in given.cases], given.device, given.rounds)
    if given.means:
        report["means"] = [
            row
            for name in given.cases
            for row in means_rows(CASES[name].on(device), device, given.rounds)
        ]
    if judged:
        report["judged"] = judge(judged)
    print(report["device"])
    for name, speed in report["ceilings"].items():
        print(f"matrix product, {name}: {speed / 1e12:.2f} TFLOP/s")
    print(sizes_told(report))
    for shown in (speed_table(report), judged_table(report), means_table(report)):
        print(shown.to_string(index=False))
    if given.to:
        write_json(given.to, report)


def measure(cases: Sequence[Case], device_name: str, rounds: int) -> dict:
    """Everything measured, as plain values: the machine, its ceilings and a row for each way."""
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
    """Those with a ceiling; TF32, float32 with shorter products, is what a GPU is used with."""
    return ["float32", "bfloat16", *([TF32] if device.type == "cuda" else [])]


def matrix_product(device: torch.device, precision: str) -> float:
    """The machine's ceiling: FLOP per second of a large square matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.float32 if precision == TF32 else getattr(torch, precision)
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in "ab")
    was = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == TF32
    try:
        return 2 * side**3 / alternate({"product": lambda: a @ b}, 5, device)["product"]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = was


def alternate(ways: Mapping[str, Callable], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each way; all take their turn in every round.

    In its turn a way works ``TIMES`` times, or for ``TURN`` seconds if it is quick, after
    ``FIRST_TIMES`` that do not count: as in the middle of a training.
    """
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            with _surroundings(name):
                took[name] += _turn(way, device)[FIRST_TIMES:]
    return {name: statistics.median(seconds) for name, seconds in took.items()}


def _turn(way: Callable, device: torch.device) -> list[float]:
    """Seconds of each time that a way works in its turn, the first ``FIRST_TIMES`` included."""
    took: list[float] = []
    while len(took) < FIRST_TIMES + TIMES or sum(took[FIRST_TIMES:]) < TURN:
        started = time.perf_counter()
        way()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    return took


def _surroundings(name: str) -> contextlib.AbstractContextManager:
    """The textbook path runs as PyTorch does by itself, ours as in the middle of its work."""
    if name == TEXTBOOK:  # on a GPU, PyTorch lets convolutions round their products
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)
    return contextlib.nullcontext() if name == means.KEPT else keep_freed_memory(warm=0)


def rows_of(case: Case, what: str, device: torch.device, rounds: int, ceilings) -> list[dict]:
    """One row for each way of scoring or training at one size."""
    with tempfile.TemporaryDirectory() as folder:
        names = [TEXTBOOK, *precisions_of(device)]
        if what == "training" and can_compile(device):
            names.append(COMPILED)
        ways = {name: WORK[what](case, device, Path(folder), name) for name in names}
        outcome = {name: way() for name, way in ways.items()}  # the first of each are comparable
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
            "seconds": spent / windows,
            "ratio": seconds[TEXTBOOK] / spent,
            "difference": float(np.abs(outcome[name] - outcome[TEXTBOOK]).max()),
            "share": work / spent / ceilings[precision.get(name, name)],
            "peak_mib": peaks[name],
        }
        for name, spent in seconds.items()
    ]


def scoring(case: Case, device: torch.device, folder: Path, name: str) -> Way:
    """Gives a clip's scores: the textbook path from its files, ours from its array."""
    files = write_images(folder, case.frames)
    clip, patch = read_clip(files, case.size), PATCH * case.size // 256
    model = new_run(settings_of(case, "float32", device)).model
    settle(model, clip, device)

    def read(start: int) -> torch.Tensor:
        return textbook.read_window(files[start : start + 3], case.size, 1)

    if name == TEXTBOOK:
        return lambda: textbook.score_clip(model, read, len(files), patch)
    return lambda: score_clip(model, clip, patch, name)


def training(case: Case, device: torch.device, folder: Path, name: str) -> Way:
    """Takes one step and gives its loss; later steps are of weights that went apart."""
    files = write_images(folder, case.frames)
    starts = [k % (case.frames - 2) for k in range(case.batch)]
    precision = precisions_of(device)[-1] if name == COMPILED else name
    settings = settings_of(case, "float32" if name == TEXTBOOK else precision, device)
    run = new_run(replace(settings, compile=name == COMPILED))
    optimiser, mask = new_optimiser(run), mask_of(case, device)
    if name == COMPILED:
        run.model.compile(dynamic=False)

    def slow() -> np.ndarray:
        windows = [files[s : s + 3] for s in starts]
        shape = case.batch, 3, 3, case.size, case.size
        noise = torch.rand(shape, generator=seeded(device), device=device)
        given = run.model, run.creator, optimiser, windows, mask, noise, case.size
        return textbook.train_step(*given).total.detach().cpu().numpy()

    def fast() -> np.ndarray:
        run.model.train()
        x = batch_of(clip, starts)
        with searched_kernels(run.precision):
            return np.array(train_step(run, x, mask, optimiser, seeded(device))["total"])

    clip = torch.from_numpy(read_clip(files, case.size)).to(device)
    return slow if name == TEXTBOOK else fast


def mask_of(case: Case, device: torch.device) -> torch.Tensor:
    """M of a step, B x 1 x T x H x W."""
    boxes = torch.tensor(BOX).expand(case.batch, 3, 4)
    return paint_boxes(boxes, case.size, case.size).to(device)


def batch_of(clip: torch.Tensor, starts: Sequence[int]) -> torch.Tensor:
    """X of a step, B x 3 x T x H x W in [0, 1], from uint8 frames N x 1 x H x W."""
    x = torch.stack([clip[s : s + 3] for s in starts]).transpose(1, 2).float() / 255
    return x.expand(-1, 3, -1, -1, -1)


WORK = {"scoring": scoring, "training": training}


def work_of(case: Case, what: str) -> tuple[int, float]:
    """Windows, and FLOP of the convolutional-in-time path over all of them (``means.flops``).

    A step passes each window twice, and going backward is twice the work of going forward.
    """
    with torch.device("meta"):
        twin = Conv3DSkipUNet(latent_dim=case.latent_dim)

    def count(frames: int) -> int:
        return flops(twin, torch.empty(1, 3, frames, case.size, case.size, device="meta"))

    if what == "training":
        return case.batch, case.batch * 6 * count(3)
    return case.frames - 2, (case.frames - 2) * (count(4) - count(3))


def gpu_memory(way: Way) -> float:
    """MiB of the GPU that one way takes at most above what was there before."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    way()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def peak_memory(case: Case, what: str, name: str) -> float | None:
    """MiB that one way takes at most above what was there before, in a process of its own.

    None where the system does not tell.
    """
    if not Path("/proc/self/status").is_file():
        return None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(_peak, case, what, name).result()


def _peak(case: Case, what: str, name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        way = WORK[what](case, torch.device("cpu"), Path(folder), name)
        WORK[what](replace(case, size=32, latent_dim=8), torch.device("cpu"), Path(folder), name)()
        before = _status("VmRSS")  # with all code that is loaded when first used
        with _surroundings(name):
            way()
        return _status("VmHWM") - before


def _status(name: str) -> float:
    """MiB that this process holds (VmRSS) or has held at most (VmHWM), as Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


def means_rows(case: Case, device: torch.device, rounds: int) -> list[dict]:
    """For each means of the fast path, how many times longer the work takes without it."""
    with tempfile.TemporaryDirectory() as folder:
        clip = torch.from_numpy(read_clip(write_images(Path(folder), case.frames), case.size))
    clip, starts = clip.to(device), [k % (case.frames - 2) for k in range(case.batch)]
    settings = settings_of(case, precisions_of(device)[-1], device)
    frames = clip[:18].float().div(255).expand(-1, 3, -1, -1)
    batch = batch_of(clip, starts), mask_of(case, device)
    seconds = {
        "scoring": alternate(means.scoring_without(settings, frames), rounds, device),
        "training": alternate(means.training_without(settings, *batch), rounds, device),
    }
    return [
        {"case": case.name, "what": what, "means": name, "ratio": spent / took[means.WITH_ALL]}
        for what, took in seconds.items()
        for name, spent in took.items()
        if name != means.WITH_ALL
    ]


def judge(settings: Settings) -> dict:
    """The AUC of a trained run's test clips scored by each way, and the largest score difference.

    Trains the run first where that was not done.
    """
    data = road.prepare(settings, progress=False)
    run = road.train(settings, data, progress=False)
    patch, model = settings.patch_size, run.model

    def slow(clip: np.ndarray) -> np.ndarray:
        def read(start: int) -> torch.Tensor:
            return as_input(clip[start : start + model.temporal], 3).transpose(0, 1)

        return textbook.score_clip(model, read, len(clip), patch)

    scores = {TEXTBOOK: {name: slow(clip) for name, clip in data.testing.items()}}
    for precision in precisions_of(run.creator.l.device):
        scores[precision] = score_clips(model, data.testing, patch, precision)
    return {
        "run": f"{settings.profile}/{settings.run_folder.name}",
        "protocol": settings.protocol,
        "auc": {w: evaluate(s, data.labels, settings.protocol).auc for w, s in scores.items()},
        "difference": {
            way: max(float(np.abs(own[n] - scores[TEXTBOOK][n]).max()) for n in own)
            for way, own in scores.items()
        },
    }


def speed_table(report: Mapping) -> pd.DataFrame:
    """One row per measurement, as a page shows it."""
    return pd.DataFrame(
        {
            "size": r["case"],
            "what": r["what"],
            "way": r["way"],
            "ms per window": f"{1000 * r['seconds']:.1f}",
            "times the textbook": f"{r['ratio']:.1f}",
            "largest difference": f"{r['difference']:.1e}",
            "share of the ceiling, %": f"{100 * r['share']:.0f}",
            "peak memory, MiB": "–" if r["peak_mib"] is None else f"{r['peak_mib']:.0f}",
        }
        for r in report["rows"]
    )


def sizes_told(report: Mapping) -> str:
    """What the names of the sizes stand for: side of a frame in pixels, width of the model."""
    told = (f"{r['case']}: {r['size']} px, width {r['latent_dim']}" for r in report["rows"])
    return "; ".join(dict.fromkeys(told))


def means_table(report: Mapping) -> pd.DataFrame:
    """How many times longer the work takes without each means; a dash where it plays no part."""
    rows = pd.DataFrame(report.get("means", []))
    if rows.empty:
        return rows
    rows["work"] = rows["what"] + ", " + rows["case"] + " size"
    wide = rows.pivot(index="means", columns="work", values="ratio")
    order = [*dict.fromkeys(rows["means"])], [*dict.fromkeys(rows["work"])]
    wide = wide.loc[order[0], order[1]].map(lambda r: "–" if np.isnan(r) else f"{r:.2f}")
    return wide.rename_axis("left out").rename_axis(None, axis=1).reset_index()


def judged_table(report: Mapping) -> pd.DataFrame:
    """The AUC that each way of scoring gives a trained run; empty where none was judged."""
    judged = report.get("judged", {"auc": {}})
    return pd.DataFrame(
        {
            "run": judged["run"],
            "scored by": way,
            "AUC, %": f"{100 * auc:.3f}",
            "difference, points": f"{100 * (auc - judged['auc'][TEXTBOOK]):+.3f}",
            "largest difference of a score": f"{judged['difference'][way]:.1e}",
        }
        for way, auc in judged["auc"].items()
    )


def write_images(folder: Path, count: int) -> list[Path]:
    """A clip of grey images of Ped2's size: a bright block walks over a still texture."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(60, 130, (24, 36)).astype(np.uint8), (360, 240))
    files = []
    for t in range(count):
        frame = texture.copy()
        left = 20 + 9 * t % 300
        frame[100:160, left : left + 25] = 210
        files.append(folder / f"{t:03d}.png")
        cv2.imwrite(str(files[-1]), frame)
    return files


def settings_of(case: Case, precision: str, device: torch.device) -> Settings:
    return Settings(
        size=case.size,
        latent_dim=case.latent_dim,
        precision=precision,
        device=device.type,
        learning_rate=1e-4,
    )


def read_clip(files: Sequence[Path], size: int) -> np.ndarray:
    """The prepared form of the clip: N x 1 x size x size, uint8."""
    frames = [cv2.resize(cv2.imread(str(file), 0), (size, size)) for file in files]
    return np.stack(frames)[:, None]


def seeded(device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)


def precisions_of(device: torch.device) -> list[str]:
    """float32, and bfloat16 where the device is fast at it."""
    return list(dict.fromkeys(["float32", resolve_precision("auto", device)]))


def settle(model: Conv3DSkipUNet, clip: np.ndarray, device: torch.device) -> None:
    """Give the batch norms statistics other than those they begin with."""
    x = torch.from_numpy(clip[:3]).to(device).float()[None].transpose(1, 2) / 255
    model.train()
    with torch.no_grad():
        model(x.expand(-1, 3, -1, -1, -1))


if __name__ == "__main__":
    sys.exit(main())
