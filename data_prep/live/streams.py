"""A webcam or an address, read by a separate thread; see `sources` for its behaviour."""

import atexit
import math
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import av
import cv2
import numpy as np

from data_prep.footage.frames import Pace
from data_prep.footage.levels import to_eight_bits
from data_prep.footage.video import Video, steady
from data_prep.live.clock import StreamClock
from data_prep.live.wishes import Frame, Wish, as_wished, shown, tell_of_shape
from ddllib.errors import DDLError

BACKLOG = 8  # frames; enough for a pause of a second at 8 frames per second
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "udp", "srt", "tcp"})  # others may serve a file
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before connecting again
PLAYLIST = ".m3u8"
CATCH_UP = 0.8  # of the time between two frames: the shortest step to make up for late frames


@dataclass(frozen=True)
class _Waiting:
    """A frame that was read and waits to be taken; `piece` counts the connections."""

    frame: Frame
    piece: int


class _Backlog:
    """A queue of frames that were read and wait to be taken, at most ``BACKLOG`` of them."""

    def __init__(self, stopped: threading.Event):
        self.dropped = 0
        self._stopped = stopped
        self._frames: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def put(self, waiting: _Waiting, drops: bool) -> None:
        """Add a frame; if the queue is full, the oldest is dropped, or without `drops` wait."""
        with self._changed:
            if drops and len(self._frames) == BACKLOG:
                self._frames.popleft()
                self.dropped += 1
            while len(self._frames) >= BACKLOG and not self._stopped.is_set():
                self._changed.wait(0.1)
            self._frames.append(waiting)
            self._changed.notify_all()

    def take(self) -> _Waiting | None:
        """The oldest waiting frame; None once the source has ended or was stopped."""
        with self._changed:
            while not self._stopped.is_set():
                if self._frames:
                    self._changed.notify_all()
                    return self._frames.popleft()
                if self._ended:
                    return None
                self._changed.wait(0.1)  # short, so that a signal is handled soon
        return None

    def end(self) -> None:
        """Say that no more frames follow."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class _Playout:
    """Delays the frames of a playlist, so that they are as far apart as they were recorded.

    It works across segments that each count time from 0. After a delay in the network, frames
    follow at a slightly higher rate until they are on time again; after a pause of more than
    `longest_step` seconds they do not catch up.
    """

    def __init__(self, rate: float | None, longest_step: float):
        self.longest_step = longest_step
        self.step = 1 / rate if rate else 0.0  # seconds between two frames
        self.due = self.released = -math.inf  # when the last frame was due, and when it was given
        self.time_s = 0.0

    def early(self, time_s: float) -> float:
        """Seconds by which the frame with this time has to be delayed."""
        now = time.monotonic()
        if 0 < time_s - self.time_s <= self.longest_step:
            self.step = time_s - self.time_s
        self.time_s = time_s
        self.due += self.step
        if now - self.due > self.longest_step:
            self.due = now
        self.released = max(self.due, now, self.released + CATCH_UP * self.step)
        return self.released - now


class Webcam:
    """A webcam, like a video without stated length and times; it ends when it is disconnected."""

    rate, states_length, states_times = None, False, False

    def __init__(self, video: cv2.VideoCapture):
        self._video = video

    def __enter__(self) -> "Webcam":
        return self

    def __exit__(self, *_) -> None:
        self._video.release()

    def __iter__(self) -> Iterator["Shot"]:
        while True:
            success, image = self._video.read()
            if not success:
                return
            yield Shot(image)


@dataclass(frozen=True)
class Shot:
    """A frame from a webcam, with the interface of `video.Picture`."""

    pixels: np.ndarray
    time_s = None

    def image(self) -> np.ndarray:
        """H x W x 3 uint8 BGR."""
        return self.pixels


class Stream:
    """The frames of a webcam or an address, read by a separate thread.

    `dropped` frames and `reconnections` are counted; `gave_up` says that the stream ended because
    no more frames arrived. It cannot be read again, so it has no `identity`, and it has no clips
    for `where`.
    """

    identity = None

    def __init__(self, address: str, wish: Wish, live: bool | None = None):
        self.name, self.wish = shown(address), wish
        scheme = address.partition("://")[0].lower()
        self.live = True if live is None and scheme in LIVE_SCHEMES else live
        self.reconnections = 0
        self._address = address
        self._stopped = threading.Event()
        self._backlog = _Backlog(self._stopped)
        self._fault: Exception | None = None
        self.gave_up = False
        self._read = 0  # frames read so far, dropped ones too
        self._piece = 0
        self._shape: tuple[int, int] | None = None  # of the newest frame as it was decoded

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._work, daemon=True, name="frames")
        _READING[thread] = self.wish.patience
        thread.start()
        try:
            yield from self._take_frames()
        finally:
            self.stop()
            thread.join(timeout=1)  # if it waits for the network, it ends by itself later
        if self._fault:
            raise self._fault

    @property
    def dropped(self) -> int:
        """The number of frames that were not taken in time."""
        return self._backlog.dropped

    @property
    def longest_step(self) -> float:
        """Seconds between two frames above which there is a gap.

        Infinite for a served file if no rate is set.
        """
        return self.wish.longest_step if self.wish.rate or self.live else math.inf

    def where(self, time_s: float) -> None:
        """None, as a stream has no clips."""

    def stop(self) -> None:
        """End the iteration soon; may be called from a signal handler."""
        self._stopped.set()

    def _take_frames(self) -> Iterator[Frame]:
        last: _Waiting | None = None
        while (waiting := self._backlog.take()) is not None:
            gap = last is None or waiting.piece != last.piece
            if not gap and self.live:
                gap = waiting.frame.read_s - last.frame.read_s > self.wish.longest_step
            yield replace(waiting.frame, gap=gap)
            last = waiting

    def _work(self) -> None:
        try:
            self._read_with_reconnections()
        except Exception as error:  # raised again in the thread that takes the frames
            self._fault = error if isinstance(error, DDLError) else _unexpected(self.name, error)
        self._backlog.end()
        _READING.pop(threading.current_thread(), None)

    def _read_with_reconnections(self) -> None:
        wait, last = FIRST_WAIT, time.monotonic()
        while not self._stopped.is_set():
            frames_before, reason = self._read, "cannot be opened"
            video = _opened(self._address, self.wish.patience)
            if video is not None:
                with video:
                    reason = self._read_video(video)
            if reason is None or self._stopped.is_set():
                return
            if self._read > frames_before:
                wait, last = FIRST_WAIT, time.monotonic()
            if time.monotonic() + wait - last > self.wish.give_up:
                self._give_up(reason)
                return
            self.wish.tell(f"{self.name}: {reason}; connecting again in {wait:g} s")
            self._stopped.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
            self.reconnections += 1
            self._piece += 1

    def _give_up(self, reason: str) -> None:
        limit = f"no frame for {self.wish.give_up:g} s"
        if not self._read:
            raise DDLError(f"{self.name}: {reason}, {limit}; check the address and the camera")
        self.gave_up = True
        self.wish.tell(f"{self.name}: {reason}, {limit}; this is taken as its end")

    def _read_video(self, video: Video | Webcam) -> str | None:
        """Read until the stream ends; returns the reason, None at the end of a served file."""
        if self.live is None:
            self.live = not video.states_length
        live = self.live
        playout = _Playout(video.rate, self.wish.longest_step) if self._sends_bursts() else None
        # The segments of a playlist may each count from 0; the playout has made them even.
        clock = StreamClock(has_stamps=video.states_times and not playout)
        pace = Pace(self.wish.rate)
        # A served file starts from its beginning at a new connection, so old frames are skipped.
        frames_to_skip = 0 if live else self._read
        kept_frames = 0
        waiting_since = time.monotonic()
        for picture in video if live else steady(video, video.rate):
            if self._stopped.is_set():
                break
            if playout:
                self._stopped.wait(playout.early(picture.time_s or 0.0))
            now = time.monotonic()
            time_s = clock.time(picture.time_s, now) if live else picture.time_s
            if pace.keeps(time_s):
                kept_frames += 1
                if kept_frames > frames_to_skip:
                    self._put_frame(picture.image(), time.time() if live else time_s, now)
            waiting_since = time.monotonic()
        if not live and video.is_whole():
            return None
        stalled = time.monotonic() - waiting_since >= 0.9 * self.wish.patience
        return f"no frame for {self.wish.patience:g} s" if stalled else "the stream broke off"

    def _sends_bursts(self) -> bool:
        path = re.split("[?#]", self._address, maxsplit=1)[0]
        return bool(self.live) and path.lower().endswith(PLAYLIST)

    def _put_frame(self, image: np.ndarray, time_s: float, read_s: float) -> None:
        if image.shape[:2] != self._shape:
            self._shape = image.shape[:2]
            tell_of_shape(image, self.wish, self.name)
        pixels = as_wished(to_eight_bits(image, self.wish.levels, self.name), self.wish)
        frame = Frame(self._read, time_s, gap=False, read_s=read_s, **pixels)
        self._backlog.put(_Waiting(frame, self._piece), drops=bool(self.live))
        self._read += 1


def _opened(address: str, patience: float) -> Video | Webcam | None:
    """Open an address or a webcam; None if no data arrives within `patience` seconds.

    Iterating over an address ends when no data arrives for as long.
    """
    if address.isdecimal():
        webcam = cv2.VideoCapture(int(address))
        if webcam.isOpened():
            return Webcam(webcam)
        webcam.release()
        return None
    options = {"fpsprobesize": "0"}  # FFmpeg else waits for 20 frames of H.264 to guess its rate
    options |= {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    try:
        return Video(av.open(address, options=options, timeout=patience), threads="SLICE")
    except (av.error.FFmpegError, OSError, ValueError):
        return None


_READING: dict[threading.Thread, float] = {}  # reading threads; seconds that a read waits at most


@atexit.register
def _wait_for_readers() -> None:
    """Wait for reading threads: one that returns from FFmpeg while Python ends would abort it."""
    for thread, patience in list(_READING.items()):
        thread.join(patience + 1)


def _unexpected(name: str, error: Exception) -> DDLError:
    """An error without FFmpeg's message, which may hold the address with its password."""
    return DDLError(f"{name}: cannot be read any more ({type(error).__name__}); start again")
