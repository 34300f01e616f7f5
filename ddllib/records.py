"""Records of finished runs: ``run.json`` and arrays beside it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from filelock import FileLock

from ddllib.errors import DDLError
from ddllib.io.files import write_whole, writing
from ddllib.io.reading import read_arrays, read_json
from ddllib.paths import RESULTS, ROOT, runs_root
from ddllib.pseudo_anomalies.held_out import SINGLE
from ddllib.settings import NOTHING, VOCABULARY, Settings, recorded, touching

SCORED = RESULTS / "scored.csv"  # every setting ever scored on test clips
# Settings by which records are not counted as different (``count_scoring``).
_UNCOUNTED = touching(NOTHING) | {"profile", "seed", "weights", "data"}
_ARRAYS = ("scores", "labels", "frames")
TERMS = "terms"  # a further file, where a score has several terms
_FACT_TYPES = {  # in run.json
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
    ``terms`` has the curve of each term of a score that has several, by ``<term>/<clip>``.
    """

    folder: Path
    facts: dict
    scores: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    terms: dict[str, np.ndarray] = field(default_factory=dict)

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

    @property
    def judge(self) -> str | None:
        """Which judge of held-out clips it has (``pseudo_anomalies.held_out``); None for none."""
        return self.facts.get("judge", SINGLE) if "held_out" in self.facts else None

    @property
    def method(self) -> str:
        """The method that was trained, or that learnt nothing; ``ddl`` in records of before."""
        return recorded(self.facts["settings"])["method"]

    @property
    def is_trained(self) -> bool:
        """Whether anything was learnt, here or by the run whose weights it began with."""
        settings = recorded(self.facts["settings"])
        return settings["epochs"] > 0 or settings["start_from"] is not None

    def made_by(self, settings: Settings) -> bool:
        """Whether it was made by these settings, as far as they shape weights and scores."""
        values = recorded(self.facts["settings"])
        irrelevant = touching(NOTHING)
        return all(values[k] == v for k, v in settings.asdict().items() if k not in irrelevant)

    def auc(self, protocol: str) -> float:
        """The recorded micro AUC under ``protocol``, in [0, 1]."""
        return self.metrics[protocol]["auc"]


def write_record(
    folder: Path,
    facts: dict,
    scores: Mapping,
    labels: Mapping,
    shown: Mapping,
    terms: Mapping | None = None,
) -> None:
    """Write the arrays and, last, run.json to ``folder``, each file complete or not at all.

    ``terms`` are the curves of a score's terms by ``<term>/<clip>``, where it has several.
    """
    folder = Path(folder)
    parts = dict(zip(_ARRAYS, (scores, labels, shown), strict=True))
    if terms:
        parts[TERMS] = terms
    for name, arrays in parts.items():
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
    arrays = [read_arrays(folder / f"{name}.npz", _EXPECTED, _REMEDY) for name in _ARRAYS]
    scores, labels, shown = arrays
    _check_scores(folder / "scores.npz", scores, labels)
    has_terms = (folder / f"{TERMS}.npz").is_file()
    terms = read_arrays(folder / f"{TERMS}.npz", _EXPECTED, _REMEDY) if has_terms else {}
    return Record(folder, facts, scores, labels, shown, terms)


def _fault(facts: Mapping) -> str | None:
    """What is wrong with the content of a run.json; None if nothing is."""
    for name, kind in _FACT_TYPES.items():
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


def count_scoring(facts: Mapping, path: Path) -> None:
    """Note in a growing table that these settings were scored on test clips; each once.

    Settings that differ only in seed, device or protocol count as one.
    """
    add_rows([(facts["data"]["digest"], _changed_settings(recorded(facts["settings"])))], path)


def add_rows(rows: Sequence[tuple[str, str]], path: Path) -> None:
    """Add the rows that the table lacks, under a lock."""
    lock = runs_root() / ".scored.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        lines = lines or ["data,settings\n"]
        new_lines = [line for row in rows if (line := ",".join(row) + "\n") not in lines]
        if new_lines:
            write_whole(path, lambda file: file.write("".join(lines + new_lines).encode()))


def rows_of(path: Path, digests: Container[str]) -> list[tuple[str, str]]:
    """Rows of the table, data and settings, whose data have one of these digests."""
    lines = path.read_text().splitlines()[1:] if path.is_file() else []
    rows = [(data, settings) for data, _, settings in (line.partition(",") for line in lines)]
    return [row for row in rows if row[0] in digests]


def settings_scored(records: Sequence[Record]) -> list[str]:
    """The settings counted so far that were scored on the test clips of these records' data.

    Boxes may differ between preparations of the same clips; a setting scored with both is one.
    """
    digests = {record.facts["data"]["digest"] for record in records}
    return sorted({settings for _, settings in rows_of(SCORED, digests)})


def _changed_settings(settings: Mapping) -> str:
    """Settings unlike the defaults; so a setting introduced later does not change old rows."""
    defaults = Settings().asdict()
    changed = {k: v for k, v in settings.items() if k not in _UNCOUNTED and v != defaults[k]}
    return " ".join(f"{name}={value}" for name, value in changed.items())


def find_records(root: Path = RESULTS) -> list[Record]:
    """Every record below ``root`` (``<root>/<profile>/<run>``), by default the book's, by name."""
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
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def _finite(value):
    """Replace NaN, which JSON lacks, by null: curves that a mode does not use are NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
