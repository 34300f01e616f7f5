"""A page to step through the events of a watched folder."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from ddllib.changes import read_changes
from ddllib.event_file import read_events
from ddllib.events import Event, clock, when
from ddllib.files import write_whole
from ddllib.thresholds import Threshold

_STYLE = """
.ddl-events { display: flex; overflow-x: auto; scroll-snap-type: x mandatory; gap: 1em; }
.ddl-event { flex: 0 0 100%; scroll-snap-align: start; box-sizing: border-box; }
.ddl-event figure { display: inline-block; margin: 0 .5em .5em 0; max-width: 48%; }
.ddl-event figure.wide { max-width: 98%; }
.ddl-event img, .ddl-event video { height: 240px; max-width: 100%; object-fit: contain; }
.ddl-event figure.wide img { height: auto; background: #fafafa; }
.ddl-event figcaption { font-size: 85%; }
"""
FILTERS = {"none": "raw scores", "RunningMedian": "scores filtered by a running median"}
CHANGES = 20  # of the scene, listed on the page
LISTED = 5000  # events of a folder's own page, the highest
_MARK = (
    "<p>An event that was normal goes to the normal footage by <code>python -m ddllib.marking "
    "FOLDER NUMBER --to FOOTAGE</code>.</p>"
)
_IMAGE = '<img src="{}" loading="lazy" alt="">'
_VIDEO = '<video src="{}" preload="metadata" controls muted loop></video>'
_TRACE = (
    "the score over time (dark; shaded where above the threshold, red), and that of the place of "
    "the peak alone (blue)"
)
_MEDIA = (  # a file's suffix, its kind, how it is shown, and what is told of it
    (".jpg", "image/jpeg", _IMAGE, "the frame of the peak"),
    (".webm", "video/webm", _VIDEO, "the event"),
    ("-rebuilt.jpg", "image/jpeg", _IMAGE, "what the model made of the frame"),
    ("-error.jpg", "image/jpeg", _IMAGE, "where they differ"),
    (".svg", "image/svg+xml", _IMAGE, _TRACE),
)


def events_page(
    folder: Path | str, embed: bool = True, most: int | None = 12, mark: str = "event"
) -> str:
    """HTML to step through the events of a folder: for each its picture, clip and numbers.

    A row of cards that snaps from one to the next, with links back and forth; no script. With
    ``embed`` pictures and clips are part of the text, as a notebook or a bound book needs it;
    without, they are found beside the page. Of more than ``most`` events (None: all) those with the
    highest scores are shown, in order of time. Anchors begin with ``mark``, so that two such pages
    can stand on one. Below stand the newest changes of the scene that were told.
    """
    folder = Path(folder)
    events, facts = read_events(folder)
    changes = _changes(folder)
    if not events:
        return f"<p>No events{_why(facts)}.</p>{_promise(facts)}{changes}"
    numbered = list(enumerate(events, start=1))
    shown = sorted(sorted(numbered, key=lambda pair: -pair[1].score)[:most])
    links = [None, *(number for number, _ in shown), None]
    cards = [
        _card(folder, number, event, facts, (before, after), embed, mark)
        for (number, event), before, after in zip(shown, links, links[2:], strict=False)
    ]
    all_of_them = " ".join(f'<a href="#{mark}-{number}">{number}</a>' for number, _ in shown)
    left = f"<p>{len(shown)} of {len(events)} events{_why(facts)}: {all_of_them}</p>"
    left += _promise(facts)
    page = f'<style>{_STYLE}</style>{left}<div class="ddl-events">{"".join(cards)}</div>'
    return page + changes


def write_page(folder: Path | str) -> Path:
    """Leave ``index.html`` in a watched folder, to be opened in a browser; returns its path."""
    path = Path(folder) / "index.html"
    head = '<!doctype html><meta charset="utf-8"><title>Events</title>'
    head += "<style>body { font: 16px/1.4 sans-serif; margin: 1em 2em; }</style>"
    page = head + events_page(folder, embed=False, most=LISTED) + _MARK
    write_whole(path, lambda file: file.write(page.encode()))
    return path


def _changes(folder: Path) -> str:
    """A list of the newest changes of the scene; nothing where there is none."""
    found = read_changes(folder)
    lines = [f"{clock(change.time_s)}: {change.told}" for change in found[-CHANGES:]]
    if not lines:
        return ""
    older = f" (the last {len(lines)} of {len(found)})" * (len(found) > len(lines))
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<p>Changes of the scene{older}:</p><ul>{items}</ul>"


def _level(facts: Mapping) -> float | None:
    """The threshold that made the events, where another hand has left one in the file."""
    chosen = facts.get("threshold")
    value = chosen.get("value") if isinstance(chosen, dict) else None
    return value if isinstance(value, int | float) else None


def _promise(facts: Mapping) -> str:
    """What the threshold stands for, and how little, and what is ignored, as far as it is known."""
    chosen, ignored = facts.get("threshold"), facts.get("ignore")
    try:
        lines = [str(Threshold(**chosen)), chosen["warning"] or ""]
    except (TypeError, ValueError, KeyError, OverflowError):  # another hand's
        return ""
    lines += [f"ignored: {ignored}"] if ignored else []
    return f"<p>{'<br>'.join(html.escape(str(line)) for line in lines if line)}</p>"


def _why(facts: Mapping) -> str:
    """Of what footage, by which threshold and filter there are events, as far as it is known."""
    source, value, smooth = facts.get("source"), _level(facts), facts.get("filter")
    of = f" of {source}" if source else ""
    above = f" above a score of {value:.4g}" if value else ""
    filtered = f" ({FILTERS.get(str(smooth), smooth)})" if smooth else ""
    return html.escape(of + above + filtered)


def _card(
    folder: Path, number: int, event: Event, facts, beside: tuple, embed: bool, mark: str
) -> str:
    threshold = _level(facts)
    told = [
        when(event),
        f"score {event.score:.4g}" + (f" (threshold {threshold:.4g})" if threshold else ""),
        "still running when the footage ended" if event.open else "",
        f"the scene had changed: {event.drift}" if event.drift else "",
    ]
    steps = [
        f'<a href="#{mark}-{other}">{word}</a>'
        for other, word in zip(beside, ("back", "next"), strict=True)
        if other
    ]
    text = html.escape("; ".join(part for part in told if part))
    media = _media(folder, f"{number:04d}", embed)
    return (
        f'<div class="ddl-event" id="{mark}-{number}"><p><b>Event {number}</b>: {text} '
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
