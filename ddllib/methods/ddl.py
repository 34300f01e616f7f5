"""Dynamic Distinction Learning: two passes, one loss, a learnt anomaly weight (DDL, section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ddllib.devices import autocast
from ddllib.fast.passes import quickest_way
from ddllib.losses import DDLLoss, LossTerms, reconstruction_loss
from ddllib.methods.base import Method, method
from ddllib.models.unet import build_model, window_span
from ddllib.pseudo_anomalies.base import Altered, TorchRandom
from ddllib.pseudo_anomalies.mixture import make_pseudo_anomaly
from ddllib.runs import Run
from ddllib.settings import Settings
from ddllib.windows import Sample

SMALL = 64  # largest latent_dim for which two parallel passes are faster than one joint batch


@method("ddl")
class DDL(Method):
    """Reconstructs the middle frame, and learns not to reconstruct pseudo-anomalies."""

    curves = ("reconstruction", "distinction", "p", "q", "sigma")

    def check(self, settings: Settings) -> None:
        window_span(settings.temporal, settings.frame_step)

    def without_pseudo_anomalies(self, settings: Settings) -> Settings:
        return replace(settings, mode="none")

    def window(self, settings: Settings) -> int:
        if settings.model == "unet":
            return 1
        return window_span(settings.temporal, settings.frame_step)

    def companions(self, settings: Settings) -> dict[str, str]:
        return {} if settings.mode == "none" else super().companions(settings)

    def build(self, settings: Settings) -> dict[str, nn.Module]:
        s = settings
        model = build_model(s.model, s.preset, s.latent_dim, s.channels, s.temporal, s.frame_step)
        return {"model": model, "pseudo_anomaly": make_pseudo_anomaly(settings)}

    def groups(self, models: Mapping[str, nn.Module], settings: Settings) -> list[dict]:
        weights, l_params = (list(model.parameters()) for model in models.values())
        if settings.sigma_learning_rate is None:
            return [{"params": weights + l_params}]
        return [{"params": weights}, {"params": l_params, "lr": settings.sigma_learning_rate}]

    def needs_objects(self, run: Run) -> bool:
        return run.settings.mode != "none" and run.pseudo_anomaly.needs_object

    def loss(self, run: Run, sample: Sample, rng: torch.Generator) -> dict[str, Tensor]:
        terms = batch_loss(run, sample, rng)._asdict()
        weight = None if run.settings.mode == "none" else run.pseudo_anomaly.anomaly_weight
        sigma = terms["total"].new_full((), math.nan) if weight is None else weight
        return {**terms, "sigma": sigma}


def batch_loss(
    run: Run, sample: Sample, rng: torch.Generator, way: Callable | None = None
) -> LossTerms:
    """Equation 3 for one batch, from the normal and the pseudo-anomalous pass; scalars.

    ``way`` is a function of ``ddllib.fast.passes`` that runs both; None takes the fastest.
    """
    settings, middle, x = run.settings, run.model.temporal // 2, sample.x

    def reconstruct(windows: Tensor) -> Tensor:
        with autocast(x.device, run.precision):
            return run.quick["model"](windows)[:, :, 0]

    if settings.mode == "none":
        loss = reconstruction_loss(x[:, :, middle], reconstruct(x))
        nan = loss.new_full((), math.nan)
        return LossTerms(loss, loss, nan, nan, nan)
    altered: list[Altered] = []

    def pseudo_anomalies() -> Tensor:
        altered.append(run.pseudo_anomaly.alter_checked(sample, TorchRandom(rng)))
        return altered[0].x

    way = way or quickest_way(x.device, settings.compile, settings.latent_dim <= SMALL)
    with autocast(x.device, run.precision):  # around both, so weights are converted once
        (_, y), (x_a, y_a) = way(reconstruct, lambda: x, pseudo_anomalies)
    loss = DDLLoss(settings.distinction_weight, settings.distinction_form)
    mask = altered[0].mask[:, :, middle]
    return loss(x[:, :, middle], y, x_a[:, :, middle], y_a, mask)
