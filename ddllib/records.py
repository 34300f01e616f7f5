"""Records of finished runs: ``run.json`` and ``scores.npz`` (DESIGN "Records")."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from filelock import FileLock

from ddllib.errors import DDLError
from ddllib.evaluation import evaluate_all
from ddllib.files import write_whole, writing
from ddllib.reading import read_arrays, read_json
from ddllib.settings import (
    AFTERWARDS,
    RESULTS,
    ROOT,
    VOCABULARY,
    Settings,
    recorded,
    runs_root,
)

SCORED = RESULTS / "scored.csv"  # every setting ever scored on test clips
# Of a record's settings, what neither changes the weights nor which test clips were looked at.
_NO_SETTING = AFTERWARDS | {"profile", "seed", "weights", "data"}
DRAWN = 4  # clips of which figures draw a frame
_ARRAYS = ("scores", "labels", "frames")
_FACTS = {  # of run.json
    "settings": dict,
    "metrics": dict,
    "data": dict,
    "history": dict,
    "device": str,
    "train_seconds": int | float,
}
_EXPECTED, _REMEDY = "a record", "run its chapter again"
PACKAGES = ("torch", "numba", "numpy", "scipy", "opencv-python", "scikit-learn")


@dataclass(frozen=True)
class Record:
    """A recorded run.

    ``facts`` is run.json, ``scores`` the raw scores per clip, unrounded, and ``labels`` theirs;
    ``shown`` holds, for each clip, its highest frame's ``<clip>-index``, ``<clip>-frame`` and
    ``<clip>-reconstruction``, and for those with abnormal frames the same of one of them, as
    ``<clip>-abnormal-index`` and so on. A run judged by held-out clips has those of two kinds of
    pseudo-anomaly, ``<kind>-index`` and so on, and of the same frame unaltered, ``<kind>-normal``.
    """

    folder: Path
    facts: dict
    scores: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """``<profile>/<run>``, as the pages cite it."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def metrics(self) -> dict:
        """Every protocol's evaluation by name; empty where the test clips allow no AUC."""
        return self.facts["metrics"]

    @property
    def tests(self) -> dict:
        """Evaluations of the test clips by a run judged by held-out ones, if it scored them too."""
        return self.facts.get("tests", {})

    def made_by(self, settings: Settings) -> bool:
        """Whether it was made by these settings, as far as they shape weights and scores."""
        made = recorded(self.facts["settings"])
        return all(made[k] == v for k, v in settings.asdict().items() if k not in AFTERWARDS)

    def auc(self, protocol: str) -> float:
        """The recorded micro AUC under ``protocol``, in [0, 1]."""
        return self.metrics[protocol]["auc"]


def write_record(
    folder: Path, facts: dict, scores: Mapping, labels: Mapping, shown: Mapping
) -> None:
    """Leave the arrays and, last, run.json in ``folder``, each file whole or not at all."""
    folder = Path(folder)
    for name, arrays in zip(_ARRAYS, (scores, labels, shown), strict=True):
        with writing(folder / f"{name}.npz") as file:
            np.savez_compressed(file, **arrays)
    lines = [f"{json.dumps(key)}: {json.dumps(_finite(value))}" for key, value in facts.items()]
    with writing(folder / "run.json") as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_record(folder: Path) -> Record:
    """The record in ``folder``; ``DDLError`` if it is missing or damaged."""
    folder = Path(folder)
    facts = read_json(folder / "run.json", _EXPECTED, _REMEDY)
    fault = _fault(facts)
    if fault:
        raise DDLError(f"{folder / 'run.json'}: damaged record, {fault}; {_REMEDY}")
    kept = [read_arrays(folder / f"{name}.npz", _EXPECTED, _REMEDY) for name in _ARRAYS]
    _check_scores(folder / "scores.npz", kept[0], kept[1])
    return Record(folder, facts, *kept)


def _fault(facts: Mapping) -> str | None:
    """What in a run.json no run could have left there."""
    for name, kind in _FACTS.items():
        if not isinstance(facts.get(name), kind) or isinstance(facts[name], bool):
            return f"no {name}"
    unknown = sorted(facts["settings"].keys() - VOCABULARY)
    if unknown:
        return f"unknown setting {unknown[0]!r} (another version's?)"
    if not isinstance(facts["data"].get("digest"), str):
        return "no checksum of its data"
    if not isinstance(facts.get("tests", {}), dict):
        return "tests are no table"
    for name, metrics in [*facts["metrics"].items(), *facts.get("tests", {}).items()]:
        if not isinstance(metrics, dict) or not isinstance(metrics.get("auc"), float | int):
            return f"no AUC under {name}"
    curves = facts["history"].values()
    if not all(isinstance(curve, list) for curve in curves) or len({*map(len, curves)}) > 1:
        return "curves of different lengths"
    if any(not isinstance(v, int | float | None) for curve in curves for v in curve):
        return "a curve of something else than numbers"
    return None


def _check_scores(path: Path, scores: Mapping, labels: Mapping) -> None:
    """Each clip has finite scores, frame by frame, and as many labels where it has some."""
    for name, values in scores.items():
        if values.ndim != 1 or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise DDLError(f"{path}: damaged record, no scores of clip {name!r}; {_REMEDY}")
    for name, values in labels.items():
        if name not in scores or values.shape != scores[name].shape:
            raise DDLError(
                f"{path}: damaged record, no score for each label of {name!r}; {_REMEDY}"
            )


def publish(record: Record) -> Record:
    """Copy a record to ``book/results``, judged by the present evaluation; returns the copy.

    Curves are rounded to six digits. The settings are counted among those that were ever scored on
    test clips, and so are those of runs on the same data that are not published. Frames are kept of
    seed 0 and of held-out clips (``drawn_frames``), so that many seeds stay small. The ``notes`` of
    a copy that is there already stay.
    """
    facts = {**record.facts, "history": rounded(record.facts["history"])}
    if "held_out" not in facts:
        facts["metrics"] = evaluate_all(record.scores, record.labels)
    if "held_out" not in facts or "tests" in facts:
        count_scoring(facts, SCORED)
        _count(_rows(runs_root() / SCORED.name, {facts["data"]["digest"]}), SCORED)
    keeps = facts["settings"]["seed"] == 0 or "held_out" in facts
    shown = drawn_frames(record) if keeps else {}
    folder = RESULTS / record.folder.parent.name / record.folder.name
    if (folder / "run.json").is_file():
        facts = {**facts, **_notes(read_record(folder))}
    write_record(folder, facts, record.scores, record.labels, shown)
    return read_record(folder)


def highest_clips(record: Record, count: int = DRAWN) -> list[str]:
    """The clips with the highest raw scores, the highest first."""
    return sorted(record.scores, key=lambda n: record.scores[n].max(), reverse=True)[:count]


def drawn_frames(record: Record) -> dict[str, np.ndarray]:
    """Of a record's frames those that figures draw: of its highest clips, and the abnormal ones.

    Those of held-out clips, which are few, are all kept.
    """
    if "held_out" in record.facts:
        return dict(record.shown)
    abnormal = [n for n in (f"{n}-abnormal" for n in record.scores) if f"{n}-index" in record.shown]
    kept = {*highest_clips(record), *abnormal[:DRAWN]}
    return {name: value for name, value in record.shown.items() if name.rsplit("-", 1)[0] in kept}


def _notes(published: Record) -> dict:
    """What people have remarked on a published record; it stays with it."""
    return {name: value for name, value in published.facts.items() if name == "notes"}


def rounded(history: Mapping[str, list]) -> dict[str, list]:
    """Curves as published records keep them: six digits."""
    return {
        name: [v if v is None or isinstance(v, int) else float(f"{v:.6g}") for v in values]
        for name, values in history.items()
    }


def count_scoring(facts: Mapping, path: Path) -> None:
    """Note in a growing table that these settings were scored on test clips; each once.

    A seed, a device and what is done to scores afterwards make no new settings.
    """
    _count([(facts["data"]["digest"], _described(recorded(facts["settings"])))], path)


def _count(rows: Sequence[tuple[str, str]], path: Path) -> None:
    """Add to the table what it has not yet, while nobody else does."""
    lock = runs_root() / ".scored.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        lines = lines or ["data,settings\n"]
        fresh = [line for row in rows if (line := ",".join(row) + "\n") not in lines]
        if fresh:
            write_whole(path, lambda file: file.write("".join(lines + fresh).encode()))


def _rows(path: Path, digests: Container[str]) -> list[tuple[str, str]]:
    """Rows of the table, data and settings, that are of one of these data."""
    lines = path.read_text().splitlines()[1:] if path.is_file() else []
    rows = [(data, settings) for data, _, settings in (line.partition(",") for line in lines)]
    return [row for row in rows if row[0] in digests]


def settings_scored(records: Sequence[Record]) -> list[str]:
    """The settings counted so far that were scored on the test clips of these records' data.

    Boxes may differ between preparations of the same clips; a setting scored with both is one.
    """
    digests = {record.facts["data"]["digest"] for record in records}
    return sorted({settings for _, settings in _rows(SCORED, digests)})


def _described(settings: Mapping) -> str:
    """What differs from the defaults, so that a setting introduced later changes no old row."""
    usual = Settings().asdict()
    kept = {k: v for k, v in settings.items() if k not in _NO_SETTING and v != usual[k]}
    return " ".join(f"{name}={value}" for name, value in kept.items())


def find_records(root: Path) -> list[Record]:
    """Every record below ``root`` (``<root>/<profile>/<run>``), sorted by name."""
    return [read_record(path.parent) for path in sorted(Path(root).glob("*/*/run.json"))]


def environment() -> dict:
    """Versions and commit that a run was made with."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # such as opencv-python where the headless build is installed
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _finite(value):
    """JSON has no NaN: a term that a mode does not use becomes null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
