"""The two pseudo-anomalies of LNTRA (Astrid et al. 2021): a patch that wanders, frames left out.

LNTRA uses them with probability p = 0.2 a window (``p_s``) and always asks for the normal window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.windows import Sample, as_frames

FULL_SIDE = 256  # pixels of the frame that the lengths below are given for
SMALLEST, STEP = 10, 10  # the patch's shortest side; how far it moves in a frame at most
LARGEST = 0.5  # of the frame's side: the patch's longest side
RAMP = 0.1  # of half a side: how far the patch fades out beyond its edge
STRIDES = (2, 3, 4, 5)  # of frames, one is drawn a window


@kind("lntra patch")
class LNTRAPatch(PseudoAnomaly):
    """A frame of another clip, shown through a box that wanders about and fades out at its edges.

    The intruder may be any picture in LNTRA; here it is a frame of the training footage, which its
    table has, too. The mask is 1 wherever the patch shows.
    """

    needs_object = False

    def alter(self, sample: Sample, random: Random) -> Altered:
        batch, _, frames, height, width = sample.x.shape
        weight = torch.stack([self._weights(frames, height, width, random) for _ in range(batch)])
        weight = weight.to(sample.x.device, sample.x.dtype)[:, None]
        intruders = torch.stack([self._picture(sample, random) for _ in range(batch)])
        x = (1 - weight) * sample.x + weight * intruders[:, :, None]
        return Altered(x, (weight > 0).to(sample.mask.dtype))

    def _picture(self, sample: Sample, random: Random) -> Tensor:
        """A frame of some clip, C x H x W in [0, 1]."""
        donor = sample.donors[random.integers(len(sample.donors))]
        number = random.integers(len(donor))
        return as_frames(donor[number : number + 1], sample.x)[0]

    def _weights(self, frames: int, height: int, width: int, random: Random) -> Tensor:
        """How much of the intruder each pixel shows, T x H x W in [0, 1]."""
        rows = self._edge_weights(frames, height, random)
        columns = self._edge_weights(frames, width, random)
        return torch.minimum(rows[:, :, None], columns[:, None, :])

    def _edge_weights(self, frames: int, length: int, random: Random) -> Tensor:
        """The intruder's share along one axis, T x length: 1 inside, then a linear ramp to 0."""
        scale = length / FULL_SIDE
        draws = random.uniform((2 + frames,)).cpu()
        half = max(float(draws[0]) * LARGEST * length, SMALLEST * scale) / 2
        steps = (2 * draws[2:] - 1) * STEP * scale
        centre = (float(draws[1]) * length + steps.cumsum(0) - steps[0]).clamp(0, length - 1)
        beyond = (torch.arange(length) - centre[:, None]).abs() - half
        return (1 - F.relu(beyond) / (RAMP * half)).clamp(min=0)


@kind("lntra skip")
class LNTRASkip(PseudoAnomaly):
    """Every second to fifth frame of the clip from the window's start on, the stride drawn.

    LNTRA draws another start where the clip is too short for the stride. Here the start is that of
    the normal window, so a stride is drawn among those that fit; a window where none fits stays.
    """

    needs_object = False

    def alter(self, sample: Sample, random: Random) -> Altered:
        x, mask = sample.x.clone(), torch.zeros_like(sample.mask)
        times = torch.arange(x.shape[2])
        for window, (clip, start) in enumerate(zip(sample.clips, sample.starts, strict=True)):
            fitting = [stride for stride in STRIDES if start + stride * times[-1] < len(clip)]
            if fitting:
                order = start + fitting[random.integers(len(fitting))] * times
                x[window] = as_frames(clip[order.numpy()], sample.x).transpose(0, 1)
                mask[window] = 1
        return Altered(x, mask)
