"""The pseudo-anomaly creator (paper, section 3.2, equations 1 and 2, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PseudoAnomalyCreator(nn.Module):
    """Blends one tracked object of a window with noise, at a weight that is itself learnt.

    Holds l, one scalar; sigma(l) is the anomaly weight, 0.5 at the start. With
    ``learnable=False`` it stays there, which is the paper's static variant (SDL).
    """

    def __init__(self, learnable: bool = True):
        super().__init__()
        self.l = nn.Parameter(torch.zeros(()), requires_grad=learnable)

    @property
    def anomaly_weight(self) -> Tensor:
        """sigma(l), in (0, 1)."""
        return torch.sigmoid(self.l)

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor | None = None) -> Tensor:
        """X_A of equation 2.

        ``x`` is X, B x C x T x H x W in [0, 1]; ``mask`` is M, B x 1 x T x H x W of 0 and 1.
        ``noise`` N, shaped as ``x`` or with one channel for all, is drawn uniformly from [0, 1] per
        pixel, frame and channel unless given. The result has the shape and range of ``x`` and
        equals it outside the mask.
        """
        noise = torch.rand_like(x) if noise is None else noise
        # Equations 1 and 2 in one, in half as many passes over X.
        return x + self.anomaly_weight * (mask * (noise - x))
