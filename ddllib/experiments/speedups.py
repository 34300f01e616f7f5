"""What each speedup of the quick path gains: the work without one of them, to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ddllib.devices import searched_kernels
from ddllib.fast.accelerate import (
    CHANNELS_LAST,
    ONE_PASS_NORMS,
    STRIDED,
    accelerate,
    for_scoring,
)
from ddllib.fast.passes import in_turn
from ddllib.methods.ddl import batch_loss
from ddllib.models.unet import UNet
from ddllib.settings import Settings
from ddllib.training import new_optimiser, new_run
from ddllib.windows import Sample

WITH_ALL = "with all"
ONCE, BOTH, BFLOAT = "frames encoded once", "both passes at once", "bfloat16"
SPEEDUPS = {
    "scoring": (WITH_ALL, ONCE, CHANNELS_LAST, STRIDED, BFLOAT),
    "training": (WITH_ALL, ONE_PASS_NORMS, BOTH, CHANNELS_LAST, STRIDED, BFLOAT),
}


def scoring_without(settings: Settings, clip: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Reconstructions of a clip, N x C x H x W in [0, 1], by what is left out."""
    frames = clip.transpose(0, 1)[None]
    windows = clip.unfold(0, settings.temporal, 1).permute(0, 1, 4, 2, 3)

    def without_speedup(name: str) -> Callable[[], Tensor]:
        precision = "float32" if name == BFLOAT else settings.precision
        model = for_scoring(new_run(settings).model, precision, left_out=[name])
        inputs = (windows if name == ONCE else frames).to(getattr(torch, precision))
        return torch.inference_mode()(lambda: model(inputs))

    return {name: without_speedup(name) for name in SPEEDUPS["scoring"]}


def training_without(settings: Settings, sample: Sample) -> dict[str, Callable[[], float]]:
    """One step on a batch, as ``training.train_step`` takes it, by what is left out."""

    def way(name: str) -> Callable[[], float]:
        run_settings = replace(settings, precision="float32") if name == BFLOAT else settings
        run = new_run(run_settings)
        run.quick = {part: accelerate(model, [name]) for part, model in run.models.items()}
        optimiser, rng = new_optimiser(run), torch.Generator(run.device)
        run.train()

        def step() -> float:
            with searched_kernels(run.precision):
                way = in_turn if name == BOTH else None
                total = batch_loss(run, sample, rng.manual_seed(0), way).total
                value = float(total.detach())
                optimiser.zero_grad(set_to_none=True)
                total.backward()
                optimiser.step()
                return value

        return step

    return {name: way(name) for name in SPEEDUPS["training"]}


def flops(model: UNet, x: Tensor) -> int:
    """Floating-point operations of ``model`` on ``x``, B x C x N x H x W."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops()
