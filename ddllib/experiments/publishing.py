"""Publish records: copies without checkpoints in book/results, which the book shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.experiments.weights import write_weights
from ddllib.paths import RESULTS, runs_root, shown_place
from ddllib.pipeline import SCENES
from ddllib.record_parts import metrics_of
from ddllib.records import (
    SCORED,
    Record,
    add_rows,
    count_scoring,
    read_record,
    rows_of,
    write_record,
)
from ddllib.settings import VOCABULARY, Settings, recorded
from ddllib.training import load_run

DRAWN = 4  # clips of which figures draw a frame


def publish(record: Record, weights: bool = False) -> Record:
    """Copy a record to ``book/results``, with metrics computed again; returns the copy.

    Curves are rounded to six digits. The settings are added to those that were ever scored on test
    clips, with those of unpublished runs on the same data. Only runs of held-out clips, and trained
    ones of seed 0 on real footage, keep frames (``drawn_frames``), to save space. ``notes`` of an
    earlier copy stay. With ``weights`` those of the run are put beside it.
    Raises ``DDLError`` where they are asked for and there is no checkpoint, or they are too large,
    and where a record that is published by this name was judged in another way.
    """
    folder = RESULTS / record.folder.parent.name / record.folder.name
    notes = _notes(folder, record.judge)
    values = recorded(record.facts["settings"])
    settings = Settings(**{name: values[name] for name in VOCABULARY})
    run = load_run(settings.run_folder) if weights else None
    facts = {**record.facts, "history": rounded(record.facts["history"]), **notes}
    if "held_out" not in facts:
        facts["metrics"] = metrics_of(settings, record.scores, record.terms, record.labels)
    if "held_out" not in facts or "tests" in facts:
        count_scoring(facts, SCORED)
        add_rows(rows_of(runs_root() / SCORED.name, {facts["data"]["digest"]}), SCORED)
    is_shown = record.is_trained and settings.seed == 0 and settings.data not in SCENES
    keeps_frames = "held_out" in facts or is_shown
    shown = drawn_frames(record) if keeps_frames else {}
    if run:
        write_weights(run, folder)
    write_record(folder, facts, record.scores, record.labels, shown, record.terms)
    return read_record(folder)


def _notes(folder: Path, judge: str | None) -> dict:
    """The notes that people added to the record that is published in ``folder``, if there is one.

    Raises ``DDLError`` for a record by another ``judge``, which the new one would replace.
    """
    if not (folder / "run.json").is_file():
        return {}
    published = read_record(folder)
    if published.judge != judge:
        old, new = published.judge or "test clips", judge or "test clips"
        raise DDLError(
            f"{shown_place(folder)}: published already, judged by {old} and not by {new}; give the "
            "experiment a profile of its own, so that both are kept"
        )
    return {name: value for name, value in published.facts.items() if name == "notes"}


def highest_clips(record: Record, count: int = DRAWN) -> list[str]:
    """The clips with the highest raw scores, the highest first."""
    return sorted(record.scores, key=lambda n: record.scores[n].max(), reverse=True)[:count]


def drawn_frames(record: Record) -> dict[str, np.ndarray]:
    """The frames of a record that figures draw: of its highest clips, and abnormal ones.

    The few frames of held-out clips are all kept.
    """
    if "held_out" in record.facts:
        return dict(record.shown)
    abnormal = [n for n in (f"{n}-abnormal" for n in record.scores) if f"{n}-index" in record.shown]
    names = {*highest_clips(record), *abnormal[:DRAWN]}
    return {name: value for name, value in record.shown.items() if name.rsplit("-", 1)[0] in names}


def rounded(history: Mapping[str, list]) -> dict[str, list]:
    """Curves as published records keep them: six digits."""
    return {
        name: [v if v is None or isinstance(v, int) else float(f"{v:.6g}") for v in values]
        for name, values in history.items()
    }
