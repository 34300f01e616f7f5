"""What each means of the fast path gives: the same work, timed with one of them left out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddllib import models, norms, training
from ddllib.convolution import conv2d
from ddllib.devices import autocast, searched_kernels
from ddllib.models import ConvBlock, FirstBlock, UNet, for_scoring
from ddllib.passes import in_turn
from ddllib.settings import Settings
from ddllib.training import new_optimiser, new_run, train_step

WITH_ALL = "with all"
ONCE, FOLDED, SWEPT, BOTH, FIRST, LAST, STRIDED, SPREAD, KEPT, BFLOAT = (
    "frames encoded once",
    "norms folded",
    "norm and rectifier in one",
    "both passes at once",
    "first block at half size",
    "channels-last maps",
    "one strided convolution",
    "fewer channels spread",
    "memory kept",
    "bfloat16",
)
MEANS = {
    "scoring": (WITH_ALL, ONCE, FOLDED, FIRST, LAST, STRIDED, SPREAD, KEPT, BFLOAT),
    "training": (WITH_ALL, SWEPT, BOTH, FIRST, LAST, STRIDED, SPREAD, KEPT, BFLOAT),
}


def scoring_without(settings: Settings, clip: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Reconstructions of a clip, N x C x H x W in [0, 1], by what is left out."""
    frames = clip.transpose(0, 1)[None]
    windows = clip.unfold(0, settings.temporal, 1).permute(0, 1, 4, 2, 3)
    model = new_run(settings).model.eval()

    def way(name: str) -> Callable[[], Tensor]:
        used = _usual_order(new_run(settings).model.eval()) if name == LAST else model
        precision = "float32" if name == BFLOAT else settings.precision
        given = windows if name == ONCE else frames
        folded = for_scoring(used, precision)  # once for many clips, as a test set is scored

        @torch.inference_mode()
        def run() -> Tensor:
            with left_out(name):
                if name == FOLDED:
                    with autocast(clip.device, precision):
                        return used(given)
                return folded(given.to(getattr(torch, precision)))

        return run

    return {name: way(name) for name in MEANS["scoring"]}


def training_without(settings: Settings, x: Tensor, mask: Tensor) -> dict[str, Callable]:
    """One step on a batch (``training.train_step``), by what is left out."""

    def way(name: str) -> Callable:
        changed = {"precision": "float32"} if name == BFLOAT else {}
        run = new_run(Settings(**{**settings.asdict(), **changed}))
        if name == LAST:
            _usual_order(run.model)
        optimiser = new_optimiser(run)
        run.model.train()
        rng = torch.Generator(x.device)

        def step():
            with left_out(name), searched_kernels(run.precision):
                return train_step(run, x, mask, optimiser, rng.manual_seed(0))["total"]

        return step

    return {name: way(name) for name in MEANS["training"]}


@contextlib.contextmanager
def left_out(*names: str):
    """The model's code without some of its means, for as long as it lasts.

    ``KEPT`` is left out by who times it: it must last from one step to the next.
    """
    without = {
        SWEPT: (norms, "_kernels", lambda: None),
        BOTH: (training, "_way", lambda run: in_turn),
        LAST: (models, "unshuffled", _as_it_comes),
        FIRST: (FirstBlock, "forward", ConvBlock.forward),
        STRIDED: (ConvBlock, "gathered", _two_steps),
        SPREAD: (ConvBlock, "spread", _two_steps),
    }
    with contextlib.ExitStack() as stack:
        for name in without.keys() & set(names):
            stack.enter_context(patch.object(*without[name]))
        yield


def flops(model: UNet, x: Tensor) -> int:
    """Floating-point operations of ``model`` on ``x``, B x C x N x H x W; none of them by zeros.

    The first block and the decoder multiply by some zeros, since more in one go is quicker.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with left_out(FIRST, SPREAD), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return counter.get_total_flops()


def _as_it_comes(x: Tensor) -> Tensor:
    return F.pixel_unshuffle(x, 2)


def _two_steps(block: ConvBlock, x: Tensor) -> Tensor:
    conv = block.conv_last
    return conv2d(block.resample(x), conv.weight, block.last_bias, padding=conv.kernel_size[0] // 2)


def _usual_order(model: UNet) -> UNet:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.contiguous_format)
    return model
