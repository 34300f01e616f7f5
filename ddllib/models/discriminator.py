"""D of STPA: is a feature one of normal frames or of a pseudo-anomaly? (section 3.5)"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddllib.errors import DDLError

WIDTH = 128  # of the hidden layer
LEAST_ACCURACY, LEAST_SPREAD = 0.55, 0.01  # chance is 0.5
CHECKSUM = 32  # bytes


class Discriminator(nn.Module):
    """A feature B x F to the logit of its being that of a pseudo-anomaly, B.

    The paper's layers stand in a supplement that cannot be had. Here it is one hidden layer, with
    batch norm: without it the paper's rate leaves nearly the same answer for all features of
    length 1. ``accuracy`` and ``spread`` are the share of right answers and the standard deviation
    of the answers for features that it was not trained on. ``source`` is the checksum of the
    weights that its features come from. All three are 0 before training.
    """

    def __init__(self, dimension: int, width: int = WIDTH):
        super().__init__()
        hidden = nn.Linear(dimension, width), nn.BatchNorm1d(width), nn.ReLU()
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 1))
        self.register_buffer("accuracy", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("source", torch.zeros(CHECKSUM, dtype=torch.uint8))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)[:, 0]

    def probability(self, features: Tensor) -> Tensor:
        """How likely each feature is that of a pseudo-anomaly: B x F to B in [0, 1]."""
        return self(features).sigmoid()

    @torch.no_grad()
    def examine(self, features: Tensor, labels: Tensor) -> Tensor:
        """The answers for features with labels 0 or 1, B; keeps ``accuracy`` and ``spread``."""
        answers = self.probability(features)
        self.accuracy.copy_(((answers > 0.5) == (labels > 0.5)).float().mean())
        self.spread.copy_(answers.std(correction=0))
        return answers

    @property
    def collapsed(self) -> bool:
        """Whether it gives nearly the same answer for all, or is right about as often as chance."""
        return float(self.spread) < LEAST_SPREAD or float(self.accuracy) < LEAST_ACCURACY

    @property
    def facts(self) -> dict:
        """What came of its training."""
        numbers = {"accuracy": float(self.accuracy), "spread": float(self.spread)}
        return {**numbers, "collapsed": self.collapsed}

    def check_source(self, checksum: Tensor) -> None:
        """Raise ``DDLError`` for features by other weights than those of its training."""
        if self.source.any() and not torch.equal(self.source.cpu(), checksum):
            raise DDLError(
                "features: other weights than those that the discriminator was trained with; "
                "set feature_weights to the file of the training"
            )
