"""What the terms of STPA's score compare: windows and what its models give (section 4.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ddllib.devices import autocast
from ddllib.flow import optical_flow
from ddllib.methods.stpa_beside import Beside
from ddllib.methods.stpa_semantic import described, extractor_of
from ddllib.models.spatio_temporal import SpatioTemporal
from ddllib.runs import Run
from ddllib.scoring import as_input

Blocks = Sequence[tuple[int, range]]  # windows: the first frame, and the numbers of those scored


class Pairs:
    """Pairs of what is there and what a model makes of it, for the scored frames of windows.

    ``model`` are the trained models of ``run``; ``compared`` are the pairs that are needed, as
    ``ScoreTerm.of`` names them. ``beside`` computes, by role, what stands beside the frames.
    """

    def __init__(self, model: SpatioTemporal, run: Run, compared: Collection[str]):
        settings = run.settings
        self.model, self.compared, self.device = model, compared, run.device
        self.precision = run.precision  # by autocast: the model itself stays in float32
        self.algorithm, self.features_of = settings.flow, settings.features_of
        self.beside: dict[str, Beside] = {}
        if "flow" in compared:
            self.beside["flow"] = Beside(self._flow_between, 2, model.temporal)
        if "probability" in compared:
            self.extractor = extractor_of(run)
            self.beside["features"] = Beside(self._feature, 1, model.temporal)

    @torch.inference_mode()
    def of(
        self, frames: np.ndarray, blocks: Blocks, companions: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """The pairs by name, n x C x H x W each, from a clip's frames.

        ``companions`` are arrays beside the frames by role; those that are not are computed.
        """
        beside = {role: self._windows(frames, blocks, role, companions) for role in self.beside}
        pairs = {"frames": self.frames(frames, blocks)} if "frames" in self.compared else {}
        if "flow" in beside:
            pairs["flow"] = self._motion(beside["flow"], blocks)
        if "features" in beside:
            pairs["probability"] = self._meaning(beside["features"], blocks, frames.shape[2:])
        return pairs

    @torch.inference_mode()
    def frames(self, frames: np.ndarray, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Frames and their reconstructions by A^s, in [0, 1]."""
        length, channels = self.model.frames, self.model.channels
        windows = [as_input(frames[s : s + length], channels, self.device) for s, _ in blocks]
        x = torch.stack(windows).transpose(1, 2)
        with autocast(self.device, self.precision):
            y = self.model.rebuild_frames(x).float()
        return scored(x, blocks), scored(y, blocks)

    def _motion(self, flow: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor]:
        x = self.model.flow_input(flow.transpose(1, 2))
        with autocast(self.device, self.precision):
            y = self.model.a_t(x).float()
        return scored(x, blocks), scored(y, blocks)

    def _meaning(self, features: Tensor, blocks: Blocks, size) -> tuple[Tensor, Tensor]:
        """D's answer for each window, the same at each pixel of all frames it scores; and 0."""
        windows = described(features, self.features_of).mean(dim=1)
        counts = torch.tensor([len(numbers) for _, numbers in blocks], device=self.device)
        answers = self.model.discriminator.probability(windows).repeat_interleave(counts)
        maps = answers[:, None, None, None].expand(-1, 1, *size)
        return maps, torch.zeros_like(maps)

    def _windows(
        self, frames: np.ndarray, blocks: Blocks, role: str, companions: Mapping
    ) -> Tensor:
        """What stands beside the frames of windows, n x T x ..."""
        starts, length = [start for start, _ in blocks], self.model.frames
        if role in companions:
            windows = np.stack([companions[role][s : s + length] for s in starts])
        else:
            windows = self.beside[role].windows(frames, starts, length)
        return torch.from_numpy(windows).to(self.device)

    def _flow_between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return optical_flow(first, second, self.algorithm).astype(np.float16)

    def _feature(self, frame: np.ndarray) -> np.ndarray:
        return self.extractor(as_input(frame[None], len(frame), self.device))[0].cpu().numpy()


def scored(windows: Tensor, blocks: Blocks) -> Tensor:
    """The scored frames of windows, B x C x T x H x W -> n x C x H x W."""
    parts = [windows[k, :, numbers.start : numbers.stop] for k, (_, numbers) in enumerate(blocks)]
    return torch.cat(parts, dim=1).transpose(0, 1)
