"""The models of STPA in one module, with what scales their inputs and scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddllib.models.autoencoder3d import Autoencoder3D
from ddllib.models.discriminator import Discriminator

FLOW_RANGE = 3  # of the largest normal magnitude, about; faster motion is clipped
SCALED = (  # terms of the score
    *("psnr", "distance"),
    *("flow error", "flow distance", "flow magnitude"),
    "semantic",
)


class SpatioTemporal(nn.Module):
    """A^s for frames, A^t for optical flow, D for features of frames (STPA, sections 3.4, 3.5).

    A window has ``temporal`` frames: the T that both autoencoders reconstruct, and one more for the
    flow of the last of them. ``flow_scale`` is the magnitude, in pixels, that one training pixel in
    a thousand exceeds. ``means`` and ``deviations`` are those of the scores of training windows,
    by the terms that ``SCALED`` names; 0 and 1 before training has ended, and for terms of a model
    that is not trained. ``dimension`` is that of the features, None where there is no D.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], frames: int, dimension: int | None = None
    ):
        super().__init__()
        self.channels, self.temporal = channels, frames + 1
        self.a_s = Autoencoder3D(channels, widths, frames)
        self.a_t = Autoencoder3D(3, widths, frames)
        self.discriminator = dimension and Discriminator(dimension)
        self.register_buffer("flow_scale", torch.ones(()))
        self.register_buffer("means", torch.zeros(len(SCALED)))
        self.register_buffer("deviations", torch.ones(len(SCALED)))

    @property
    def frames(self) -> int:
        """The number of frames that are reconstructed, T of the paper."""
        return self.temporal - 1

    def rebuild_frames(self, x: Tensor) -> Tensor:
        """Frames B x C x T x H x W in [0, 1] to their reconstruction by A^s, in [0, 1]."""
        return (self.a_s(2 * x - 1) + 1) / 2

    def flow_input(self, flow: Tensor) -> Tensor:
        """Flow in pixels, B x 2 x T x H x W, as A^t takes it: u, v, magnitude in [-1, 1]."""
        flow = flow.to(self.flow_scale.dtype)
        fields = torch.cat([flow, flow.square().sum(1, keepdim=True).sqrt()], dim=1)
        return (fields / (FLOW_RANGE * self.flow_scale)).clamp(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The frames in the middle of all windows: B x C x N x H x W to N - T in place of N."""
        middle, windows = self.frames // 2, x.shape[2] - self.frames
        parts = [self.rebuild_frames(x[:, :, k : k + self.frames]) for k in range(windows)]
        return torch.stack([part[:, :, middle] for part in parts], dim=2)
