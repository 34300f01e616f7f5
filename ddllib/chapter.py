"""What a chapter needs beyond the method: tables to show and numbers to store."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from IPython.display import display
from pandas.io.formats.style import Styler

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.events import EPOCH, Event, clock
from ddllib.reading import read_json, read_yaml
from ddllib.records import Record, highest_clips
from ddllib.settings import RESULTS, Settings

NUMBERS = "application/vnd.ddl.numbers+json"
_RESTORE = "restore the file"


def store(**numbers: float | int | str | None) -> None:
    """Keep the numbers a chapter claims in its executed copy, where a test reads them back."""
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in numbers.items()}
    lines = "\n".join(f"{name} = {value}" for name, value in plain.items())
    display({NUMBERS: plain, "text/plain": lines}, raw=True)


def say(text: str) -> None:
    """Print a sentence in lines that fit on a page."""
    print("\n".join(textwrap.wrap(text, 72, subsequent_indent="    ")))


class Cited(str):
    """A cell of a table that follows from records; ``table`` links it to them."""

    records: tuple[Record, ...]

    def __new__(cls, text: str, *records: Record):
        cell = super().__new__(cls, text)
        cell.records = records
        return cell

    def html(self) -> str:
        """The text, and a link to each published record: the text itself for one, else seeds."""
        links = [(r, _address(r)) for r in self.records if _address(r)]
        text = html.escape(self)
        if len(self.records) == 1 and links:
            return f'<a href="{links[0][1]}">{text}</a>'
        seeds = [f'<a href="{where}">{r.facts["settings"]["seed"]}</a>' for r, where in links]
        return f"{text} <sup>{' '.join(seeds)}</sup>" if seeds else text


def _address(record: Record) -> str | None:
    """Where its run.json lies, seen from a chapter and from a page; None if unpublished."""
    if not record.folder.is_relative_to(RESULTS):
        return None
    return quote(f"results/{record.folder.relative_to(RESULTS).as_posix()}/run.json")


def run_table(records: list[Record], protocol: str) -> pd.DataFrame:
    """One row per record: its AUC in percent, what was trained, for how long, and where."""
    rows = [
        {
            "record": Cited(r.name, r),
            "AUC": percent(r.auc(protocol)),
            "frame size": r.facts["settings"]["size"],
            "epochs": r.facts["settings"]["epochs"],
            "training, minutes": f"{r.facts['train_seconds'] / 60:.0f}",
            "parameters": f"{r.facts['parameters']:,}",
            "device": r.facts["device"],
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def highest_frames(record: Record) -> dict[str, list]:
    """What ``figures.error_maps`` draws of a record: the highest frames of its highest clips.

    Frames and reconstructions are C x H x W in [0, 1], maps H x W (``scoring.distance_map``).
    """
    entries = []
    for name in highest_clips(record):
        index, labels = int(record.shown[f"{name}-index"]), record.labels.get(name)
        kind = " (normal)" if labels is not None and not labels[index] else ""
        entries.append((record, name, f"clip {name}, frame {index}{kind}"))
    return _drawn(entries)


def same_frames(first: Sequence[Record], second: Sequence[Record]) -> dict[str, dict]:
    """By clip, what ``figures.error_maps`` draws of one abnormal frame rebuilt by two runs.

    The runs are the first pair of one seed that kept their frames; empty where there is none.
    """
    kept = {r.facts["settings"]["seed"]: r for r in second if r.shown}
    for one in first:
        other = kept.get(one.facts["settings"]["seed"])
        if one.shown and other:
            names = [
                n for n in one.scores if f"{n}-abnormal-index" in {*one.shown} & {*other.shown}
            ]
            return {name: _two_ways(name, one, other) for name in names}
    return {}


def _two_ways(name: str, one: Record, other: Record) -> dict[str, list]:
    entries = []
    for record in (one, other):
        index, mode = record.shown[f"{name}-abnormal-index"], record.facts["settings"]["mode"]
        entries.append((record, f"{name}-abnormal", f"{mode}: clip {name}, frame {int(index)}"))
    return _drawn(entries)


def pseudo_anomaly(records: Mapping[str, Record | None], kind: str) -> dict[str, list]:
    """What ``figures.error_maps`` draws of one pseudo-anomaly in a held-out clip, and before it.

    By name of a run: the same frame unaltered and with that kind of pseudo-anomaly (the paper's
    figure 4). Runs that kept no frames are left out.
    """
    entries = []
    for name, record in records.items():
        if record is not None and f"{kind}-index" in record.shown:
            seed = f"{name}, seed {record.facts['settings']['seed']}"
            entries.append((record, f"{kind}-normal", f"{seed}\nnormal"))
            entries.append((record, kind, f"{seed}\n{kind}"))
    return _drawn(entries)


def _drawn(entries: Sequence[tuple[Record, str, str]]) -> dict[str, list]:
    """Frames, reconstructions, maps and titles of what records have shown under a name."""
    drawn = {"frames": [], "rebuilt": [], "maps": [], "titles": []}
    for record, name, title in entries:
        again = record.shown[f"{name}-reconstruction"] / 255
        frame = np.broadcast_to(record.shown[f"{name}-frame"], again.shape) / 255
        drawn["frames"].append(frame)
        drawn["rebuilt"].append(again)
        drawn["maps"].append(np.linalg.norm(frame - again, axis=0) / 3**0.5)
        drawn["titles"].append(title)
    return drawn


def table(rows: pd.DataFrame, caption: str = "") -> Styler:
    """A table as the pages show it: no index, missing values as a dash, the paper's rows in grey.

    Cells that are ``Cited`` are links to their records. A table without rows says "not run".
    """
    rows = pd.DataFrame({"": ["not run"]}) if rows.empty else rows
    style = rows.style.hide(axis="index").format(_shown)
    if "source" in rows:
        style = style.apply(_grey, axis=1)
    return style.set_caption(caption).set_table_attributes('class="table"')


def _shown(value) -> str:
    if isinstance(value, Cited):
        return value.html()
    if pd.isna(value):
        return "–"
    if isinstance(value, Integral) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else html.escape(str(value))


def _grey(row: pd.Series) -> list[str]:
    return ["color: #767676" if row["source"] == "paper" else ""] * len(row)


def read_reports(folder: Path) -> list[dict]:
    """The benchmarks recorded in ``folder``, one for each machine; none where it is not there."""
    return [read_json(path, "a benchmark", _RESTORE) for path in sorted(folder.glob("*.json"))]


def read_report(path: Path) -> dict | None:
    """A study recorded as JSON; None where it was not run."""
    return read_json(path, "a study", _RESTORE) if path.is_file() else None


def event_table(events: Sequence[Event]) -> pd.DataFrame:
    """One row per event of a watch; times in seconds of a recording, as dates of a live source."""
    rows = [
        {
            "event": number,
            **({"clip": event.clip, "in it, s": f"{event.clip_s:.1f}"} if event.clip else {}),
            **_times(event),
            "score": f"{event.score:.4f}",
            "scene": f"changed: {event.drift}" if event.drift else "as it was",
        }
        for number, event in enumerate(events, start=1)
    ]
    return pd.DataFrame(rows)


def _times(event: Event) -> dict[str, str]:
    times = {"start": event.start_s, "end": event.end_s, "peak": event.peak_s}
    if event.start_s > EPOCH:
        return {name: clock(seconds) for name, seconds in times.items()}
    return {f"{name}, s": f"{seconds:.1f}" for name, seconds in times.items()}


def drift_table(report: Mapping) -> pd.DataFrame:
    """What was told of each change of the scene, by ``python -m ddllib.drift_study``."""
    ordinary = f"{report['minutes']} ordinary minutes"
    rows = [{"footage": ordinary, "told": len(report["ordinary"]) or "nothing", "after, s": None}]
    for name, change in report["changes"].items():
        first = change["told"][0] if change["told"] else None
        told, after = (first["sentence"], f"{first['after']:.0f}") if first else ("nothing", None)
        rows.append({"footage": name, "told": told, "after, s": after})
    return pd.DataFrame(rows)


def advice_table(advice, settings: Settings) -> pd.DataFrame:
    """What footage asks for (``data_prep.advise.Advice``), why, and what the settings have."""
    used = [getattr(settings, proposal.name) for proposal in advice.proposals]
    return pd.DataFrame(
        {
            "setting": proposal.name,
            "proposed": f"{proposal.value}",
            "in use": "all" if value is None else f"{value}",  # frames a second
            "why": proposal.reason,
        }
        for proposal, value in zip(advice.proposals, used, strict=True)
    )


def detector_table(comparison: Mapping) -> pd.DataFrame:
    """One row per detector: what it found and how long it took; ``not run`` where it could not."""
    columns = {
        "objects per frame": ("objects_per_frame", "{:.1f}"),
        "tracks per clip": ("tracks_per_clip", "{:.1f}"),
        "windows with a track, %": ("coverage", "{:.0%}"),
        f"agreement with {comparison['reference']}, %": ("agreement", "{:.0%}"),
        "seconds per frame": ("detection_seconds_per_frame", "{:.4f}"),
    }
    rows = []
    for name, found in comparison["detectors"].items():
        cells = {
            title: "not run" if "not_run" in found else form.format(found[key]).rstrip("%")
            for title, (key, form) in columns.items()
        }
        rows.append({"detector": name, **cells})
    return pd.DataFrame(rows)


def clip_table(data: Prepared) -> pd.DataFrame:
    """One row per clip: split, name, frames, abnormal frames, tracks; blank where none."""
    rows = []
    for split, clips in (("training", data.training), ("testing", data.testing)):
        tracks = data.tracks[data.tracks["split"] == split].groupby("clip")["track"].nunique()
        for name, frames in clips.items():
            labels = data.labels.get(name) if split == "testing" else None
            rows.append(
                {
                    "split": split,
                    "clip": name,
                    "frames": len(frames),
                    "abnormal frames": "" if labels is None else int(labels.sum()),
                    "tracks": int(tracks.get(name, 0)) or "",
                }
            )
    return pd.DataFrame(rows)


def protocol_table(record: Record) -> pd.DataFrame:
    """The record's AUC in percent under every protocol."""
    rows = [
        {
            "protocol": name,
            "micro AUC": percent(m["auc"]),
            "mean of clips": percent(m["macro_auc"], missing="undefined"),
            "clips in the mean": f"{m['macro_clips']} of {m['clips']}",
        }
        for name, m in record.facts["metrics"].items()
    ]
    return pd.DataFrame(rows)


def percent(value: float | None, missing: str = "not run") -> str:
    """A fraction as percent with two digits; ``missing`` for None."""
    return missing if value is None else f"{100 * value:.2f}"


def paper_figures(path: Path) -> dict:
    """The paper's reported figures, kept as data beside the records."""
    figures = read_yaml(path)
    if not isinstance(figures, dict):
        raise DDLError(f"{path}: not the paper's figures; {_RESTORE}")
    return figures
