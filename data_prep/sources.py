"""Timed frames of whatever there is to watch: files, folders, a webcam, a camera's address.

A recording (a file or a folder) is read as fast as it is used, and no frame is lost. A live source
is read by a thread of its own, whatever the reader of the frames does meanwhile:

- At most `BACKLOG` frames wait. When one more comes, the oldest waiting one is dropped and counted.
  A reader that is too slow therefore sees a lower frame rate at a steady delay.
- Dropped frames alone break no window, since frames dropped evenly are a lower rate; but where more
  than `longest_step` seconds lie between two frames that are given, the later one begins anew
  (`Frame.gap`): what lies so far apart is no motion.
- Where no frame comes for `patience` seconds, or the stream breaks off or ends, it is connected to
  again, after 0.5 seconds at first and twice as long each time, up to 30. After `give_up` seconds
  without a frame the source ends.
- Frames are taken for as old as they come. A playlist (HLS, an address that ends in .m3u8) sends
  seconds of them at once; its frames are taken at the pace of their own times, as late as the
  segments make them. A camera's own address (rtsp) is seconds ahead of its playlist.
- A new connection and another file are gaps, too. A picture that changes its size within a
  connection is scaled to the first size by the decoder and goes on.

User names, passwords and whatever follows a "?" in an address never appear in a message.
"""

import atexit
import bisect
import hashlib
import math
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from data_prep import layouts
from data_prep.endings import Ending
from data_prep.frames import Pace, Timed, is_rate, read_timed, time_of, to_view, to_working_size
from ddllib.errors import DDLError

BACKLOG = 8  # frames; a pause of a second at 8 frames per second costs none
SCHEMES = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "udp", "srt", "tcp"})
LIVE_SCHEMES = SCHEMES - {"http", "https"}  # the others may also serve a file
BEGINNING = 1 << 16  # bytes of a file by which it is known again
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before connecting again
PLAYLIST = ".m3u8"
HASTE = 0.8  # of the time between two frames, where late ones are made up for


@dataclass(frozen=True)
class Frame:
    """One frame at the working size.

    `index` counts the source's frames from 0, dropped ones too; `time_s` is in seconds, of a
    recording from its beginning, of a live source since 1970; `image` is uint8 C x H x W; `gap`
    says that no window may hold this frame and one before it. `read_s` is the moment at which it
    was read by the clock `time.monotonic`. `view` is what a person looks at (`frames.to_view`),
    uint8 h x w x 3 BGR; None where frames are left as they are decoded.
    """

    index: int
    time_s: float
    image: np.ndarray
    gap: bool
    read_s: float
    view: np.ndarray | None = None


def tell_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Wish:
    """How frames are wanted; see `open_source`."""

    size: tuple[int, int] | None
    channels: int = 3
    rate: float | None = None
    patience: float = 10.0
    give_up: float = 600.0
    longest_step: float = 1.0
    tell: Callable[[str], None] = tell_on_stderr


def open_source(
    address: str | Path,
    size: int | tuple[int, int] | None,
    live: bool | None = None,
    **wishes,
) -> "Recording | Stream":
    """The frames behind an address, to be iterated over once.

    `address`: a video file; a folder of images, of videos or of folders of images, one after the
    other; the number of a webcam, such as "0"; or an address such as rtsp://... or http://...
    `size`: height and width in pixels, or one number; frames are resized as preparation does it.
    None leaves them as they are decoded, H x W x 3 BGR.
    `live`: None takes an address as live unless it states its length, as a served file does.

    `wishes`: `channels` (3; 1 for a model prepared from grey footage), `rate` (frames per second
    to keep, by their times; all), `patience` (10 s), `give_up` (600 s), `longest_step` (1 s, or
    2.5 frames of a `rate` below that of 2.5 per second) and `tell`, called with each message.

    Raises DDLError, at once or while iterating, for what is not there or cannot be read.
    """
    quieten()
    size = (size, size) if isinstance(size, int) else size
    wish = Wish(size, **wishes)
    if wish.channels not in (1, 3):
        raise DDLError(f"channels: {wish.channels!r}; expected 1 or 3")
    if wish.rate is not None and not is_rate(wish.rate):
        raise DDLError(f"rate is {wish.rate!r}; expected frames per second above 0, or None")
    if wish.rate:
        wish = replace(wish, longest_step=max(wish.longest_step, 2.5 / wish.rate))
    address = str(address)
    if address.isdecimal():
        return Stream(address, wish, live=True)
    if is_address(address):
        return Stream(address, wish, live)
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
    """Whether a source is a webcam's number or an address, not a file or a folder."""
    scheme, found, _ = text.partition("://")
    return text.isdecimal() or (bool(found) and scheme.lower() in SCHEMES)


def shown(address: str) -> str:
    """An address as messages may show it: without user, password and query."""
    if address.isdecimal():
        return f"camera {address}"
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    host, path = re.fullmatch(r"([^/?#]*)([^?#]*).*", rest, flags=re.S).groups()
    # An @ that comes later belongs to a password that holds one of "/?#": then nothing is safe.
    if "@" in rest[len(host) :]:
        return f"{scheme}://..."
    return f"{scheme}://{host.rpartition('@')[2]}{path}"


def find_clips(path: Path) -> list[layouts.Clip]:
    """The clips of a file or a folder, in the order in which they are watched; none is no error.

    Raises DDLError where clips lie there in a way that no layout has.
    """
    if path.is_file():
        return [layouts.open_clip(path, "testing")]
    clips = list(layouts.find_clips(path, "testing").values())
    if not clips and any(p.suffix.lower() in layouts.IMAGES for p in layouts.visible(path)):
        clips = [layouts.open_clip(path, "testing")]
    return clips


def clips_at(path: Path) -> list[layouts.Clip]:
    """The same, but none is an error."""
    clips = find_clips(path)
    if not clips:
        raise DDLError(f"{path}: neither videos nor images in it; give the folder that holds them")
    return clips


def as_wished(image: np.ndarray, wish: Wish) -> dict[str, np.ndarray]:
    """`image` and `view` of a decoded frame; where no size is given, it alone as it was decoded."""
    if not wish.size:
        return {"image": image}
    return {"image": to_working_size(image, wish.size, wish.channels), "view": to_view(image)}


class Recording:
    """The frames of files, as fast as they are taken; each clip begins with a gap.

    So does what comes after a pause of more than `longest_step` seconds, where a rate is asked for.
    A clip that breaks off ends there: `faults` says so, and the next one follows; it is an error
    where no frame is read at all.
    """

    live, dropped, reconnections = False, 0, 0

    def __init__(self, path: Path, wish: Wish):
        self.name = path.name or str(path)
        self.path, self.wish = path, wish
        self.clips = [replace(clip, rate=wish.rate) for clip in clips_at(path)]
        self._starts: list[float] = []  # of the clips read so far, seconds
        self._stopped = threading.Event()
        self.faults: list[str] = []  # of clips that broke off, a line each

    @property
    def identity(self) -> list[str]:
        """A checksum for each clip: the same for the same footage at the same rate and size.

        Of a clip its place and its beginning count, so that a file that grows stays the same.
        """
        checksums = []
        for clip in self.clips:
            with open(clip.files[0], "rb") as file:
                beginning = file.read(BEGINNING)
            rate = self.wish.rate and float(self.wish.rate)
            wanted = f"{clip.files[0].resolve()} {rate} {self.wish.size}\0"
            checksums.append(hashlib.sha256(wanted.encode() + beginning).hexdigest())
        return checksums

    def where(self, time_s: float) -> tuple[str, float] | None:
        """The clip that a time lies in, by its name, and the seconds from its beginning on.

        None where a single clip is all that was named.
        """
        alone = len(self.clips) == 1 and self.clips[0].path == self.path
        return None if alone or not self._starts else self.place(time_s)

    def place(self, time_s: float) -> tuple[str, float]:
        """The same of any recording, once it is read up to there."""
        index = max(bisect.bisect_right(self._starts, time_s) - 1, 0)
        return self.clips[index].path.name, time_s - self._starts[index]

    def __iter__(self) -> Iterator[Frame]:
        index, start, wish = 0, 0.0, self.wish
        longest = wish.longest_step if wish.rate else math.inf
        self._starts.clear()
        self.faults.clear()
        for clip in self.clips:
            self._starts.append(start)
            time_s, step, last = start, 0.0, -math.inf
            for timed in self._of(clip):
                if self._stopped.is_set():
                    return
                time_s, step = start + timed.time_s, start + timed.time_s - time_s
                if timed.image is None:
                    continue
                pixels, gap = as_wished(timed.image, wish), time_s - last > longest
                gap = gap or last == -math.inf
                yield Frame(index, time_s, gap=gap, read_s=time.monotonic(), **pixels)
                index, last = index + 1, time_s
            start = time_s + step
        if self.faults and not index:
            raise DDLError(self.faults[0])

    def _of(self, clip: layouts.Clip) -> Iterator[Timed]:
        """A clip's frames; where it breaks off that is told, and the next clip's turn has come."""
        try:
            yield from read_timed(clip)
        except DDLError as error:
            self.faults.append(str(error))
            self.wish.tell(str(error))

    def stop(self) -> None:
        """End the iteration before its next frame; may be called from a signal handler."""
        self._stopped.set()


@dataclass(frozen=True)
class _Waiting:
    """A frame that was read and waits; no window spans two pieces."""

    frame: Frame
    piece: int


class _Playout:
    """When the frames of a playlist are due: as far apart as they were recorded.

    Times go on across segments that each count from 0. What the network made late is made up for at
    a slightly higher pace; after a pause of more than `longest_step` seconds it is not.
    """

    def __init__(self, video: cv2.VideoCapture, longest_step: float):
        self.video, self.longest_step = video, longest_step
        rate = video.get(cv2.CAP_PROP_FPS)
        self.step = 1 / rate if 0 < rate < 1000 else 0.0  # of two frames, seconds
        self.due = self.given = -math.inf
        self.time_s = 0.0

    def early(self) -> float:
        """Seconds for which the frame just grabbed is to be held back."""
        time_s, now = self.video.get(cv2.CAP_PROP_POS_MSEC) / 1000, time.monotonic()
        if 0 < time_s - self.time_s <= self.longest_step:
            self.step = time_s - self.time_s
        self.time_s = time_s
        self.due += self.step
        if now - self.due > self.longest_step:
            self.due = now
        self.given = max(self.due, now, self.given + HASTE * self.step)
        return self.given - now


class Stream:
    """The frames of a webcam or an address, read by a thread of its own.

    `dropped` and `reconnections` count what has happened so far; `gave_up` says that it has ended
    because no frame came any more. Nobody can watch it again: it has no `identity`, and no clips to
    tell `where` an event lies.
    """

    identity = None

    def __init__(self, address: str, wish: Wish, live: bool | None = None):
        self.name = shown(address)
        self.wish = wish
        scheme = address.partition("://")[0].lower()
        self.live = True if live is None and scheme in LIVE_SCHEMES else live
        self.dropped = self.reconnections = 0
        self._address = address
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._ended = False
        self._fault: Exception | None = None
        self.gave_up = False
        self._read = 0  # frames read so far, dropped ones too
        self._piece = 0

    def __iter__(self) -> Iterator[Frame]:
        thread = threading.Thread(target=self._work, daemon=True, name="frames")
        _READING[thread] = self.wish.patience
        thread.start()
        try:
            yield from self._given()
        finally:
            self.stop()
            thread.join(timeout=1)  # it may wait for the network; then it ends by itself later
        if self._fault:
            raise self._fault

    def where(self, time_s: float) -> None:
        """Nowhere but in time."""

    def stop(self) -> None:
        """End the iteration soon; may be called from a signal handler."""
        self._stopped.set()

    def _given(self) -> Iterator[Frame]:
        last: _Waiting | None = None
        while (now := self._take()) is not None:
            gap = last is None or now.piece != last.piece
            if not gap and self.live:
                gap = now.frame.read_s - last.frame.read_s > self.wish.longest_step
            yield replace(now.frame, gap=gap)
            last = now

    def _take(self) -> _Waiting | None:
        """The oldest waiting frame; None once the source has ended or was stopped."""
        with self._changed:
            while not self._stopped.is_set():
                if self._waiting:
                    self._changed.notify_all()
                    return self._waiting.popleft()
                if self._ended:
                    return None
                self._changed.wait(0.1)  # a signal must be seen soon
        return None

    def _put(self, waiting: _Waiting) -> None:
        with self._changed:
            if self.live and len(self._waiting) == BACKLOG:
                self._waiting.popleft()
                self.dropped += 1
            while len(self._waiting) >= BACKLOG and not self._stopped.is_set():
                self._changed.wait(0.1)
            self._waiting.append(waiting)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            self._connect_again_and_again()
        except Exception as error:  # whatever it is, the one who waits for frames must know
            self._fault = error if isinstance(error, DDLError) else _unexpected(self.name, error)
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        _READING.pop(threading.current_thread(), None)

    def _connect_again_and_again(self) -> None:
        wait, last = FIRST_WAIT, time.monotonic()
        while not self._stopped.is_set():
            before, why = self._read, "cannot be opened"
            video = self._open()
            if video is not None:
                try:
                    why = self._read_on(video)
                finally:
                    video.release()
            if why is None or self._stopped.is_set():
                return
            if self._read > before:
                wait, last = FIRST_WAIT, time.monotonic()
            if time.monotonic() + wait - last > self.wish.give_up:
                self._give_up(why)
                return
            self.wish.tell(f"{self.name}: {why}; connecting again in {wait:g} s")
            self._stopped.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
            self.reconnections += 1
            self._piece += 1

    def _give_up(self, why: str) -> None:
        limit = f"no frame for {self.wish.give_up:g} s"
        if not self._read:
            raise DDLError(f"{self.name}: {why}, {limit}; check the address and the camera")
        self.gave_up = True
        self.wish.tell(f"{self.name}: {why}, {limit}; this is taken as its end")

    def _open(self) -> cv2.VideoCapture | None:
        if self._address.isdecimal():
            video = cv2.VideoCapture(int(self._address))
        else:
            limit = int(1000 * self.wish.patience)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
            video = cv2.VideoCapture(self._address, cv2.CAP_FFMPEG, limits)
        if video.isOpened():
            return video
        video.release()
        return None

    def _read_on(self, video: cv2.VideoCapture) -> str | None:
        """Read until nothing comes any more; says why, None at the end of a served file."""
        ending = Ending(video, Path(self._path()))
        if self.live is None:
            self.live = not ending.stated > 0
        playout = _Playout(video, self.wish.longest_step) if self._sends_bursts() else None
        pace, time_s = Pace(self.wish.rate), 0.0
        # A served file begins anew at a new connection: what was given is not given again.
        known = 0 if self.live else self._read
        kept = 0
        asked = time.monotonic()
        while not self._stopped.is_set() and video.grab():
            if playout:
                self._stopped.wait(playout.early())
            now = time.monotonic()
            time_s = now if self.live else time_of(video, ending.count, time_s)
            ending.push(time_s)
            if pace.keeps(time_s):
                kept += 1
                if kept > known:
                    ok, image = video.retrieve()
                    if not ok:
                        break
                    self._hand_on(image, time.time() if self.live else time_s, now)
            asked = time.monotonic()
        if not self.live and ending.is_reached():
            return None
        stalled = time.monotonic() - asked >= 0.9 * self.wish.patience
        return f"no frame for {self.wish.patience:g} s" if stalled else "the stream broke off"

    def _path(self) -> str:
        """The address without what follows a "?" or "#"."""
        return re.split("[?#]", self._address, maxsplit=1)[0]

    def _sends_bursts(self) -> bool:
        return bool(self.live) and self._path().lower().endswith(PLAYLIST)

    def _hand_on(self, image: np.ndarray, time_s: float, read_s: float) -> None:
        pixels = as_wished(image, self.wish)
        frame = Frame(self._read, time_s, gap=False, read_s=read_s, **pixels)
        self._put(_Waiting(frame, self._piece))
        self._read += 1


_READING: dict[threading.Thread, float] = {}  # how long OpenCV waits for the network at most


@atexit.register
def _wait_for_readers() -> None:
    """A thread that comes back from OpenCV while Python ends would abort the whole process."""
    for thread, patience in list(_READING.items()):
        thread.join(patience + 1)


def _unexpected(name: str, error: Exception) -> DDLError:
    """OpenCV's messages may hold the address, so only the kind of error is told."""
    return DDLError(f"{name}: cannot be read any more ({type(error).__name__}); start again")


def quieten() -> None:
    """OpenCV and FFmpeg print addresses with their passwords; our own line says what happened."""
    cv2.utils.logging.setLogLevel(0)  # FFmpeg's own level is set by ``ddllib``
