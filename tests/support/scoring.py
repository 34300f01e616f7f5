"""A small model and a clip to score."""

import numpy as np
import torch

from ddllib import Conv3DSkipUNet


def a_clip(frames=9, channels=1, side=32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (frames, channels, side, side), dtype=np.uint8)


def a_model(kind=Conv3DSkipUNet):
    torch.manual_seed(0)
    model = kind("released", latent_dim=8)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model


def literal_patch_score(error, patch):
    """Every whole patch of both grids, one after the other."""
    best = -np.inf
    for shift in (0, patch // 2):
        for i in range(shift, error.shape[0] - patch + 1, patch):
            for j in range(shift, error.shape[1] - patch + 1, patch):
                best = max(best, error[i : i + patch, j : j + patch].mean())
    return best
