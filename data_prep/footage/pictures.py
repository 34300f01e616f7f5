"""Write pictures and videos completely or not at all, and fit pictures to a size."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from ddllib.errors import DDLError
from ddllib.io.files import write_whole

DISK_CHECK_FRAMES = 100  # after so many frames the free space of the disk is checked
MIN_FREE_BYTES = 4 << 20  # that must be free to go on with a video
CLIPS = (".webm", ".avi")  # endings of videos of events, see open_video


def fitted(shape: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width with the same aspect ratio, even, the longer ``most`` pixels at most."""
    scale = min(most / max(shape), 1.0)
    height, width = (max(int(side * scale / 2 + 1e-6) * 2, 2) for side in shape)
    return height, width


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image H x W x 3 of the ``shape`` (h, w); a copy, unless it has it already."""
    if image.shape[:2] == tuple(shape):
        return image
    smaller = shape[0] < image.shape[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, shape[::-1], interpolation=interpolation)


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR picture in the format of the name's ending, whole or not at all."""
    encoded = cv2.imencode(path.suffix, image)[1].tobytes()
    write_whole(path, lambda file: file.write(encoded))


class Video:
    """A video that is being written, BGR frames of one shape; it can be played once it is closed.

    ``code`` is OpenCV's code of the codec. OpenCV does not report a full disk, so ``close`` checks
    that the last frame can be read, and ``write`` sometimes checks the free space. Both, and the
    constructor, raise ``DDLError``.
    """

    def __init__(self, path: Path, code: str, frame_rate: float, shape: tuple[int, int]):
        self.path, self.count = path, 0
        with _silent():
            self._video = cv2.VideoWriter(
                local_name(path), cv2.VideoWriter.fourcc(*code), frame_rate, shape[::-1]
            )
        if not self._video.isOpened():
            raise DDLError(f"{path}: OpenCV cannot write {code} there; expected a writable folder")

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 H x W x 3 or H x W."""
        self._video.write(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        self.count += 1
        check = self.count % DISK_CHECK_FRAMES == 0
        if check and shutil.disk_usage(self.path.parent).free < MIN_FREE_BYTES:
            self._video.release()
            raise DDLError(f"{self.path}: the disk is full; make room, or choose another folder")

    def close(self) -> None:
        """Finish the file; raises ``DDLError`` if not all of it reached the disk."""
        self._video.release()
        if self.count and not _holds(self.path, self.count):
            raise DDLError(
                f"{self.path}: not all of its {self.count} frames could be written; make room, or "
                "choose another folder"
            )

    def discard(self) -> None:
        """Remove the file."""
        self._video.release()
        self.path.unlink(missing_ok=True)


def local_name(path: Path) -> str:
    """A file's absolute path, which FFmpeg never takes for an address."""
    return os.path.abspath(path)


def _holds(path: Path, count: int) -> bool:
    """Whether a video has frame ``count``, counted from 1; an incomplete file has no index."""
    video = cv2.VideoCapture(local_name(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
    has_frame = video.grab() and video.get(cv2.CAP_PROP_POS_FRAMES) >= count
    video.release()
    return has_frame


def open_video(stem: Path, frame_rate: float, shape: tuple[int, int]) -> Video:
    """A video to write BGR frames of ``shape`` to: WebM, which browsers play.

    If this OpenCV cannot write VP8, it is Motion JPEG in AVI, which browsers do not play. Raises
    ``DDLError`` if it can write neither.
    """
    with suppress(DDLError):
        return Video(stem.with_name(f"{stem.name}.webm"), "VP80", frame_rate, shape)
    return Video(stem.with_name(f"{stem.name}.avi"), "MJPG", frame_rate, shape)


def write_lossless(path: Path, frames: Iterable[np.ndarray], frame_rate: float) -> int:
    """Write frames, uint8 H x W x 3 BGR or H x W, as FFV1 in AVI, which changes no pixel.

    Returns the number of frames. Raises ``DDLError`` if this OpenCV cannot write there, or if not
    all could be written; the file is removed then.
    """
    video = None
    try:
        for frame in frames:
            video = video or Video(path, "FFV1", frame_rate, frame.shape[:2])
            video.write(frame)
        if video:
            video.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return video.count if video else 0


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress a harmless message that OpenCV writes to stderr: WebM has no tag for VP8."""
    stderr, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)
