"""Spatial pseudo-anomalies of STPA (section 3.2, equation 2): a region in-painted.

In-painting takes long, so each training frame is in-painted once, before training
(``data_prep.companions``); a pseudo-anomaly takes the region it needs from there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.windows import Sample


def silhouette(sample: Sample) -> Tensor:
    """The object's mask, B x 1 x T x H x W: its silhouette where there is one, else its boxes."""
    pixels = sample.companions.get("silhouettes")
    return sample.mask if pixels is None else sample.mask * pixels.to(sample.mask.dtype)


def painted(sample: Sample, role: str, mask: Tensor) -> Altered:
    """X with the pixels of a mask, B x 1 x T x H x W of 0 and 1, from its in-painted frames."""
    pixels = sample.companions[role].to(sample.x.dtype) / 255
    return Altered(torch.where(mask > 0, pixels, sample.x), mask)


@kind("inpainted object")
class InpaintedObject(PseudoAnomaly):
    """One tracked object of the window in-painted in all frames (segmentation mask)."""

    @classmethod
    def companions(cls, settings) -> dict[str, str]:
        outline, name = settings.silhouettes, f"inpainted-{settings.inpainter}"
        if outline == "boxes":
            return {"inpainted": f"{name}-boxes"}
        return {"silhouettes": f"silhouettes-{outline}", "inpainted": f"{name}-{outline}"}

    def alter(self, sample: Sample, random: Random) -> Altered:
        return painted(sample, "inpainted", silhouette(sample))


@kind("inpainted strokes")
class InpaintedStrokes(PseudoAnomaly):
    """A region of random strokes and boxes in-painted, another in each frame (random mask)."""

    needs_object = False

    @classmethod
    def companions(cls, settings) -> dict[str, str]:
        mask = f"strokes-{settings.strokes}"
        return {"strokes": mask, "inpainted strokes": f"inpainted-{settings.inpainter}-{mask}"}

    def alter(self, sample: Sample, random: Random) -> Altered:
        mask = sample.companions["strokes"].to(sample.mask.dtype)
        return painted(sample, "inpainted strokes", mask)
