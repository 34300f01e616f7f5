"""The autoencoder of STPA: all T frames of a window in, all T reconstructed (section 3.4).

It is MemAE's encoder and decoder (Gong et al. 2019) without the memory, with three channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ddllib.errors import DDLError

WIDTHS = (96, 128, 256, 256)  # of MemAE, and so of the paper
SIDE, FRAMES = 16, 8  # height and width, and T, are multiples of these
SLOPE = 0.2  # of LeakyReLU below 0


def scaled_widths(deepest: int) -> tuple[int, ...]:
    """The widths of a narrower autoencoder in the paper's proportions; 256 gives ``WIDTHS``."""
    return tuple(max(round(width * deepest / WIDTHS[-1]), 1) for width in WIDTHS)


class Autoencoder3D(nn.Module):
    """A window B x C x T x H x W in [-1, 1] to its reconstruction, of the same shape and range.

    Four 3D convolutions of kernel 3 halve the size each, and all but the first halve T too; four
    transposed ones undo that. T must be a multiple of 8, H and W of 16; ``DDLError`` otherwise.
    ``widths`` are the channels after each convolution. The output passes Tanh; with ``linear`` it
    does not.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = WIDTHS,
        temporal: int = 16,
        linear: bool = False,
    ):
        super().__init__()
        if temporal % FRAMES:
            raise DDLError(f"temporal is {temporal}; expected a multiple of {FRAMES}, such as 16")
        self.channels, self.temporal = channels, temporal
        a, b, c, d = widths
        self.encoder = nn.Sequential(
            *down(channels, a, stride=(1, 2, 2)), *down(a, b), *down(b, c), *down(c, d)
        )
        self.decoder = nn.Sequential(
            *up(d, c),
            *up(c, b),
            *up(b, a),
            nn.ConvTranspose3d(a, channels, 3, (1, 2, 2), padding=1, output_padding=(0, 1, 1)),
        )
        self.output = nn.Identity() if linear else nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        temporal, height, width = x.shape[2:]
        if temporal % FRAMES or height % SIDE or width % SIDE:
            raise DDLError(
                f"a window is {temporal} frames of {height}x{width}; expected a multiple of "
                f"{FRAMES} frames, of sides that are multiples of {SIDE}"
            )
        return self.output(self.decoder(self.encoder(x)))


def down(channels: int, width: int, stride: int | tuple = 2) -> list[nn.Module]:
    """A convolution that shrinks, its norm and its rectifier."""
    conv = nn.Conv3d(channels, width, 3, stride, padding=1)
    return [conv, nn.BatchNorm3d(width), nn.LeakyReLU(SLOPE, inplace=True)]


def up(channels: int, width: int) -> list[nn.Module]:
    """A transposed convolution that doubles T, H and W, its norm and its rectifier."""
    conv = nn.ConvTranspose3d(channels, width, 3, 2, padding=1, output_padding=1)
    return [conv, nn.BatchNorm3d(width), nn.LeakyReLU(SLOPE, inplace=True)]
