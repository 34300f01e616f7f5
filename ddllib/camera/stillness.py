"""Tell whether a picture differs from another one by more than the camera's own noise.

The difference is looked at where it is largest: in single pixels and in means over small squares.
A mean over the whole picture would hide a person who is far away.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np

LAG_S = 2.0  # seconds between the two pictures of a sample of the noise
EVERY_S = 0.25  # seconds between two samples
LEAST_SAMPLES = 16  # before them nothing is known of the noise, and nothing is still
SAMPLES = 48  # the newest ones, of which the median is taken
RENEWED_AFTER = 8  # samples after which the noise is computed again
DEVIATION = 1.4826  # times the median of absolute values: the deviation, if they are normal
TIMES_NOISE = 6.0  # deviations of the noise that the largest of all differences may have
STEP = 4  # pixels; the noise is sampled at one pixel of so many in both axes
AROUND = 5  # places in both axes over which the noise is smoothed
FLICKER = 0.02  # relative change of the whole picture's light that is no difference
CELL = 8  # pixels of a square whose brightness tells of the light
DARK = 16.0  # grey levels; darker squares do not


class Scale(NamedTuple):
    """A size of detail: the side of a square in pixels, and bounds of its limit in grey levels.

    Smaller differences than ``least`` never count, as footage has whole grey levels. Larger ones
    than ``most`` always do: where the noise is as strong, no picture is still.
    """

    side: int
    least: float
    most: float


SCALES = (Scale(1, 6.0, 30.0), Scale(4, 2.0, 10.0), Scale(16, 1.0, 4.0))


class Stillness:
    """Measures the noise of one camera from its frames, uint8 C x H x W, in constant memory.

    The noise of a place is the median of absolute differences between frames ``LAG_S`` seconds
    apart, so what passes now and then does not count. It is that of the sensor and of compression;
    ``FLICKER`` of the light is taken off before. Pixels marked in ``ignore``, H x W, are not
    compared.
    """

    def __init__(self, ignore: np.ndarray | None = None):
        self.kept = None if ignore is None else (~ignore).astype(np.float32)[..., None]
        self._earlier: deque[tuple[float, np.ndarray]] = deque()  # times and frames, to be compared
        self._samples: deque[list[np.ndarray]] = deque(maxlen=SAMPLES)
        self._new = 0  # samples since the noise was computed
        self._shape: tuple[int, ...] | None = None
        self._limits: list[np.ndarray] | None = None  # H x W x C for each scale

    @property
    def limits(self) -> list[np.ndarray] | None:
        """The largest differences that are noise, H x W x C in grey levels for each scale.

        None until enough frames have come.
        """
        return self._limits

    def push(self, frame: np.ndarray, time_s: float) -> None:
        """Take the next frame of the camera and its time in seconds; the frame is not copied.

        What is known of the noise is forgotten where pictures of another size begin.
        """
        if frame.shape != self._shape:
            self._forget()
            self._shape = frame.shape
        if self._earlier and time_s < self._earlier[-1][0]:  # the clock was set back
            self.cut()
        if self._earlier and time_s - self._earlier[-1][0] < EVERY_S:
            return
        self._earlier.append((time_s, frame))
        if time_s - self._earlier[0][0] < LAG_S:
            return
        _, before = self._earlier.popleft()
        self._samples.append([d[::STEP, ::STEP] for d in self._differences(before, frame)])
        self._new += 1
        if self._new >= RENEWED_AFTER and len(self._samples) >= LEAST_SAMPLES:
            shape = frame.shape[1:]
            self._new, self._limits = 0, [self._limit(k, shape) for k in range(len(SCALES))]

    def cut(self) -> None:
        """The footage has a gap here: no two frames around it are compared for the noise."""
        self._earlier.clear()

    def _forget(self) -> None:
        self.cut()
        self._samples.clear()
        self._new, self._limits = 0, None

    def same(self, first: np.ndarray, second: np.ndarray) -> bool:
        """Whether two frames differ by no more than the noise, at any place and scale.

        False as long as the noise is not known.
        """
        if self._limits is None:
            return False
        pairs = zip(self._differences(first, second), self._limits, strict=True)
        return not any((difference > limit).any() for difference, limit in pairs)

    def _differences(self, first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
        """Absolute differences of means around each pixel, H x W x C, for each scale."""
        one, two = (frame.transpose(1, 2, 0).astype(np.float32) for frame in (first, second))
        difference = two - _gain(one, two) * one
        if self.kept is not None:
            difference *= self.kept
        return [np.abs(_means(difference, scale.side)) for scale in SCALES]

    def _limit(self, k: int, shape: tuple[int, int]) -> np.ndarray:
        """The limit of scale ``k`` at each pixel of a picture of this height and width."""
        median = np.median([sample[k] for sample in self._samples], axis=0)
        # At least the usual noise: a compressed dark wall is quiet most of the time only.
        noise = np.maximum(_means(median, AROUND), np.median(median, axis=(0, 1)))
        limit = (TIMES_NOISE * DEVIATION * noise).clip(SCALES[k].least, SCALES[k].most)
        limit = limit.astype(np.float32).repeat(STEP, 0).repeat(STEP, 1)
        return limit[: shape[0], : shape[1]]


def _means(values: np.ndarray, side: int) -> np.ndarray:
    """Means over squares around each place of H x W x C."""
    return cv2.blur(values, (side, side)).reshape(values.shape) if side > 1 else values


def _gain(first: np.ndarray, second: np.ndarray) -> float:
    """The factor of the light from one picture to another, H x W x C, at most ``FLICKER`` from 1.

    It is the median over the picture, so an object in less than half of it changes nothing.
    """
    height, width = first.shape[:2]
    size = max(width // CELL, 1), max(height // CELL, 1)
    before, after = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (first, second))
    bright = before >= DARK
    if not bright.any():
        return 1.0
    return float(np.clip(np.median(after[bright] / before[bright]), 1 - FLICKER, 1 + FLICKER))
