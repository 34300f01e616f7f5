"""Detect a changed scene: the camera was moved, the light changed, or the place was rebuilt.

A model is trained on one view. When that view changes, every frame has a high score, and a
permanent alarm is useless. ``DriftMonitor`` compares the background with a reference and says in
one sentence what has changed. Events that begin meanwhile are kept, marked, and counted in one
line (``ddllib.camera.scene_watch``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np

from ddllib.camera.backgrounds import LIGHT_RATIO, brightness, grey
from ddllib.errors import DDLError

SAMPLES = 15  # frames, one a second; their median is the background, without people who pass
QUIET_S = 60  # seconds of scores that must all be high before the scores count as a change
CONFIRM_S = 3  # seconds that a change must be seen before it is reported
SHIFT_LIMIT = 0.7  # pixels of the working size
MIN_RESPONSE = 0.3  # of the phase correlation; below it the shift is not trusted
LEVEL_LIMIT = 30  # grey levels; a background pixel that differs by more counts as replaced
REPLACED_LIMIT = 0.1  # share of replaced pixels
GRADUAL_S = 20  # seconds; light that takes longer from half its limit to it changes gradually
FADE_PX = 9  # pixels over which the picture fades out beside ignored pixels
RETURN_FACTOR = 0.7  # times a limit: below it a drift is over


@dataclass(frozen=True)
class Drift:
    """A change of the scene, first reported at ``frame``.

    ``kind`` is "moved", "light", "background" or "score"; ``sentence`` says what was seen.
    """

    kind: str
    sentence: str
    frame: int


class DriftMonitor:
    """Watches for a change of the scene, in memory that does not grow.

    All frames are of one camera; interruptions and the ends of files do not reset anything.

    ``references`` are the ``backgrounds`` of the training footage, K x H x W; the one most like the
    picture is compared. Without them the first ``SAMPLES`` seconds are the reference. ``high`` is a
    level that normal scores fall below again and again, such as a threshold's release; None
    compares the picture alone. Pixels marked in ``ignore``, H x W, are not compared.
    """

    def __init__(
        self,
        frame_rate: float,
        references: np.ndarray | None = None,
        high: float | None = None,
        ignore: np.ndarray | None = None,
    ):
        if not frame_rate > 0:
            raise DDLError(f"frame_rate is {frame_rate}; expected frames per second, above 0")
        self.frame_rate, self.high = frame_rate, high
        self.references = references
        self.kept = None if ignore is None else ~ignore
        self.drift: Drift | None = None
        self._count = self._seconds = 0
        self._pictures: deque[np.ndarray] = deque(maxlen=SAMPLES)
        self._scores: deque[float] = deque(maxlen=QUIET_S)
        self._second: list[float] = []  # the scores of the present second
        self._seconds_unlike = 0  # for how long another state than ``drift`` was seen
        self._steady_s = 0.0  # the last second in which the light was near the reference

    def push(self, frame: np.ndarray, score: float) -> Drift | None:
        """Take a frame, uint8 C x H x W, and its raw score; returns a drift when it begins.

        ``drift`` holds it until the scene is as before. The comparison is made once a second.
        Raises ``DDLError`` for a frame of another size than the reference.
        """
        self._second.append(score)
        self._count += 1
        if self._count < self.frame_rate * (self._seconds + 1):
            return None
        self._seconds += 1
        self._scores.append(float(np.mean(self._second)))
        self._second.clear()
        self._pictures.append(grey(frame))
        return self._look()

    @property
    def seconds(self) -> int:
        """For how many seconds the scene has been observed."""
        return self._seconds

    def _look(self) -> Drift | None:
        if len(self._pictures) < SAMPLES:
            return None
        now = np.median(self._pictures, axis=0).astype(np.float32)
        if self.references is None:
            self.references = now[None]
        if now.shape != self.references.shape[1:]:
            height, width = self.references.shape[1:]
            raise DDLError(
                f"a frame is {now.shape[0]}x{now.shape[1]} pixels, the reference background "
                f"{height}x{width}; expected one size; take the background anew"
            )
        change = self._change_in(now, RETURN_FACTOR if self.drift else 1.0)
        if (change and change[0]) == (self.drift and self.drift.kind):
            self._seconds_unlike = 0
            return None
        self._seconds_unlike += 1
        if self._seconds_unlike < CONFIRM_S:
            return None
        self._seconds_unlike = 0
        self.drift = Drift(*change, self._count - 1) if change else None
        return self.drift

    def _change_in(self, now: np.ndarray, factor: float) -> tuple[str, str] | None:
        """The kind and sentence of the first change beyond its limit times ``factor``.

        A moved camera also changes single pixels, so it is checked first.
        """
        compared = slice(None) if self.kept is None else self.kept
        distances = [np.abs(now[compared] - one[compared]).mean() for one in self.references]
        reference = self.references[int(np.argmin(distances))]
        right, down, response = shift(reference, now, self.kept)
        gain = brightness(reference[compared], now[compared])
        is_replaced = np.abs(now[compared] / gain - reference[compared]) > LEVEL_LIMIT
        replaced_share = float(is_replaced.mean())
        if abs(np.log(gain)) < np.log(LIGHT_RATIO) / 2:
            self._steady_s = self._seconds
        if response >= MIN_RESPONSE and np.hypot(right, down) > factor * SHIFT_LIMIT:
            return "moved", _shift_sentence(right, down, reference.shape)
        if abs(np.log(gain)) > factor * np.log(LIGHT_RATIO):
            gradual = self._seconds - self._steady_s >= GRADUAL_S
            return "light", _light_sentence(gain, "gradually" if gradual else "suddenly")
        if replaced_share > factor * REPLACED_LIMIT:
            return "background", (
                f"{100 * replaced_share:.0f} % of the background look different: something large "
                "came or went, or the view is another; train on the new normal if it stays"
            )
        full = self.high is not None and len(self._scores) == QUIET_S
        if full and np.quantile(self._scores, 0.2) > self.high:
            return "score", (
                f"for {QUIET_S} s the scores did not come down, though the background is as it "
                "was: a busier place than before; choose the threshold anew or train on it"
            )
        return None


def shift(
    reference: np.ndarray, now: np.ndarray, kept: np.ndarray | None = None
) -> tuple[float, float, float]:
    """How far a background H x W moved: pixels to the right, pixels down, and a confidence up to 1.

    By phase correlation, which a change of light does not affect. Pixels where ``kept``, bool
    H x W, is False are left out.
    """
    if kept is not None:
        reference, now = _faded(reference, kept), _faded(now, kept)
    window = cv2.createHanningWindow(now.shape[::-1], cv2.CV_32F)
    # OpenCV multiplies its arguments by the window in place, so it gets copies.
    (right, down), response = cv2.phaseCorrelate(reference.copy(), now.copy(), window)
    return right, down, response


def _faded(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The picture, faded to 0 where pixels are not kept: a hard edge would look like no motion."""
    square = np.ones((FADE_PX, FADE_PX), np.uint8)
    weights = cv2.blur(
        cv2.erode(kept.astype(np.uint8), square).astype(np.float32), (FADE_PX, FADE_PX)
    )
    return (picture - picture[kept].mean()) * np.where(kept, weights, 0)


def _shift_sentence(right: float, down: float, shape: tuple[int, int]) -> str:
    x, y = 100 * right / shape[1], 100 * down / shape[0]
    parts = [
        f"{abs(value):.1f} % of the picture {directions[value < 0]}"
        for value, directions in ((x, ("right", "left")), (y, ("down", "up")))
        if abs(value) >= 0.3
    ]
    return f"the camera was nudged: the view moved {' and '.join(parts)}; set it back or train anew"


def _light_sentence(gain: float, how: str) -> str:
    change, times = ("brighter", gain) if gain > 1 else ("darker", 1 / gain)
    return (
        f"the picture became {times:.1f} times {change}, {how}: another exposure, or dusk or dawn; "
        "train on footage of this hour, too"
    )
