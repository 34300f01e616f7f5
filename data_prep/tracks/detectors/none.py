"""Random boxes instead of a detector: pseudo-anomalies are put at random places (an ablation)."""

import hashlib
import random
from collections.abc import Iterator

import numpy as np

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import Clip
from data_prep.tracks.detectors.base import NO_CLASS

Box = tuple[float, float, float, float]


class RandomBoxes:
    """A few boxes of the size of people that drift through the frame, whatever it shows.

    Each stays for some dozens of frames and is then put elsewhere, so that a tracker can follow
    it through the paper's windows. The seed and the clip's split and name determine the boxes.
    """

    parallel = True

    def __init__(
        self,
        objects: int = 5,
        height: tuple[float, float] = (0.1, 0.2),
        aspect: float = 0.4,
        drift: float = 0.03,
        life: tuple[int, int] = (24, 72),
        seed: int = 0,
    ):
        """`height` is relative to the frame's, `aspect` is width / height.

        `drift` is the largest motion of a box per frame along either axis, relative to its height;
        `life` is in frames. `height` and `life` are ranges (from, to).
        """
        self.settings = {
            "name": "none",
            "method": "random boxes",
            "objects": objects,
            "height": list(height),
            "aspect": aspect,
            "drift": drift,
            "life": list(life),
            "seed": seed,
        }
        self.objects, self.height, self.aspect = objects, height, aspect
        self.drift, self.life, self.seed = drift, life, seed

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """n x 6 boxes of each frame, see `Detector`; confidence 1, class -1."""
        walks: list[Iterator[Box]] = []
        for frame in read_frames(clip):
            walks = walks or [self.walk(clip, k, *frame.shape[:2]) for k in range(self.objects)]
            yield np.array([(*next(walk), 1, NO_CLASS) for walk in walks], float)

    def walk(self, clip: Clip, number: int, height: int, width: int) -> Iterator[Box]:
        """The endless walk of one object, one life after the other."""
        key = f"{self.seed}/{clip.split}/{clip.name}/{number}".encode()
        # Python guarantees only for random() that a seed gives the same numbers in all versions.
        draw = random.Random(int.from_bytes(hashlib.sha256(key).digest(), "big")).random

        def between(low: float, high: float) -> float:
            return low + (high - low) * draw()

        while True:
            box_height = between(*self.height) * height
            box_width = min(self.aspect * box_height, width)
            room_x, room_y = width - box_width, height - box_height
            x, y = between(0, room_x), between(0, room_y)
            step_x, step_y = (self.drift * box_height * between(-1, 1) for _ in "xy")
            for _ in range(round(between(*self.life))):
                yield x, y, x + box_width, y + box_height
                x, step_x = advance(x, step_x, room_x)
                y, step_y = advance(y, step_y, room_y)


def advance(place: float, step: float, room: float) -> tuple[float, float]:
    """The next place within 0 to `room` and the next step, which is reversed at either end."""
    target = place + step
    return (target, step) if 0 <= target <= room else (min(max(target, 0), room), -step)
