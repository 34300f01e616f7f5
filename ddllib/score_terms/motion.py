"""A term of motion: how a frame changed, beside how its reconstruction changed.

What a model never rebuilds well, such as a fence, has the same error in every frame and says
nothing. In the change from one frame to the next it cancels, and what is left is movement that the
reconstruction does not follow. Its weakness is the same: what is strange and stands still scores 0.
"""

from __future__ import annotations

from torch import Tensor, cat

from ddllib.score_terms.base import term
from ddllib.score_terms.distance import Distance


@term("motion")
class Motion(Distance):
    """The distance of x_t - x_(t-1) from f_t - f_(t-1); 0 for the first frame after a gap."""

    of = "changes"


def changes(values: Tensor, before: Tensor | None) -> Tensor:
    """How each frame differs from the one before it: n x C x H x W, float32 in [-1, 1].

    ``before`` is the frame before the first, 1 x C x H x W; without one its change is 0.
    """
    values = values.float()
    before = values[:1] if before is None else before.float()
    return values - cat([before, values[:-1]])
