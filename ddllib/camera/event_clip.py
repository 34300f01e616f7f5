"""The clip of an event: a few seconds before it, the event, and a few seconds after."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import numpy as np

from data_prep.footage.pictures import fitted, resized
from data_prep.footage.video_writing import WEBM, VideoWriter
from ddllib.camera.events import Event
from ddllib.camera.pictures import CLIP_SIDE, seen

AROUND_S = 2.0  # seconds of the clip before and after the event
LONGEST_S = 60.0  # seconds of the longest clip; of a longer event it shows the beginning
AT_ONCE = 2  # frames of a clip that are encoded at most while one frame is watched


def clip_path(folder: Path, number: int) -> Path:
    """The path of the clip of event ``number`` in a watched folder."""
    return folder / f"{number:04d}{WEBM.ending}"


class ClipRecorder:
    """Records a clip of each event; holds the last seconds of frames and one open clip at most.

    A finished clip is named by the number of its event, ``<n>.webm``.
    """

    def __init__(self, folder: Path, frame_rate: float):
        self.folder, self.frame_rate = folder, frame_rate
        self._before: deque[np.ndarray] = deque(maxlen=max(int(AROUND_S * frame_rate), 1))
        self._clip: _Clip | None = None

    @property
    def filming(self) -> bool:
        """Whether an event has ended and its clip is still being recorded."""
        return bool(self._clip and self._clip.number)

    def keep(self, scored) -> None:
        """Take the next frame; ``film`` then decides whether it goes into a clip."""
        image = seen(scored)
        self._before.append(resized(image, fitted(image.shape[:2], CLIP_SIDE)))

    def film(self, index: int, started: Event | None) -> None:
        """Write the frame of the last ``keep``, number ``index``, into a clip.

        ``started`` is the present stretch above the release, which may be too short for an event.
        A clip begins with the stretch. If the stretch ends before it is an event, the clip is
        discarded.
        """
        if started and started.start == index:
            if self._clip:
                self._clip.finish()
            self._clip = _Clip(self.folder, self.frame_rate, self._before[-1].shape[:2])
            for image in self._before:
                self._clip.add(image)
        elif self._clip:
            self._clip.add(self._before[-1])
            if not started and not self._clip.number:
                self._clip.discard()  # too short to be an event
                self._clip = None
            elif self._clip.done:
                self._clip.finish()
                self._clip = None
        if self._clip:
            self._clip.encode(AT_ONCE)

    def name(self, number: int) -> None:
        """The event of the open clip has ended; a few seconds later the clip gets this number."""
        if self._clip:
            self._clip.number = number

    def has(self, number: int) -> bool:
        """Whether the folder holds the clip of event ``number``."""
        return clip_path(self.folder, number).is_file()

    def cut(self) -> None:
        """End the clip, as before a gap: no clip holds frames from both sides of one."""
        if self._clip:
            self._clip.finish()
        self._clip = None
        self._before.clear()


class _Clip:
    """The clip of one event while it is recorded; the file is renamed when it is complete.

    Frames wait to be encoded. So the seconds before an event are not encoded all at once, which
    would hold up the frame that begins it, and not at all for a clip that is discarded.
    """

    def __init__(self, folder: Path, frame_rate: float, shape: tuple[int, int]):
        path = folder / f".running{WEBM.ending}"
        self._video, self._shape = VideoWriter(path, WEBM, frame_rate, shape), shape
        self.number: int | None = None  # of the event, once it has ended
        self._waiting: deque[np.ndarray] = deque()
        self._frames_left = int(LONGEST_S * frame_rate)
        self._frames_after = int(AROUND_S * frame_rate)

    def add(self, image: np.ndarray) -> None:
        self._frames_after -= bool(self.number)
        if self._frames_left:
            self._frames_left -= 1
            self._waiting.append(image)

    def encode(self, most: int) -> None:
        """Encode up to ``most`` frames that wait, the oldest first."""
        for _ in range(min(most, len(self._waiting))):
            self._video.write(resized(self._waiting.popleft(), self._shape))

    @property
    def done(self) -> bool:
        return bool(self.number) and self._frames_after <= 0

    def finish(self) -> None:
        if not self.number:
            self.discard()
            return
        self.encode(len(self._waiting))
        self._video.close()
        os.replace(self._video.path, clip_path(self._video.path.parent, self.number))

    def discard(self) -> None:
        self._video.discard()
