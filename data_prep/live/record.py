"""Record normal footage from a live source as videos for preparation."""

import math
import os
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from data_prep.footage.frames import tidy_rate
from data_prep.footage.video_writing import MOTION_JPEG, VideoWriter
from data_prep.live.sources import Frame, Stream, open_source
from ddllib.data import WINDOW
from ddllib.errors import DDLError

MIN_DURATION_S = 1.0  # seconds of a video; the rate of a shorter one is not checked
RATE_TOLERANCE = 0.2  # relative; a larger difference from the stated rate is reported
PIECE_S = 300.0  # seconds of one video at most; a killed process loses no more than that


def record(
    address: str, folder: str | Path, seconds: float, rate: float, **wishes
) -> Iterator[Path]:
    """Record `seconds` of a live source into `folder`, `rate` frames per second; yields each video.

    Videos are Motion JPEG at the source's own size, named after the time of their first frame, at
    most five minutes long; after a gap of the source a new one begins. A video gets its name when
    it is complete. It states `rate` frames per second; if the source sent another rate, `tell` gets
    a line with the rate to use. A video too short for a window is not kept, which is reported, too.
    `wishes`: see `sources.open_source`. Raises DDLError for a source that is not live, for
    `seconds` that are not a finite number above 0, if nothing was kept, and if the disk is full.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise DDLError(f"minutes: {seconds / 60:g}; expected a number above 0, such as 60")
    source = open_source(address, None, rate=rate, **wishes)
    if not isinstance(source, Stream):
        raise DDLError(f"{source.name}: is kept already; give a webcam's number or an address")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    piece, frames_read, videos = None, 0, 0
    timer = threading.Timer(seconds, source.stop)  # stops even if no frames arrive
    timer.daemon = True
    timer.start()
    try:
        for frame in source:
            if piece and (frame.gap or frame.time_s - piece.start >= PIECE_S):
                path, piece = piece.close(), None
                if path:
                    videos += 1
                    yield path
            piece = piece or Piece(folder, frame, rate, source.wish.tell)
            piece.write(frame)
            frames_read += 1
    finally:
        timer.cancel()
        path = piece.close() if piece else None
    if path:
        yield path
    elif not videos:
        reason = "frames come too seldom; give a lower --rate" if frames_read else "no frame came"
        raise DDLError(
            f"{source.name}: nothing was kept: {reason}; check the address and the camera"
        )


class Piece:
    """One video that is being written; its file is hidden until it is complete."""

    def __init__(self, folder: Path, first: Frame, rate: float, tell: Callable[[str], None]):
        self.start = self.last = first.time_s
        self.rate, self.tell = rate, tell
        name = datetime.fromtimestamp(first.time_s).strftime("%Y-%m-%d-%H%M%S-%f")[:-3]
        name += MOTION_JPEG.ending
        self.path, self.part = folder / name, folder / f".{name}"
        self.video = VideoWriter(self.part, MOTION_JPEG, rate, first.image.shape[:2])

    def write(self, frame: Frame) -> None:
        self.video.write(frame.image)
        self.last = frame.time_s

    def close(self) -> Path | None:
        """Finish the video; returns its path, None for one with fewer frames than a window."""
        try:
            self.video.close()
        except DDLError:
            self.part.unlink(missing_ok=True)
            raise
        if self.video.count < WINDOW:
            self.part.unlink()
            self.tell(f"{self.path.name}: {self.video.count} frames, no window; not kept")
            return None
        os.replace(self.part, self.path)
        self._compare_rate()
        return self.path

    def _compare_rate(self) -> None:
        """Report a video whose true rate differs: motion in it is too fast or too slow."""
        duration = self.last - self.start
        if duration < MIN_DURATION_S:
            return
        true_rate = (self.video.count - 1) / duration
        if abs(true_rate / self.rate - 1) > RATE_TOLERANCE:
            self.tell(
                f"{self.path}: says {self.rate:g} frames per second, but {true_rate:.3g} came; its "
                f"seconds are not those of a clock; record with --rate {tidy_rate(true_rate):g}"
            )
