"""What a chapter needs beyond the method: tables to show and numbers to store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import yaml
from IPython.display import display
from pandas.io.formats.style import Styler

from ddllib.data import Prepared
from ddllib.errors import DDLError
from ddllib.records import Record
from ddllib.settings import load_profile

NUMBERS = "application/vnd.ddl.numbers+json"


def store(**numbers: float | int | str | None) -> None:
    """Keep the numbers a chapter claims in its executed copy, where a test reads them back."""
    plain = {name: getattr(value, "item", lambda v=value: v)() for name, value in numbers.items()}
    lines = "\n".join(f"{name} = {value}" for name, value in plain.items())
    display({NUMBERS: plain, "text/plain": lines}, raw=True)


def like_profile(record: Record) -> bool:
    """Whether a record's settings are its profile's own, but for model, mode, seed and device."""
    recorded, free = record.facts["settings"], {"model", "mode", "seed", "device", "protocol"}
    own = load_profile(recorded["profile"]).asdict()
    return all(recorded.get(name) == own[name] for name in own.keys() - free)


def table(rows: pd.DataFrame, caption: str = "") -> Styler:
    """A table as the pages show it: no index, missing values as a dash."""
    return rows.style.hide(axis="index").format(na_rep="–", precision=2).set_caption(caption)


def clip_table(data: Prepared) -> pd.DataFrame:
    """One row per clip: split, frames, abnormal frames (blank for training), objects tracked."""
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
                    "objects tracked": int(tracks.get(name, 0)) or "",
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
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the paper's figures; restore the file")
    return yaml.safe_load(path.read_text())


def comparison_table(paper: Mapping, ours: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Table 1 of the paper with our rows below it.

    ``ours`` maps a row's name to its AUC by data set, in [0, 1]; what is absent was not run.
    A dash stands where the paper reports nothing.
    """
    datasets = list(dict.fromkeys(name for columns in paper.values() for name in columns))
    rows = [
        {"method": name, **{d: columns.get(d, "–") for d in datasets}, "source": "paper"}
        for name, columns in paper.items()
    ]
    for name, aucs in ours.items():
        cells = {d: percent(aucs.get(d)) for d in datasets}
        rows.append({"method": name, **cells, "source": "this edition"})
    return pd.DataFrame(rows)


def mode_table(
    paper: Mapping, sources: Mapping[str, Callable[[str, str], list[Record]]], protocol: str
) -> pd.DataFrame:
    """Table 2: for each model the paper's AUC by mode, and below it ours.

    ``sources`` maps a row's name to a function of model and mode that gives its records, one per
    seed; the mean over seeds is shown, ``not run`` where there is none.
    """
    rows = []
    for model, modes in paper.items():
        stated = {mode: f"{value:.2f}" for mode, value in modes.items()}
        rows.append({"model": model, "source": "paper", **stated})
        for name, find in sources.items():
            cells = {mode: _mean_auc(find(model, mode), protocol) for mode in modes}
            rows.append({"model": model, "source": name, **cells})
    return pd.DataFrame(rows)


def _mean_auc(records: list[Record], protocol: str) -> str:
    if not records:
        return "not run"
    values = [record.auc(protocol) for record in records]
    seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    return f"{percent(sum(values) / len(values))} ({seeds})"
