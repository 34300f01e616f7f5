"""Pictures and videos of a watch: frames as a person looks at them, boxes, errors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from ddllib.errors import DDLError
from ddllib.files import write_whole

SIDE = 288  # pixels: small frames are enlarged to about this side
CLIP_SIDE = 400  # pixels of the longer side of an event's clip: OpenCV writes WebM without thrift
LOOK, ROOM = 100, 4 << 20  # after so many frames: are so many bytes free for more of a video?
CLIPS = (".webm", ".avi")  # how videos of events end, see open_video
BOX_COLOUR = (60, 60, 230)  # blue, green, red


def enlarged(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which small frames are shown: a whole number of times their own."""
    times = max(round(SIDE / max(shape)), 1)
    return shape[0] * times, shape[1] * times


def fitted(shape: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width in the same proportions, even, the longer ``most`` pixels at most."""
    scale = min(most / max(shape), 1.0)
    height, width = (max(int(side * scale / 2 + 1e-6) * 2, 2) for side in shape)
    return height, width


def seen(scored) -> np.ndarray:
    """What a person is shown of a scored frame (``streaming.Scored``), h x w x 3 BGR.

    Its view; where the source has none, the model's own small frame.
    """
    if scored.view is None:
        return picture(scored.frame)
    return resized(scored.view, enlarged(scored.view.shape[:2]))


def picture(frame: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 C x H x W (RGB or grey) to h x w x 3 BGR, of the ``shape`` (h, w) or ``enlarged``."""
    image = np.moveaxis(np.broadcast_to(frame, (3, *frame.shape[1:])), 0, -1)[..., ::-1]
    return resized(np.ascontiguousarray(image), shape or enlarged(frame.shape[1:]))


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image H x W x 3 of the ``shape`` (h, w); a copy, unless it has it already."""
    if image.shape[:2] == tuple(shape):
        return image
    smaller = shape[0] < image.shape[0]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, shape[::-1], interpolation=way)


def boxed(image: np.ndarray, box: tuple[float, float, float, float] | None) -> np.ndarray:
    """A copy of a picture, h x w x 3 BGR, with a relative box drawn into it."""
    image = image.copy()
    if box is not None:
        height, width = image.shape[:2]
        x0, y0, x1, y1 = np.multiply(box, [width, height, width, height]).round().astype(int)
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), BOX_COLOUR, 2)
    return image


def heat(error: np.ndarray, top: float, shape: tuple[int, int] | None = None) -> np.ndarray:
    """An error map H x W as h x w x 3 BGR: black where it is 0, pale from ``top`` on."""
    scaled = np.clip(np.asarray(error, np.float32) / max(top, 1e-12) * 255, 0, 255)
    large = picture(scaled.astype(np.uint8)[None], shape)[..., 0]
    return cv2.applyColorMap(np.ascontiguousarray(large), cv2.COLORMAP_MAGMA)


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR picture in the form that the name ends in, whole or not at all."""
    encoded = cv2.imencode(path.suffix, image)[1].tobytes()
    write_whole(path, lambda file: file.write(encoded))


class Video:
    """A video while it is written, BGR frames of one shape; whole once it is closed.

    ``code`` is OpenCV's of the codec. OpenCV tells of no full disk, so ``close`` looks whether the
    last frame can be read, and ``write`` now and then whether there is room. Both, and the opening,
    raise ``DDLError``.
    """

    def __init__(self, path: Path, code: str, frame_rate: float, shape: tuple[int, int]):
        self.path, self.count = path, 0
        with _silent():
            self._video = cv2.VideoWriter(
                str(path), cv2.VideoWriter.fourcc(*code), frame_rate, shape[::-1]
            )
        if not self._video.isOpened():
            raise DDLError(f"{path}: OpenCV cannot write {code} there; expected a writable folder")

    def write(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 H x W x 3 or H x W."""
        self._video.write(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        self.count += 1
        if self.count % LOOK == 0 and shutil.disk_usage(self.path.parent).free < ROOM:
            self._video.release()
            raise DDLError(f"{self.path}: the disk is full; make room, or choose another folder")

    def close(self) -> None:
        """Finish the file; raises ``DDLError`` where not all of it reached the disk."""
        self._video.release()
        if self.count and not _holds(self.path, self.count):
            raise DDLError(
                f"{self.path}: not all of its {self.count} frames could be written; make room, or "
                "choose another folder"
            )

    def discard(self) -> None:
        """Nobody wants it after all."""
        self._video.release()
        self.path.unlink(missing_ok=True)


def _holds(path: Path, count: int) -> bool:
    """Whether a video has a frame of that number, counted from 1; a torn one has no index."""
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
    there = video.grab() and video.get(cv2.CAP_PROP_POS_FRAMES) >= count
    video.release()
    return there


def open_video(stem: Path, frame_rate: float, shape: tuple[int, int]) -> Video:
    """A video to write BGR frames of ``shape`` to: WebM, which browsers play.

    Where this OpenCV cannot write VP8, Motion JPEG in AVI, which browsers do not play. Raises
    ``DDLError`` where it can write neither.
    """
    with suppress(DDLError):
        return Video(stem.with_name(f"{stem.name}.webm"), "VP80", frame_rate, shape)
    return Video(stem.with_name(f"{stem.name}.avi"), "MJPG", frame_rate, shape)


def write_lossless(path: Path, frames: Iterable[np.ndarray], frame_rate: float) -> int:
    """Write frames, uint8 H x W x 3 BGR or H x W, as FFV1 in AVI: what is read is what was given.

    Returns how many there were. Raises ``DDLError`` where this OpenCV cannot write there, and where
    not all of it could be written; nothing is left then.
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
    """OpenCV writes past Python that WebM has no tag for VP8, which does no harm."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
