"""DDL's learnt weight on other kinds: blended with the normal window at sigma(l) (equation 1).

The paper learns how strong noise should be. Nothing in equations 1 and 2 needs noise: any altered
window can take its place. So these kinds show what the learnt strength does where it is not noise
that is blended.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddllib.pseudo_anomalies.base import Altered, PseudoAnomaly, Random, kind
from ddllib.pseudo_anomalies.inpainting import InpaintedObject
from ddllib.pseudo_anomalies.lntra import LNTRAPatch
from ddllib.windows import Sample


class Blended(PseudoAnomaly):
    """X_A = (1 - sigma(l)) X + sigma(l) X', where X' is what ``altered`` makes of X.

    l is learnt, and 0 at the start; with ``learnable=False`` sigma(l) stays 0.5.
    """

    altered: type[PseudoAnomaly]

    def __init__(self, altered: PseudoAnomaly, learnable: bool = True):
        super().__init__()
        self.inner, self.needs_object = altered, altered.needs_object
        self.l = nn.Parameter(torch.zeros(()), requires_grad=learnable)

    @classmethod
    def from_settings(cls, settings) -> Blended:
        return cls(cls.altered.from_settings(settings), learnable=settings.mode == "ddl")

    @classmethod
    def companions(cls, settings) -> dict[str, str]:
        return cls.altered.companions(settings)

    @property
    def anomaly_weight(self) -> Tensor:
        """sigma(l), in (0, 1)."""
        return torch.sigmoid(self.l)

    def alter(self, sample: Sample, random: Random) -> Altered:
        with torch.no_grad():
            whole = self.inner.alter_checked(sample, random)
        return Altered(torch.lerp(sample.x, whole.x, self.anomaly_weight), whole.mask)


@kind("blended lntra patch")
class BlendedPatch(Blended):
    """LNTRA's wandering patch, shown at a learnt weight."""

    altered = LNTRAPatch


@kind("blended inpainted object")
class BlendedInpaintedObject(Blended):
    """STPA's in-painted object, shown at a learnt weight."""

    altered = InpaintedObject
