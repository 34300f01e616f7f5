"""Streams of a fixed camera in front of which seldom anything moves, for tests and measurements.

A picture is repeated as a real camera would send it: with a sensor's noise, JPEG compression and
light that flickers. Objects of several sizes come slowly and go again; their frames are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Sensor:
    """What a camera adds: noise in grey levels, JPEG's quality, the relative flicker of light."""

    noise: float = 2.0
    quality: int = 90
    flicker: float = 0.01


@dataclass(frozen=True)
class Visit:
    """An object that comes in from the left, crosses the picture and goes.

    ``first`` is the frame in which its first column is seen, ``speed`` in pixels a frame. It is
    ``height`` x ``width`` pixels and ``contrast`` grey levels brighter than what is behind it.
    """

    first: int
    height: int
    width: int
    speed: float
    contrast: float

    def draw(self, picture: np.ndarray, frame: int) -> bool:
        """Draw it into a picture, H x W; returns whether it is in the frame."""
        side = picture.shape[1]
        right = round(1 + (frame - self.first) * self.speed)
        if frame < self.first or right - self.width >= side:
            return False
        top = (picture.shape[0] - self.height) // 2
        columns = slice(max(right - self.width, 0), min(right, side))
        picture[top : top + self.height, columns] += self.contrast
        return True


def scenery(height: int, width: int) -> np.ndarray:
    """A smooth picture of dark and bright places, H x W float32."""
    rough = np.random.default_rng(0).integers(40, 180, (height // 8, width // 8)).astype(np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def still_stream(
    frames: int,
    size: tuple[int, int],
    visits: Sequence[Visit] = (),
    sensor: Sensor | None = None,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, bool]]:
    """So many frames, uint8 H x W, each with whether a visitor is in it."""
    sensor, random, empty = sensor or Sensor(), np.random.default_rng(seed), scenery(*size)
    for frame in range(frames):
        picture = empty.copy()
        seen = [visit.draw(picture, frame) for visit in visits]
        light = 1 + sensor.flicker * np.sin(2 * np.pi * 0.37 * frame)
        noisy = picture * light + random.normal(0, sensor.noise, size)
        image = noisy.clip(0, 255).round().astype(np.uint8)
        code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])[1]
        yield cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), any(seen)
