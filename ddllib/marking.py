"""The mark "this was normal": an event's frames become training footage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.events import Event
from ddllib.pictures import save_picture, write_lossless


def mark_normal(
    event: Event,
    footage: Path | str | np.ndarray,
    folder: Path | str,
    name: str | None = None,
    frame_rate: float | None = None,
) -> Path:
    """Put what an event shows among the training footage in ``folder``: "this was normal".

    ``footage`` is the video, or the folder of videos or frames, that was watched, or its frames,
    uint8 N x C x H x W; the event's frames are copied from it unchanged. ``frame_rate`` is that of
    the watch, which ``events.json`` keeps: the event's frames are counted at it. The clip is called
    ``name``, by default after the event's place in the footage, and lies beside the training clips
    that ``data_prep`` finds there: as frames, or as a video where they are videos. Training on it
    is another matter (``start_from``). Returns its path. Raises ``DDLError`` where the footage ends
    before the event, or was live and cannot be seen again, and for a name that is taken.
    """
    folder = Path(folder)
    clips, place, videos = _training(folder)
    stem = "array" if isinstance(footage, np.ndarray) else Path(footage).stem
    name = name or f"{stem}-{event.start}-{event.end}"
    path = place / (f"{name}.avi" if videos else name)
    if path.exists() or name in clips:
        raise DDLError(f"{path}: there already; choose another name")
    hidden = path.with_name(f".{path.name}")  # data_prep overlooks it, should it be left half done
    hidden.parent.mkdir(parents=True, exist_ok=True)
    write = write_lossless if videos else _write_frames
    count = write(hidden, _frames(footage, event, frame_rate))
    missing = event.end - event.start + 1 - count
    if missing:
        _remove(hidden)
        raise DDLError(
            f"{stem}: ends {missing} frames before the event at frames {event.start} to "
            f"{event.end} does; expected the footage that was watched"
        )
    os.replace(hidden, path)
    _check_found(folder, path, {*clips, name})
    return path


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


def _frames(
    footage: Path | str | np.ndarray, event: Event, frame_rate: float | None
) -> Iterator[np.ndarray]:
    """The event's frames as OpenCV writes them, H x W x 3 BGR."""
    if isinstance(footage, np.ndarray):
        for frame in footage[event.start : event.end + 1]:
            yield np.ascontiguousarray(np.moveaxis(frame, 0, -1)[..., ::-1])
        return
    from data_prep.sources import open_source

    if not Path(footage).exists():
        raise DDLError(
            f"{footage}: no footage there to copy an event from; expected a file or folder that "
            "was watched; of a live source, keep a recording"
        )
    for frame in open_source(footage, None, rate=frame_rate):
        if frame.index > event.end:
            break
        if frame.index >= event.start:
            yield frame.image


def _write_frames(folder: Path, frames: Iterable[np.ndarray]) -> int:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = 0
    for frame in frames:
        save_picture(folder / f"{count:05d}.png", frame)
        count += 1
    return count
