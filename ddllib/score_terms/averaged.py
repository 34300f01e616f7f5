"""Terms averaged over time: a pixel or a patch has to be strange in several frames on end.

The highest patch of one frame is often a chance: a limb that moves quickly, or noise. What is
strange stays so from one frame to the next. So errors are averaged over the scored frame and those
just before it, as many as a window has in the paper (T = 3), before the highest patch is taken. A
median filter over scores cannot do that: it sees numbers, and not where they come from.

The number of frames was fixed before any test clip was scored by these terms.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, cat

from ddllib.patches import highest
from ddllib.score_terms.base import RECENT, term
from ddllib.score_terms.contrast import Contrast
from ddllib.score_terms.distance import Distance


@term("averaged distance")
class AveragedDistance(Distance):
    """The paper's distance, each pixel averaged over RECENT frames before patches are compared."""

    of = "recent_frames"

    def maps(self, frames: Tensor, reconstructions: Tensor) -> Tensor:
        return _averaged(super().maps(_once(frames), _once(reconstructions)))


@term("averaged contrast")
class AveragedContrast(Contrast):
    """The error beside its contrast, each patch averaged over RECENT frames."""

    of = "recent_frames"

    def judge(
        self, frames: Tensor, reconstructions: Tensor, patch: int, ignore: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor]:
        ratios, maps = self.ratios(_once(frames), _once(reconstructions), patch, ignore)
        return highest([_averaged(grid) for grid in ratios]), _averaged(maps)


def _once(values: Tensor) -> Tensor:
    """Each frame of a stream once: N x RECENT x C x H x W to (N + RECENT - 1) x C x H x W."""
    return cat([values[0], values[1:, -1]])


def _averaged(values: Tensor) -> Tensor:
    """The mean over RECENT frames on end: (N + RECENT - 1) x H x W to N x H x W."""
    return values.unfold(0, RECENT, 1).mean(dim=-1)
