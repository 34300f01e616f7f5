"""A page to step through the events of a watched folder, and the mark "this was normal"."""

from __future__ import annotations

import base64
import html
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.events import Event, read_events, when
from ddllib.files import write_whole
from ddllib.pictures import save_picture, write_lossless

_STYLE = """
.ddl-events { display: flex; overflow-x: auto; scroll-snap-type: x mandatory; gap: 1em; }
.ddl-event { flex: 0 0 100%; scroll-snap-align: start; box-sizing: border-box; }
.ddl-event figure { display: inline-block; margin: 0 .5em .5em 0; max-width: 48%; }
.ddl-event figure.wide { max-width: 98%; }
.ddl-event img, .ddl-event video { height: 240px; max-width: 100%; object-fit: contain; }
.ddl-event figure.wide img { height: auto; background: #fafafa; }
.ddl-event figcaption { font-size: 85%; }
"""
_IMAGE = '<img src="{}" loading="lazy" alt="">'
_VIDEO = '<video src="{}" preload="metadata" controls muted loop></video>'
_MEDIA = (  # a file's suffix, its kind, how it is shown, and what is told of it
    (".jpg", "image/jpeg", _IMAGE, "the frame of the peak"),
    (".webm", "video/webm", _VIDEO, "the event"),
    ("-rebuilt.jpg", "image/jpeg", _IMAGE, "what the model made of the frame"),
    ("-error.jpg", "image/jpeg", _IMAGE, "where they differ"),
    (".svg", "image/svg+xml", _IMAGE, "score (dark), this patch (blue), threshold (red)"),
)


def events_page(folder: Path | str, embed: bool = True, most: int | None = 12) -> str:
    """HTML to step through the events of a folder: for each its picture, clip and numbers.

    A row of cards that snaps from one to the next, with links back and forth; no script. With
    ``embed`` pictures and clips are part of the text, as a notebook or a bound book needs it;
    without, they are found beside the page. Of more than ``most`` events (None: all) those with the
    highest scores are shown, in order of time.
    """
    folder = Path(folder)
    events, facts = read_events(folder)
    if not events:
        return f"<p>No events{_why(facts)}.</p>"
    numbered = list(enumerate(events, start=1))
    shown = sorted(sorted(numbered, key=lambda pair: -pair[1].score)[:most])
    links = [None, *(number for number, _ in shown), None]
    cards = [
        _card(folder, number, event, facts, before, after, embed)
        for (number, event), before, after in zip(shown, links, links[2:], strict=False)
    ]
    all_of_them = " ".join(f'<a href="#event-{number}">{number}</a>' for number, _ in shown)
    left = f"<p>{len(shown)} of {len(events)} events{_why(facts)}: {all_of_them}</p>"
    return f'<style>{_STYLE}</style>{left}<div class="ddl-events">{"".join(cards)}</div>'


def write_page(folder: Path | str) -> Path:
    """Leave ``index.html`` in a watched folder, to be opened in a browser; returns its path."""
    path = Path(folder) / "index.html"
    head = '<!doctype html><meta charset="utf-8"><title>Events</title>'
    head += "<style>body { font: 16px/1.4 sans-serif; margin: 1em 2em; }</style>"
    page = head + events_page(folder, embed=False, most=None)
    write_whole(path, lambda file: file.write(page.encode()))
    return path


def _why(facts: Mapping) -> str:
    """By what footage and which threshold there are events, as far as it is known."""
    source, value = facts.get("source"), facts.get("threshold", {}).get("value")
    of = f" of {html.escape(str(source))}" if source else ""
    return of + (f" above a score of {value:.4g}" if value else "")


def _card(folder: Path, number: int, event: Event, facts, before, after, embed: bool) -> str:
    threshold = facts.get("threshold", {}).get("value")
    told = [
        when(event),
        f"score {event.score:.4g}" + (f" (threshold {threshold:.4g})" if threshold else ""),
        "still running when the footage ended" if event.open else "",
        f"the scene had changed: {event.drift}" if event.drift else "",
    ]
    steps = [
        f'<a href="#event-{other}">{word}</a>'
        for other, word in ((before, "back"), (after, "next"))
        if other
    ]
    text = html.escape("; ".join(part for part in told if part))
    media = _media(folder, f"{number:04d}", embed)
    return (
        f'<div class="ddl-event" id="event-{number}"><p><b>Event {number}</b>: {text} '
        f"{' · '.join(steps)}</p>{media}</div>"
    )


def _media(folder: Path, name: str, embed: bool) -> str:
    parts = []
    for suffix, kind, tag, told in _MEDIA:
        path = folder / (name + suffix)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode() if embed else ""
            source = f"data:{kind};base64,{data}" if embed else path.name
            wide = ' class="wide"' if suffix == ".svg" else ""
            parts.append(
                f"<figure{wide}>{tag.format(source)}<figcaption>{told}</figcaption></figure>"
            )
    if (folder / f"{name}.avi").is_file():  # no browser plays it
        parts.append(f"<p>clip: {name}.avi</p>")
    return "".join(parts)


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
    ``name``, by default after the event's place in the footage, and lies where ``data_prep`` looks
    for training clips: as frames, or as a video where ``folder`` holds videos. Training on it is
    another matter (``start_from``). Returns its path. Raises ``DDLError`` where the footage ends
    before the event, or was live and cannot be seen again.
    """
    folder = Path(folder)
    if folder.is_file():
        raise DDLError(f"{folder}: one video; expected a folder; move it into one to add to it")
    kept = folder / "training" if (folder / "training").is_dir() else folder
    if not folder.exists() or not any(folder.iterdir()):
        kept = folder / "training"
    stem = "array" if isinstance(footage, np.ndarray) else Path(footage).stem
    name = name or f"{stem}-{event.start}-{event.end}"
    places = (kept, kept / "videos")
    if any(p.suffix.lower() in _videos() for place in places for p in _entries(place)):
        path, write = kept / f"{name}.avi", write_lossless
    else:
        path, write = (kept / "frames" if kept.name == "training" else kept) / name, _write_frames
    if path.exists():
        raise DDLError(f"{path}: there already; choose another name")
    hidden = path.with_name(f".{path.name}")  # data_prep overlooks it, should it be left half done
    hidden.parent.mkdir(parents=True, exist_ok=True)
    count = write(hidden, _frames(footage, event, frame_rate))
    missing = event.end - event.start + 1 - count
    if missing:
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.unlink(missing_ok=True)
        raise DDLError(
            f"{stem}: ends {missing} frames before the event at frames {event.start} to "
            f"{event.end} does; expected the footage that was watched"
        )
    os.replace(hidden, path)
    return path


def _entries(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _videos() -> frozenset[str]:
    from data_prep.layouts import VIDEOS

    return VIDEOS


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
