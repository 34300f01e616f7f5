"""Several kinds of pseudo-anomaly, one drawn for each window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddllib.pseudo_anomalies.base import KINDS, Altered, PseudoAnomaly, Random
from ddllib.weighted import weighted
from ddllib.windows import Sample


def make_pseudo_anomaly(settings, name: str = "pseudo_anomaly") -> PseudoAnomaly:
    """What the setting of that name says: a kind, or a mixture of kinds by their shares."""
    what = "kinds of ddllib.pseudo_anomalies"
    shares = weighted(name, getattr(settings, name), KINDS, what)
    kinds = [KINDS[name].from_settings(settings) for name in shares]
    return kinds[0] if len(kinds) == 1 else Mixture(kinds, list(shares.values()))


class Mixture(PseudoAnomaly):
    """Each window is altered by one kind, drawn by the ``shares``, which need not sum to 1."""

    def __init__(self, kinds: list[PseudoAnomaly], shares: list[float]):
        super().__init__()
        self.kinds = nn.ModuleList(kinds)
        self.ends = torch.tensor(shares).cumsum(0) / sum(shares)
        self.needs_object = all(member.needs_object for member in kinds)

    @property
    def anomaly_weight(self) -> Tensor | None:
        """That of the first kind that learns one."""
        weights = (member.anomaly_weight for member in self.kinds)
        return next((weight for weight in weights if weight is not None), None)

    def alter(self, sample: Sample, random: Random) -> Altered:
        draws = random.uniform((len(sample.x),)).cpu()
        numbers = torch.bucketize(draws, self.ends, right=True).clamp(max=len(self.kinds) - 1)
        x, mask = sample.x, sample.mask
        for number, member in enumerate(self.kinds):
            windows = (numbers == number).nonzero()[:, 0]
            if len(windows):
                altered = member.alter_checked(sample.take(windows), random)
                places = windows.to(x.device)
                x = x.index_copy(0, places, altered.x.to(x.dtype))
                mask = mask.index_copy(0, places, altered.mask)
        return Altered(x, mask)
