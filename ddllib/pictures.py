"""Pictures and videos of a watch: frames large enough to look at, boxes, errors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ddllib.errors import DDLError
from ddllib.files import write_whole

SIDE = 288  # pixels: small frames are enlarged to about this side
RATE = 25.0  # frames per second of a clip that is only trained on, where it means nothing
BOX_COLOUR = (60, 60, 230)  # blue, green, red


def enlarged(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which small frames are shown: a whole number of times their own."""
    times = max(round(SIDE / max(shape)), 1)
    return shape[0] * times, shape[1] * times


def picture(frame: np.ndarray) -> np.ndarray:
    """uint8 C x H x W (RGB or grey) to H' x W' x 3 BGR at the size it is shown."""
    image = np.moveaxis(np.broadcast_to(frame, (3, *frame.shape[1:])), 0, -1)[..., ::-1]
    height, width = enlarged(frame.shape[1:])
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_CUBIC)


def boxed(frame: np.ndarray, box: tuple[float, float, float, float] | None) -> np.ndarray:
    """The picture of a frame with a relative box drawn into it, H' x W' x 3 BGR."""
    image = picture(frame)
    if box is not None:
        height, width = image.shape[:2]
        x0, y0, x1, y1 = np.multiply(box, [width, height, width, height]).round().astype(int)
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), BOX_COLOUR, 2)
    return image


def heat(error: np.ndarray, top: float) -> np.ndarray:
    """An error map H x W as H' x W' x 3 BGR: black where it is 0, pale from ``top`` on."""
    scaled = np.clip(np.asarray(error, np.float32) / max(top, 1e-12) * 255, 0, 255)
    large = picture(scaled.astype(np.uint8)[None])[..., 0]
    return cv2.applyColorMap(np.ascontiguousarray(large), cv2.COLORMAP_MAGMA)


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR picture in the form that the name ends in, whole or not at all."""
    encoded = cv2.imencode(path.suffix, image)[1].tobytes()
    write_whole(path, lambda file: file.write(encoded))


def open_video(
    stem: Path, frame_rate: float, shape: tuple[int, int]
) -> tuple[Path, cv2.VideoWriter]:
    """A video to write BGR frames of ``shape`` to, and its path: WebM, which browsers play.

    Where this OpenCV cannot write VP8, Motion JPEG in AVI, which browsers do not play. Raises
    ``DDLError`` where it can write neither.
    """
    for code, suffix in (("VP80", ".webm"), ("MJPG", ".avi")):
        path = stem.with_name(stem.name + suffix)
        with _silent():
            video = cv2.VideoWriter(
                str(path), cv2.VideoWriter.fourcc(*code), frame_rate, shape[::-1]
            )
        if video.isOpened():
            return path, video
    raise DDLError(f"{stem}: OpenCV writes neither WebM nor AVI there; expected a writable folder")


def write_lossless(path: Path, frames: Iterable[np.ndarray], frame_rate: float = RATE) -> int:
    """Write frames, uint8 H x W x 3 BGR or H x W, as FFV1 in AVI: what is read is what was given.

    Returns how many there were. Raises ``DDLError`` where this OpenCV cannot write there.
    """
    video, count, code = cv2.VideoWriter(), 0, cv2.VideoWriter.fourcc(*"FFV1")
    for frame in frames:
        if not count and not video.open(str(path), code, frame_rate, frame.shape[1::-1]):
            raise DDLError(f"{path}: OpenCV cannot write FFV1 there; expected a writable folder")
        video.write(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        count += 1
    video.release()
    return count


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
