"""The semantic term of STPA: the probability by its discriminator (section 4.2)."""

from __future__ import annotations

from torch import Tensor

from ddllib.score_terms.base import ScoreTerm, term


@term("semantic")
class Semantic(ScoreTerm):
    """How likely the window is a pseudo-anomaly, in [0, 1], the same at each pixel."""

    of = "probability"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return frames.float()[:, 0]

    def scores(self, maps: Tensor, patch: int) -> Tensor:
        return maps.amax(dim=(1, 2))
