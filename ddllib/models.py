"""The reconstruction models of DDL: UNet and Conv3DSkipUNet (paper, section 3.1, figures 1 and 6).

Both models are *convolutional in time*: N frames go in, N - T + 1 reconstructions come out,
one for the middle frame of each window of T frames. A single window is the case N = T.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddllib.convolution import conv2d, in_phases, joined, shuffled, unshuffled
from ddllib.errors import DDLError
from ddllib.norms import BatchNorm2d


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
        joined = head_width * len(preset.head_kernels)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, head_width, k, padding=k // 2) for k in preset.head_kernels
        )
        self.batch_norm_1 = BatchNorm2d(joined)
        self.resample = nn.PixelUnshuffle(2) if down else nn.PixelShuffle(2)
        self.conv_last = nn.Conv2d(
            joined * 4 if down else joined // 4,
            width,
            preset.last_kernel,
            padding=preset.last_kernel // 2,
        )
        self.batch_norm_2 = nn.Identity() if is_output else BatchNorm2d(width)
        self.is_output = is_output
        self.joined = joined

    def forward(self, x: Tensor) -> Tensor:
        x = self.resampled(self.normed(self.batch_norm_1, self.heads(x), self.head_bias))
        return x if self.is_output else self.normed(self.batch_norm_2, [x], self.conv_last.bias)

    @property
    def head_bias(self) -> Tensor:
        """The biases of all heads, one after the other."""
        return torch.cat([conv.bias for conv in self.convs])

    def normed(self, norm: nn.Module, parts: list[Tensor], bias: Tensor) -> Tensor:
        """Batch norm and ReLU of convolutions' outputs, which in training lack their ``bias``.

        ``parts`` follow one another in channels.
        """
        if self.training:
            return norm.rectified(parts, bias)
        return F.relu(norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)), inplace=True)

    def heads(self, x: Tensor) -> list[Tensor]:
        """All heads' convolutions: maps that follow one another in channels."""
        bias = None if self.training else self.head_bias
        weights = [conv.weight for conv in self.convs]
        together = self.is_output and x.is_cuda  # where few channels cost what many do
        if together or len({weight.shape for weight in weights}) == 1:
            weight = joined(weights)
            return [conv2d(x, weight, bias, padding=weight.shape[-1] // 2)]
        biases = [None] * len(weights) if bias is None else bias.chunk(len(weights))
        pairs = zip(weights, biases, strict=True)
        return [conv2d(x, w, b, padding=w.shape[-1] // 2) for w, b in pairs]

    def resampled(self, x: Tensor) -> Tensor:
        """The change of resolution and the last convolution."""
        up = isinstance(self.resample, nn.PixelShuffle)
        return self.spread(x) if up else self.gathered(x)

    def gathered(self, x: Tensor) -> Tensor:
        """Pixels into channels, and the last convolution.

        Moving 2 x 2 pixels into channels and a k x k convolution after it are one convolution of
        stride 2 over 2k x 2k pixels; no pixel has to be moved for it.
        """
        weight = self.conv_last.weight.unflatten(1, (-1, 2, 2))  # width, channel, y, x, ky, kx
        weight = weight.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
        return conv2d(x, weight, self.last_bias, stride=2, padding=2 * self.conv_last.padding[0])

    def spread(self, x: Tensor) -> Tensor:
        """Channels into pixels, and the last convolution.

        On a processor a convolution of single pixels, as in the released form, comes first: then
        fewer channels are moved.
        """
        weight, bias = self.conv_last.weight, self.last_bias
        if x.is_cuda or weight.shape[-1] > 1:
            return conv2d(shuffled(x), weight, bias, padding=self.conv_last.padding[0])
        bias = bias if bias is None else torch.stack([bias] * 4, dim=1).flatten()  # as it compiles
        return shuffled(conv2d(x, in_phases(weight), bias))

    @property
    def last_bias(self) -> Tensor | None:
        """The last convolution's bias, where it is to be added (``normed``)."""
        return self.conv_last.bias if self.is_output or not self.training else None


class FirstBlock(ConvBlock):
    """The encoder's first ConvBlock, computed at half the resolution throughout.

    At full resolution the frame's few channels leave a processor's matrix unit idle and the maps
    are the largest of the model. So pixels move into channels before the heads instead of after
    them: 2 x 2 neighbours, "phases", become channels, and each head computes its four phases at
    once. Parameters, input and output are those of a ConvBlock, and so is the function.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.folded_heads()
        bias = None if self.training else self.head_bias.repeat(4)
        heads = conv2d(unshuffled(x), weight, bias, padding=weight.shape[-1] // 2)
        x = self.normed(self.batch_norm_1, [unfold(heads, self.joined)], self.head_bias)
        x = refold(x, self.joined)
        weight = self.conv_last.weight.unflatten(1, (-1, 4)).transpose(1, 2).flatten(1, 2)
        x = F.conv2d(x, weight, self.last_bias, padding=self.conv_last.padding)
        return self.normed(self.batch_norm_2, [x], self.conv_last.bias)

    def folded_heads(self) -> Tensor:
        """The kernel of all heads as one convolution of folded pixels.

        Output channels are ordered by phase, then head; input channels as PixelUnshuffle does.
        """
        return joined([folded_kernel(conv.weight) for conv in self.convs], dim=1).flatten(0, 1)


def folded_kernel(weight: Tensor) -> Tensor:
    """A "same" convolution as one over folded pixels: O x I x k x k -> 4 x O x 4I x m x m.

    For each phase of the output, the kernel is laid among the pixels it sees from there; those
    pixels are then grouped by 2 x 2.
    """
    k = weight.shape[-1]
    reach = (k // 2 + 1) // 2  # in folded pixels
    before, after = 2 * reach - k // 2, 2 * reach + 1 - k // 2
    phases = [
        F.pad(weight, (before + right, after - right, before + down, after - down))
        for down in (0, 1)
        for right in (0, 1)
    ]
    grouped = torch.stack(phases).unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    return grouped.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)  # phase, O, I, y, x, m, m


def unfold(x: Tensor, channels: int) -> Tensor:
    """N x 4C x H x W, phases first -> N x C x H x 4W, the same memory where channels are last.

    A batch norm takes its means over all pixels, wherever they stand.
    """
    n, _, height, _ = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, height, -1, channels).permute(0, 3, 1, 2)


def refold(x: Tensor, channels: int) -> Tensor:
    """The opposite of ``unfold``: N x C x H x 4W -> N x 4C x H x W."""
    n, _, height, _ = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, height, -1, 4 * channels).permute(0, 3, 1, 2)


class TemporalConv(nn.Conv3d):
    """A Conv3d over T frames, unpadded in time: only outputs that are used are computed.

    It is evaluated as one Conv2d over the T stacked feature maps of each window, which is the
    same sum; the bfloat16 backward pass of Conv3d itself is not safe on every CPU.

    Input B x N x C x H x W, output B x (N - T + 1) x C x H x W.
    """

    def __init__(self, channels: int, temporal: int):
        super().__init__(channels, channels, (temporal, 3, 3), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        temporal = self.kernel_size[0]
        windows = x.shape[1] - temporal + 1
        x = x.movedim(2, -1)  # as it lies in memory: no map is turned over
        if windows == 1:  # as in training: backward, one map each instead of a padded one
            stacked = torch.cat(x.unbind(1), dim=-1)[:, None]
        else:
            stacked = torch.cat([x[:, t : t + windows] for t in range(temporal)], dim=-1)
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        y = F.conv2d(stacked.flatten(0, 1).movedim(-1, 1), weight, self.bias, padding=1)
        return y.unflatten(0, (x.shape[0], windows))


class Encoder(nn.Module):
    """Four ConvBlocks, each halving the resolution; returns the outputs of all four."""

    def __init__(self, channels: int, widths: list[int], preset: Preset):
        super().__init__()
        inputs = [channels, *widths[:-1]]
        for level, (inp, width) in enumerate(zip(inputs, widths, strict=True), start=1):
            kind = FirstBlock if level == 1 else ConvBlock
            self.add_module(f"conv_{level}", kind(inp, width, "down", preset))

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
        for level, (inp, width) in enumerate(zip(inputs, outputs, strict=True), start=1):
            block = ConvBlock(inp, width, "up", preset, is_output=level == len(outputs))
            self.add_module(f"conv_{level}", block)

    def forward(self, skips: list[Tensor]) -> Tensor:
        first, *rest = self.children()
        x = first(skips[-1])
        for block, skip in zip(rest, skips[-2::-1], strict=True):
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
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        frames = x.transpose(1, 2)
        features = self.encoder(frames.flatten(0, 1))
        return self.decode([f.unflatten(0, frames.shape[:2]) for f in features]).transpose(1, 2)

    def decode(self, features: list[Tensor]) -> Tensor:
        """From N frames' encoded features to what they rebuild; ``forward`` after the encoder.

        ``features`` are the four levels of ``encoder``, B x N x C_level x H_level x W_level each;
        output B x (N - T + 1) x C x H x W in (0, 1).
        """
        skips = [self.join(level, f) for level, f in enumerate(features)]
        y = self.decoder([skip.flatten(0, 1) for skip in skips])
        return y.unflatten(0, (len(features[0]), -1))

    def join(self, level: int, features: Tensor) -> Tensor:
        """What a skip does to one level's features, B x N x C x H x W; nothing in a UNet."""
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


class Conv3DSkipUNet(UNet):
    """C3DSU (figure 1): a UNet whose every skip, the bottleneck too, mixes T frames.

    Input B x C x N x H x W in [0, 1] with N >= T; output B x C x (N - T + 1) x H x W in (0, 1),
    one reconstruction for the middle frame of each window. Each frame is encoded once.
    """

    def __init__(
        self,
        preset: str = "released",
        latent_dim: int = 512,
        channels: int = 3,
        temporal: int = 3,
    ):
        super().__init__(preset, latent_dim, channels)
        if temporal < 1 or temporal % 2 == 0:
            raise DDLError(f"temporal is {temporal}; expected an odd number of frames, such as 3")
        self.temporal = temporal
        for level, width in enumerate(self.widths, start=1):
            self.add_module(f"conv{level}", TemporalConv(width, temporal))

    def join(self, level: int, features: Tensor) -> Tensor:
        return self.get_submodule(f"conv{level + 1}")(features)


def for_scoring(model: UNet, precision: str = "float32") -> UNet:
    """A copy of ``model`` in evaluation mode with its batch norms folded into the convolutions.

    In evaluation mode a batch norm scales and shifts each channel by constants, which the
    convolution before it can do itself: the same function with fewer passes over the maps. Weights
    are kept in ``precision`` (float32 or bfloat16); outputs are float32 as the model's. A model
    that came from here in that precision is given back as it is: many clips need one copy.
    """
    dtype = getattr(torch, precision)
    if not _has_norms(model) and next(model.parameters()).dtype == dtype:
        return model
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for block in folded.modules():
        if isinstance(block, ConvBlock) and isinstance(block.batch_norm_1, nn.BatchNorm2d):
            _fold(block)
    return folded.to(dtype)


def _has_norms(model: UNet) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def _fold(block: ConvBlock) -> None:
    norms = zip(block.convs, _by_head(block.batch_norm_1, len(block.convs)), strict=True)
    for conv, (scale, shift) in norms:
        _scale(conv, scale, shift)
    block.batch_norm_1 = nn.Identity()
    if not block.is_output:
        _scale(block.conv_last, *_constants(block.batch_norm_2))
        block.batch_norm_2 = nn.Identity()


def _constants(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def _by_head(norm: nn.BatchNorm2d, heads: int) -> list[tuple[Tensor, Tensor]]:
    scale, shift = _constants(norm)
    return list(zip(scale.chunk(heads), shift.chunk(heads), strict=True))


def _scale(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias.mul_(scale).add_(shift)


def build_model(
    name: str, preset: str, latent_dim: int, channels: int, temporal: int
) -> UNet | Conv3DSkipUNet:
    """The model of that short name: ``c3dsu`` or ``unet`` (whose T is always 1).

    Raises ``DDLError`` for another name, preset or width.
    """
    if name == "c3dsu":
        return Conv3DSkipUNet(preset, latent_dim, channels, temporal)
    if name == "unet":
        return UNet(preset, latent_dim, channels)
    raise DDLError(f"model {name!r} is not known; expected c3dsu or unet")


# Present in the authors' state dictionaries, used by nothing.
_UNUSED = "decoder.conv_4.batch_norm_2."


def load_released_checkpoint(state: Mapping[str, Tensor], model: UNet) -> None:
    """Copy a state dictionary of the authors' code into ``model`` (preset ``released``), in place.

    Keys may carry the prefix ``module.`` that data-parallel training leaves. Raises ``DDLError``
    naming every tensor that is missing, left over or of another shape; the model is then unchanged.
    """
    given = {key.removeprefix("module."): value for key, value in state.items()}
    given = {key: value for key, value in given.items() if not key.startswith(_UNUSED)}
    wanted = model.state_dict()
    faults = [f"missing {key}" for key in wanted if key not in given]
    faults += [f"left over {key}" for key in given if key not in wanted]
    faults += [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    if faults:
        raise DDLError("checkpoint does not fit the model: " + "; ".join(faults))
    model.load_state_dict(given)
