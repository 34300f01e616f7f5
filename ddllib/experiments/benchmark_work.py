"""The work that the benchmark times: scoring a clip and a training step, by each way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ddllib.devices import (
    resolve_precision,
    searched_kernels,
)
from ddllib.experiments import textbook
from ddllib.experiments.speedups import flops
from ddllib.models.unet import Conv3DSkipUNet
from ddllib.scoring import Scorer
from ddllib.settings import Settings
from ddllib.training import new_optimiser, new_run, train_step
from ddllib.windows import Sample, paint_boxes

PATCH = 16  # pixels at size 256
BOX = (0.3, 0.4, 0.45, 0.8)  # box of the pseudo-anomaly, relative to the frame
TEXTBOOK = "textbook"
COMPILED = "compiled"
# A way to do some work: a function without arguments that returns the result.
Way = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One size to measure: `frames` of a clip to score, `batch` windows to train on."""

    name: str
    size: int
    latent_dim: int
    frames: int
    batch: int

    def on(self, device: torch.device) -> Case:
        """On a GPU larger batches: windows as the paper trains on, and frames for 64 windows."""
        return replace(self, frames=66, batch=10) if device.type == "cuda" else self


CASES = {c.name: c for c in (Case("small", 128, 64, 66, 10), Case("paper", 256, 512, 18, 2))}


def scoring(case: Case, device: torch.device, folder: Path, name: str) -> Way:
    """A function that scores a clip: the textbook path from image files, ours from an array."""
    files = write_images(folder, case.frames)
    clip, patch = read_clip(files, case.size), PATCH * case.size // 256
    model = new_run(settings_of(case, "float32", device)).model
    settle(model, clip, device)

    def read(start: int) -> torch.Tensor:
        return textbook.read_window(files[start : start + 3], case.size, 1)

    if name == TEXTBOOK:
        return lambda: textbook.score_clip(model, read, len(files), patch)
    scorer = Scorer(model, patch, name)  # one for many clips, as a test set is scored
    return lambda: scorer.clip(clip).scores


def training(case: Case, device: torch.device, folder: Path, name: str) -> Way:
    """A function that takes one step and returns its loss; only first steps are comparable."""
    files = write_images(folder, case.frames)
    starts = [k % (case.frames - 2) for k in range(case.batch)]
    precision = precisions_of(device)[-1] if name == COMPILED else name
    settings = settings_of(case, "float32" if name == TEXTBOOK else precision, device)
    run = new_run(replace(settings, compile=name == COMPILED))
    optimiser, mask = new_optimiser(run), paint_boxes(boxes_of(case), case.size, case.size)
    mask = mask.to(device)
    if name == COMPILED:
        run.quick["model"].compile(dynamic=False)

    def slow() -> np.ndarray:
        windows = [files[s : s + 3] for s in starts]
        shape = case.batch, 3, 3, case.size, case.size
        noise = torch.rand(shape, generator=seeded(device), device=device)
        arguments = run.model, run.creator, optimiser, windows, mask, noise, case.size
        return textbook.train_step(*arguments).total.detach().cpu().numpy()

    def fast() -> np.ndarray:
        run.train()
        sample = sample_of(case, clip, starts)
        with searched_kernels(run.precision):
            return np.array(train_step(run, sample, optimiser, seeded(device))["total"])

    clip = torch.from_numpy(read_clip(files, case.size)).to(device)
    return slow if name == TEXTBOOK else fast


def boxes_of(case: Case) -> torch.Tensor:
    """The object of each window of a step, B x T x 4, relative corners."""
    return torch.tensor(BOX).expand(case.batch, 3, 4)


def sample_of(case: Case, clip: torch.Tensor, starts: Sequence[int]) -> Sample:
    """The windows of a step, from uint8 frames N x 1 x H x W."""
    x = torch.stack([clip[s : s + 3] for s in starts]).transpose(1, 2).float() / 255
    boxes = boxes_of(case).to(clip.device)
    return Sample(x.expand(-1, 3, -1, -1, -1), paint_boxes(boxes, case.size, case.size), boxes)


def work_of(case: Case, what: str) -> tuple[int, float]:
    """Windows, and FLOP of the convolutional-in-time path over all of them (``speedups.flops``).

    A step passes each window twice, and going backward is twice the work of going forward.
    """
    with torch.device("meta"):
        twin = Conv3DSkipUNet(latent_dim=case.latent_dim)

    def count(frames: int) -> int:
        return flops(twin, torch.empty(1, 3, frames, case.size, case.size, device="meta"))

    if what == "training":
        return case.batch, case.batch * 6 * count(3)
    return case.frames - 2, (case.frames - 2) * (count(4) - count(3))


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
    """Give the batch norms statistics that differ from the initial ones."""
    x = torch.from_numpy(clip[:3]).to(device).float()[None].transpose(1, 2) / 255
    model.train()
    with torch.no_grad():
        model(x.expand(-1, 3, -1, -1, -1))


WORK = {"scoring": scoring, "training": training}
