"""The mark "this was normal": an event's frames become training footage.

    python -m ddllib.marking WATCHED EVENT --to TRAINING [--footage VIDEO]

Of a recording the frames are copied as they are; of a live source, which cannot be seen again, the
clip that the event has left is taken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ddllib.commands import run_command
from ddllib.errors import DDLError
from ddllib.event_file import read_events
from ddllib.events import Event, clock
from ddllib.pictures import CLIPS, save_picture, write_lossless
from ddllib.settings import find_path, load_profile

AROUND_S = 2.0  # seconds before and after the event that go with it
ROOM = 1 << 28  # bytes of frames that wait for the event to begin
SAME_S = 2e-3  # seconds: places in a clip are kept to the thousandth


def mark_event(
    watched: Path | str, number: int, folder: Path | str, footage: Path | str | None = None
) -> Path:
    """Put event ``number`` (from 1) of a ``watched`` folder among the training footage.

    ``footage`` is what was watched, by default the source that the folder names, from which the
    event is copied as ``mark_normal`` does it. A webcam or an address cannot be seen again: then
    the clip that the event has left is taken, compressed, a minute at most, its longer side
    ``pictures.CLIP_SIDE`` pixels at most. Returns the new clip's path. Raises ``DDLError`` for
    an event or a folder that is not there, where neither footage nor clip is, and as
    ``mark_normal`` does.
    """
    from data_prep.sources import is_address, shown

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
        return mark_normal(event, footage or find_path(source), folder, frame_rate=rate)
    clip = next((p for s in CLIPS if (p := watched / f"{number:04d}{s}").is_file()), None)
    if clip is None:
        raise DDLError(
            f"{watched}: event {number} is of {shown(source)} and has left no clip; give a "
            "recording of it as footage (--footage)"
        )
    at = clock(event.start_s).replace(":", "").replace(" ", "-")
    return _put(_ClipCut(clip, event, rate), f"{watched.name}-{at}", event, Path(folder))


def mark_normal(
    event: Event,
    footage: Path | str | np.ndarray,
    folder: Path | str,
    name: str | None = None,
    frame_rate: float | None = None,
) -> Path:
    """Put what an event shows among the training footage in ``folder``: "this was normal".

    ``footage`` is the video, or the folder of videos or frames, that was watched, or its frames,
    uint8 N x C x H x W; the event's frames are copied from it unchanged, with ``AROUND_S`` seconds
    before and after where they lie in the same clip. ``frame_rate`` is that of the watch, which
    ``events.json`` keeps: the event's frames are counted at it. The clip is called ``name``, by
    default after the event's place in the footage, and lies beside the training clips that
    ``data_prep`` finds there: as frames, or as a video where they are videos, of that rate or of a
    slower footage's own. Training on it is another matter (``start_from``). Returns its path.
    Raises ``DDLError`` where the footage ends before the event, or was live and cannot be seen
    again (``mark_event`` then takes what the event has left), for too few frames to train on, and
    for a name that is taken.
    """
    cut = (_ArrayCut if isinstance(footage, np.ndarray) else _FileCut)(footage, event, frame_rate)
    return _put(cut, name or f"{cut.name}-{event.start}-{event.end}", event, Path(folder))


def _put(cut: _ArrayCut | _FileCut | _ClipCut, name: str, event: Event, folder: Path) -> Path:
    """Write a cut as the training clip ``name`` of a folder; nothing is left of one in vain."""
    clips, place, videos = _training(folder)
    path = place / (f"{name}.avi" if videos else name)
    if path.exists() or name in clips:
        raise DDLError(f"{path}: there already; remove it to put the event there again")
    hidden = path.with_name(f".{path.name}")  # data_prep overlooks it, should it be left half done
    hidden.parent.mkdir(parents=True, exist_ok=True)
    write = partial(write_lossless, frame_rate=cut.rate()) if videos else _write_frames
    try:
        _check_enough(cut, event, count=write(hidden, cut))
    except DDLError:
        _remove(hidden)
        raise
    os.replace(hidden, path)
    _check_found(folder, path, {*clips, name})
    return path


def _check_enough(cut: _ArrayCut | _FileCut | _ClipCut, event: Event, count: int) -> None:
    """All of an event was found, and of ``count`` frames a window is left to train on."""
    name, missing = cut.name, event.end - event.start + 1 - cut.found
    if missing:
        raise DDLError(
            f"{name}: ends {missing} frames before the event at frames {event.start} to "
            f"{event.end} does; expected the footage that was watched"
        )
    usual = load_profile("own-camera")
    kept = count - round(usual.threshold_share * count)
    if kept < usual.window:
        raise DDLError(
            f"{name}: the event at frames {event.start} to {event.end} and {AROUND_S:g} s around "
            f"it are {count} frames, {kept} without the end that is kept for the threshold; "
            f"expected at least {usual.window}, a window; take footage with more around it"
        )


def _training(folder: Path) -> tuple[frozenset[str], Path, bool]:
    """The training clips of a folder by name, where another belongs, and whether as a video."""
    from data_prep.layouts import FOLDERS, PLAIN, find_footage, find_layout, visible

    if folder.is_file():
        raise DDLError(f"{folder}: one video; expected a folder; move it into one to add to it")
    if not visible(folder):
        return frozenset(), folder / "training" / "frames", False
    root, layout = find_layout(folder)
    base = root if layout == PLAIN else root / FOLDERS[layout]["training"]
    clips = find_footage(folder).clips["training"]
    if not clips:
        return frozenset(), base / "frames" if layout == "common" else base, False
    first = next(iter(clips.values()))
    if first.path.resolve() == folder.resolve():
        raise DDLError(f"{folder}: one folder of images; expected a folder of such; move it down")
    return frozenset(clips), first.path.parent, not first.frames


def _check_found(folder: Path, path: Path, names: set[str]) -> None:
    """Take a new clip away again, and raise ``DDLError``, where preparation would miss any."""
    from data_prep.layouts import find_footage

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

    ``found`` counts those of the event itself; ``name`` is for messages.
    """

    name = "array"

    def __init__(self, frames: np.ndarray, event: Event, frame_rate: float | None):
        self.frames, self.event, self.asked = frames, event, frame_rate
        self.found = len(frames[event.start : event.end + 1])

    def rate(self) -> float:
        """Frames per second: the watch's, else by the event's own times."""
        from data_prep.frames import USUAL_RATE

        seconds = self.event.end_s - self.event.start_s
        own = (self.event.end - self.event.start) / seconds if seconds > 0 else USUAL_RATE
        return self.asked or own

    def __iter__(self) -> Iterator[np.ndarray]:
        around = round(AROUND_S * self.rate())
        first, end = max(self.event.start - around, 0), self.event.end + 1 + around
        for frame in self.frames[first:end]:
            yield np.ascontiguousarray(np.moveaxis(frame, 0, -1)[..., ::-1])


class _FileCut:
    """The same of a file or folder that was watched, read from its beginning."""

    def __init__(self, footage: Path | str, event: Event, frame_rate: float | None):
        from data_prep.sources import open_source, shown

        if not Path(footage).exists():
            raise DDLError(
                f"{shown(str(footage))}: no footage there to copy an event from; expected a file "
                "or folder that was watched"
            )
        self.event, self.asked, self.found = event, frame_rate, 0
        self.name = Path(footage).stem
        self.source = open_source(footage, None, rate=frame_rate, tell=lambda line: None)

    def rate(self) -> float:
        """Frames per second: the watch's, or the footage's own where those are fewer."""
        from data_prep.advise import measured_rate
        from data_prep.frames import USUAL_RATE, tidy_rate

        clips = {clip.path.name: clip for clip in self.source.clips}
        clip = clips.get(self.event.clip, self.source.clips[0])
        measured = None if clip.frames else measured_rate(clip)
        own = tidy_rate(measured) if measured else self.asked or USUAL_RATE
        return min(own, self.asked or own)

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self._images()
        whole = self.found > self.event.end - self.event.start
        if self.source.faults and not whole:  # what breaks off behind the event matters nothing
            raise DDLError(self.source.faults[-1])

    def _frames(self) -> Iterator:
        """The source's frames, numbered as when they were watched.

        Clips before the event's may have come or gone since: where the event names its clip, frames
        count from its start there.
        """
        event, moved = self.event, 0 if not self.event.clip else None
        if event.clip and event.clip not in {clip.path.name for clip in self.source.clips}:
            raise DDLError(
                f"{self.name}: {event.clip}, in which the event lies, is not there any more; "
                "expected the footage that was watched"
            )
        for frame in self.source:
            if moved is None:
                name, seconds = self.source.place(frame.time_s)
                if name == event.clip and seconds > event.clip_s - SAME_S:
                    moved = frame.index - event.start
            index = min(frame.index, event.start - 1) if moved is None else frame.index - moved
            yield replace(frame, index=index)

    def _images(self) -> Iterator[np.ndarray]:
        waiting, event, last_s = deque(), self.event, 0.0
        for frame in self._frames():
            if self.found and frame.gap:
                break  # no event spans one
            if frame.index > event.end and frame.time_s - last_s > AROUND_S:
                break
            if frame.gap:
                waiting.clear()
            waiting.append(frame)
            if frame.index <= event.start:
                most = max(ROOM // frame.image.nbytes, 1)
                while frame.time_s - waiting[0].time_s > AROUND_S or len(waiting) > most:
                    waiting.popleft()
            if frame.index < event.start:
                continue
            if frame.index <= event.end:
                self.found, last_s = self.found + 1, frame.time_s
            while waiting:
                yield waiting.popleft().image


class _ClipCut:
    """All of the clip that an event has left: its frames, and those around it."""

    def __init__(self, path: Path, event: Event, frame_rate: float | None):
        self.path, self.name, self.asked = path, path.name, frame_rate
        self.found = event.end - event.start + 1  # a long event's clip has not all of them

    def rate(self) -> float:
        """Frames per second: the watch's."""
        from data_prep.frames import USUAL_RATE

        return self.asked or USUAL_RATE

    def __iter__(self) -> Iterator[np.ndarray]:
        from data_prep.frames import read_frames
        from data_prep.layouts import open_clip

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
    """``python -m ddllib.marking``: an event was normal; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ddllib.marking", description="An event was normal: train on it."
    )
    parser.add_argument("watched", type=Path, help="folder of a watch, with its events.csv")
    parser.add_argument("event", type=int, help="its number, from 1")
    parser.add_argument("--to", type=Path, required=True, help="folder of the normal footage")
    parser.add_argument("--footage", help="what was watched (default: as the folder says)")
    given = parser.parse_args(arguments)

    def mark() -> int:
        print(f"kept as {mark_event(given.watched, given.event, given.to, given.footage)}")
        return 0

    return run_command("marking", mark)


if __name__ == "__main__":
    sys.exit(main())
