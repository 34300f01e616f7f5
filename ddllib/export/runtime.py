"""OpenVINO in place of PyTorch while a camera is watched: the same model, the same score."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ddllib.errors import DDLError
from ddllib.export.formats import FORMATS, compiled
from ddllib.export.window import graph_of

HINTS = {"float32": "f32", "bfloat16": "bf16"}  # what OpenVINO calls a precision

Graph = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


class OpenVinoModel(nn.Module):
    """A model that encodes each frame by itself (``models.unet.UNet``), computed by OpenVINO.

    It takes the place of a scorer's ``model``: frames of ``size``, H x W, go in one by one, and
    windows of T of them. The two graphs, an encoder and a decoder, are made at the first frame, on
    as many threads as PyTorch has then. Raises ``DDLError`` for a model of another kind, or where
    OpenVINO is not installed.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int], precision: str = "float32"):
        super().__init__()
        if not hasattr(model, "encode_frames"):
            raise DDLError(
                "backend: openvino computes models that encode each frame by itself, such as those "
                "of the method ddl, and this run's does not; leave it out"
            )
        FORMATS["openvino"].check_packages()
        self.temporal, self.channels = model.temporal, model.channels
        self.model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        self.size, self.precision = size, precision

    def encode_frames(self, frames: Tensor) -> list[Tensor]:
        """As ``UNet.encode_frames``: N x C x H x W to features by level."""
        encode = self._graphs[0]
        parts = [encode({"frame": frame[None].float().numpy()}) for frame in frames]
        return [torch.from_numpy(np.concatenate(level)) for level in zip(*parts, strict=True)]

    def decode_windows(self, features: list[Tensor]) -> Tensor:
        """As ``UNet.decode_windows``, for T frames: B x 1 x C x H x W."""
        decode = self._graphs[1]
        windows = zip(*features, strict=True)
        inputs = [{_level(k): f.numpy() for k, f in enumerate(levels)} for levels in windows]
        return torch.from_numpy(np.stack([decode(one)[0] for one in inputs]))

    @cached_property
    def _graphs(self) -> tuple[Graph, Graph]:
        hint, threads = HINTS[self.precision], torch.get_num_threads()
        frame = torch.zeros(1, self.channels, *self.size)
        with torch.inference_mode():
            levels = self.model.encode_frames(frame)
        windows = {
            _level(k): level.expand(self.temporal, -1, -1, -1) for k, level in enumerate(levels)
        }
        encoder, decoder = _Encoder(self.model), _Decoder(self.model)
        graphs = (
            graph_of(encoder, {"frame": frame}, list(windows)),
            graph_of(decoder, windows, ["reconstruction"]),
        )
        encode, decode = (compiled(graph, hint, threads) for graph in graphs)
        return encode, decode


def _level(k: int) -> str:
    return f"level {k}"


class _Encoder(nn.Module):
    """A frame, 1 x C x H x W in [0, 1], to its features by level, 1 x ... each."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.encode_frames(frame))


class _Decoder(nn.Module):
    """The features of T frames by level, T x ... each, to a reconstruction, 1 x C x H x W."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *features: Tensor) -> Tensor:
        return self.model.decode_windows([level[None] for level in features])[0]
