"""Locations of the project, its profiles and results, the data and the runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ddllib.errors import DDLError

ROOT = Path(__file__).resolve().parent.parent
PROFILES = ROOT / "book" / "profiles"
OWN_PROFILES = ROOT / "profiles"  # profiles that a user adds; no part of the book
RESULTS = ROOT / "book" / "results"


def _root(variable: str, default: str) -> Path:
    return ROOT / os.environ.get(variable, default)


def data_root() -> Path:
    """``$DDL_DATA``, else ``data``; a relative path counts from the project's root."""
    return _root("DDL_DATA", "data")


def runs_root() -> Path:
    """``$DDL_RUNS``, else ``runs``; a relative path counts from the project's root."""
    return _root("DDL_RUNS", "runs")


def model_folders() -> list[Path]:
    """Where weights that were trained elsewhere are looked for, the first place first."""
    return [data_root() / "models", data_root().parent / "models", runs_root() / "weights"]


def find_path(value: str) -> Path:
    """A file or folder given by a parameter: absolute, or relative to the project or the data.

    Weights are often kept beside the data sets, so the data root's parent is searched too.
    """
    roots = dict.fromkeys([ROOT, data_root(), data_root().parent])
    places = [root / value for root in roots]
    with contextlib.suppress(OSError):  # a name that is too long cannot exist
        for place in places:
            if place.exists():
                return place
    names = ", ".join(os.path.relpath(place, ROOT) for place in places)
    raise DDLError(f"{value}: not found; looked at {names}; give its path or set DDL_DATA")


def shown_place(path: Path) -> str:
    """A path to print: relative to the project, else to the runs' folder, else its name."""
    for root, prefix in ((ROOT, ""), (runs_root(), "$DDL_RUNS/")):
        if path.is_relative_to(root):
            return prefix + path.relative_to(root).as_posix()
    return path.name
