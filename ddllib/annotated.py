"""A video of what was watched: each frame, its error map beside it, a strip of scores below."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from ddllib.events import region
from ddllib.pictures import BOX_COLOUR, Video, boxed, heat, open_video

HIGH = 72  # pixels of the strip
SHOWN_S = 20.0  # seconds of scores that it shows
TOP = 1.5  # of the threshold: the end of the strip's scale and of the error map's
BAR, LINE = (200, 170, 130), (40, 40, 40)  # blue, green, red


class AnnotatedVideo:
    """A listener ``(scored, seconds)`` that writes a video as the watch goes on.

    A frame whose raw score is above ``threshold`` bears the box of what is strange in it
    (``events.region``, by ``patch`` pixels). ``path`` is ``stem`` with the suffix of
    ``pictures.open_video``, None before the first frame; the video is whole once it is closed. It
    grows with the footage, some tens of megabytes an hour; memory does not.
    """

    def __init__(self, stem: Path | str, threshold: float, frame_rate: float, patch: int):
        self.stem, self.frame_rate, self.patch = Path(stem), frame_rate, patch
        self.threshold = max(threshold, 1e-6)  # it is divided by
        self.path: Path | None = None
        self._video: Video | None = None
        self._scores: deque[float] = deque(maxlen=max(round(SHOWN_S * frame_rate), 1))

    def __call__(self, scored, seconds: float) -> None:
        """Write the next scored frame (``streaming.Scored``)."""
        self._scores.append(scored.score)
        strange = region(scored.map, self.patch) if scored.score > self.threshold else None
        seen, error = boxed(scored.frame, strange), heat(scored.map, TOP * self.threshold)
        strip = self._strip(2 * seen.shape[1])
        image = np.vstack([np.hstack([seen, error]), strip])
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
        video, self._video = self._video, None
        if video is not None:
            video.close()
