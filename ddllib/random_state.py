"""The random state of a training run, saved and restored with its checkpoints."""

from __future__ import annotations

import math

import torch


class Draws:
    """The random draws of a training run and its position: epoch and step.

    Each epoch has its own seed, from which the order of the windows, their boxes (``rng``) and
    the noise (``noise``, on the device) are drawn. The saved state continues within an epoch.
    """

    def __init__(self, count: int, batch_size: int, seed: int, device: torch.device | str):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.steps = math.ceil(count / batch_size)
        self.rng, self.noise = torch.Generator(), torch.Generator(device)
        self.start(epoch=0)

    def start(self, epoch: int) -> None:
        """Go to the first batch of an epoch, counted from 0."""
        self.epoch, self.step = epoch, 0
        seed = 1_000_003 * (self.seed + 1) + epoch
        self.rng.manual_seed(seed)
        self.noise.manual_seed(seed)
        self.batches = torch.randperm(self.count, generator=self.rng).split(self.batch_size)

    def state_dict(self) -> dict:
        """The position, and the state of both generators."""
        states = {"rng": self.rng.get_state(), "noise": self.noise.get_state()}
        return {"epoch": self.epoch, "step": self.step, **states}

    def load_state_dict(self, state: dict) -> None:
        """Go to the position where ``state`` was saved.

        The state of a generator on another kind of device cannot be loaded: the noise generator
        then starts again from the epoch's seed.
        """
        self.start(state["epoch"])
        self.step = state["step"]
        self.rng.set_state(state["rng"])
        if state["noise"].shape == self.noise.get_state().shape:
            self.noise.set_state(state["noise"])
