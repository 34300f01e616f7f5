"""The base class of feature extractors: frames to features of length 1."""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddllib import registry
from ddllib.errors import DDLError
from ddllib.paths import find_path

SHORT_SIDE, CROP = 256, 224  # pixels: frames are resized, then cropped at their centre
EXTRACTORS: dict[str, type[FeatureExtractor]] = {}


def extractor(name: str):
    """Class decorator: register an extractor under the name used in ``settings.features``."""
    return registry.register(EXTRACTORS, name, FeatureExtractor, ["load"])


class FeatureExtractor:
    """A network with frozen weights that gives one feature of a frame.

    ``weights`` is the path of its file, None for the one that ``default_weights`` finds. Raises
    ``DDLError`` for a file that is missing, damaged or of another network.
    """

    dimension: int  # F, of a feature
    mean: tuple[float, float, float]  # by which its training pictures in [0, 1] were scaled
    std: tuple[float, float, float]

    def __init__(self, weights: str | None = None, device: torch.device | str = "cpu"):
        path = find_path(weights) if weights else self.default_weights()
        network = self.load(path).eval().requires_grad_(False)
        # Channels last, as a processor then convolves in half the time.
        self.network = network.to(device, memory_format=torch.channels_last)
        self.device = torch.device(device)

    def default_weights(self) -> Path:
        """Where its weights are if no path is given; ``DDLError`` where there are none."""
        raise NotImplementedError

    def load(self, path: Path) -> nn.Module:
        """The network with the weights of a file; it takes N x 3 x 224 x 224, scaled."""
        raise NotImplementedError

    def describe(self, x: Tensor) -> Tensor:
        """Scaled pictures to features of any length: N x 3 x 224 x 224 -> N x F."""
        return self.network(x)

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tensor:
        """Frames N x C x H x W in [0, 1], grey or RGB, to features N x F of length 1."""
        if not len(frames):
            return frames.new_zeros(0, self.dimension)
        x = cropped(frames.to(self.device))
        mean, std = (x.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return F.normalize(self.describe((x - mean) / std), dim=1)

    @functools.cached_property
    def checksum(self) -> Tensor:
        """SHA-256 of the weights as uint8, by which other weights are noticed."""
        digest = hashlib.sha256()
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def cropped(frames: Tensor) -> Tensor:
    """The centre of frames, N x C x H x W -> N x 3 x 224 x 224; their short side becomes 256."""
    height, width = frames.shape[-2:]
    scale = SHORT_SIDE / min(height, width)
    size = round(height * scale), round(width * scale)
    x = F.interpolate(frames, size, mode="bilinear", align_corners=False)
    top, left = ((side - CROP) // 2 for side in size)
    return x[..., top : top + CROP, left : left + CROP].expand(-1, 3, -1, -1)


def timm_model(name: str, **options) -> nn.Module:
    """A network of the package timm without weights (``fill``); timm is imported only here."""
    try:
        import timm
    except ImportError:
        raise DDLError(
            "features: timm is not installed; pip install timm, or leave the indicator semantic out"
        ) from None
    with torch.device("meta"):  # drawing random weights would take longer than reading these
        return timm.create_model(name, pretrained=False, **options)


def read_state(path: Path, expected: str) -> dict:
    """The plain content of a checkpoint file, in main memory.

    No code in it is run: the one class of others that may be in it, yacs' settings, is read as a
    dictionary. Raises ``DDLError``; ``expected`` says what the file should be.
    """
    if not path.is_file():
        raise DDLError(f"{path}: is no file; expected {expected}; set feature_weights")
    try:
        with torch.serialization.safe_globals([(OrderedDict, "yacs.config.CfgNode")]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler fails in many ways on damaged bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DDLError(
            f"{path}: cannot be read ({reason}); expected {expected}; set feature_weights"
        ) from None
    if not isinstance(content, dict):
        raise DDLError(f"{path}: holds no table; expected {expected}; set feature_weights")
    return content


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, expected: str) -> nn.Module:
    """The network with the weights of ``state``; ``DDLError`` where they do not fit it."""
    try:
        network.load_state_dict(state, assign=True)
    except (AttributeError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DDLError(
            f"{path}: other weights ({reason}); expected {expected}; set feature_weights"
        ) from None
    return network
