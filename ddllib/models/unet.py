"""The reconstruction models of DDL: UNet and Conv3DSkipUNet (paper, section 3.1, figures 1 and 6).

Both models are *convolutional in time*: N frames go in, N - T + 1 reconstructions come out,
one for the middle frame of each window of T frames. A single window is the case N = T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ddllib.errors import DDLError


@dataclass(frozen=True)
class Preset:
    """How a ConvBlock is built: the kernels of its parallel heads and of its last convolution."""

    head_kernels: tuple[int, ...]
    last_kernel: int


PRESETS = {
    "paper": Preset(head_kernels=(3, 3, 3, 3), last_kernel=3),
    "released": Preset(head_kernels=(3, 5, 7), last_kernel=1),
}


class ConvBlock(nn.Module):
    """One block of the encoder or the decoder (figure 6).

    Parallel "same" convolutions, their outputs concatenated, batch norm, ReLU, a change of
    resolution by moving pixels into channels (encoder) or channels into pixels (decoder), one
    last convolution and, but for the model's output block, batch norm and ReLU again.

    Input B x in_channels x H x W; output B x width x H/2 x W/2 for ``direction="down"``,
    B x width x 2H x 2W for ``direction="up"``.
    """

    def __init__(
        self, in_channels: int, width: int, direction: str, preset: Preset, is_output: bool = False
    ):
        super().__init__()
        down = direction == "down"
        head_width = width if down else 4 * width
        joined_width = head_width * len(preset.head_kernels)
        resampled_width = 4 * joined_width if down else joined_width // 4
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, head_width, kernel, padding="same")
            for kernel in preset.head_kernels
        )
        self.batch_norm_1 = nn.BatchNorm2d(joined_width)
        self.resample = nn.PixelUnshuffle(2) if down else nn.PixelShuffle(2)
        self.conv_last = nn.Conv2d(resampled_width, width, preset.last_kernel, padding="same")
        self.batch_norm_2 = nn.Identity() if is_output else nn.BatchNorm2d(width)
        self.is_output = is_output

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([conv(x) for conv in self.convs], dim=1)
        x = self.resample(relu(self.batch_norm_1(x)))
        x = self.batch_norm_2(self.conv_last(x))
        return x if self.is_output else relu(x)


class TemporalConv(nn.Conv3d):
    """The Conv3d of a skip: T frames' features mixed, channels kept, unpadded in time.

    The T frames are ``step`` apart. Input B x N x C x H x W, output B x (N - (T - 1) step) x C x H
    x W.
    """

    def __init__(self, channels: int, temporal: int, step: int = 1):
        size, dilation = (temporal, 3, 3), (step, 1, 1)
        super().__init__(channels, channels, size, padding=(0, 1, 1), dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Encoder(nn.Module):
    """Four ConvBlocks, each halving the resolution; returns the outputs of all four."""

    def __init__(self, channels: int, widths: list[int], preset: Preset):
        super().__init__()
        inputs = [channels, *widths[:-1]]
        for level, (in_channels, width) in enumerate(zip(inputs, widths, strict=True), start=1):
            self.add_module(f"conv_{level}", ConvBlock(in_channels, width, "down", preset))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for block in self.children():
            x = block(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """Four ConvBlocks, each doubling the resolution; a skip joins before the last three."""

    def __init__(self, channels: int, widths: list[int], preset: Preset):
        super().__init__()
        outputs = [*widths[-2::-1], channels]
        inputs = [widths[-1], *(2 * width for width in widths[-2::-1])]
        for level, (in_channels, width) in enumerate(zip(inputs, outputs, strict=True), start=1):
            block = ConvBlock(in_channels, width, "up", preset, is_output=level == len(outputs))
            self.add_module(f"conv_{level}", block)

    def forward(self, skips: list[Tensor]) -> Tensor:
        first_block, *other_blocks = self.children()
        x = first_block(skips[-1])
        for block, skip in zip(other_blocks, skips[-2::-1], strict=True):
            x = block(torch.cat([x, skip], dim=1))
        return torch.sigmoid(x.float())


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise DDLError(f"preset {name!r} is not known; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


class UNet(nn.Module):
    """The 2D baseline: each frame is reconstructed from itself alone (T = 1).

    Input B x C x N x H x W in [0, 1], H and W multiples of 16; output the same shape in (0, 1).
    ``latent_dim`` is the width of the deepest level (a multiple of 8); it is halved upward.
    """

    temporal = 1

    def __init__(self, preset: str = "released", latent_dim: int = 512, channels: int = 3):
        super().__init__()
        if latent_dim < 8 or latent_dim % 8:
            raise DDLError(f"latent_dim is {latent_dim}; expected a multiple of 8, such as 64")
        widths = [latent_dim // 8, latent_dim // 4, latent_dim // 2, latent_dim]
        self.channels = channels
        self.widths = widths
        self.encoder = Encoder(channels, widths, _preset(preset))
        self.decoder = Decoder(channels, widths, _preset(preset))

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        frames = x.transpose(1, 2)
        features = self.encode_frames(frames.flatten(0, 1))
        return self.decode_windows([f.unflatten(0, frames.shape[:2]) for f in features]).transpose(
            1, 2
        )

    def encode_frames(self, frames: Tensor) -> list[Tensor]:
        """The features of frames, N x C x H x W, at four levels; each frame is encoded alone."""
        return self.encoder(frames)

    def decode_windows(self, features: list[Tensor]) -> Tensor:
        """Reconstructions from the features of N frames: ``forward`` without the encoder.

        ``features`` are the four levels of ``encoder``, B x N x C_level x H_level x W_level each;
        output B x (N - T + 1) x C x H x W in (0, 1).
        """
        skips = [self.join(level, f) for level, f in enumerate(features)]
        y = self.decoder([skip.flatten(0, 1) for skip in skips])
        return y.unflatten(0, (-1, skips[0].shape[1]))

    def join(self, level: int, features: Tensor) -> Tensor:
        """The skip connection of a level, on features B x N x C x H x W; identity in a UNet."""
        return features

    def _check(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[1] != self.channels:
            raise DDLError(
                f"input has shape {tuple(x.shape)}; expected B x {self.channels} x N x H x W"
            )
        if x.shape[2] < self.temporal:
            raise DDLError(f"input has {x.shape[2]} frames; a window needs {self.temporal}")
        if x.shape[3] % 16 or x.shape[4] % 16:
            raise DDLError(f"frames are {x.shape[3]}x{x.shape[4]}; expected multiples of 16")


def window_span(temporal: int, frame_step: int) -> int:
    """The number of frames that a window spans: ``temporal`` of them, ``frame_step`` apart.

    Raises ``DDLError`` for numbers below 1, and for a window without a middle frame.
    """
    span = (temporal - 1) * frame_step + 1
    if min(temporal, frame_step) < 1 or span % 2 == 0:
        raise DDLError(
            f"temporal is {temporal} and frame_step {frame_step}: a window of {span} frames has no "
            "middle one; expected an odd temporal, such as 3, or an even frame_step"
        )
    return span


class Conv3DSkipUNet(UNet):
    """C3DSU (figure 1): a UNet whose every skip, the bottleneck too, mixes T frames.

    Input B x C x N x H x W in [0, 1] with N >= T; output B x C x (N - T + 1) x H x W in (0, 1),
    one reconstruction for the middle frame of each window. Each frame is encoded once.

    The paper takes T frames in a row. With a ``frame_step`` s they are s frames apart, so a window
    spans (T - 1) s + 1 frames, which is then the T above and the attribute ``temporal``. With an
    even number of frames and an even step the middle frame is not among them: the model predicts
    it from its neighbours alone.
    """

    def __init__(
        self,
        preset: str = "released",
        latent_dim: int = 512,
        channels: int = 3,
        temporal: int = 3,
        frame_step: int = 1,
    ):
        super().__init__(preset, latent_dim, channels)
        self.temporal = window_span(temporal, frame_step)
        for level, width in enumerate(self.widths, start=1):
            self.add_module(f"conv{level}", TemporalConv(width, temporal, frame_step))

    def join(self, level: int, features: Tensor) -> Tensor:
        return self.get_submodule(f"conv{level + 1}")(features)


def build_model(
    name: str, preset: str, latent_dim: int, channels: int, temporal: int, frame_step: int = 1
) -> UNet | Conv3DSkipUNet:
    """The model named ``c3dsu`` or ``unet`` (whose T is always 1).

    Raises ``DDLError`` for another name, preset or width.
    """
    if name == "c3dsu":
        return Conv3DSkipUNet(preset, latent_dim, channels, temporal, frame_step)
    if name == "unet":
        return UNet(preset, latent_dim, channels)
    raise DDLError(f"model {name!r} is not known; expected c3dsu or unet")
