"""Prepared data: memory-mapped clips, tracks, labels and masks, as ``data_prep`` leaves them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError

TRACK_COLUMNS = [
    "split", "clip", "frame", "track", "x0", "y0", "x1", "y1", "confidence", "class",
]  # fmt: skip


@dataclass
class Prepared:
    """One prepared data set.

    ``training`` and ``testing`` map a clip's name to uint8 frames, N x C x H x W (C is 1 for grey
    footage, 3 for RGB); ``labels`` to N values, 1 for abnormal, by the labelling of that name;
    ``masks`` to N x H x W of 0 and 1, for those test clips that have them.
    ``tracks`` has the columns of ``TRACK_COLUMNS``, boxes relative to the frame in [0, 1].
    """

    folder: Path
    manifest: dict
    training: dict[str, np.ndarray]
    testing: dict[str, np.ndarray]
    tracks: pd.DataFrame
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    labelling: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame, in pixels."""
        return self.manifest["height"], self.manifest["width"]

    @property
    def digest(self) -> str:
        """A checksum of everything a run is made from: all clips and the tracks table."""
        content = {
            split: {
                name: {key: facts[key] for key in ("frames", "sha256") if key in facts}
                for name, facts in clips.items()
            }
            for split, clips in self.manifest["clips"].items()
        }
        clips = json.dumps(content, sort_keys=True).encode()
        table = (self.folder / "tracks.csv").read_bytes()
        return hashlib.sha256(clips + table).hexdigest()[:16]

    @property
    def facts(self) -> dict:
        """What a record says of the data, from its source to the coverage by tracks."""
        names = ("source", "dataset", "detector", "tracker", "coverage")
        return {**{name: self.manifest.get(name) for name in names}, "labelling": self.labelling}


def load_prepared(folder: Path | str, labelling: str | None = None) -> Prepared:
    """Open the prepared data in ``folder`` without reading its frames into memory.

    ``labelling`` names one of its labellings; None takes the one chosen when it was prepared.
    Raises ``DDLError`` where the manifest, a clip, the tracks table or that labelling is missing
    or damaged.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder / "manifest.json")
    clips = {
        split: {
            name: _open_clip(folder / split / f"{name}.npy", facts["frames"])
            for name, facts in sorted(manifest["clips"].get(split, {}).items())
        }
        for split in ("training", "testing")
    }
    labelling = _find_labelling(folder / "labels", labelling or manifest.get("labelling"))
    tests = manifest["clips"].get("testing", {})
    masked = [name for name in tests if f"masks/{name}.npy" in manifest.get("sha256", {})]
    return Prepared(
        folder,
        manifest,
        **clips,
        tracks=read_tracks(folder / "tracks.csv"),
        labels=_open_all(folder / "labels" / labelling, tests) if labelling else {},
        masks=_open_all(folder / "masks", {name: tests[name] for name in masked}),
        labelling=labelling,
    )


def _find_labelling(folder: Path, wanted: str | None) -> str | None:
    """The labelling's name if its folder is there, None where nothing is labelled."""
    known = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (wanted or known) and wanted not in known:
        raise DDLError(
            f"{folder}: {f'no labelling {wanted!r}' if wanted else 'labellings that differ'}; "
            f"choose by `labelling` one of {', '.join(known) or 'none'}"
        )
    return wanted


def read_tracks(path: Path) -> pd.DataFrame:
    """The tracks table; clip names stay text."""
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the tracks table; prepare the data again")
    try:
        tracks = pd.read_csv(path, dtype={"split": str, "clip": str}, keep_default_na=False)
    except ValueError as error:
        raise DDLError(f"{path}: not a table ({error}); prepare the data again") from None
    missing = [name for name in TRACK_COLUMNS if name not in tracks.columns]
    if missing:
        raise DDLError(
            f"{path}: column {missing[0]!r} is missing; expected {','.join(TRACK_COLUMNS)}; "
            "prepare the data again"
        )
    return tracks


def _read_manifest(path: Path) -> dict:
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected prepared data; run `python -m data_prep`")
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise DDLError(f"{path}: not JSON ({error}); prepare the data again") from None
    if not isinstance(manifest, dict) or "clips" not in manifest:
        raise DDLError(f"{path}: not a manifest of prepared data; prepare the data again")
    return manifest


def _open_clip(path: Path, frames: int) -> np.ndarray:
    try:
        clip = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DDLError(f"{path}: cannot be read ({error}); prepare the data again") from None
    if len(clip) != frames:
        raise DDLError(
            f"{path}: {len(clip)} frames, manifest.json says {frames}; prepare the data again"
        )
    return clip


def _open_all(folder: Path, clips: dict) -> dict[str, np.ndarray]:
    return {
        name: _open_clip(folder / f"{name}.npy", facts["frames"]) for name, facts in clips.items()
    }
