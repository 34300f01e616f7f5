"""A video of what was watched: each frame, its error map beside it, a strip of scores below."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from ddllib.events import is_gap, longest_gap, region
from ddllib.pictures import BOX_COLOUR, Video, boxed, fitted, heat, open_video, resized, seen
from ddllib.streaming import HeldBack

HIGH = 72  # pixels of the strip
MOST = 320  # of the longer side of a frame: all that is watched is written
SHOWN_S = 20.0  # seconds of scores that it shows
TOP = 1.5  # of the threshold: the end of the strip's scale and of the error map's
BAR, LINE = (200, 170, 130), (40, 40, 40)  # blue, green, red


class AnnotatedVideo:
    """A listener ``(scored, seconds)`` that writes a video as the watch goes on.

    A frame whose score is above ``threshold`` bears the box of what is strange in it
    (``events.region``, by ``patch`` pixels). ``smooth`` is the filter over time that the threshold
    was chosen with, such as ``streaming.RunningMedian()``; without one scores are raw. ``path`` is
    ``stem`` with the suffix of ``pictures.open_video``, None before the first frame; the video is
    whole once it is closed. It grows with the footage, up to a gigabyte an hour; memory does not.
    """

    def __init__(
        self, stem: Path | str, threshold: float, frame_rate: float, patch: int, smooth=None
    ):
        self.stem, self.frame_rate, self.patch = Path(stem), frame_rate, patch
        self.threshold = max(threshold, 1e-6)  # it is divided by
        self.path: Path | None = None
        self._video: Video | None = None
        self._shape: tuple[int, int] | None = None  # of the first frame; others are made so
        self._last: tuple[int, float] | None = None
        self._held = HeldBack(smooth)
        self._scores: deque[float] = deque(maxlen=max(round(SHOWN_S * frame_rate), 1))

    def __call__(self, scored, seconds: float) -> None:
        """Take the next scored frame (``streaming.Scored``), and write the one that is due."""
        now = (scored.index, seconds)
        if is_gap(self._last, now, longest_gap(self.frame_rate)):
            self.interrupt()
        self._last = now
        for due in self._held.push(scored, scored.score):
            self._write(*due)

    def interrupt(self) -> None:
        """The footage has a gap here, over which no filter reaches."""
        for due in self._held.finish():
            self._write(*due)

    def _write(self, scored, score: float) -> None:
        self._scores.append(score)
        strange = region(scored.map, self.patch) if score > self.threshold else None
        image = seen(scored)
        self._shape = self._shape or fitted(image.shape[:2], MOST)
        image = resized(image, self._shape)
        error = heat(scored.map, TOP * self.threshold, image.shape[:2])
        strip = self._strip(2 * image.shape[1])
        image = np.vstack([np.hstack([boxed(image, strange), error]), strip])
        if self._video is None:
            self._video = open_video(self.stem, self.frame_rate, image.shape[:2])
            self.path = self._video.path
        self._video.write(image)

    def _strip(self, width: int) -> np.ndarray:
        """The scores so far, the newest at the right, red above the threshold."""
        strip = np.full((HIGH, width, 3), 255, np.uint8)
        places = np.linspace(0, 1, width) * (self._scores.maxlen - 1)
        places = (places - (self._scores.maxlen - len(self._scores))).round().astype(int)
        columns = np.flatnonzero(places >= 0)
        values = np.array(self._scores)[places[columns]]
        for column, value in zip(columns, values, strict=True):
            colour = BOX_COLOUR if value > self.threshold else BAR
            strip[self._row(value) :, column] = colour
        strip[self._row(self.threshold)] = LINE
        return strip

    def _row(self, value: float) -> int:
        share = min(max(value / (TOP * self.threshold), 0.0), 1.0)
        return round((1 - share) * (HIGH - 1))

    def close(self) -> None:
        """The footage is over; raises ``DDLError`` where not all of it could be written."""
        self.interrupt()
        video, self._video = self._video, None
        if video is not None:
            video.close()
