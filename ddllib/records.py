"""Records of finished runs: ``run.json`` and ``scores.npz`` (DESIGN "Records")."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError
from ddllib.settings import ROOT

PACKAGES = ("torch", "numpy", "scipy", "opencv-python", "scikit-learn")


@dataclass(frozen=True)
class Record:
    """A recorded run.

    ``facts`` is run.json, ``scores`` the raw scores per clip, unrounded; ``shown`` holds, for each
    clip, its highest frame's ``<clip>-index``, ``<clip>-frame`` and ``<clip>-reconstruction``.
    """

    folder: Path
    facts: dict
    scores: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """``<profile>/<run>``, as the pages cite it."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def auc(self, protocol: str) -> float:
        """The recorded micro AUC under ``protocol``, in [0, 1]."""
        return self.facts["metrics"][protocol]["auc"]


def write_record(folder: Path, facts: dict, scores: Mapping, shown: Mapping) -> None:
    """Leave frames.npz, scores.npz and last run.json in ``folder``, each whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("frames", shown), ("scores", scores)):
        temporary = folder / f"{name}.part.npz"
        np.savez_compressed(temporary, **arrays)
        os.replace(temporary, folder / f"{name}.npz")
    temporary = folder / "run.json.part"
    lines = [f"{json.dumps(key)}: {json.dumps(_finite(value))}" for key, value in facts.items()]
    temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    os.replace(temporary, folder / "run.json")


def read_record(folder: Path) -> Record:
    """The record in ``folder``; ``DDLError`` if it is missing or damaged."""
    folder = Path(folder)
    try:
        facts = json.loads((folder / "run.json").read_text())
        return Record(folder, facts, _arrays(folder / "scores.npz"), _arrays(folder / "frames.npz"))
    except FileNotFoundError as error:
        raise DDLError(f"{error.filename}: not there; expected a record; run its chapter") from None
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DDLError(f"{folder}: damaged record ({error}); run its chapter again") from None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def find_records(root: Path) -> list[Record]:
    """Every record below ``root`` (``<root>/<profile>/<run>``), sorted by name."""
    return [read_record(path.parent) for path in sorted(Path(root).glob("*/*/run.json"))]


def environment() -> dict:
    """Versions and commit that a run was made with."""
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
    }


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
