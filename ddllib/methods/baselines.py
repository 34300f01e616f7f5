"""Baselines: methods that learn nothing, scored in the same way as those that learn.

What they take for f(X) is made of the window's own frames. A model is worth its training as far as
it exceeds them under the same score, at the same size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ddllib.errors import DDLError
from ddllib.flow import optical_flow
from ddllib.methods.base import Method, method
from ddllib.runs import Run
from ddllib.score_terms.terms import ScoreBatch
from ddllib.scoring import CHUNK
from ddllib.settings import Settings
from ddllib.streaming import StreamScorer


class PreviousFrame(nn.Module):
    """f(X) is the frame before: B x C x N x H x W to B x C x (N - 1) x H x W."""

    temporal = 2

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :-1]


class NeighbourMean(PreviousFrame):
    """f(X) is the mean of the frames beside: B x C x N x H x W to B x C x (N - 2) x H x W."""

    temporal = 3

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :, :-2] + x[:, :, 2:]) / 2


class Baseline(Method):
    """A method without weights; ``model`` is what gives f(X)."""

    model: type[PreviousFrame]

    def check(self, settings: Settings) -> None:
        if settings.epochs:
            raise DDLError(
                f"method {settings.method} learns nothing, and epochs is {settings.epochs}; "
                "expected 0; set epochs to 0"
            )

    def window(self, settings: Settings) -> int:
        return self.model.temporal

    def precision(self, settings: Settings) -> str:
        return "float32"

    def companions(self, settings: Settings) -> dict[str, str]:
        return {}

    def build(self, settings: Settings) -> dict[str, nn.Module]:
        return {"model": self.model(settings.channels)}


@method("frame-difference")
class FrameDifference(Baseline):
    """How far a frame is from the one before it; the first takes the score of the second."""

    model = PreviousFrame


@method("neighbour-mean")
class MeanOfNeighbours(Baseline):
    """How far a frame is from the mean of the two beside it."""

    model = NeighbourMean


@method("optical-flow")
class Flow(Baseline):
    """How far pixels have moved since the frame before; for terms of the score that need flow."""

    model = PreviousFrame
    streams = ("flow",)

    def scorer(self, run: Run, ignore: np.ndarray | None = None) -> FlowScorer:
        return FlowScorer(run, ignore)


class FlowScorer(StreamScorer):
    """Scores optical flow by terms that compare it with a scene in which nothing moves."""

    def __init__(self, run: Run, ignore: np.ndarray | None = None):
        settings = run.settings
        arguments = settings.patch_size, run.precision, ignore, settings.score
        super().__init__(run.model, *arguments, settings.scaled_terms)
        self.algorithm = settings.flow

    @property
    def identity(self) -> str:
        return f"{super().identity}-{self.algorithm}"

    def score_batches(
        self, frames: np.ndarray, companions: Mapping[str, np.ndarray] | None = None
    ) -> Iterator[ScoreBatch]:
        self._check_length(frames)
        for start in range(0, len(frames) - 1, CHUNK):
            yield self._judge_pairs(frames[start : start + CHUNK + 1])

    def _judge_window(self, x: Tensor, y: Tensor) -> ScoreBatch:
        return self._judge_pairs([frame for frame, *_ in self._window])

    @torch.inference_mode()
    def _judge_pairs(self, frames) -> ScoreBatch:
        """Frames but the first, by their flow from the one before: uint8 n x C0 x H x W."""
        fields = [optical_flow(one, two, self.algorithm) for one, two in pairwise(frames)]
        flow = torch.from_numpy(np.stack(fields)).to(self.device)
        flow = torch.cat([flow, flow.square().sum(1, keepdim=True).sqrt()], dim=1)
        return self.judge(flow=(flow, torch.zeros_like(flow)))
