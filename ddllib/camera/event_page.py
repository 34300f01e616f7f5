"""A page to step through the events of a watched folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ddllib.camera.event_file import read_events
from ddllib.camera.events import Event, clock, when
from ddllib.camera.scene_changes import read_changes
from ddllib.camera.thresholds import Threshold
from ddllib.io.files import write_whole

FILTERS = {"none": "raw scores", "RunningMedian": "scores filtered by a running median"}
MAX_CHANGES = 20  # changes of the scene on the page, the newest
MAX_EVENTS = 5000  # on a folder's own page, those of the highest scores
_TRACE = (
    "the score over time (dark; shaded where it is above the threshold), and that of the place of "
    "the peak alone (blue)"
)
_MEDIA = (  # the end of a file's name, its MIME type, its caption
    (".jpg", "image/jpeg", "the frame of the peak"),
    (".webm", "video/webm", "the event"),
    ("-rebuilt.jpg", "image/jpeg", "what the model made of the frame"),
    ("-error.jpg", "image/jpeg", "where they differ"),
    (".svg", "image/svg+xml", _TRACE),
)
# Names of clips and sources come from outside, so all values are escaped.
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def events_page(
    folder: Path | str,
    embed: bool = True,
    most: int | None = 12,
    mark: str = "event",
    verdicts: Sequence[str] = (),
) -> str:
    """HTML to step through the events of a folder: for each its picture, clip and numbers.

    A row of cards that snaps from one to the next, with links to the neighbours; no script. With
    ``embed`` pictures and clips are part of the HTML, as a notebook or a built book needs it;
    without, they are files beside the page. Of more than ``most`` events (None: all) those with the
    highest scores are shown, in order of time. Anchors begin with ``mark``, so that one document
    can hold two such pages. ``verdicts`` say for each event of labelled footage what it is
    (``ddllib.camera.verdicts``). The newest changes of the scene are listed below.
    """
    return _page(Path(folder), embed, most, mark, alone=False, verdicts=verdicts)


def write_page(folder: Path | str) -> Path:
    """Write ``index.html`` into a watched folder, for a browser; returns its path."""
    path = Path(folder) / "index.html"
    page = _page(path.parent, embed=False, most=MAX_EVENTS, mark="event", alone=True)
    write_whole(path, lambda file: file.write(page.encode("utf-8", "replace")))
    return path


def _page(
    folder: Path,
    embed: bool,
    most: int | None,
    mark: str,
    alone: bool,
    verdicts: Sequence[str] = (),
) -> str:
    """The page; with ``alone`` a whole HTML document, else a part of one."""
    events, facts = read_events(folder)
    changes = read_changes(folder)
    numbered = list(enumerate(events, start=1))
    shown = sorted(sorted(numbered, key=lambda pair: -pair[1].score)[:most])
    return TEMPLATES.get_template("events.html").render(
        alone=alone,
        mark=mark,
        count=len(events),
        made_of=_origin(facts),
        promise=_promise(facts),
        cards=[
            _card(folder, number, event, facts, embed)
            | {"verdict": verdicts[number - 1] if verdicts else ""}
            for number, event in shown
        ],
        changes=[f"{clock(change.time_s)}: {change.told}" for change in changes[-MAX_CHANGES:]],
        changes_in_all=len(changes),
    )


def _level(facts: Mapping) -> float | None:
    """The threshold of the events; None if the file was edited and holds none."""
    chosen = facts.get("threshold")
    value = chosen.get("value") if isinstance(chosen, dict) else None
    return value if isinstance(value, int | float) else None


def _promise(facts: Mapping) -> list[str]:
    """Lines on the threshold's meaning, its warning and the ignored pixels, as far as known."""
    chosen, ignored = facts.get("threshold"), facts.get("ignore")
    try:
        lines = [str(Threshold(**chosen)), chosen["warning"] or ""]
    except (TypeError, ValueError, KeyError, OverflowError):  # an edited file
        return []
    lines += [f"ignored: {ignored}"] if ignored else []
    return [line for line in lines if line]


def _origin(facts: Mapping) -> str:
    """The source, the threshold and the filter of the events, as far as known."""
    source, value, smooth = facts.get("source"), _level(facts), facts.get("filter")
    source_text = f" of {source}" if source else ""
    level_text = f" above a score of {value:.4g}" if value else ""
    filter_text = f" ({FILTERS.get(str(smooth), smooth)})" if smooth else ""
    return source_text + level_text + filter_text


def _card(folder: Path, number: int, event: Event, facts: Mapping, embed: bool) -> dict:
    """What the template shows of one event."""
    threshold, name = _level(facts), f"{number:04d}"
    parts = [
        when(event),
        f"score {event.score:.4g}" + (f" (threshold {threshold:.4g})" if threshold else ""),
        "still running when the footage ended" if event.open else "",
        f"the scene had changed: {event.drift}" if event.drift else "",
    ]
    return {
        "number": number,
        "text": "; ".join(part for part in parts if part),
        "media": list(_media(folder, name, embed)),
    }


def _media(folder: Path, name: str, embed: bool) -> Iterator[dict]:
    """The pictures and clips that exist of an event."""
    for suffix, kind, caption in _MEDIA:
        path = folder / (name + suffix)
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode() if embed else ""
            yield {
                "source": f"data:{kind};base64,{data}" if embed else path.name,
                "video": kind.startswith("video/"),
                "wide": suffix == ".svg",
                "caption": caption,
            }
