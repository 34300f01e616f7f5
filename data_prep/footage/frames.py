"""Decode the frames of a clip one at a time, and resize them to the working size."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.footage import video as vd
from data_prep.footage.gaps import longest_gap
from data_prep.footage.images import read_image, read_page
from data_prep.footage.layouts import Clip
from data_prep.footage.levels import to_eight_bits
from data_prep.footage.pictures import fitted
from data_prep.footage.video import USUAL_RATE
from ddllib.errors import DDLError

VIEW_SIDE = 640  # pixels; the largest longer side of a frame for people
GREY_TOLERANCE = 2  # grey levels by which a video codec's rounding may change equal channels


def is_rate(value) -> bool:
    """Whether a value can be frames per second: a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def tidy_rate(rate: float) -> float:
    """The round number near a measured rate above 0: 12.5 for 12.4987, 10 for 9.96, 8.34 for 8.333.

    Preferably rounded up: a rate below the footage's own would drop frames now and then.
    """
    for step in (1, 0.5, 0.1):
        rounded = round(rate / step) * step
        if -0.002 <= rounded / rate - 1 <= 0.01:
            return float(round(rounded, 1))
    return math.ceil(100 * rate) / 100


def duration(times: Sequence[float]) -> float:
    """The duration in seconds of two or more frames at these rising times.

    The last frame counts as long as the median step. So does a frame before a gap: a camera that
    records only sometimes must not look slow.
    """
    steps = np.diff(times)
    median = float(np.median(steps))
    return float(np.where(steps > longest_gap(1 / median), median, steps).sum()) + median


class Timed(NamedTuple):
    """One frame of a clip: its number from 0, its time from the clip's start, and its pixels.

    `image` is None where the clip's rate leaves the frame out.
    """

    number: int
    time_s: float
    image: np.ndarray | None


class Pace:
    """Chooses the frames to keep so that `rate` are left per second; None keeps all.

    It uses the frames' times, not their count, so that a camera of varying rate becomes even: time
    is divided into slots of 1 / rate, and the first frame of each slot is kept. Camera clocks
    jitter, so a slot begins 0.3 slots early.
    """

    EARLY = 0.3

    def __init__(self, rate: float | None):
        self.rate = rate
        self._first: float | None = None
        self._slot = -1

    def keeps(self, time_s: float) -> bool:
        """Whether the next frame, at this time in seconds, is kept."""
        if self.rate is None:
            return True
        if self._first is None:
            self._first = time_s
        slot = int((time_s - self._first) * self.rate + self.EARLY)
        if slot <= self._slot:
            return False
        self._slot = max(self._slot + 1, slot - 1)
        return True


def read_frames(clip: Clip, colour: bool = False) -> Iterator[np.ndarray]:
    """Frames of a clip in order, uint8; only one is held at a time.

    A frame is H x W x 3 BGR; the image of a grey file is H x W unless `colour` asks for three
    channels. Frames of 16 bits are scaled by the clip's `levels`. Raises DDLError, naming the file,
    for a frame that cannot be decoded, is cut off, differs in size from the first or does not fit
    the `levels`, and for a video that ends before its stated length. If the clip has a `rate`, only
    the frames that `Pace` keeps are returned.
    """
    return (frame.image for frame in read_timed(clip, colour) if frame.image is not None)


def read_timed(clip: Clip, colour: bool = False) -> Iterator[Timed]:
    """All frames of a clip in order with their times; `image` is None for those not kept."""
    for frame in read_raw(clip, colour):
        if frame.image is None:
            yield frame
            continue
        place = clip.frames[frame.number] if clip.frames else clip.path
        image = to_eight_bits(frame.image, clip.levels, place)
        if colour and image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        yield frame._replace(image=image)


def read_raw(clip: Clip, colour: bool = False) -> Iterator[Timed]:
    """All frames before scaling to 8 bits: uint8, or uint16 for footage of more bits.

    Images in a folder have no times: all are kept, at `rate` or `USUAL_RATE` per second.
    """
    if not clip.frames:
        yield from read_video(clip.path, clip.rate)
        return
    rate = clip.rate or USUAL_RATE
    for number, image in enumerate(read_images(clip, range(len(clip.frames)), colour)):
        yield Timed(number, number / rate, image)


def glances(clip: Clip, count: int) -> Iterator[np.ndarray]:
    """At most `count` frames spread over a clip, as `read_raw` returns them.

    Frames of a video that cannot be reached are left out; a video that breaks off is no error.
    """
    if clip.frames:
        yield from read_images(clip, sorted({len(clip.frames) * k // count for k in range(count)}))
        return
    with vd.open_file(clip.path) as video:
        for k in range(count if video.states_length else 1):
            picture = video.picture_at(k / count) if k else next(iter(video), None)
            if picture:
                yield picture.image()


def read_images(clip: Clip, numbers: Sequence[int], colour: bool = False) -> Iterator[np.ndarray]:
    """The images with these numbers, counted from 0, of a folder or a file of several pages."""
    flags = cv2.IMREAD_ANYDEPTH | (cv2.IMREAD_COLOR if colour else cv2.IMREAD_ANYCOLOR)
    size = None
    for number in numbers:
        path = clip.frames[number]
        image = read_page(path, number, flags) if clip.paged else read_image(path, flags)
        if image.dtype not in (np.uint8, np.uint16):
            raise DDLError(
                f"{path}: numbers of type {image.dtype}; expected whole ones of 8 or 16 bits a "
                "channel; convert it"
            )
        size = size or image.shape[:2]
        if image.shape[:2] != size:
            raise DDLError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, but the clip's "
                f"first frame has {size[1]}x{size[0]}; expected one size per clip"
            )
        yield image


def frame_count(clip: Clip, thorough: bool = False) -> int | None:
    """Frames of a clip without decoding it; see `video.frame_count`."""
    return len(clip.frames) if clip.frames else vd.frame_count(clip.path, thorough)


def check_whole(clip: Clip) -> None:
    """Raise DDLError for a video that breaks off and for images that `read_frames` refuses.

    Images are decoded, videos are only read through.
    """
    if clip.frames:
        for _ in read_frames(clip):
            pass
        return
    with vd.open_file(clip.path) as video:
        video.read_through()
        refuse_broken(clip.path, video)


def frame_size(clip: Clip) -> tuple[int, int]:
    """Height and width of a clip's first frame, in pixels."""
    return next(read_raw(clip)).image.shape[:2]


def read_video(path: Path, rate: float | None = None) -> Iterator[Timed]:
    pace = Pace(rate)
    with vd.open_file(path) as video:
        for number, picture in enumerate(vd.steady(video, video.rate)):
            image = picture.image() if pace.keeps(picture.time_s) else None
            yield Timed(number, picture.time_s, image)
        refuse_broken(path, video)


def refuse_broken(path: Path, video: vd.Video) -> None:
    """Raise DDLError if a video that was read to its end has no frame or breaks off."""
    if not (video.count and video.is_whole()):
        raise DDLError(
            f"{path}: breaks off after {video}; expected a whole video; fetch it again, "
            "make one of what is there (ffmpeg -i <it> <another>.mp4), or keep it in a folder "
            "elsewhere, outside the footage"
        )


def is_grey(frame: np.ndarray) -> bool:
    """Whether a frame, H x W or H x W x 3, has equal channels, apart from codec rounding."""
    if frame.ndim == 2:
        return True
    blue, green, red = cv2.split(frame)
    return (
        max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF))
        <= GREY_TOLERANCE
    )


def to_working_size(frame: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """H x W or H x W x 3 BGR uint8 -> channels x size[0] x size[1] uint8, RGB or luminance.

    The resize is the released code's, bilinear, and ignores the aspect ratio.
    """
    if channels == 1 and frame.ndim == 3:
        frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR)
    if channels == 1:
        return small[None]
    if small.ndim == 2:
        return np.repeat(small[None], 3, axis=0)
    return np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1))


def to_view(frame: np.ndarray) -> np.ndarray:
    """H x W or H x W x 3 BGR uint8 to a picture for people: same aspect ratio, BGR.

    A frame with a side above `VIEW_SIDE` pixels is made smaller; sides are even, as videos need it.
    """
    height, width = fitted(frame.shape[:2], VIEW_SIDE)
    if (height, width) != frame.shape[:2]:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
