"""Altered objects: a foreign patch in its place, the object blurred, the object shifted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.windows import Sample, as_frames, paint_pixels


def places(sample: Sample) -> Iterator[tuple[int, int, int, int, int, int]]:
    """For each window and frame with an object: window, frame, x0, y0, x1, y1 in pixels."""
    for window, frames in enumerate(sample.pixels.int().tolist()):
        for t, (x0, y0, x1, y1) in enumerate(frames):
            if x1 > x0 and y1 > y0:
                yield window, t, x0, y0, x1, y1


@kind("foreign patch")
class ForeignPatch(PseudoAnomaly):
    """A piece of another clip, upside down, pasted where the object is and moving with it."""

    def alter(self, sample: Sample, random: Random) -> Altered:
        x, patches = sample.x.clone(), {}
        for window, t, x0, y0, x1, y1 in places(sample):
            if window not in patches:
                patches[window] = self._draw(sample, window, random)
            x[window, :, t, y0:y1, x0:x1] = patches[window][:, : y1 - y0, : x1 - x0]
        return Altered(x, sample.mask)

    def _draw(self, sample: Sample, window: int, random: Random) -> Tensor:
        """A piece as large as the object's largest box, C x h x w in [0, 1]."""
        boxes = sample.pixels[window].int()
        width, height = (int((boxes[:, k + 2] - boxes[:, k]).max()) for k in (0, 1))
        donors = sample.donors
        donor = donors[random.integers(len(donors)) if len(donors) > 1 else 0]
        number = random.integers(len(donor))
        frame = as_frames(donor[number : number + 1], sample.x)[0].flip(1)
        y = random.integers(frame.shape[1] - height + 1)
        x = random.integers(frame.shape[2] - width + 1)
        return frame[:, y : y + height, x : x + width]


@kind("blurred object")
class BlurredObject(PseudoAnomaly):
    """The object without its details: a Gaussian blur of a sixth of its width."""

    def alter(self, sample: Sample, random: Random) -> Altered:
        x = sample.x.clone()
        for window, t, x0, y0, x1, y1 in places(sample):
            patch = x[window, :, t, y0:y1, x0:x1]
            sigma = max((x1 - x0) / 6, 1)
            blurred = gaussian_filter(patch.cpu().numpy(), (0, sigma, sigma))
            patch.copy_(torch.from_numpy(blurred))
        return Altered(x, sample.mask)


@kind("shifted object")
class ShiftedObject(PseudoAnomaly):
    """The object shifted by half its width, left and right in alternate frames."""

    def alter(self, sample: Sample, random: Random) -> Altered:
        x, boxes = sample.x.clone(), torch.zeros_like(sample.pixels)
        for window, t, x0, y0, x1, y1 in places(sample):
            direction = 1 if (sample.starts[window] + t) % 2 else -1
            left = x0 + direction * max((x1 - x0) // 2, 1)
            left = int(np.clip(left, 0, x.shape[-1] - (x1 - x0)))
            x[window, :, t, y0:y1, left : left + x1 - x0] = sample.x[window, :, t, y0:y1, x0:x1]
            boxes[window, t] = boxes.new_tensor([left, y0, left + x1 - x0, y1])
        new_mask = paint_pixels(boxes, x.shape[-2], x.shape[-1])
        return Altered(x, torch.maximum(sample.mask, new_mask))
