"""No detector: random boxes, so that pseudo-anomalies are put anywhere (an ablation)."""

import hashlib
import random
from collections.abc import Iterator

import numpy as np

from data_prep.detectors import NO_CLASS
from data_prep.frames import read_frames
from data_prep.layouts import Clip

Box = tuple[float, float, float, float]


class RandomBoxes:
    """A handful of boxes the size of people that drift through the frame; the footage is not seen.

    Each lives for some dozens of frames and is then put elsewhere, so that a tracker can follow
    it through the paper's windows. The boxes follow from the seed and the clip's split and name.
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
        """`height` is relative to the frame's, `aspect` the width by the height.

        `drift` is the most that a box moves from frame to frame along either axis, by its height;
        `life` is in frames. Both ranges are from and to.
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
        # Of all that Python draws, only random() is promised to stay the same.
        draw = random.Random(int.from_bytes(hashlib.sha256(key).digest(), "big")).random

        def between(low: float, high: float) -> float:
            return low + (high - low) * draw()

        while True:
            tall = between(*self.height) * height
            wide = min(self.aspect * tall, width)
            room_x, room_y = width - wide, height - tall
            x, y = between(0, room_x), between(0, room_y)
            step_x, step_y = (self.drift * tall * between(-1, 1) for _ in "xy")
            for _ in range(round(between(*self.life))):
                yield x, y, x + wide, y + tall
                x, step_x = advance(x, step_x, room_x)
                y, step_y = advance(y, step_y, room_y)


def advance(place: float, step: float, room: float) -> tuple[float, float]:
    """The next place within 0 to `room` and the next step: turned round at either end."""
    wanted = place + step
    return (wanted, step) if 0 <= wanted <= room else (min(max(wanted, 0), room), -step)
