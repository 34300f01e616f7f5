"""The appearance term of STPA: peak signal-to-noise ratio of a reconstruction (section 4.2)."""

from __future__ import annotations

from torch import Tensor

from ddllib.score_terms.base import ScoreTerm, term

SMALLEST = 1e-10  # squared error; a perfect reconstruction has 100 dB


@term("psnr")
class PSNR(ScoreTerm):
    """Minus the PSNR of the whole frame in dB, 10 log10 of the squared error in [-1, 1] (LNTRA)."""

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return (2 * (frames.float() - reconstructions.float())).square().mean(1)

    def scores(self, maps: Tensor, patch: int) -> Tensor:
        return 10 * maps.mean(dim=(1, 2)).clamp(min=SMALLEST).log10()
