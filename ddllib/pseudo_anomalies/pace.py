"""The whole frame at another speed: frames skipped or repeated."""

from __future__ import annotations

import numpy as np
import torch

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.windows import Sample, as_frames

SPEED_FACTOR = 3  # skipped frames go this much faster, repeated ones this much slower


class Paced(PseudoAnomaly):
    """The window's frames replaced by other frames of its clip, from its start on."""

    needs_object = False

    def alter(self, sample: Sample, random: Random) -> Altered:
        """The windows at the new speed; unchanged where the clip has too few frames."""
        x, mask = sample.x.clone(), torch.zeros_like(sample.mask)
        order = self.order(x.shape[2])
        for window, (clip, start) in enumerate(zip(sample.clips, sample.starts, strict=True)):
            if start + order[-1] < len(clip):
                x[window] = as_frames(clip[start + order], sample.x).transpose(0, 1)
                mask[window] = 1
        return Altered(x, mask)


@kind("skipped frames")
class SkippedFrames(Paced):
    """Only every third frame: motion is three times faster."""

    def order(self, frames: int) -> np.ndarray:
        return SPEED_FACTOR * np.arange(frames)

    def frames_of(self, frames: int) -> int:
        return len(range(0, frames, SPEED_FACTOR))


@kind("repeated frames")
class RepeatedFrames(Paced):
    """Every frame three times: motion is three times slower."""

    def order(self, frames: int) -> np.ndarray:
        return np.arange(frames) // SPEED_FACTOR

    def frames_of(self, frames: int) -> int:
        return SPEED_FACTOR * frames
