"""The motion terms of STPA: optical flow and its reconstruction (section 4.2)."""

from __future__ import annotations

from torch import Tensor

from ddllib.losses import pixel_distance
from ddllib.score_terms.base import ScoreTerm, term


@term("flow error")
class FlowError(ScoreTerm):
    """The mean squared error of the whole field (the paper's normalised L2 loss)."""

    of = "flow"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return (frames.float() - reconstructions.float()).square().mean(1)

    def scores(self, maps: Tensor, patch: int) -> Tensor:
        return maps.mean(dim=(1, 2))


@term("flow distance")
class FlowDistance(ScoreTerm):
    """DDL's distance of each pixel, and the highest mean over patches, of the flow."""

    of = "flow"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return pixel_distance(frames, reconstructions)[:, 0]


@term("flow magnitude")
class FlowMagnitude(ScoreTerm):
    """How fast each pixel moves, and the highest mean over patches: nothing is learnt."""

    of = "flow"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return frames.float()[:, 2]
