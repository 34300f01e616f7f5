"""Read videos by FFmpeg (PyAV): pictures with their times, and whether a file is complete.

A file is complete if any of its streams, also sound, reaches the end that its container states.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from ddllib.errors import DDLError

USUAL_RATE = 25.0  # frames per second, if neither the footage nor the user states it
MOST_PIXELS = 1 << 26  # of one frame, 8192 x 8192; a larger one is a mistake or an attack
# Containers that state their length; for others FFmpeg estimates it.
STATING = frozenset({"avi", "mov", "matroska", "flv", "asf"})
SLACK = 2.5  # frames; containers round their length
SOUND_SLACK = 0.5  # seconds more if the length is that of all streams: packets of sound are long
LEAP = 10.0  # seconds; a longer step is an error of the clock if the next frame is earlier
# Codecs whose packets are not counted: a packet of VP8 may hold a picture that is never shown.
NOT_COUNTED = frozenset({"vp8"})
SAMPLE_PACKETS = 64  # decoded to see if each is one picture (two fields may be two packets)

av.logging.set_level(None)  # our own messages say what happened; FFmpeg's may show a password


class Picture(NamedTuple):
    """A decoded picture; its time in seconds from the first one, as the file has it.

    `size` is the height and width of the video's first picture, before rotation.
    """

    time_s: float | None
    frame: av.VideoFrame
    size: tuple[int, int]

    def image(self) -> np.ndarray:
        """H x W x 3 uint8 BGR, or H x W uint16 of a grey video of more than 8 bits.

        Rotated as the file states, and scaled to the size of the video's first picture.
        """
        pixel_format = "gray16le" if is_deep(self.frame.format) else "bgr24"
        image = self.frame.reformat(*self.size[::-1], pixel_format).to_ndarray()
        turns = round(self.frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def is_deep(form: av.VideoFormat) -> bool:
    """Whether a video is grey with more than 8 bits, as of a thermal camera."""
    return len(form.components) == 1 and form.components[0].bits > 8 and not form.has_palette


@dataclass
class Reach:
    """The times that the packets read so far reach, in seconds of the container's clock."""

    first: float = math.inf
    latest: float = -math.inf  # where the last picture begins
    picture: float = -math.inf  # where it ends
    any: float = -math.inf  # where the last packet of any stream ends
    step: float = 0.0  # how long the last picture is shown
    torn: bool = False  # whether the last packet is incomplete

    def push(self, packet: av.Packet, of_pictures: bool) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        self.torn = packet.is_corrupt if packet.size else self.torn
        if stamp is None or packet.is_corrupt:
            return
        start = float(stamp * packet.time_base)
        length = float((packet.duration or 0) * packet.time_base)
        self.any = max(self.any, start + length)
        if of_pictures:
            # FFmpeg guesses lengths that the container does not state, so a longer distance counts.
            self.step = max(length, start - self.latest) if self.first < math.inf else length
            self.first, self.latest = min(self.first, start), max(self.latest, start)
            self.picture = max(self.picture, start + length)


class Video:
    """An open video, which owns `container`. It can be iterated or counted, only once."""

    def __init__(self, container: av.container.InputContainer, threads: str = "AUTO"):
        self.container, self.reach, self.count = container, Reach(), 0
        self.stream = container.streams.best("video")
        if self.stream is None:
            container.close()
            raise ValueError("no pictures")
        self.stream.thread_type = threads
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.rate = float(rate) if rate and 0 < rate < 1000 else None  # frames per second

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_) -> None:
        self.container.close()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures before rotation."""
        return self.stream.height, self.stream.width

    @property
    def states_length(self) -> bool:
        """Whether a length is stated; an address without one is live."""
        return bool(self.stream.duration or self.container.duration)

    @property
    def states_times(self) -> bool:
        """Whether frames have times; MJPEG has none, and FFmpeg invents 25 frames per second."""
        return not self.container.format.flags & av.format.Flags.no_timestamps.value

    def packets(self) -> Iterator[av.Packet]:
        """The packets of pictures; `reach` also counts those of other streams."""
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                packet = None  # the file ends within a packet, or the source sends nothing
            if packet is None:
                return
            self.reach.push(packet, packet.stream is self.stream)
            if packet.stream is self.stream:
                yield packet

    def __iter__(self) -> Iterator[Picture]:
        """The pictures in the order in which they are shown; damaged ones are left out."""
        first = size = None
        for packet in self.packets():
            for frame in decoded(packet):
                time_s = time_of(frame)
                first = time_s if first is None else first
                size = size or (frame.height, frame.width)
                self.count += 1
                yield Picture(None if time_s is None else time_s - first, frame, size)

    def picture_at(self, share: float) -> Picture | None:
        """The picture at this share, in [0, 1), of the stated length; None if it is not reached.

        FFmpeg seeks the key frame before it; from there on all pictures are decoded.
        """
        target_s = (self.container.start_time or 0) / av.time_base + share * self.stated_seconds()
        self.container.seek(int(target_s * av.time_base))
        for packet in self.packets():
            for frame in decoded(packet):
                time_s = time_of(frame)
                if time_s is None or time_s >= target_s:
                    return Picture(time_s, frame, (frame.height, frame.width))
        return None

    def stated_count(self) -> int | None:
        """The number of frames that the container states; None if it counts none or not all."""
        count, length = self.stream.frames, self.stream.duration
        if not (count and self.rate and self._states_pictures):
            return None
        # The header of a fragmented file counts only the frames of its first part.
        missing = float(length * self.stream.time_base) * self.rate - count
        return count if abs(missing) <= 1 else None

    def stated_seconds(self) -> float:
        """The duration that the container states or FFmpeg estimates; 0 if unknown."""
        if self.stream.duration:
            return float(self.stream.duration * self.stream.time_base)
        return (self.container.duration or 0) / av.time_base

    def read_through(self) -> None:
        """Read every packet without decoding; `count` then counts packets with a picture."""
        self.count = sum(
            bool(packet.size) and not packet.is_discard and not packet.is_corrupt
            for packet in self.packets()
        )

    def is_whole(self) -> bool:
        """Whether the packets read reach the end that the container states, if it states one."""
        if (end := self._stated_end()) is None:
            return True
        slack = SLACK * max(self.reach.step, 1 / (self.rate or USUAL_RATE))
        slack += 0 if self._states_pictures else SOUND_SLACK
        return end[0] - end[1] <= slack and not self.reach.torn

    def __str__(self) -> str:
        """The frames and seconds read so far: 24 frames, 1.2 of 3.0 s."""
        end, begin = self._stated_end(), self.reach.first
        if end is None or not math.isfinite(begin):
            return f"{self.count} frames"
        return f"{self.count} frames, {max(end[1] - begin, 0):.1f} of {end[0] - begin:.1f} s"

    @property
    def _states_pictures(self) -> bool:
        """Whether the container states the duration of the pictures alone."""
        container_format = self.container.format.name
        states = "avi" in container_format or "mov" in container_format
        return bool(self.stream.duration) and states

    def _stated_end(self) -> tuple[float, float] | None:
        """The stated end and the time reached, of the pictures or, less exactly, of all streams."""
        if not STATING & set(self.container.format.name.split(",")):
            return None
        if self._states_pictures:
            start = self.stream.start_time or 0
            length = self.stream.duration
            if self.container.format.name == "avi":  # FFmpeg shortens it to the frames in the index
                length = max(length, self.stream.frames)
            end = float((start + length) * self.stream.time_base)
            return end, self.reach.picture
        if self.container.duration:  # counted from 0, also in a piece cut from a longer recording
            return self.container.duration / av.time_base, self.reach.any
        return None


def decoded(packet: av.Packet) -> list[av.VideoFrame]:
    """The pictures of a packet; empty for a damaged one."""
    try:
        return packet.decode()
    except (av.error.FFmpegError, OSError):
        return []


def time_of(frame: av.VideoFrame) -> float | None:
    """The time of a picture in seconds of the container's clock; None if it has none."""
    stamp = frame.pts if frame.pts is not None else frame.dts
    return None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)


def open_file(path: Path) -> Video:
    """Open a video file; no name is taken for an address, and no other file is opened.

    Raises DDLError for a file that FFmpeg cannot read, for a text file (FFmpeg would open the
    addresses in a playlist) and for pictures that are too large.
    """
    try:
        if is_text(path):
            raise ValueError("a text")
        place = f"file:{os.path.abspath(path)}"
        video = Video(av.open(place, container_options={"protocol_whitelist": "file"}))
    except (av.error.FFmpegError, OSError, ValueError):
        raise DDLError(
            f"{path}: cannot be read as a video; fetch it again, convert it, for example to "
            "MP4 with H.264, or keep it in a folder elsewhere, outside the footage (one still "
            "being recorded has no end yet)"
        ) from None
    try:
        check_pixels(path, math.prod(video.size))
    except DDLError:
        video.container.close()
        raise
    return video


def check_pixels(path: Path, pixels: float) -> None:
    """Raise DDLError for frames so large that one could take all memory."""
    if pixels > MOST_PIXELS:
        raise DDLError(
            f"{path}: a frame of more than {MOST_PIXELS} pixels; expected smaller ones, resize them"
        )


def frame_count(path: Path, thorough: bool = False) -> int | None:
    """The number of frames in a video file; None if it takes too long to find out.

    It is the count that the container states. With `thorough` every packet is read instead, and
    decoded if packets are not always pictures.
    """
    countable = _packets_are_pictures(path)
    with open_file(path) as video:
        if not thorough:
            return video.stated_count() if countable else None
        if countable:
            video.read_through()
            return video.count
        return sum(1 for _ in video)


def _packets_are_pictures(path: Path) -> bool:
    """Whether each of a file's first packets is decoded to one picture."""
    with open_file(path) as video:
        if video.stream.codec_context.name in NOT_COUNTED:
            return False
        packets = list(islice(video.packets(), SAMPLE_PACKETS))
        pictures = sum(len(decoded(packet)) for packet in packets)
        if packets and packets[-1].size:  # flush the decoder, which delays pictures
            pictures += len(video.stream.codec_context.decode(None))
        return abs(sum(bool(p.size) and not p.is_discard for p in packets) - pictures) <= 1


def is_text(path: Path) -> bool:
    """Whether a file is a text such as a playlist or a script, by its content."""
    with open(path, "rb") as file:
        head = file.read(11).removeprefix(b"\xef\xbb\xbf")[:8]
    return not head.startswith(b"RIFF") and all(9 <= byte <= 126 for byte in head)


def steady(pictures: Iterable[Picture], rate: float | None) -> Iterator[Picture]:
    """The same pictures with rising times from 0; `rate` is the stated one, in frames per second.

    If the clock is set back, times continue from the last one. A single wrong time, after which the
    next frame is right again, is replaced by one step of 1 / rate; so is a missing time.
    """
    step, shift, last_s, last_step = 1 / (rate or USUAL_RATE), 0.0, None, 0.0
    for picture, following in with_next(pictures):
        time_s = None if picture.time_s is None else picture.time_s + shift
        has_next = following is not None and following.time_s is not None
        next_s = following.time_s + shift if has_next else None
        if last_s is None:
            time_s = time_s or 0.0
        elif time_s is None or _is_outlier(last_s, time_s, next_s, last_step):
            time_s = last_s + step
        elif time_s <= last_s:  # the clock was set back
            shift += last_s + step - time_s
            time_s = last_s + step
        last_step = 0.0 if last_s is None else time_s - last_s
        yield picture._replace(time_s=time_s)
        last_s = time_s


def _is_outlier(last_s: float, time_s: float, next_s: float | None, last_step: float) -> bool:
    """Whether a single time is wrong: the next one continues from `last_s` before it.

    The last frame has no next one; its step must not be much longer than `last_step`.
    """
    leaps = time_s - last_s > LEAP
    if next_s is None:
        return leaps and time_s - last_s > SLACK * last_step
    return next_s > last_s if time_s <= last_s else leaps and next_s <= time_s


def with_next(items: Iterable) -> Iterator[tuple]:
    """Pairs of each item and the next one; None after the last."""
    previous = None
    for item in items:
        if previous is not None:
            yield previous, item
        previous = item
    if previous is not None:
        yield previous, None
