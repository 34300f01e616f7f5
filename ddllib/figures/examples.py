"""Which of many drawn windows a chapter shows: by a rule, so that nobody picked it."""

from __future__ import annotations

from torch import Tensor

UPRIGHT = 2.0  # so many times as high as wide is the box of one person; a group's is wider
STEADY = 0.8  # the smallest box of one person is so much of its largest; people who meet share one
EASY_TO_SEE = 0.05  # of the frame; a larger box often holds several people


def clearest(mask: Tensor) -> Tensor:
    """The index of the window whose object is easiest to see.

    ``mask`` is B x 1 x T x H x W of 0 and 1. The object lies wholly inside the frame, touching no
    edge, and its box is that of one person (``UPRIGHT`` and ``STEADY``), in all T frames. Of these
    it is the one whose size is nearest to ``EASY_TO_SEE``. Without one any inside counts, else any.
    """
    rows, columns = mask[:, 0].amax(dim=3), mask[:, 0].amax(dim=2)  # B x T x H, B x T x W
    at_edge = rows[..., [0, -1]].sum(dim=(1, 2)) + columns[..., [0, -1]].sum(dim=(1, 2)) > 0
    is_wide = (rows.sum(dim=2) < UPRIGHT * columns.sum(dim=2)).any(dim=1)
    sizes = mask.sum(dim=(1, 3, 4))  # B x T
    is_several = is_wide | (sizes.amin(dim=1) < STEADY * sizes.amax(dim=1))
    share = mask.mean(dim=(1, 2, 3, 4))
    distance = (share - EASY_TO_SEE).abs()  # below 1, so that each rule outweighs it
    return (distance + 1.0 * is_several + 2.0 * at_edge + 4.0 * (share == 0)).argmin()
