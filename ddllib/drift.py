"""Has the scene changed? The camera nudged, the light gone, the ground rebuilt: say so.

A model knows one view. When that view changes, every frame scores high, and an alarm without end
helps nobody: ``DriftMonitor`` compares what stands still in the picture with how it was, and what
is wrong is told in one sentence. Events that begin meanwhile are kept, marked, and counted in one
line (``ddllib.alarms``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ddllib.errors import DDLError

SAMPLES = 15  # frames, one a second, whose median is the background: passers-by are not in it
QUIET_S = 60  # seconds of scores that are looked at for a level that never falls
PATIENCE = 3  # seconds that a change must be seen before it is told
MOVED = 0.7  # pixels of the working size
ALIKE = 0.3  # response of the phase correlation from which on its shift is believed
LIGHT = 1.2  # times brighter, or darker
DIFFERENT = 30  # grey levels by which a pixel of the background is another, light set aside
REPLACED = 0.1  # share of such pixels
GRADUAL_S = 20  # seconds from half the limit to the limit, from which on light changes gradually
FEW = 8  # frames that show no background: passers-by may stand in half of them
FADE = 9  # pixels over which the picture fades beside what is ignored
BACK = 0.7  # of a limit: below it a drift is over


@dataclass(frozen=True)
class Drift:
    """A change of the scene, first told at ``frame``.

    ``kind`` is "moved", "light", "background" or "score"; ``sentence`` says what was seen.
    """

    kind: str
    sentence: str
    frame: int


def backgrounds(frames: Sequence[np.ndarray]) -> np.ndarray:
    """What stands still in footage, in every light that it was taken in: K x H x W float32.

    A camera that is watched day and night has two, or more. Frames, each uint8 C x H x W, are put
    together from the darkest on as long as they differ by less than what would be told as a change
    of light; those of a light that is hardly there, fewer than ``FEW``, are left out.
    """
    pictures = np.stack([_grey(frame) for frame in frames])
    middle = np.median(pictures, axis=0)
    gains = np.array([brightness(middle, one) for one in pictures])
    groups: list[list[int]] = []
    for k in np.argsort(gains, kind="stable"):
        if not groups or gains[k] > LIGHT * gains[groups[-1][0]]:
            groups.append([])
        groups[-1].append(int(k))
    lasting = [group for group in groups if len(group) >= FEW] or [list(range(len(pictures)))]
    return np.stack([np.median(pictures[group], axis=0) for group in lasting])


class DriftMonitor:
    """Watches for a change of the scene, in memory that does not grow.

    What is pushed is of one camera: interruptions and the ends of files are no change.

    ``references`` are the ``backgrounds`` of footage that the model knows, K x H x W, of which that
    counts which is most like the picture; without them the first ``SAMPLES`` seconds are taken.
    ``high`` is a level below which scores fall again and again when all is well, such as a
    threshold's release; None watches the picture alone. Pixels marked in ``ignore``, H x W, are
    not compared.
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
        self._second: list[float] = []
        self._suspicions = 0
        self._steady_s = 0.0

    def push(self, frame: np.ndarray, score: float) -> Drift | None:
        """Take a frame, uint8 C x H x W, and its raw score; a drift comes back when it begins.

        ``drift`` is the present one until the scene is as it was; once a second there is work to
        do. Raises ``DDLError`` for a frame unlike the reference in size.
        """
        self._second.append(score)
        self._count += 1
        if self._count < self.frame_rate * (self._seconds + 1):
            return None
        self._seconds += 1
        self._scores.append(float(np.mean(self._second)))
        self._second.clear()
        self._pictures.append(_grey(frame))
        return self._look()

    @property
    def seconds(self) -> int:
        """For how many seconds the scene was looked at."""
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
        found = self._changed(now, BACK if self.drift else 1.0)
        if (found and found[0]) == (self.drift and self.drift.kind):
            self._suspicions = 0
            return None
        self._suspicions += 1
        if self._suspicions < PATIENCE:
            return None
        self._suspicions = 0
        self.drift = Drift(*found, self._count - 1) if found else None
        return self.drift

    def _changed(self, now: np.ndarray, strict: float) -> tuple[str, str] | None:
        """The kind and sentence of what is beyond its limit, times ``strict``; the clearest one."""
        there = slice(None) if self.kept is None else self.kept
        unlike = [np.abs(now[there] - one[there]).mean() for one in self.references]
        reference = self.references[int(np.argmin(unlike))]
        right, down, alike = shift(reference, now, self.kept)
        gain = brightness(reference[there], now[there])
        different = np.abs(now[there] / gain - reference[there]) > DIFFERENT
        replaced = float(different.mean())
        if abs(np.log(gain)) < np.log(LIGHT) / 2:
            self._steady_s = self._seconds
        if alike >= ALIKE and np.hypot(right, down) > strict * MOVED:
            return "moved", _moved(right, down, reference.shape)
        if abs(np.log(gain)) > strict * np.log(LIGHT):
            gradual = self._seconds - self._steady_s >= GRADUAL_S
            return "light", _light(gain, "gradually" if gradual else "suddenly")
        if replaced > strict * REPLACED:
            return "background", (
                f"{100 * replaced:.0f} % of the background look different: something large came "
                "or went, or the view is another; train on the new normal if it stays"
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
    """How far a background H x W moved: pixels to the right, down, and how sure that is, to 1.

    Phase correlation, which a change of light does not touch. Where ``kept``, bool H x W, is False,
    nothing is looked at.
    """
    if kept is not None:
        reference, now = _faded(reference, kept), _faded(now, kept)
    window = cv2.createHanningWindow(now.shape[::-1], cv2.CV_32F)
    # OpenCV multiplies what it is given by the window, in place.
    (right, down), alike = cv2.phaseCorrelate(reference.copy(), now.copy(), window)
    return right, down, alike


def _faded(picture: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Nought where pixels are not kept, and little beside them: a hard edge would stand still."""
    square = np.ones((FADE, FADE), np.uint8)
    weights = cv2.blur(cv2.erode(kept.astype(np.uint8), square).astype(np.float32), (FADE, FADE))
    return (picture - picture[kept].mean()) * np.where(kept, weights, 0)


def brightness(reference: np.ndarray, now: np.ndarray) -> float:
    """How many times brighter a background is than it was: the median over its pixels."""
    return float(np.median((now + 1) / (reference + 1)))


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame.mean(axis=0, dtype=np.float32)


def _moved(right: float, down: float, shape: tuple[int, int]) -> str:
    x, y = 100 * right / shape[1], 100 * down / shape[0]
    parts = [
        f"{abs(value):.1f} % of the picture {way[value < 0]}"
        for value, way in ((x, ("right", "left")), (y, ("down", "up")))
        if abs(value) >= 0.3
    ]
    return f"the camera was nudged: the view moved {' and '.join(parts)}; set it back or train anew"


def _light(gain: float, how: str) -> str:
    change, times = ("brighter", gain) if gain > 1 else ("darker", 1 / gain)
    return (
        f"the picture became {times:.1f} times {change}, {how}: another exposure, or dusk or dawn; "
        "train on footage of this hour, too"
    )
