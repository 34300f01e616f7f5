"""The losses of DDL (paper, section 3.3, equations 3 to 7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ddllib.errors import DDLError

EPSILON = 1e-6
_MIN_DISTANCE = 1e-10


def pixel_distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distance over channels, divided by sqrt(C): B x C x H x W twice -> B x 1 x H x W.

    Computed in float32 for any input type, in [0, 1] for values in [0, 1]. There is no second
    derivative.
    """
    return _Distance.apply(a.float(), b.float())


class _Distance(torch.autograd.Function):
    """The distance, B x C x H x W float32 twice -> B x 1 x H x W, with its own gradient.

    Autograd would take twice as many passes over the images.
    """

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        distance = difference.square().mean(dim=1, keepdim=True).sqrt_()
        ctx.save_for_backward(difference, distance)
        return distance

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        difference, distance = ctx.saved_tensors
        # The root has no derivative at 0; where a equals b, the gradient is 0.
        slope = difference * (gradient / (distance.clamp(min=_MIN_DISTANCE) * difference.shape[1]))
        needs_a, needs_b = ctx.needs_input_grad
        return slope if needs_a else None, -slope if needs_b else None


def reconstruction_loss(middle: Tensor, reconstruction: Tensor) -> Tensor:
    """L_recon, equation 4: the mean distance between X^t and f(X), both B x C x H x W."""
    return pixel_distance(middle, reconstruction).mean()


def distinction_terms(
    middle: Tensor, pseudo_middle: Tensor, reconstruction: Tensor
) -> tuple[Tensor, Tensor]:
    """Distances of f(X_A) from X^t and from X_A^t, before the mask (equations 5 and 6).

    All inputs B x C x H x W; both outputs B x 1 x H x W.
    """
    return pixel_distance(middle, reconstruction), pixel_distance(pseudo_middle, reconstruction)


def distinction_loss(
    middle: Tensor,
    pseudo_middle: Tensor,
    reconstruction: Tensor,
    mask: Tensor,
    form: str = "per_pixel",
) -> Tensor:
    """L_dist, equation 7: how much nearer f(X_A) is to the normal than to the pseudo-anomaly.

    ``middle`` X^t, ``pseudo_middle`` X_A^t and ``reconstruction`` f(X_A) are B x C x H x W,
    ``mask`` M^t is B x 1 x H x W of 0 and 1. Four forms:

    - ``per_pixel`` (released code): the mean of (P + eps) / (Q + eps) over the masked pixels of
      the whole batch;
    - ``norms`` (figure 1): the ratio of the two norms under each sample's mask, averaged over the
      samples that have one;
    - ``discrepancy`` (rejected in section 3.3.2): the mean of -Q alone, which drives the
      reconstruction away from the pseudo-anomaly without using the normal frame; over whole frames
      it is the loss of STEAL;
    - ``target`` (not DDL's, but LNTRA's and STPA's): the mean of P alone, so that the normal frame
      is asked for whatever the pseudo-anomaly looks like.

    An empty mask gives 0. Smaller is better: a ratio of 1 means equally far from both.
    """
    return _distinction(*distinction_terms(middle, pseudo_middle, reconstruction), mask, form)


def _distinction(p: Tensor, q: Tensor, mask: Tensor, form: str) -> Tensor:
    if form == "discrepancy":
        return -(mask * q).sum() / mask.sum().clamp(min=1)
    if form == "target":
        return (mask * p).sum() / mask.sum().clamp(min=1)
    if form == "per_pixel":
        weight = mask
    elif form == "norms":
        p, q = (torch.linalg.vector_norm(mask * d, dim=(1, 2, 3)) for d in (p, q))
        weight = mask.amax(dim=(1, 2, 3))
    else:
        raise DDLError(
            f"distinction_form is {form!r}; expected per_pixel, norms, discrepancy or target"
        )
    return (weight * (p + EPSILON) / (q + EPSILON)).sum() / weight.sum().clamp(min=1)


class LossTerms(NamedTuple):
    """The terms of one step, each a scalar tensor; P and Q are means over the masked pixels."""

    total: Tensor
    reconstruction: Tensor
    distinction: Tensor
    p: Tensor
    q: Tensor


class DDLLoss(nn.Module):
    """L = L_recon + lambda * L_dist (equation 3)."""

    def __init__(self, distinction_weight: float = 1e-2, form: str = "per_pixel"):
        super().__init__()
        self.distinction_weight = distinction_weight
        self.form = form

    def forward(
        self,
        middle: Tensor,
        reconstruction: Tensor,
        pseudo_middle: Tensor,
        pseudo_reconstruction: Tensor,
        mask: Tensor,
    ) -> LossTerms:
        """All images B x C x H x W (X^t, f(X), X_A^t, f(X_A)), the mask M^t B x 1 x H x W."""
        recon = reconstruction_loss(middle, reconstruction)
        p, q = distinction_terms(middle, pseudo_middle, pseudo_reconstruction)
        dist = _distinction(p, q, mask, self.form)
        mean_distances = [(mask * d.detach()).sum() / mask.sum().clamp(min=1) for d in (p, q)]
        return LossTerms(recon + self.distinction_weight * dist, recon, dist, *mean_distances)
