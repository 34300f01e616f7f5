"""The temporal pseudo-anomaly of STPA (section 3.3): an object's flow mixed with another's.

It alters whatever the windows hold; STPA gives it windows of optical flow.
"""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.pseudo_anomalies.inpainting import silhouette
from ddllib.pseudo_anomalies.objects import places
from ddllib.windows import Sample

ALPHA = 0.4  # lambda is drawn from Beta(ALPHA, ALPHA), as in mixup (Zhang et al. 2018)


@kind("mixup")
class Mixup(PseudoAnomaly):
    """p' = lambda p' + (1 - lambda) p'_r in the rectangle p' around an object.

    p'_r is a rectangle of the same size at a random place of the same field. Lambda and the place
    are drawn once for a window; the place is relative to the room that the rectangle has.
    """

    def alter(self, sample: Sample, random: Random) -> Altered:
        x, region = sample.x.clone(), self.region(sample)
        draws = random.uniform((len(x), 3)).cpu().numpy()
        weights = betaincinv(ALPHA, ALPHA, draws[:, 0])  # inverse of Beta's distribution function
        height, width = x.shape[-2:]
        for window, t, x0, y0, x1, y1 in places(sample):
            row = int(draws[window, 1] * (height - (y1 - y0) + 1))
            column = int(draws[window, 2] * (width - (x1 - x0) + 1))
            field = sample.x[window, :, t]
            own = field[:, y0:y1, x0:x1]
            other = field[:, row : row + y1 - y0, column : column + x1 - x0]
            mixed = torch.lerp(other, own, float(weights[window]))
            inside = region[window, :, t, y0:y1, x0:x1] > 0
            x[window, :, t, y0:y1, x0:x1] = torch.where(inside, mixed, own)
        return Altered(x, region)

    def region(self, sample: Sample) -> Tensor:
        """Where the flow is mixed, B x 1 x T x H x W of 0 and 1."""
        return sample.mask


@kind("mixup in silhouette")
class SilhouetteMixup(Mixup):
    """Flow mixed only within the object's silhouette, as the paper's figure 2 shows it."""

    @classmethod
    def companions(cls, settings) -> dict[str, str]:
        if settings.silhouettes == "boxes":
            return {}
        return {"silhouettes": f"silhouettes-{settings.silhouettes}"}

    def region(self, sample: Sample) -> Tensor:
        return silhouette(sample)
