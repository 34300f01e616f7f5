"""A video of a watch: each frame, its error map beside it, a chart of the scores below."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from data_prep.footage.pictures import fitted, resized
from data_prep.footage.video_writing import WEBM, VideoWriter
from ddllib.camera.events import region
from ddllib.camera.listener import Listener
from ddllib.camera.pictures import BOX_COLOUR, boxed, heat, seen

CHART_HEIGHT = 72  # pixels
LONGER_SIDE = 320  # pixels of a frame at most: the video holds the whole watch, so frames are small
CHART_S = 20.0  # seconds of scores in the chart
SCALE_END = 1.5  # times the threshold: the largest value of the chart and of the error map
BAR_COLOUR, LINE_COLOUR = (200, 170, 130), (40, 40, 40)  # blue, green, red


class AnnotatedVideo(Listener):
    """A listener that writes a video as the watch goes on.

    In a frame whose filtered score is above ``threshold`` the strange region has a box
    (``events.region``, by ``patch`` pixels). ``path`` is ``stem`` with the suffix of
    a WebM video, None before the first frame. The video can be played once it is closed.
    The file grows with the footage, up to a gigabyte an hour; memory does not.
    """

    def __init__(self, stem: Path | str, threshold: float, frame_rate: float, patch: int):
        self.stem, self.frame_rate, self.patch = Path(stem), frame_rate, patch
        self.threshold = max(threshold, 1e-6)  # a divisor
        self.path: Path | None = None
        self._video: VideoWriter | None = None
        self._shape: tuple[int, int] | None = None  # of the first frame; others are resized to it
        self._scores: deque[float] = deque(maxlen=max(round(CHART_S * frame_rate), 1))

    def on_frame(self, scored, time_s: float, value: float) -> None:
        """Write the next frame (``streaming.FrameScore``) with its filtered score."""
        self._scores.append(value)
        strange_box = region(scored.map, self.patch) if value > self.threshold else None
        image = seen(scored)
        self._shape = self._shape or fitted(image.shape[:2], LONGER_SIDE)
        image = resized(image, self._shape)
        error = heat(scored.map, SCALE_END * self.threshold, image.shape[:2])
        chart = self._chart(2 * image.shape[1])
        image = np.vstack([np.hstack([boxed(image, strange_box), error]), chart])
        if self._video is None:
            self.path = self.stem.with_name(self.stem.name + WEBM.ending)
            self._video = VideoWriter(self.path, WEBM, self.frame_rate, image.shape[:2])
        self._video.write(image)

    def _chart(self, width: int) -> np.ndarray:
        """A chart of the newest scores, the latest at the right, red above the threshold."""
        chart = np.full((CHART_HEIGHT, width, 3), 255, np.uint8)
        places = np.linspace(0, 1, width) * (self._scores.maxlen - 1)
        places = (places - (self._scores.maxlen - len(self._scores))).round().astype(int)
        columns = np.flatnonzero(places >= 0)
        values = np.array(self._scores)[places[columns]]
        for column, value in zip(columns, values, strict=True):
            colour = BOX_COLOUR if value > self.threshold else BAR_COLOUR
            chart[self._row(value) :, column] = colour
        chart[self._row(self.threshold)] = LINE_COLOUR
        return chart

    def _row(self, value: float) -> int:
        share = min(max(value / (SCALE_END * self.threshold), 0.0), 1.0)
        return round((1 - share) * (CHART_HEIGHT - 1))

    def close(self) -> None:
        """Finish the video; raises ``DDLError`` if some of it could not be written."""
        video, self._video = self._video, None
        if video is not None:
            video.close()
