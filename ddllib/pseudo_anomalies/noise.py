"""The pseudo-anomaly creator (DDL, section 3.2, equations 1 and 2, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.windows import Sample


@kind("noise")
class PseudoAnomalyCreator(PseudoAnomaly):
    """Blends one tracked object of a window with noise, at a weight that is itself learnt.

    Holds l, one scalar; sigma(l) is the anomaly weight, 0.5 at the start. With
    ``learnable=False`` it stays there, which is the paper's static variant (SDL). With ``shared``
    one noise is drawn for all channels of a pixel.
    """

    def __init__(self, learnable: bool = True, shared: bool = False):
        super().__init__()
        self.l = nn.Parameter(torch.zeros(()), requires_grad=learnable)
        self.shared = shared

    @classmethod
    def from_settings(cls, settings) -> PseudoAnomalyCreator:
        return cls(learnable=settings.mode == "ddl", shared=settings.noise == "shared")

    @property
    def anomaly_weight(self) -> Tensor:
        """sigma(l), in (0, 1)."""
        return torch.sigmoid(self.l)

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor | None = None) -> Tensor:
        """X_A of equation 2.

        ``x`` is X, B x C x T x H x W in [0, 1]; ``mask`` is M, B x 1 x T x H x W of 0 and 1.
        ``noise`` N, shaped as ``x`` or with one channel for all, is drawn uniformly from [0, 1] per
        pixel, frame and channel unless given. The result has the shape and range of ``x`` and
        equals it outside the mask.
        """
        noise = torch.rand_like(x) if noise is None else noise
        # Equations 1 and 2 combined, which needs half as many passes over X.
        return x + self.anomaly_weight * (mask * (noise - x))

    def alter(self, sample: Sample, random: Random) -> Altered:
        x, mask = sample.x, sample.mask
        channels = 1 if self.shared else x.shape[1]
        noise = random.uniform((x.shape[0], channels, *x.shape[2:]))
        return Altered(self(x, mask, noise), mask)


class FixedNoise(PseudoAnomalyCreator):
    """Noise at a fixed weight, in (0, 1], that is not learnt."""

    weight: float

    def __init__(self):
        super().__init__(learnable=False)
        self.l.data.copy_(torch.logit(torch.tensor(self.weight)).clamp(max=20))  # 20 gives 1

    @classmethod
    def from_settings(cls, settings) -> FixedNoise:
        return cls()


@kind("noise 0.2")
class FaintNoise(FixedNoise):
    """A fifth of noise."""

    weight = 0.2


@kind("noise 0.5")
class HalfNoise(FixedNoise):
    """Half noise, half object, as the paper's SDL."""

    weight = 0.5


@kind("noise 1.0")
class FullNoise(FixedNoise):
    """Noise in place of the object."""

    weight = 1.0
