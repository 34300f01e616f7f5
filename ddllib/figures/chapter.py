"""Tables that chapters show and numbers that they store."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from pandas.io.formats.style import Styler

from ddllib.camera.events import EPOCH, Event, clock
from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.experiments.publishing import highest_clips
from ddllib.io.reading import read_json, read_yaml
from ddllib.paths import RESULTS
from ddllib.records import Record
from ddllib.score_terms.distance import distance_map
from ddllib.settings import Settings

NUMBERS = "application/vnd.ddl.numbers+json"
_RESTORE = "restore the file"
_MOST_LINKS = 4  # of a cell; more are folded


def store(**numbers: float | int | str | None) -> None:
    """Store a chapter's numbers in its executed copy, where a test reads them."""
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in numbers.items()}
    lines = "\n".join(f"{name} = {value}" for name, value in plain.items())
    display({NUMBERS: plain, "text/plain": lines}, raw=True)


def say(text: str) -> None:
    """Show a plain sentence as prose of the page; ``write`` is for sentences in Markdown."""
    display(Markdown(_sentence(text)))


def _sentence(text: str) -> str:
    """Plain words as Markdown: a capital letter first, a stop at the end, no mark that formats."""
    first, *_ = text.split(maxsplit=1)
    if first.rstrip(",:").isalpha():  # no name such as c3dsu-ddl-seed0
        text = text[0].upper() + text[1:]
    text = text if text[-1] in ".:!?" else f"{text}."
    return _unbroken(re.sub(r"([\\`*_{}\[\]<>$#])", r"\\\1", text))


def _unbroken(text: str) -> str:
    """The text with a percent sign kept on the line of its number."""
    return re.sub(r"(?<=\d) %", "\u00a0%", text)


def write(*paragraphs: str) -> None:
    """Show sentences as prose of the page, each a paragraph; formulas and links are Markdown."""
    display(Markdown(_unbroken("\n\n".join(paragraphs))))


class Cited(str):
    """A table cell computed from records; ``table`` links it to a file of each."""

    records: tuple[Record, ...]
    file: str

    def __new__(cls, text: str, *records: Record, file: str = "run.json"):
        cell = super().__new__(cls, text)
        cell.records, cell.file = records, file
        return cell

    def html(self) -> str:
        """The text as a link if there is one record, else with a link for each."""
        links = [(r, _address(r, self.file)) for r in self.records if _address(r, self.file)]
        text = html.escape(self)
        if len(self.records) == 1 and links:
            return f'<a href="{links[0][1]}">{text}</a>'
        named = zip(_told_apart([record for record, _ in links]), links, strict=True)
        runs = [f'<a href="{address}">{html.escape(name)}</a>' for name, (_, address) in named]
        if len(runs) > _MOST_LINKS:
            listed = f"<summary>{len(runs)} runs</summary>{' '.join(runs)}"
            return f'{text} <details class="ddl-runs">{listed}</details>'
        return f'{text} <span class="ddl-runs">{" ".join(runs)}</span>' if runs else text


def _told_apart(records: Sequence[Record]) -> list[str]:
    """A name for each record of a cell, as short as tells them apart: seed, footage, or folder."""
    settings = [record.facts["settings"] for record in records]
    ways = [f"seed {s['seed']}" for s in settings], [s["data"] for s in settings]
    folders = [record.folder.name for record in records]
    longest = [f"{record.folder.parent.name}/{record.folder.name}" for record in records]
    return next((names for names in (*ways, folders) if len({*names}) == len(names)), longest)


def _address(record: Record, file: str) -> str | None:
    """The relative address of a file of it for chapters and pages; None if unpublished."""
    if not record.folder.is_relative_to(RESULTS):
        return None
    return quote(f"results/{record.folder.relative_to(RESULTS).as_posix()}/{file}")


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
            "scores": Cited("scores.npz", r, file="scores.npz"),
            "labels": Cited("labels.npz", r, file="labels.npz"),
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def highest_frames(record: Record) -> dict[str, list]:
    """Arguments of ``plots.error_maps``: the highest frames of a record's highest clips.

    Frames and reconstructions are C x H x W in [0, 1], maps H x W (``score_terms.distance``).
    """
    entries = []
    for name in highest_clips(record):
        index, labels = int(record.shown[f"{name}-index"]), record.labels.get(name)
        kind = " (normal)" if labels is not None and not labels[index] else ""
        entries.append((record, name, f"clip {name}, frame {index}{kind}"))
    return _error_map_arguments(entries)


def same_frames(first: Sequence[Record], second: Sequence[Record]) -> dict[str, dict]:
    """Arguments of ``plots.error_maps`` by clip: one abnormal frame reconstructed by two runs.

    The runs are the first pair of equal seed whose records hold frames; empty without such a pair.
    """
    records_of_seed = {r.facts["settings"]["seed"]: r for r in second if r.shown}
    for record in first:
        other_record = records_of_seed.get(record.facts["settings"]["seed"])
        if record.shown and other_record:
            keys = {*record.shown} & {*other_record.shown}
            names = [name for name in record.scores if f"{name}-abnormal-index" in keys]
            return {name: _abnormal_frame_of(name, record, other_record) for name in names}
    return {}


def _abnormal_frame_of(name: str, first: Record, second: Record) -> dict[str, list]:
    entries = []
    for record in (first, second):
        index, mode = record.shown[f"{name}-abnormal-index"], record.facts["settings"]["mode"]
        entries.append((record, f"{name}-abnormal", f"{mode}: clip {name}, frame {int(index)}"))
    return _error_map_arguments(entries)


def pseudo_anomaly(records: Mapping[str, Record | None], kind: str) -> dict[str, list]:
    """Arguments of ``plots.error_maps``: a held-out frame without and with a pseudo-anomaly.

    ``records`` are by name of the run. Both frames are shown for each run, as in the paper's
    figure 4; runs whose record holds no frames are left out.
    """
    entries = []
    for name, record in records.items():
        if record is not None and f"{kind}-index" in record.shown:
            seed = f"{name}, seed {record.facts['settings']['seed']}"
            entries.append((record, f"{kind}-normal", f"{seed}\nnormal"))
            entries.append((record, kind, f"{seed}\n{kind}"))
    return _error_map_arguments(entries)


def _distance(frame: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """The map of the term ``distance``, H x W, of one frame, C x H x W in [0, 1]."""
    pair = (torch.from_numpy(np.array(image, np.float32))[None] for image in (frame, rebuilt))
    return distance_map(*pair)[0].numpy()


def _error_map_arguments(entries: Sequence[tuple[Record, str, str]]) -> dict[str, list]:
    """Arguments of ``plots.error_maps`` from entries: record, name of its frame, title."""
    arguments = {"frames": [], "rebuilt": [], "maps": [], "titles": []}
    for record, name, title in entries:
        rebuilt = record.shown[f"{name}-reconstruction"] / 255
        frame = np.broadcast_to(record.shown[f"{name}-frame"], rebuilt.shape) / 255
        arguments["frames"].append(frame)
        arguments["rebuilt"].append(rebuilt)
        arguments["maps"].append(_distance(frame, rebuilt))
        arguments["titles"].append(title)
    return arguments


def table(rows: pd.DataFrame, caption: str = "") -> Styler:
    """A styled table: no index, missing values as a dash, the paper's rows in grey.

    Cells that are ``Cited`` are links to their records. A table without rows says "not run".
    """
    rows = pd.DataFrame({"": ["not run"]}) if rows.empty else rows
    style = rows.style.hide(axis="index").format(_cell_text)
    if "source" in rows:
        style = style.apply(_row_style, axis=1)
    return style.set_caption(caption).set_table_attributes('class="table"')


def _cell_text(value) -> str:
    if isinstance(value, Cited):
        return value.html()
    if pd.isna(value):
        return "–"
    if isinstance(value, Integral) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else html.escape(str(value))


def _row_style(row: pd.Series) -> list[str]:
    grey = "color: var(--pst-color-text-muted, #767676)"  # that of the page's theme, light or dark
    return [grey if row["source"] == "paper" else ""] * len(row)


def read_reports(folder: Path) -> list[dict]:
    """The benchmarks recorded in ``folder``, one for each machine; empty if it does not exist."""
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
    """The drift message for each change of the scene, from ``python -m ddllib study drift``."""
    footage = f"{report['minutes']} ordinary minutes"
    rows = [{"footage": footage, "told": len(report["ordinary"]) or "nothing", "after, s": None}]
    for name, change in report["changes"].items():
        first = change["told"][0] if change["told"] else None
        sentence = first["sentence"] if first else "nothing"
        after = f"{first['after']:.0f}" if first else None
        rows.append({"footage": name, "told": sentence, "after, s": after})
    return pd.DataFrame(rows)


def advice_table(advice, settings: Settings) -> pd.DataFrame:
    """The proposed settings (``advise.Advice``), the reasons, and the settings in use."""
    values = [getattr(settings, proposal.name) for proposal in advice.proposals]
    return pd.DataFrame(
        {
            "setting": proposal.name,
            "proposed": f"{proposal.value}",
            "in use": "all" if value is None else f"{value}",  # frames a second
            "why": proposal.reason,
        }
        for proposal, value in zip(advice.proposals, values, strict=True)
    )


def detector_table(comparison: Mapping) -> pd.DataFrame:
    """One row per detector: what it detected and its time; ``not run`` where it is missing."""
    columns = {
        "objects per frame": ("objects_per_frame", "{:.1f}"),
        "tracks per clip": ("tracks_per_clip", "{:.1f}"),
        "windows with a track, %": ("coverage", "{:.0f}"),
        f"agreement with {comparison['reference']}, %": ("agreement", "{:.0f}"),
        "seconds per frame": ("detection_seconds_per_frame", "{:.4f}"),
    }
    rows = []
    for name, facts in comparison["detectors"].items():
        cells = {
            title: "not run"
            if "not_run" in facts
            else template.format(facts[key] * (100 if title.endswith("%") else 1))
            for title, (key, template) in columns.items()
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
