"""The mark "this was normal": an event's frames become training footage.

    python -m ddllib mark WATCHED EVENT --to TRAINING [--footage VIDEO]

The frames of a recording are copied unchanged. A live source cannot be read again, so the saved
clip of the event is used.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.footage.pictures import save_picture
from data_prep.footage.video_writing import LOSSLESS, write_lossless
from ddllib.camera.event_clip import clip_path
from ddllib.camera.event_file import read_events
from ddllib.camera.events import Event, clock
from ddllib.camera.marked import add_mark
from ddllib.errors import DDLError
from ddllib.io.commands import Parser, run_command, whole
from ddllib.methods import method_of
from ddllib.paths import find_path
from ddllib.settings import load_profile

AROUND_S = 2.0  # seconds before and after the event that are copied with it
ROOM = 1 << 28  # bytes; the frames kept from before the event take no more
TOLERANCE_S = 2e-3  # seconds; times in ``events.csv`` are rounded to 1e-3


def mark_event(
    watched: Path | str, number: int, folder: Path | str, footage: Path | str | None = None
) -> Path:
    """Put event ``number`` (from 1) of a ``watched`` folder among the training footage.

    ``footage`` is what was watched, by default the source that the folder names; the event is
    copied from it by ``mark_normal``. A webcam or an address cannot be read again: then the saved
    clip of the event is used. It is compressed, lasts a minute at most, and its longer side has
    ``pictures.CLIP_SIDE`` pixels at most. The event is then in ``marked.txt`` of the watched folder
    (``marked``). Returns the new clip's path. Raises ``DDLError`` for
    an event or a folder that does not exist, if there is neither footage nor a clip, and as
    ``mark_normal`` does.
    """
    from data_prep.live.sources import is_address, shown

    watched = Path(watched)
    if not Path(folder).exists():
        raise DDLError(f"{folder}: no such folder; expected that of the normal footage")
    events, facts = read_events(watched)
    if not 1 <= number <= len(events):
        raise DDLError(f"{watched}: no event {number}; expected 1 to {len(events)}")
    event, rate = events[number - 1], facts.get("frame_rate")
    source = str(footage or facts.get("source") or "")
    if not source:
        raise DDLError(f"{watched}: names no source; give what was watched as footage (--footage)")
    if not is_address(source if footage else source.removeprefix("camera ")):
        path = mark_normal(event, footage or find_path(source), folder, frame_rate=rate)
        add_mark(watched, number)
        return path
    clip = clip_path(watched, number)
    if not clip.is_file():
        raise DDLError(
            f"{watched}: event {number} is of {shown(source)} and has left no clip; give a "
            "recording of it as footage (--footage)"
        )
    time_text = clock(event.start_s).replace(":", "").replace(" ", "-")
    path = _put(_ClipCut(clip, event, rate), f"{watched.name}-{time_text}", event, Path(folder))
    add_mark(watched, number)
    return path


def mark_normal(
    event: Event,
    footage: Path | str | np.ndarray,
    folder: Path | str,
    name: str | None = None,
    frame_rate: float | None = None,
) -> Path:
    """Put an event's frames among the training footage in ``folder``: "this was normal".

    ``footage`` is the video, or the folder of videos or frames, that was watched, or its frames,
    uint8 N x C x H x W. The event's frames are copied from it unchanged, with ``AROUND_S`` seconds
    before and after as far as they lie in the same clip. ``frame_rate`` is that of the watch, which
    ``events.json`` keeps; the event's frame numbers count at it. The new clip is called ``name``,
    by default after the event's frames in the footage. It is put beside the training clips that
    ``data_prep`` finds there, as a video if they are videos, else as frames. A video has that rate,
    or the footage's own if it is lower. Training on the clip is a separate step (``start_from``).
    Returns the clip's path. Raises ``DDLError`` if the footage ends before the event, or was live
    (``mark_event`` then uses the event's clip), for too few frames to train on, and for a name that
    is taken.
    """
    cut = (_ArrayCut if isinstance(footage, np.ndarray) else _FileCut)(footage, event, frame_rate)
    return _put(cut, name or f"{cut.name}-{event.start}-{event.end}", event, Path(folder))


def _put(cut: _ArrayCut | _FileCut | _ClipCut, name: str, event: Event, folder: Path) -> Path:
    """Write a cut as the training clip ``name`` of a folder; a failure leaves no file behind."""
    clips, parent, as_video = _training(folder)
    path = parent / (name + LOSSLESS.ending if as_video else name)
    if path.exists() or name in clips:
        raise DDLError(
            f"{path}: there already; give another folder, or rename it to put the event there again"
        )
    hidden = path.with_name(f".{path.name}")  # data_prep ignores hidden files, complete or not
    hidden.parent.mkdir(parents=True, exist_ok=True)
    write = partial(write_lossless, frame_rate=cut.rate()) if as_video else _write_frames
    try:
        _check_enough(cut, event, count=write(hidden, cut))
    except DDLError:
        _remove(hidden)
        raise
    os.replace(hidden, path)
    _check_found(folder, path, {*clips, name})
    return path


def _check_enough(cut: _ArrayCut | _FileCut | _ClipCut, event: Event, count: int) -> None:
    """Check that all of an event was found, and that ``count`` frames leave a window to train on.

    Raises ``DDLError`` if not.
    """
    name, missing = cut.name, event.end - event.start + 1 - cut.frames_found
    if missing:
        raise DDLError(
            f"{name}: ends {missing} frames before the event at frames {event.start} to "
            f"{event.end} does; expected the footage that was watched"
        )
    profile = load_profile("own-camera")
    training_frames = count - round(profile.threshold_share * count)
    window = method_of(profile).window(profile)
    if training_frames < window:
        raise DDLError(
            f"{name}: the event at frames {event.start} to {event.end} and {AROUND_S:g} s around "
            f"it are {count} frames, {training_frames} without the end that is kept for the "
            f"threshold; expected at least {window}, a window; take footage with more around it"
        )


def _training(folder: Path) -> tuple[frozenset[str], Path, bool]:
    """Names of a folder's training clips, the folder for a new one, whether that is a video."""
    from data_prep.footage.layouts import FOLDERS, PLAIN, find_footage, find_layout, visible

    if folder.is_file():
        raise DDLError(f"{folder}: one video; expected a folder; give the folder that holds it")
    if not visible(folder):
        return frozenset(), folder / "training" / "frames", False
    root, layout = find_layout(folder)
    base = root if layout == PLAIN else root / FOLDERS[layout]["training"]
    clips = find_footage(folder).clips["training"]
    if not clips:
        return frozenset(), base / "frames" if layout == "common" else base, False
    first = next(iter(clips.values()))
    if first.path.resolve() == folder.resolve():
        raise DDLError(
            f"{folder}: one folder of images; expected a folder of such; give the folder around it"
        )
    beside = first.path.parent in (base, base / "frames", base / "videos")
    return frozenset(clips), first.path.parent if beside else base, not first.frames


def _check_found(folder: Path, path: Path, names: set[str]) -> None:
    """Remove a new clip and raise ``DDLError`` if preparation would not find all clips now."""
    from data_prep.footage.layouts import find_footage

    try:
        missing = names - find_footage(folder).clips["training"].keys()
    except DDLError:
        _remove(path)
        raise
    if missing:
        _remove(path)
        raise DDLError(
            f"{path}: with it, {', '.join(sorted(missing))} would be no training clips any more; "
            "nothing was changed; choose another name"
        )


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


class _ArrayCut:
    """An event's frames and those around it, of frames N x C x H x W, as OpenCV writes them.

    ``frames_found`` counts those of the event itself; ``name`` is for messages.
    """

    name = "array"

    def __init__(self, frames: np.ndarray, event: Event, frame_rate: float | None):
        self.frames, self.event, self.watch_rate = frames, event, frame_rate
        self.frames_found = len(frames[event.start : event.end + 1])

    def rate(self) -> float:
        """Frames per second: the watch's, else computed from the times of the event."""
        from data_prep.footage.frames import USUAL_RATE

        seconds = self.event.end_s - self.event.start_s
        event_rate = (self.event.end - self.event.start) / seconds if seconds > 0 else USUAL_RATE
        return self.watch_rate or event_rate

    def __iter__(self) -> Iterator[np.ndarray]:
        around = round(AROUND_S * self.rate())
        first, end = max(self.event.start - around, 0), self.event.end + 1 + around
        for frame in self.frames[first:end]:
            yield np.ascontiguousarray(np.moveaxis(frame, 0, -1)[..., ::-1])


class _FileCut:
    """An event's frames from a file or folder that was watched, read from its beginning."""

    def __init__(self, footage: Path | str, event: Event, frame_rate: float | None):
        from data_prep.live.sources import open_source, shown

        if not Path(footage).exists():
            raise DDLError(
                f"{shown(str(footage))}: no footage there to copy an event from; expected a file "
                "or folder that was watched"
            )
        self.event, self.watch_rate, self.frames_found = event, frame_rate, 0
        self.name = Path(footage).stem
        self.source = open_source(footage, None, rate=frame_rate, tell=lambda line: None)

    def rate(self) -> float:
        """Frames per second: the watch's, or the footage's own if that is lower."""
        from data_prep.footage.frames import USUAL_RATE, tidy_rate
        from data_prep.preparing.advise import measured_rate

        clips = dict(zip(self.source.names, self.source.clips, strict=True))
        clip = clips.get(self.event.clip, self.source.clips[0])
        measured = None if clip.frames else measured_rate(clip)
        footage_rate = tidy_rate(measured) if measured else self.watch_rate or USUAL_RATE
        return min(footage_rate, self.watch_rate or footage_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self._images()
        complete = self.frames_found > self.event.end - self.event.start
        if self.source.faults and not complete:  # a fault after the event does not matter
            raise DDLError(self.source.faults[-1])

    def _frames(self) -> Iterator:
        """The source's frames, numbered as when they were watched.

        Clips may have been added or removed since then. So if the event names its clip, its first
        frame is found there by its time, and the others are counted from it.
        """
        event, shift = self.event, 0 if not self.event.clip else None
        if event.clip and event.clip not in self.source.names:
            raise DDLError(
                f"{self.name}: {event.clip}, in which the event lies, is not there any more; "
                "expected the footage that was watched"
            )
        for frame in self.source:
            if shift is None:
                name, seconds = self.source.place(frame.time_s)
                if name == event.clip and seconds > event.clip_s - TOLERANCE_S:
                    shift = frame.index - event.start
            index = min(frame.index, event.start - 1) if shift is None else frame.index - shift
            yield replace(frame, index=index)

    def _images(self) -> Iterator[np.ndarray]:
        waiting, event, last_s = deque(), self.event, 0.0
        for frame in self._frames():
            if self.frames_found and frame.gap:
                break  # no event spans a gap
            if frame.index > event.end and frame.time_s - last_s > AROUND_S + TOLERANCE_S:
                break
            if frame.gap:
                waiting.clear()
            waiting.append(frame)
            if frame.index <= event.start:
                limit = max(ROOM // frame.image.nbytes, 1)
                oldest_s = frame.time_s - AROUND_S - TOLERANCE_S
                while waiting[0].time_s < oldest_s or len(waiting) > limit:
                    waiting.popleft()
            if frame.index < event.start:
                continue
            if frame.index <= event.end:
                self.frames_found, last_s = self.frames_found + 1, frame.time_s
            while waiting:
                yield waiting.popleft().image


class _ClipCut:
    """The whole saved clip of an event: its frames and those around it."""

    def __init__(self, path: Path, event: Event, frame_rate: float | None):
        self.path, self.name, self.watch_rate = path, path.name, frame_rate
        self.frames_found = event.end - event.start + 1  # the clip of a long event holds fewer

    def rate(self) -> float:
        """Frames per second: the watch's."""
        from data_prep.footage.frames import USUAL_RATE

        return self.watch_rate or USUAL_RATE

    def __iter__(self) -> Iterator[np.ndarray]:
        from data_prep.footage.frames import read_frames
        from data_prep.footage.layouts import open_clip

        return read_frames(open_clip(self.path, "training"))


def _write_frames(folder: Path, frames: Iterable[np.ndarray]) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = 0
    for frame in frames:
        save_picture(folder / f"{count:05d}.png", frame)
        count += 1
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib mark``: mark an event as normal; returns the exit status."""
    parser = Parser(prog="python -m ddllib mark", description="An event was normal: train on it.")
    parser.add_argument("watched", type=Path, help="folder of a watch, with its events.csv")
    parser.add_argument(
        "event", type=whole("the number of an event", least=0), help="its number, from 1"
    )
    parser.add_argument("--to", type=Path, required=True, help="folder of the normal footage")
    parser.add_argument("--footage", help="what was watched (default: as the folder says)")
    options = parser.parse_args(arguments)

    def mark() -> int:
        path = mark_event(options.watched, options.event, options.to, options.footage)
        print(f"kept as {path}")
        return 0

    return run_command("mark", mark)
