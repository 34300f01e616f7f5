"""Decoded frames of a clip, one at a time, and their way to the working size."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from data_prep.layouts import Clip
from ddllib.errors import DDLError

GREY_TOLERANCE = 2  # grey levels; a video codec may part equal channels by rounding


def read_frames(clip: Clip) -> Iterator[np.ndarray]:
    """Frames of a clip in order, each H x W x 3 uint8 RGB; only one is held at a time.

    Raises DDLError, naming the file, for a frame that cannot be decoded, is cut off or differs
    in size from the first, and for a video that ends before its stated length.
    """
    return read_image_folder(clip) if clip.frames else read_video(clip.path)


def read_image_folder(clip: Clip) -> Iterator[np.ndarray]:
    size = None
    for path in clip.frames:
        frame = read_image(path, cv2.IMREAD_COLOR)
        size = size or frame.shape
        if frame.shape != size:
            raise DDLError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} pixels, but the clip's "
                f"first frame has {size[1]}x{size[0]}; expected one size per clip"
            )
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def read_image(path: Path, flags: int) -> np.ndarray:
    """One image by OpenCV; DDLError if it is cut off or no image."""
    # Through bytes, because imread fails on some non-ASCII paths and decodes half a JPEG silently.
    data = path.read_bytes()
    image = None if is_cut_off(data) else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise DDLError(
            f"{path}: truncated or not an image; expected a whole "
            f"{path.suffix[1:].upper()} file, fetch it again"
        )
    return image


def is_cut_off(data: bytes) -> bool:
    """Whether an image file ends before its end marker (JPEG, PNG) or is empty."""
    if data.startswith(b"\xff\xd8"):
        # The end marker must follow the last start of scan: a thumbnail brings its own pair.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return not data


def read_video(path: Path) -> Iterator[np.ndarray]:
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise DDLError(
                f"{path}: OpenCV cannot open this video; convert it, for example to MP4 with H.264"
            )
        stated, count = video.get(cv2.CAP_PROP_FRAME_COUNT), 0
        while True:
            ok, frame = video.read()
            if not ok:
                break
            count += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        video.release()
    # Containers round their length, so a frame or one per cent less is no fault.
    if count == 0 or stated - count > 1 + 0.01 * stated:
        raise DDLError(
            f"{path}: breaks off after {count} of {stated:.0f} frames; expected a "
            "whole video, fetch it again"
        )


def is_grey(frame: np.ndarray) -> bool:
    """Whether the three channels of an H x W x 3 frame are equal but for codec rounding."""
    red, green, blue = cv2.split(frame)
    return (
        max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF))
        <= GREY_TOLERANCE
    )


def to_working_size(frame: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """H x W x 3 uint8 RGB -> channels x size[0] x size[1] uint8; bilinear, aspect ignored.

    The resize is the released code's, bilinear. `channels` 1 keeps the luminance.
    """
    if channels == 1:
        frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR)
    return small[None] if channels == 1 else np.ascontiguousarray(small.transpose(2, 0, 1))


def read_mask(path: Path) -> np.ndarray:
    """One pixel mask, H x W uint8 0/1; any non-zero value is abnormal."""
    mask = read_image(path, cv2.IMREAD_UNCHANGED)
    if mask.ndim == 3:
        mask = mask[..., :3].max(axis=2)  # a fourth channel is opacity, not a label
    return (mask > 0).astype(np.uint8)


def mask_to_working_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """H x W 0/1 -> size 0/1, the nearest pixel."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
