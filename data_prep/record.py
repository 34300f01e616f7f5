"""Normal footage from a live source, kept as videos that preparation reads."""

import math
import os
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from data_prep.frames import tidy_rate
from data_prep.sources import Frame, Stream, open_source
from data_prep.tracking import WINDOW
from ddllib.errors import DDLError
from ddllib.pictures import Video

ENOUGH = 1.0  # second of a video by which the source's rate is judged
UNLIKE = 0.2  # of the rate: so far from it, seconds are not what they are taken for
PIECE = 300.0  # seconds of one video; a process that is killed loses no more than that


def record(
    address: str, folder: str | Path, seconds: float, rate: float, **wishes
) -> Iterator[Path]:
    """Keep `seconds` of a live source in `folder`, `rate` frames per second; yields each video.

    Videos are Motion JPEG at the source's own size, named by the time of their first frame, at
    most five minutes long; a gap of the source begins another. A video has its name only once it
    is whole. It says that it has `rate` frames per second: where the source gave others, that is
    told with the rate to use. `wishes`: see `sources.open_source`, whose `tell` is called with it.
    A piece too short for a window is told and not kept. Raises DDLError for a source that is not
    live, for `seconds` that are not a finite number above 0, where nothing was kept, and where the
    disk is full.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise DDLError(f"minutes: {seconds / 60:g}; expected a number above 0, such as 60")
    source = open_source(address, None, rate=rate, **wishes)
    if not isinstance(source, Stream):
        raise DDLError(f"{source.name}: is kept already; give a webcam's number or an address")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    piece, read, kept = None, 0, 0
    over = threading.Timer(seconds, source.stop)  # frames may come or not
    over.daemon = True
    over.start()
    try:
        for frame in source:
            if piece and (frame.gap or frame.time_s - piece.start >= PIECE):
                path, piece = piece.close(), None
                if path:
                    kept += 1
                    yield path
            piece = piece or Piece(folder, frame, rate, source.wish.tell)
            piece.write(frame)
            read += 1
    finally:
        over.cancel()
        path = piece.close() if piece else None
    if path:
        yield path
    elif not kept:
        why = "frames come too seldom; give a lower --rate" if read else "no frame came"
        raise DDLError(f"{source.name}: nothing was kept: {why}; check the address and the camera")


class Piece:
    """One video while it is written; hidden until it is whole."""

    def __init__(self, folder: Path, first: Frame, rate: float, tell: Callable[[str], None]):
        self.start = self.last = first.time_s
        self.rate, self.tell = rate, tell
        name = datetime.fromtimestamp(first.time_s).strftime("%Y-%m-%d-%H%M%S-%f")[:-3] + ".avi"
        self.path, self.part = folder / name, folder / f".{name}"
        self.video = Video(self.part, "MJPG", rate, first.image.shape[:2])

    def write(self, frame: Frame) -> None:
        self.video.write(frame.image)
        self.last = frame.time_s

    def close(self) -> Path | None:
        """The whole video; None of too few frames for a window, which nothing can learn from."""
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
        """Tell where what moves in the video is much faster or slower than it was."""
        span = self.last - self.start
        if span < ENOUGH:
            return
        given = (self.video.count - 1) / span
        if abs(given / self.rate - 1) > UNLIKE:
            self.tell(
                f"{self.path}: says {self.rate:g} frames per second, but {given:.3g} came; its "
                f"seconds are not those of a clock; record with --rate {tidy_rate(given):g}"
            )
