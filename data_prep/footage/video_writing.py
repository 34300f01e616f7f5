"""Write videos by FFmpeg (PyAV): complete once they are closed, and a full disk is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ddllib.io.files import disk_faults


@dataclass(frozen=True)
class Codec:
    """How a video is encoded: FFmpeg's encoder, its pixel format, the container, the options.

    ``bit_rate`` is the most bits per second; 0 leaves the size to the quality. ``ending`` is the
    ending of the file's name.
    """

    name: str
    pixels: str
    container: str
    ending: str
    options: Mapping[str, str] = field(default_factory=dict)
    bit_rate: int = 0


# What browsers play. The options are those for live video: about five times as fast as libvpx's
# usual ones, at half the size and slightly less quality (crf: lower is better).
WEBM = Codec(
    "libvpx",
    "yuv420p",
    "webm",
    ".webm",
    {"deadline": "realtime", "cpu-used": "8", "crf": "10", "lag-in-frames": "0"},
    2_000_000,
)
MOTION_JPEG = Codec("mjpeg", "yuvj420p", "avi", ".avi", {"qmin": "3", "qmax": "3"})
LOSSLESS = Codec("ffv1", "bgr0", "avi", ".avi")


class _Sink:
    """The file that FFmpeg writes into; it keeps its first fault instead of raising it.

    What is raised while FFmpeg closes a video is printed with a traceback by PyAV, and lost.
    """

    def __init__(self, path: Path):
        self.fault: OSError | None = None
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by the video

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while len(rest) and not self.fault:
            try:
                rest = rest[self._file.write(rest) :]
            except OSError as fault:
                self.fault = fault
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed


class VideoWriter:
    """A video that is being written, frames of one ``shape`` (h, w); playable once it is closed.

    ``path`` should have the codec's ending. The constructor, ``write`` and ``close`` raise
    ``DDLError`` where the disk is full or the folder cannot be written; the file is closed then.
    ``count`` is the number of frames written so far.
    """

    def __init__(self, path: Path, codec: Codec, frame_rate: float, shape: tuple[int, int]):
        self.path, self.count = path, 0
        with disk_faults(path):
            self._sink = _Sink(path)  # so no name is taken for an address, as FFmpeg would
        self._container = av.open(self._sink, "w", format=codec.container)
        rate = Fraction(frame_rate).limit_denominator(1000)
        self._stream = self._container.add_stream(codec.name, rate=rate, options=codec.options)
        self._stream.height, self._stream.width = shape
        self._stream.pix_fmt, self._stream.bit_rate = codec.pixels, codec.bit_rate
        self._stream.thread_count = 1  # frames are small, and other threads have work

    def write(self, image: np.ndarray) -> None:
        """Append a frame, uint8 H x W x 3 BGR or H x W."""
        frame = av.VideoFrame.from_ndarray(image, "bgr24" if image.ndim == 3 else "gray")
        self._container.mux(self._stream.encode(frame))
        self.count += 1
        if self._sink.fault:
            self.close()

    def close(self) -> None:
        """Finish the file."""
        if not self._sink.closed:
            if self.count:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            self._sink.close()
        with disk_faults(self.path):
            if self._sink.fault:
                raise self._sink.fault

    def discard(self) -> None:
        """Remove the file."""
        self._container.close()
        self._sink.close()
        self.path.unlink(missing_ok=True)


def write_lossless(path: Path, frames: Iterable[np.ndarray], frame_rate: float) -> int:
    """Write frames, uint8 H x W x 3 BGR or H x W, as FFV1 in AVI, which changes no pixel.

    Returns the number of frames. Raises ``DDLError`` where the disk does not hold them; the file is
    removed then.
    """
    video = None
    try:
        for frame in frames:
            video = video or VideoWriter(path, LOSSLESS, frame_rate, frame.shape[:2])
            video.write(frame)
        if video:
            video.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return video.count if video else 0
