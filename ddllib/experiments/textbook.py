"""The method as the authors compute it: the slow path that the benchmark compares ours with.

Every window passes the model alone, in float32: each of its frames through the encoder, the skips
through a Conv3d padded in time of which only the middle output is used. Images are decoded when
they are needed. Training and scoring do not use this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddllib.losses import DDLLoss, LossTerms
from ddllib.models.unet import Conv3DSkipUNet
from ddllib.patches import patch_scores
from ddllib.pseudo_anomalies.noise import PseudoAnomalyCreator
from ddllib.score_terms.distance import distance_map


def reconstruct(model: Conv3DSkipUNet, x: Tensor) -> Tensor:
    """f(X) of figure 1: windows B x C x T x H x W in [0, 1] -> B x C x H x W in (0, 1)."""
    frames, skips = x.transpose(1, 2).flatten(0, 1), []
    for number, layer in enumerate(model.encoder.children(), start=1):
        frames = layer(frames)
        level = frames.unflatten(0, (len(x), -1)).transpose(1, 2)
        conv = model.get_submodule(f"conv{number}")
        mixed = F.conv3d(level, conv.weight, conv.bias, padding="same")
        skips.append(mixed[:, :, model.temporal // 2])
    first_block, *other_blocks = model.decoder.children()
    y = first_block(skips[-1])
    for layer, skip in zip(other_blocks, skips[-2::-1], strict=True):
        y = layer(torch.cat([y, skip], dim=1))
    return torch.sigmoid(y)


def read_window(files: Sequence[Path], size: int, channels: int) -> Tensor:
    """T image files -> C x T x size x size in [0, 1]."""
    grey = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    frames = [cv2.resize(cv2.imread(str(file), grey), (size, size)) for file in files]
    window = torch.from_numpy(np.stack(frames)).reshape(len(files), size, size, -1)
    return (window.permute(3, 0, 1, 2).float() / 255).expand(3, -1, -1, -1)


@torch.inference_mode()
def score_clip(
    model: Conv3DSkipUNet, read: Callable[[int], Tensor], frames: int, patch: int
) -> np.ndarray:
    """One raw score per frame of a clip, window by window; float32 N.

    ``read(start)`` gives the window of T frames from ``start`` on, C x T x H x W in [0, 1].
    """
    model.eval()
    half, device = model.temporal // 2, next(model.parameters()).device
    scores = []
    for start in range(frames - model.temporal + 1):
        x = read(start)[None].to(device)
        maps = distance_map(x[:, :, half], reconstruct(model, x))
        scores.append(float(patch_scores(maps, patch)))
    return np.pad(np.array(scores, np.float32), half, mode="edge")


def train_step(
    model: Conv3DSkipUNet,
    creator: PseudoAnomalyCreator,
    optimiser: torch.optim.Optimizer,
    windows: Sequence[Sequence[Path]],
    mask: Tensor,
    noise: Tensor,
    size: int,
    channels: int = 1,
) -> LossTerms:
    """One DDL step on windows of image files.

    The masks are B x 1 x T x H x W of 0 and 1, the noise B x C x T x H x W in [0, 1].
    """
    model.train()
    middle = model.temporal // 2
    x = torch.stack([read_window(files, size, channels) for files in windows]).to(mask.device)
    y = reconstruct(model, x)
    sigma = creator.anomaly_weight
    x_a = (1 - mask) * x + mask * ((1 - sigma) * x + sigma * noise)  # equations 1 and 2
    y_a = reconstruct(model, x_a)
    terms = DDLLoss()(x[:, :, middle], y, x_a[:, :, middle], y_a, mask[:, :, middle])
    optimiser.zero_grad()
    terms.total.backward()
    optimiser.step()
    return terms
