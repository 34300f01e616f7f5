"""Random masks of strokes and boxes, by the rule of LaMa (Suvorov et al. 2022)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

REFERENCE = 256  # pixels; the presets' lengths are for frames of this side
LEAST_ANGLE, ANGLES = 0.01, 4  # radians: an angle is 0.01 + 0, 1, 2 or 3
LEAST_LENGTH, LEAST_WIDTH = 10, 5  # pixels at 256
LARGEST = 0.5  # share of the frame that a mask may cover
TRIES = 20  # masks drawn until one covers no more
SEGMENTS = 5  # of a stroke, at most
STROKE_SHARE, BOX_SHARE = 1.0, 0.3  # how often a mask consists of strokes, and of boxes


@dataclass(frozen=True)
class Preset:
    """Numbers from the first up to the second, which is excluded; pixels at 256."""

    strokes: tuple[int, int]  # how many
    width: int
    length: int
    boxes: tuple[int, int]  # how many
    side: tuple[int, int]


PRESETS = {
    "thin": Preset((4, 51), 10, 40, (0, 1), (1, 2)),
    "medium": Preset((4, 6), 50, 100, (1, 6), (10, 51)),
    "thick": Preset((1, 6), 100, 200, (1, 4), (30, 151)),
}


def masks(count: int, size: tuple[int, int], preset: str, seed: int) -> Iterator[np.ndarray]:
    """`count` masks, uint8 H x W of 0 and 1, at most half of each is 1; the same for a seed."""
    rng, rule = np.random.default_rng(seed), PRESETS[preset]
    for _ in range(count):
        yield _mask(size, rule, rng)


def _mask(size: tuple[int, int], rule: Preset, rng: np.random.Generator) -> np.ndarray:
    scale, mask = min(size) / REFERENCE, np.zeros(size, np.uint8)
    has_boxes = rule.boxes[1] > 1
    for _ in range(TRIES):
        mask[:] = 0
        total = STROKE_SHARE + BOX_SHARE * has_boxes
        if rng.random() * total < STROKE_SHARE:
            _strokes(mask, rule, scale, rng)
        else:
            _boxes(mask, rule, scale, rng)
        if 0 < mask.mean() <= LARGEST:
            break
    return mask


def _strokes(mask: np.ndarray, rule: Preset, scale: float, rng: np.random.Generator) -> None:
    """Lines of 1 to 5 segments from random places; the angles of every second one turn back."""
    for number in range(rng.integers(*rule.strokes)):
        _stroke(mask, rule, scale, number % 2 == 0, rng)


def _stroke(mask, rule: Preset, scale: float, turned: bool, rng: np.random.Generator) -> None:
    height, width = mask.shape
    x, y = rng.integers(width), rng.integers(height)
    for _ in range(1 + rng.integers(SEGMENTS)):
        angle = LEAST_ANGLE + rng.integers(ANGLES)
        angle = 2 * math.pi - angle if turned else angle
        length = scale * (LEAST_LENGTH + rng.integers(rule.length))
        thickness = max(round(scale * (LEAST_WIDTH + rng.integers(rule.width))), 1)
        end_x = int(np.clip(x + length * math.sin(angle), 0, width))
        end_y = int(np.clip(y + length * math.cos(angle), 0, height))
        cv2.line(mask, (int(x), int(y)), (end_x, end_y), 1, thickness)
        x, y = end_x, end_y


def _boxes(mask: np.ndarray, rule: Preset, scale: float, rng: np.random.Generator) -> None:
    height, width = mask.shape
    for _ in range(rng.integers(*rule.boxes)):
        h, w = (max(round(scale * side), 1) for side in rng.integers(*rule.side, size=2))
        h, w = min(h, height), min(w, width)
        top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
        mask[top : top + h, left : left + w] = 1
