"""Frames with times from any source: files, folders, a webcam, a camera's address.

A recording (a file or a folder) is read as fast as its frames are used, and no frame is lost. A
live source is read by a separate thread:

- At most `streams.BACKLOG` frames wait. When another one arrives, the oldest is dropped and
  counted. So a slow consumer gets a lower frame rate with a constant delay.
- Dropped frames alone are no gap, since frames dropped evenly are only a lower rate. But if more
  than `longest_step` seconds lie between two frames, the later one begins after a gap
  (`Frame.gap`): a difference between frames so far apart shows no motion.
- If no frame arrives for `patience` seconds, or the stream breaks off or ends, it is connected to
  again, after 0.5 seconds at first and twice as long each time, up to 30. After `give_up` seconds
  without a frame the source ends.
- The time of a frame is the time of its arrival. A playlist (HLS, an address that ends in .m3u8)
  sends seconds of frames at once; they are spread by their own times, delayed by up to a segment.
  A camera's own address (rtsp) is seconds ahead of its playlist.
- A new connection and another file are gaps, too. If the picture changes its size within a
  connection, the decoder scales it to the first size, without a gap.

User names, passwords and the part of an address after a "?" never appear in a message.
"""

import bisect
import hashlib
import math
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2

from data_prep.footage import layouts
from data_prep.footage.frames import Timed, is_rate, read_raw, read_timed
from data_prep.live.streams import LIVE_SCHEMES, Stream
from data_prep.live.wishes import Frame, Wish, as_wished, shown, tell_of_shape
from ddllib.errors import DDLError

SCHEMES = LIVE_SCHEMES | {"http", "https"}
IDENTITY_BYTES = 1 << 16  # at the beginning of a file, by which it is recognised


def open_source(
    address: str | Path,
    size: int | tuple[int, int] | None,
    live: bool | None = None,
    **wishes,
) -> "Recording | Stream":
    """The frames of a source, to be iterated over once.

    `address`: a video file; a folder of images, of videos or of folders of images, one after the
    other; the number of a webcam, such as "0"; or an address such as rtsp://... or http://...
    `size`: height and width in pixels, or one number; frames are resized as preparation does it.
    None leaves them as they are decoded, H x W x 3 BGR or H x W, uint8 or uint16.
    `live`: None takes an address as live unless it states its length, as a served file does.

    `wishes`: `channels` (3; 1 for a model prepared from grey footage), `rate` (frames per second
    to keep, by their times; all), `levels` (of footage of 16 bits, see `levels.to_eight_bits`),
    `shapes` (heights and widths of the training footage; pictures of other proportions are told),
    `patience` (10 s), `give_up` (600 s), `longest_step` (1 s, or 2.5 frames of a `rate` below that
    of 2.5 per second) and `tell`, called with each message.

    Raises DDLError, at once or while iterating, for what is not there or cannot be read.
    """
    quieten()
    size = (size, size) if isinstance(size, int) else size
    wish = Wish(size, **wishes)
    if wish.channels not in (1, 3):
        raise DDLError(f"channels: {wish.channels!r}; expected 1 or 3")
    if wish.rate is not None and not is_rate(wish.rate):
        raise DDLError(f"rate is {wish.rate!r}; expected frames per second above 0, or None")
    for name in ("patience", "give_up", "longest_step"):
        if not is_rate(value := getattr(wish, name)):
            raise DDLError(f"{name} is {value!r}; expected seconds above 0")
    if wish.rate:
        wish = replace(wish, longest_step=max(wish.longest_step, 2.5 / wish.rate))
    address = str(address)
    if is_address(address):
        return Stream(address, wish, live=True if address.isdecimal() else live)
    webcam = re.fullmatch(r"/dev/video([0-9]+)", address)
    if webcam:
        return Stream(webcam[1], wish, live=True)
    if Path(address).exists():
        return Recording(Path(address), wish)
    raise DDLError(
        f"{shown(address)}: nothing there; expected a video file, a folder, the number of a webcam "
        "or an address such as rtsp://... or http://..."
    )


def is_address(text: str) -> bool:
    """Whether a source is a webcam's number or an address, not a file or a folder.

    A number is no webcam if there is a file or a folder of that name.
    """
    scheme, separator, _ = text.partition("://")
    webcam = text.isdecimal() and not Path(text).exists()
    return webcam or (bool(separator) and scheme.lower() in SCHEMES)


def find_clips(path: Path) -> list[layouts.Clip]:
    """The clips of a file or a folder in the order of watching; may be empty.

    Raises DDLError for clips that are arranged in no known layout.
    """
    if path.is_file():
        return [layouts.open_clip(path, "testing")]
    clips = list(layouts.find_clips(path, "testing").values())
    if not clips and any(p.suffix.lower() in layouts.IMAGES for p in layouts.visible(path)):
        clips = [layouts.open_clip(path, "testing")]
    return clips


def clips_at(path: Path) -> list[layouts.Clip]:
    """The same; raises DDLError if there are none."""
    clips = find_clips(path)
    if not clips:
        raise DDLError(f"{path}: neither videos nor images in it; give the folder that holds them")
    return clips


class Recording:
    """The frames of files, read as fast as they are used; each clip begins with a gap.

    If a rate is set, a pause of more than `longest_step` seconds is a gap, too. After a clip that
    breaks off the next one follows, and `faults` gets a line; if no frame is read at all, DDLError
    is raised.
    """

    live, dropped, reconnections = False, 0, 0

    def __init__(self, path: Path, wish: Wish):
        self.name = path.name or str(path)
        self.path, self.wish = path, wish
        self.clips = [replace(clip, rate=wish.rate, levels=wish.levels) for clip in clips_at(path)]
        names = [clip.path.name for clip in self.clips]
        # Video recorders use the same file names for every hour; then names include the folders.
        self.names = names if len({*names}) == len(names) else [clip.name for clip in self.clips]
        self._starts: list[float] = []  # start times of the clips read so far, seconds
        self._stopped = threading.Event()
        self.faults: list[str] = []  # a line for each clip that broke off

    @property
    def identity(self) -> list[str]:
        """A checksum for each clip, the same for the same footage at the same rate and size.

        It covers a clip's path and the beginning of its file, so that a growing file keeps it.
        """
        checksums = []
        for clip in self.clips:
            with open(clip.files[0], "rb") as file:
                beginning = file.read(IDENTITY_BYTES)
            rate = self.wish.rate and float(self.wish.rate)
            facts = f"{clip.files[0].resolve()} {rate} {self.wish.size}\0"
            checksums.append(hashlib.sha256(facts.encode() + beginning).hexdigest())
        return checksums

    @property
    def longest_step(self) -> float:
        """Seconds between two frames above which there is a gap; infinite if no rate is set."""
        return self.wish.longest_step if self.wish.rate else math.inf

    def where(self, time_s: float) -> tuple[str, float] | None:
        """The name of the clip at this time, and the seconds since its beginning.

        None if the source is a single clip.
        """
        single = len(self.clips) == 1 and self.clips[0].path == self.path
        return None if single or not self._starts else self.place(time_s)

    def place(self, time_s: float) -> tuple[str, float]:
        """Name and seconds as ``where`` gives them, for a recording read up to this time."""
        index = max(bisect.bisect_right(self._starts, time_s) - 1, 0)
        return self.names[index], time_s - self._starts[index]

    def __iter__(self) -> Iterator[Frame]:
        index, start, wish = 0, 0.0, self.wish
        self._starts.clear()
        self.faults.clear()
        for name, clip in zip(self.names, self.clips, strict=True):
            self._starts.append(start)
            time_s, step, last = start, 0.0, -math.inf
            for timed in self._frames_of(clip):
                if self._stopped.is_set():
                    return
                time_s, step = start + timed.time_s, start + timed.time_s - time_s
                if timed.image is None:
                    continue
                pixels, gap = as_wished(timed.image, wish), time_s - last > self.longest_step
                if last == -math.inf:
                    gap = True
                    tell_of_shape(timed.image, wish, name)
                yield Frame(index, time_s, gap=gap, read_s=time.monotonic(), **pixels)
                index, last = index + 1, time_s
            start = time_s + step
        if self.faults and not index:
            raise DDLError(self.faults[0])

    def _frames_of(self, clip: layouts.Clip) -> Iterator[Timed]:
        """A clip's frames; if it breaks off, that is reported and no error."""
        try:
            yield from read_timed(clip) if self.wish.size else read_raw(clip)
        except DDLError as error:
            self.faults.append(str(error))
            self.wish.tell(str(error))

    def stop(self) -> None:
        """End the iteration before the next frame; may be called from a signal handler."""
        self._stopped.set()


def quieten() -> None:
    """Silence OpenCV and FFmpeg, which print addresses with their passwords."""
    cv2.utils.logging.setLogLevel(0)  # FFmpeg's own level is set by ``ddllib``
