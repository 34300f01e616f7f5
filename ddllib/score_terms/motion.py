"""A term of motion: how a frame changed, beside how its reconstruction changed.

What a model never rebuilds well, such as a fence, has the same error in every frame and says
nothing. In the change from one frame to the next it cancels, and what is left is movement that the
reconstruction does not follow. Its weakness is the same: what is strange and stands still scores 0.
"""

from __future__ import annotations

from torch import Tensor

from ddllib.score_terms.base import term
from ddllib.score_terms.distance import Distance


@term("motion")
class Motion(Distance):
    """The distance of x_t - x_(t-1) from f_t - f_(t-1); 0 for the first frame after a gap."""

    of = "recent_frames"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return super().maps(_last_change(frames), _last_change(reconstructions))


def _last_change(values: Tensor) -> Tensor:
    """How each frame differs from the one before it: N x C x H x W in [-1, 1]."""
    return values[:, -1].float() - values[:, -2].float()
