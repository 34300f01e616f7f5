"""The base class of pseudo-anomalies: they alter a normal window at the place of an object.

The same class is used in training, where a batch of windows is altered on the device, and for
held-out clips, where the window is a longer piece of one clip.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ddllib import registry
from ddllib.errors import DDLError
from ddllib.windows import Sample

KINDS: dict[str, type[PseudoAnomaly]] = {}


def kind(name: str):
    """Class decorator: register a kind under the name used in settings and held-out clips."""
    return registry.register(KINDS, name, PseudoAnomaly, ["alter"])


class Altered(NamedTuple):
    """X_A, B x C x T x H x W in [0, 1], and where it may differ from X, B x 1 x T x H x W."""

    x: Tensor
    mask: Tensor


class Random(Protocol):
    """The random numbers of a pseudo-anomaly."""

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Numbers from [0, 1), float32, on the windows' device."""

    def integers(self, end: int) -> int:
        """A whole number from 0 up to ``end``, which is excluded."""


class PseudoAnomaly(nn.Module):
    """A kind of pseudo-anomaly; its parameters are learnt."""

    needs_object = True  # windows without an object stay as they are

    @classmethod
    def from_settings(cls, settings) -> PseudoAnomaly:
        """An instance for a run with these settings (``ddllib.settings.Settings``)."""
        return cls()

    @classmethod
    def companions(cls, settings) -> dict[str, str]:
        """The arrays beside the clips that it takes, by role (``Sample.companions``)."""
        return {}

    @property
    def anomaly_weight(self) -> Tensor | None:
        """The learnt weight in (0, 1), where there is one."""
        return None

    def frames_of(self, frames: int) -> int:
        """How many frames result from this many frames of a clip."""
        return frames

    def order(self, frames: int) -> np.ndarray:
        """Which frames of the clip the result's are made of, counted from the window's start."""
        return np.arange(frames)

    def alter(self, sample: Sample, random: Random) -> Altered:
        """The windows with their objects altered."""
        raise NotImplementedError

    def alter_checked(self, sample: Sample, random: Random) -> Altered:
        """What ``alter`` gives; ``DDLError`` where it is not of the shapes of the windows.

        A mask of another shape could be broadcast without an error, and train something else.
        """
        altered = self.alter(sample, random)
        name = f"pseudo-anomaly {type(self).__name__}"
        if not isinstance(altered, Altered):
            raise DDLError(
                f"{name}: alter gives {type(altered).__name__}; expected Altered(x, mask)"
            )
        shapes, expected = (
            [tuple(part.shape) for part in pair] for pair in (altered, (sample.x, sample.mask))
        )
        if shapes != expected:
            raise DDLError(f"{name}: alter gives x and mask of {shapes}; expected {expected}")
        return altered


class TorchRandom:
    """Random numbers for training, from a generator on the windows' device."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)

    def integers(self, end: int) -> int:
        options = {"generator": self.generator, "device": self.generator.device}
        return int(torch.randint(end, (), **options))


class NumpyRandom:
    """Random numbers for held-out clips, the same on every machine."""

    def __init__(self, generator: np.random.Generator):
        self.generator = generator

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.generator.random(shape, np.float32))

    def integers(self, end: int) -> int:
        return int(self.generator.integers(end))
