"""How fast the method runs here, against the textbook path: `python -m ddllib.benchmark`.

Both paths have the same weights and the same images and take turns in one process; medians over
the rounds. The last table shows each ratio beside the largest difference of what came out, and the
share of this machine's measured matrix product that is reached.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from ddllib import textbook
from ddllib.devices import can_compile, describe_device, resolve_device, resolve_precision
from ddllib.models import Conv3DSkipUNet
from ddllib.scoring import score_clip
from ddllib.settings import Settings
from ddllib.training import new_optimiser, new_run, train_step
from ddllib.windows import paint_boxes

PATCH = 16  # pixels at size 256
BOX = (0.3, 0.4, 0.45, 0.8)  # where a pseudo-anomaly lies, relative to the frame


@dataclass(frozen=True)
class Case:
    """One size to measure: `frames` of a clip to score, `batch` windows to train on."""

    name: str
    size: int
    latent_dim: int
    frames: int
    batch: int


CASES = (Case("small", 128, 64, 66, 10), Case("paper", 256, 512, 18, 2))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ddllib.benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    given = parser.parse_args()
    device = resolve_device(given.device)
    ceilings = {name: matrix_product(device, name) for name in ("float32", "bfloat16")}
    print(describe_device(device))
    print(*(f"matrix product, {n}: {c / 1e12:.2f} TFLOP/s" for n, c in ceilings.items()), sep="\n")
    rows = []
    for case in CASES:
        if not given.cases or case.name in given.cases:
            rows += measure(case, device, given.rounds, ceilings)
    print(pd.DataFrame(rows).to_string(index=False))


def matrix_product(device: torch.device, precision: str) -> float:
    """The machine's ceiling: FLOP per second of a large square matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, precision)) for _ in "ab")
    seconds = alternate([lambda: a @ b], 5, device)[0]
    return 2 * side**3 / seconds


def alternate(ways: Sequence[Callable[[], object]], rounds: int, device) -> list[float]:
    """Median seconds of each way; all take their turn in every round, after one to warm up."""
    took: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):
        for way, seconds in zip(ways, took, strict=True):
            started = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds[1:]) for seconds in took]


def measure(case: Case, device: torch.device, rounds: int, ceilings: dict) -> list[dict]:
    """The rows of one case: scoring and training, in each precision."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_images(Path(folder), case.frames)
        return [
            *scoring_rows(case, files, device, rounds, ceilings),
            *training_rows(case, files, device, rounds, ceilings),
        ]


def write_images(folder: Path, count: int) -> list[Path]:
    """A clip of grey images of Ped2's size: a bright block walks over a still texture."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(60, 130, (24, 36)).astype(np.uint8), (360, 240))
    files = []
    for t in range(count):
        frame = texture.copy()
        frame[100:160, 20 + 9 * t : 45 + 9 * t] = 210
        files.append(folder / f"{t:03d}.png")
        cv2.imwrite(str(files[-1]), frame)
    return files


def settings_of(case: Case, precision: str, device: torch.device) -> Settings:
    return Settings(
        size=case.size, latent_dim=case.latent_dim, precision=precision, device=device.type
    )


def read_clip(files: Sequence[Path], size: int) -> np.ndarray:
    """The prepared form of the clip: N x 1 x size x size, uint8."""
    frames = [cv2.resize(cv2.imread(str(file), 0), (size, size)) for file in files]
    return np.stack(frames)[:, None]


def scoring_rows(case, files, device, rounds, ceilings) -> list[dict]:
    run, patch = new_run(settings_of(case, "float32", device)), PATCH * case.size // 256
    settle(run.model, read_clip(files, case.size), device)
    clip, scores = read_clip(files, case.size), {}

    def slow() -> None:
        scores["textbook"] = textbook.score_clip(run.model, files, case.size, patch)

    def fast(precision: str) -> Callable[[], None]:
        def way() -> None:
            scores[precision] = score_clip(run.model, clip, patch, precision)

        return way

    precisions = precisions_of(device)
    seconds = alternate([slow, *map(fast, precisions)], rounds, device)
    windows = case.frames - run.model.temporal + 1
    work = windows * forward_flops(run.model, case.size)
    return [
        row(case, "scoring", name, spent / windows, seconds[0] / spent,
            np.abs(scores[name] - scores["textbook"]).max(), work / spent / ceilings[name])
        for name, spent in zip(precisions, seconds[1:], strict=True)
    ]  # fmt: skip


def training_rows(case, files, device, rounds, ceilings) -> list[dict]:
    clip = torch.from_numpy(read_clip(files, case.size)).to(device)
    starts = [k % (case.frames - 2) for k in range(case.batch)]
    mask = paint_boxes(torch.tensor(BOX).expand(case.batch, 3, 4), case.size, case.size).to(device)
    runs = {name: new_run(settings_of(case, name, device)) for name in precisions_of(device)}
    if can_compile(device):
        runs["compiled"] = new_run(settings_of(case, [*runs][-1], device))
        runs["compiled"].model.compile(dynamic=False)
    plain = new_run(settings_of(case, "float32", device))
    optimisers = {name: new_optimiser(run) for name, run in {"textbook": plain, **runs}.items()}
    losses: dict[str, list[float]] = {name: [] for name in optimisers}

    def slow() -> None:
        windows = [files[s : s + 3] for s in starts]
        noise = torch.rand(
            case.batch, 3, 3, case.size, case.size, generator=seeded(device), device=device
        )
        terms = textbook.train_step(
            plain.model, plain.creator, optimisers["textbook"], windows, mask, noise, case.size
        )
        losses["textbook"].append(float(terms.total.detach()))

    def fast(name: str) -> Callable[[], None]:
        def way() -> None:
            run = runs[name]
            run.model.train()
            x = torch.stack([clip[s : s + 3] for s in starts]).transpose(1, 2).float() / 255
            x = x.expand(-1, 3, -1, -1, -1)
            terms = train_step(run, x, mask, optimisers[name], seeded(device))
            losses[name].append(float(terms.total.detach()))

        return way

    seconds = alternate([slow, *map(fast, runs)], rounds, device)
    # Two passes, and a backward pass of twice the work for each.
    work = case.batch * 6 * forward_flops(plain.model, case.size, whole=True)
    # Of the first step only: after it the weights have gone different ways.
    return [
        row(case, "training", name, spent / case.batch, seconds[0] / spent,
            abs(losses[name][0] - losses["textbook"][0]),
            work / spent / ceilings[runs[name].precision])
        for name, spent in zip(runs, seconds[1:], strict=True)
    ]  # fmt: skip


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


def forward_flops(model: Conv3DSkipUNet, size: int, whole: bool = False) -> float:
    """FLOP per scored frame of the convolutional-in-time path; per window if `whole`."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        twin = Conv3DSkipUNet(latent_dim=model.widths[-1])

    def count(frames: int) -> float:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(torch.empty(1, 3, frames, size, size, device="meta"))
        return counter.get_total_flops()

    return count(3) if whole else count(4) - count(3)


def row(case, what, precision, seconds, ratio, difference, share) -> dict:
    return {
        "case": f"{case.name}: {case.size} px, {case.latent_dim}",
        "what": what,
        "precision": precision,
        "ms per frame": f"{1000 * seconds:.1f}",
        "times the textbook": f"{ratio:.2f}",
        "largest difference": f"{difference:.1e}",
        "share of the ceiling": f"{share:.0%}",
    }


if __name__ == "__main__":
    main()
