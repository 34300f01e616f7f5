"""A term relative to contrast: a patch's error beside how much there is to be rebuilt in it.

The error of a reconstruction grows with the contrast of what is rebuilt: an edge that is off by
half a pixel costs more the stronger it is. So the highest patch by distance alone is often one of
high contrast, and a small, dim object is lost. Here a patch's mean distance is divided by the
frame's own standard deviation in that patch, plus a constant c. Without c, noise in an empty patch
would count most.

The rule for c was fixed before this project scored any test clip by this term: the mean of that
deviation over all patches of training frames. It is measured for each footage, size and patch, and
no test clip decides about it. That such a division helps on UCSD Ped2 was found by others, who
looked at its test labels; on another scene of theirs it did harm. So it is a variant and not the
default.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from ddllib.errors import DDLError
from ddllib.patches import highest, over_pixels, patch_deviations, patch_means, without
from ddllib.score_terms.base import ScoreTerm, term
from ddllib.score_terms.distance import distance_map

LEAST = 1 / 255  # of c, one grey level: training frames may be empty


@term("contrast")
class Contrast(ScoreTerm):
    """The highest of: a patch's mean distance / (the frame's deviation in that patch + c)."""

    needs_footage = True

    def measure(self, frames: Iterable[Tensor], patch: int, ignore: np.ndarray | None) -> float:
        """c: the mean deviation over all patches, of which some pixel counts, of both grids."""
        total, count = 0.0, 0
        for part in frames:
            for deviations, share in patch_deviations(part, patch, ignore):
                values = deviations[:, share > 0]
                total, count = total + float(values.double().sum()), count + values.numel()
        return max(total / max(count, 1), LEAST)

    def judge(
        self, frames: Tensor, reconstructions: Tensor, patch: int, ignore: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor]:
        ratios, maps = self.ratios(frames, reconstructions, patch, ignore)
        return highest(ratios), maps

    def ratios(
        self, frames: Tensor, reconstructions: Tensor, patch: int, ignore: np.ndarray | None
    ) -> tuple[list[Tensor], Tensor]:
        """Each patch's ratio, N x rows x columns for each grid, and maps N x H x W.

        The maps are divided by the deviation of the first grid's patches, plus c.
        """
        if self.constant is None:
            raise DDLError(
                "score: contrast has no constant yet, which training footage decides; score by "
                "ddllib.pipeline, or give it to Scorer.calibrate"
            )
        maps = without(distance_map(frames, reconstructions), ignore)
        deviations = [deviation for deviation, _ in patch_deviations(frames, patch, ignore)]
        ratios = [
            mean / (deviation + self.constant)
            for mean, deviation in zip(patch_means(maps, patch), deviations, strict=True)
        ]
        at_pixels = over_pixels(deviations[0], patch, *maps.shape[1:])
        return ratios, maps / (at_pixels + self.constant)
