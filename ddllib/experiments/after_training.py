"""What the supplement claims of a trained run, measured (DDL, section 7.1.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from ddllib.fast.accelerate import for_scoring
from ddllib.losses import distinction_terms
from ddllib.pseudo_anomalies.base import TorchRandom
from ddllib.runs import Run
from ddllib.windows import Windows


@torch.inference_mode()
def mean_distances(run: Run, windows: Windows, count: int = 200) -> tuple[float, float]:
    """Means of P and Q under the mask after training (supplement 7.1.1).

    Measured in evaluation mode on ``count`` windows drawn by the run's seed, with pseudo-anomalies
    at the run's final sigma.
    """
    rng = torch.Generator().manual_seed(run.settings.seed)
    middle, totals, model = run.model.temporal // 2, torch.zeros(3), for_scoring(run.model)
    for indices in torch.randperm(len(windows), generator=rng).split(run.settings.batch_size):
        if count <= 0:
            break
        indices = indices[:count]
        sample = windows.sample(indices, windows.draw(indices, rng))
        count -= len(indices)
        x, (x_a, mask) = sample.x, run.pseudo_anomaly.alter(sample, _CpuRandom(rng, sample.x))
        y_a, m = model(x_a)[:, :, 0], mask[:, :, middle]
        p, q = distinction_terms(x[:, :, middle], x_a[:, :, middle], y_a)
        totals += torch.stack([(m * p).sum(), (m * q).sum(), m.sum()]).cpu()
    return float(totals[0] / totals[2]), float(totals[1] / totals[2])


class _CpuRandom(TorchRandom):
    """Draws on the CPU, so that they are the same on every device, and moves them there."""

    def __init__(self, generator: torch.Generator, like: Tensor):
        super().__init__(generator)
        self.device = like.device

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return super().uniform(shape).to(self.device)
