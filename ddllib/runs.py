"""A run: settings, the models of a method and everything logged in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ddllib import checkpoints
from ddllib.devices import device_of
from ddllib.errors import DDLError
from ddllib.fast.accelerate import accelerate
from ddllib.settings import Settings

STEP_CURVES = ("step", "epoch", "total")  # logged by every method
LEARNING_RATE = "learning_rate"


@dataclass
class Run:
    """A run's settings and models, with everything logged in training.

    ``models`` are those that the method builds, by name; ``quick`` their quick twins, which share
    parameters with them and are used in training. ``history`` has one list per name of
    ``STEP_CURVES``, the method's curves and the learning rate, one entry per step; ``epoch`` counts
    finished epochs, ``seconds`` the training time, ``steps_now`` the steps made since the run was
    created or loaded. Curves that a mode does not use are NaN. ``precision``, float32 or bfloat16,
    is that of convolutions on this device. ``folder`` is where its checkpoint lies, None for a run
    that is not kept.
    """

    settings: Settings
    models: dict[str, nn.Module]
    history: dict[str, list[float]]
    epoch: int = 0
    seconds: float = 0.0
    steps_now: int = 0
    precision: str = "float32"
    folder: Path | None = None
    quick: dict[str, nn.Module] = field(default_factory=dict)

    def __post_init__(self):
        if not self.quick:
            self.quick = {name: accelerate(model) for name, model in self.models.items()}

    @property
    def model(self) -> nn.Module:
        """The model that reconstructs."""
        return self.models["model"]

    @property
    def pseudo_anomaly(self) -> nn.Module:
        """The pseudo-anomaly of training, for methods that have one."""
        if "pseudo_anomaly" not in self.models:
            raise DDLError(
                f"method {self.settings.method}: builds no pseudo_anomaly; expected "
                "make_pseudo_anomaly(settings) of ddllib.pseudo_anomalies.mixture among its models"
            )
        return self.models["pseudo_anomaly"]

    @property
    def creator(self) -> nn.Module:
        """The paper's name for DDL's pseudo-anomaly."""
        return self.pseudo_anomaly

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return device_of(self.model)

    def train(self, training: bool = True) -> None:
        """Set all models, and their twins, to training or to evaluation."""
        for model in (*self.models.values(), *self.quick.values()):
            model.train(training)

    def take_progress(self, checkpoint: dict) -> None:
        """Take over training time and history from a checkpoint."""
        missing = [name for name in self.history if name not in checkpoint["history"]]
        if missing:
            raise DDLError(
                f"{self.folder}: its checkpoint has no history of {missing[0]}; remove "
                f"{checkpoints.NAME} and {checkpoints.PREVIOUS} there and train again"
            )
        self.seconds, self.history = checkpoint["seconds"], checkpoint["history"]
