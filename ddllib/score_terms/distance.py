"""The papers' term: distance of each pixel from its reconstruction (DDL, section 3.4)."""

from __future__ import annotations

from torch import Tensor

from ddllib.losses import pixel_distance
from ddllib.score_terms.base import ScoreTerm, term


@term("distance")
class Distance(ScoreTerm):
    """Euclidean distance over channels, divided by sqrt(3) for any C, as in the released code."""

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return distance_map(frames, reconstructions)


def distance_map(frames: Tensor, reconstructions: Tensor) -> Tensor:
    """The map of ``Distance``: N x C x H x W in [0, 1] twice to N x H x W float32."""
    return pixel_distance(frames, reconstructions)[:, 0] * (frames.shape[1] / 3) ** 0.5
