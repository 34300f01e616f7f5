"""Normal footage from a live source, kept as videos that preparation reads."""

import math
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from data_prep.sources import Frame, Stream, open_source
from ddllib.errors import DDLError
from ddllib.pictures import Video

PIECE = 300.0  # seconds of one video; a process that is killed loses no more than that


def record(
    address: str, folder: str | Path, seconds: float, rate: float, **wishes
) -> Iterator[Path]:
    """Keep `seconds` of a live source in `folder`, `rate` frames per second; yields each video.

    Videos are Motion JPEG at the source's own size, named by the time of their first frame, at
    most five minutes long; a gap of the source begins another. A video has its name only once it
    is whole. `wishes`: see `sources.open_source`. Raises DDLError for a source that is not
    live, for `seconds` that are not a finite number above 0, and where the disk is full.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise DDLError(f"minutes: {seconds / 60:g}; expected a number above 0, such as 60")
    source = open_source(address, None, rate=rate, **wishes)
    if not isinstance(source, Stream):
        raise DDLError(f"{source.name}: is kept already; give a webcam's number or an address")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    piece, end = None, time.monotonic() + seconds
    try:
        for frame in source:
            if piece and (frame.gap or frame.time_s - piece.start >= PIECE):
                yield piece.close()
                piece = None
            piece = piece or Piece(folder, frame, rate)
            piece.write(frame)
            if time.monotonic() >= end:
                source.stop()
    finally:
        if piece:
            path = piece.close()
    if piece:
        yield path


class Piece:
    """One video while it is written; hidden until it is whole."""

    def __init__(self, folder: Path, first: Frame, rate: float):
        self.start = first.time_s
        name = datetime.fromtimestamp(first.time_s).strftime("%Y-%m-%d-%H%M%S-%f")[:-3] + ".avi"
        self.path, self.part = folder / name, folder / f".{name}"
        self.video = Video(self.part, "MJPG", rate, first.image.shape[:2])

    def write(self, frame: Frame) -> None:
        self.video.write(frame.image)

    def close(self) -> Path:
        try:
            self.video.close()
        except DDLError:
            self.part.unlink(missing_ok=True)
            raise
        os.replace(self.part, self.path)
        return self.path
