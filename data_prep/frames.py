"""Decoded frames of a clip, one at a time, and their way to the working size."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data_prep.endings import COUNTING, Ending
from data_prep.layouts import Clip
from ddllib.errors import DDLError
from ddllib.events import longest_gap
from ddllib.pictures import fitted

MOST_PIXELS = 1 << 26  # of one frame, 8192 x 8192; a larger one is a mistake or an attack
MOST_BYTES = 1 << 29  # of one image file
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
VIEW = 640  # pixels; the longer side of a frame that a person looks at, at most
GREY_TOLERANCE = 2  # grey levels; a video codec may part equal channels by rounding
USUAL_RATE = 25.0  # frames per second, where neither the footage nor its owner tells


def is_rate(value) -> bool:
    """Whether a value can be frames per second: a finite number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def tidy_rate(rate: float) -> float:
    """A measured rate, above 0, as it is meant: 12.5 for 12.4987, 10 for 9.96, 8.34 for 8.333.

    Rounded up rather than down: a rate below the footage's own would drop frames now and then.
    """
    for step in (1, 0.5, 0.1):
        near = round(rate / step) * step
        if -0.002 <= near / rate - 1 <= 0.01:
            return float(round(near, 1))
    return math.ceil(100 * rate) / 100


def duration(times: Sequence[float]) -> float:
    """How long frames at these rising times last, in seconds, two frames or more.

    The last one lasts as long as is usual, and so does one before a gap: a camera that records
    only now and then is not slow.
    """
    steps = np.diff(times)
    usual = float(np.median(steps))
    return float(np.where(steps > longest_gap(1 / usual), usual, steps).sum()) + usual


class Timed(NamedTuple):
    """One frame of a clip: its number from 0, its time from the clip's start, and its pixels.

    `image` is None where the clip's rate leaves the frame out.
    """

    number: int
    time_s: float
    image: np.ndarray | None


class Pace:
    """Chooses the frames to keep so that `rate` are left per second; None keeps all.

    By the frames' times, not by their count, so that a camera of varying rate comes out even: time
    is cut into slots of 1 / rate, and the first frame of each slot is kept. A slot begins a little
    early, since clocks jitter: a frame may come up to 0.3 slots before its time.
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
        kept = slot > self._slot
        self._slot = max(self._slot, slot)
        return kept


def read_frames(clip: Clip, colour: bool = False) -> Iterator[np.ndarray]:
    """Frames of a clip in order, uint8; only one is held at a time.

    A frame is H x W x 3 BGR, as OpenCV decodes it; the image of a grey file is H x W unless
    `colour` asks for three channels. Raises DDLError, naming the file, for a frame that cannot be
    decoded, is cut off or differs in size from the first, and for a video that ends before its
    stated length. Of a clip with a `rate` only the frames that `Pace` keeps come.
    """
    return (frame.image for frame in read_timed(clip, colour) if frame.image is not None)


def glances(clip: Clip, count: int) -> Iterator[np.ndarray]:
    """At most `count` frames spread over a clip, those of a video as far as they can be reached.

    As `read_frames` gives them, uint8; a video that breaks off is not told here.
    """
    if clip.frames:
        places = sorted({len(clip.frames) * k // count for k in range(count)})
        yield from read_frames(replace(clip, frames=[clip.frames[k] for k in places]))
        return
    video = open_video(clip.path)
    stated = video.get(cv2.CAP_PROP_FRAME_COUNT)
    try:
        for k in range(count if stated > 0 else 1):
            if k:
                video.set(cv2.CAP_PROP_POS_FRAMES, int(stated * k / count))
            ok, frame = video.read()
            if ok:
                yield frame
    finally:
        video.release()


def read_timed(clip: Clip, colour: bool = False) -> Iterator[Timed]:
    """All frames of a clip in order with their times, the same frames as `read_frames`.

    Images in a folder tell no time: all are kept, as `rate` a second or `USUAL_RATE`.
    """
    if not clip.frames:
        yield from read_video(clip.path, clip.rate)
        return
    rate = clip.rate or USUAL_RATE
    for number, image in enumerate(read_image_folder(clip, colour)):
        yield Timed(number, number / rate, image)


def frame_count(clip: Clip) -> int | None:
    """Frames of a clip without decoding it; None for a video that does not state its length."""
    if clip.frames:
        return len(clip.frames)
    video = open_video(clip.path)
    stated = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    return stated if stated > 0 and clip.path.suffix.lower() in COUNTING else None


def frame_size(clip: Clip) -> tuple[int, int]:
    """Height and width of a clip's first frame, in pixels."""
    return next(read_frames(clip)).shape[:2]


def read_image_folder(clip: Clip, colour: bool) -> Iterator[np.ndarray]:
    size, flags = None, cv2.IMREAD_COLOR if colour else cv2.IMREAD_ANYCOLOR
    for path in clip.frames:
        frame = read_image(path, flags)
        size = size or frame.shape[:2]
        if frame.shape[:2] != size:
            raise DDLError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} pixels, but the clip's "
                f"first frame has {size[1]}x{size[0]}; expected one size per clip"
            )
        yield frame


def read_image(path: Path, flags: int) -> np.ndarray:
    """One image by OpenCV; DDLError if it is cut off or no image."""
    # Through bytes, because imread fails on some non-ASCII paths and decodes half a JPEG silently.
    if path.stat().st_size > MOST_BYTES:
        raise DDLError(f"{path}: more than {MOST_BYTES} bytes; expected one image, remove it")
    data, image = path.read_bytes(), None
    if not is_cut_off(data) and (pixels := stated_pixels(data)):
        check_pixels(path, pixels)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise DDLError(
            f"{path}: truncated or not an image of 8 or 16 bits a channel; expected a whole "
            f"{path.suffix[1:].upper()} file, fetch it again or convert it"
        )
    return image


def stated_pixels(data: bytes) -> float:
    """Pixels by an image's header, before one is decoded; 0 if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is below that of Pillow's warning
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return math.prod(image.size)
    except Image.DecompressionBombError:
        return math.inf
    except Exception:  # damaged headers make Pillow raise almost anything
        return 0


def check_pixels(path: Path, pixels: float) -> None:
    """Raise DDLError for frames so large that one of them could take all memory."""
    if pixels > MOST_PIXELS:
        raise DDLError(
            f"{path}: a frame of more than {MOST_PIXELS} pixels; expected smaller ones, resize them"
        )


def is_cut_off(data: bytes) -> bool:
    """Whether an image file ends before its end marker (JPEG, PNG) or is empty."""
    if data.startswith(b"\xff\xd8"):
        # The end marker must follow the last start of scan: a thumbnail brings its own pair.
        end = data.rfind(b"\xff\xd9")
        return end < 0 or b"\xff\xda" in data[end:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return not data


def open_video(path: Path) -> cv2.VideoCapture:
    """An opened video; DDLError if OpenCV cannot read it."""
    video = None if is_text(path) else cv2.VideoCapture(str(path))
    if video is None or not video.isOpened():
        raise DDLError(
            f"{path}: OpenCV cannot open this video; fetch it again, convert it, for example to "
            "MP4 with H.264, or move it away (one still being recorded has no end yet)"
        )
    sides = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
    check_pixels(path, math.prod(sides))
    return video


def is_text(path: Path) -> bool:
    """Whether a file is a play list or a script, whatever its name.

    FFmpeg would follow the addresses in it, also into the network.
    """
    with open(path, "rb") as file:
        head = file.read(11).removeprefix(b"\xef\xbb\xbf")[:8]
    return not head.startswith(b"RIFF") and all(9 <= byte <= 126 for byte in head)


def read_video(path: Path, rate: float | None = None) -> Iterator[Timed]:
    video, time_s, pace = open_video(path), 0.0, Pace(rate)
    ending = Ending(video, path)
    try:
        while video.grab():
            number, time_s = ending.count, time_of(video, ending.count, time_s)
            ok, frame = video.retrieve() if pace.keeps(time_s) else (True, None)
            if not ok:
                break
            ending.push(time_s)
            yield Timed(number, time_s, frame)
    finally:
        video.release()
    if not (ending.count and ending.is_reached()):
        raise DDLError(
            f"{path}: breaks off after {ending}; expected a whole video; fetch it again, move it "
            "away, or make one of what is there (ffmpeg -i <it> <another>.mp4)"
        )


def time_of(video: cv2.VideoCapture, number: int, before: float) -> float:
    """Seconds at which the frame just grabbed is shown; `before` is the time of the last one.

    A container without usable times counts its frames by its stated rate.
    """
    time_s = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
    if number == 0 or time_s > before:
        return time_s
    rate = video.get(cv2.CAP_PROP_FPS)
    return before + 1 / (rate if 0 < rate < 1000 else USUAL_RATE)


def is_grey(frame: np.ndarray) -> bool:
    """Whether a frame, H x W or H x W x 3, has equal channels but for codec rounding."""
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
    """H x W or H x W x 3 BGR uint8 as a person looks at it: in its proportions, BGR.

    A frame with a side above `VIEW` pixels is made smaller; sides are even, as videos want them.
    """
    height, width = fitted(frame.shape[:2], VIEW)
    if (height, width) != frame.shape[:2]:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
